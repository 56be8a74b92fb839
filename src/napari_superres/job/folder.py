"""The folder in which a result grows: swept and taken away when nobody needs it any more."""

from __future__ import annotations

import contextlib
import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from napari_superres.errors import OutputError
from napari_superres.formats.remote_path import RemotePath
from napari_superres.job.destination import put_back, remove
from napari_superres.job.lock import Lock
from napari_superres.job.manifest import is_committed

if TYPE_CHECKING:
    from napari_superres.job.destination import Destination


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
    if not target.manifest.exists():
        check_own(target)
    named = is_committed(target.manifest) and target.is_finished()
    if named and isinstance(target.path, Path):
        finished = target.root if target.kind == "zarr" else target.exported
        named = not finished.exists()
    if not named and not os.path.lexists(target.old):
        return
    with Lock(target.lock, target.path):
        put_back(target)
        if named:
            clear(target)
    if named:
        dissolve(target)
