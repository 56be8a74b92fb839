"""The folder in which a result grows: swept and taken away when nobody needs it any more."""

from __future__ import annotations

import contextlib
import logging
import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from napari_superres.errors import OutputError
from napari_superres.formats.remote_path import RemotePath
from napari_superres.job.destination import put_back, remove
from napari_superres.job.lock import BusyError, Lock
from napari_superres.job.manifest import is_committed

if TYPE_CHECKING:
    from napari_superres.job.destination import Destination

log = logging.getLogger(__name__)

OWN = (
    "image.zarr",
    "image.new",
    "lock",
    "lock.*",
    "manifest.*",
    "scratch",
    "old",
    "clock*",
    "owner",
    "fetched",
    "labels",
    ".nfs*",  # what was removed while somebody still had it open, on a network's disk
)
"""How things are called in the folder of an unfinished result."""


def check_own(target: Destination) -> None:
    """Refuse a folder of that name that somebody else has filled, before anything is removed.

    Parameters
    ----------
    target : Destination
        Its folder is there, without a list of blocks, which would say that it is ours.

    Raises
    ------
    OutputError
    """
    own = (*OWN, target.exported.name)
    for name in os.listdir(target.part):
        if not any(fnmatchcase(name, pattern) for pattern in own):
            raise OutputError(
                f"'{target.part}' is in the way: it is not an unfinished result of this program, "
                f"which would hold no '{name}'.",
                "Move it elsewhere.",
            )


def clear(target: Destination) -> None:
    """Empty the folder of the unfinished result, but for the locks, which may still be held."""
    # The list goes first: without it nothing takes what is left for something to go on with.
    remove(target.manifest)
    for entry in list(target.part.iterdir()):
        if not _is_lock(entry.name):
            remove(entry)


def sweep(target: Destination) -> None:
    """Empty the folder of a result that has its name, as far as that can be done.

    The result is there: what cannot be removed is no reason to call it failed. `sweep_leftover`
    tries again.
    """
    try:
        clear(target)
    except OSError as error:
        log.info("'%s' is not swept yet: %s", target.part, error)


def abandon(target: Destination) -> None:
    """Take away an unfinished result of which nothing is worth keeping."""
    clear(target)
    if isinstance(target.root, RemotePath):
        remove(target.root)


def dissolve(target: Destination) -> None:
    """Remove the folder of the unfinished result, once it is empty and the lock given up."""
    windows = os.name == "nt"  # where an open file cannot be deleted
    with contextlib.suppress(OSError):  # somebody else may be about to use it
        if not all(_is_lock(name) for name in os.listdir(target.part)):
            return
        with Lock(target.lock, target.path):
            if not all(_is_lock(name) for name in os.listdir(target.part)):
                return
            if not windows:
                _remove_locks(target)
        if windows:
            _remove_locks(target)


def _remove_locks(target: Destination) -> None:
    for lock in (*target.part_locks(), target.lock):
        lock.unlink()
    target.part.rmdir()


def _is_lock(name: str) -> bool:
    return name == "lock" or name.startswith("lock.")


def sweep_leftover(target: Destination) -> None:
    """Remove what a crash left after a result had got its name; put back an older result.

    Raises
    ------
    OutputError
        If the folder is somebody else's.
    """
    if not target.part.is_dir():
        return
    listed = target.manifest.exists()
    if not listed:
        check_own(target)
    if not (is_named(target) or _is_unlisted(target) or os.path.lexists(target.old)):
        return
    try:
        with Lock(target.lock, target.path):
            put_back(target)
            left = is_named(target) or _is_unlisted(target)  # nobody has begun meanwhile
            if left:
                sweep(target)
    except BusyError:
        if listed:
            raise
        return  # somebody begins
    if left:
        dissolve(target)


def is_named(target: Destination) -> bool:
    """Return whether the result that a folder's list tells of has got its name."""
    return is_committed(target.manifest) and _is_taken(target)


def _is_unlisted(target: Destination) -> bool:
    """Return whether a folder holds what was left when a named result was swept halfway."""
    return (
        not target.manifest.exists()
        and not all(_is_lock(name) for name in os.listdir(target.part))
        and _is_taken(target)
    )


def _is_taken(target: Destination) -> bool:
    """Return whether the result is there, and no other one that waits for the name."""
    if not target.is_finished():
        return False
    finished = target.root if target.kind == "zarr" else target.exported
    return not isinstance(target.path, Path) or not finished.exists()
