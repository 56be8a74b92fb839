"""Take up an unfinished result, refuse a foreign one, or begin."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from napari_superres.errors import OutputError
from napari_superres.formats.ome_zarr_write import create
from napari_superres.formats.remote_path import RemotePath
from napari_superres.job.destination import check_free, remove
from napari_superres.job.fingerprint import fingerprint
from napari_superres.job.folder import check_own
from napari_superres.job.lock import Lock, token_of
from napari_superres.job.manifest import Manifest, differences, read_fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_superres.formats.ome_zarr_layout import Layout
    from napari_superres.image import Image
    from napari_superres.job.destination import Destination

NAMED = 5
"""How many differing settings a refusal names."""


def prepare(
    image: Image,
    target: Destination,
    layout: Layout,
    lock: Lock,
    labels: Mapping[str, Image],
    *,
    overwrite: bool,
) -> dict[str, Any]:
    """Make sure that the folder of the unfinished result is this job's. The main lock is held.

    Parameters
    ----------
    image : Image
    target : Destination
    layout : Layout
    lock : Lock
        The main one, or that of a part.
    labels : mapping of str to Image
        Label images that will lie in the result's folder.
    overwrite : bool
        Whether a finished result may be replaced, and an unfinished one with other settings thrown
        away.

    Returns
    -------
    dict
        The job's fingerprint.

    Raises
    ------
    OutputError
        If something else is in the way.
    """
    # It may have got its name while we waited for the lock.
    check_free(target, overwrite=overwrite)
    wanted = fingerprint(image, layout, labels)
    there = _found(target, overwrite=overwrite)
    if there is not None and there != wanted and not overwrite:
        changes = "; ".join(differences(there, wanted)[:NAMED])
        raise OutputError(
            f"'{target.part}' is an unfinished result with other settings: {changes}.",
            "Use the same settings to finish it, or start anew with overwrite=True.",
        )
    if there != wanted or not target.root.exists():
        with ExitStack() as others:
            if lock.path != target.lock:
                for path in target.part_locks():
                    if path != lock.path:
                        others.enter_context(Lock(path, target.path))
            _begin(target, layout, wanted)
    _sweep_scratch(target)
    return wanted


def _found(target: Destination, *, overwrite: bool) -> dict[str, Any] | None:
    """Return the fingerprint of the unfinished result, or None if there is none."""
    try:
        there = read_fingerprint(target.manifest)
    except OutputError:
        if overwrite:
            return {}
        raise
    if there is None and not overwrite and isinstance(target.root, RemotePath):
        _check_empty(target.root)
    if there is None:
        check_own(target)
    return there


def _check_empty(root: RemotePath) -> None:
    if root.exists():
        raise OutputError(
            f"There is something at '{root}' that is no unfinished result of this program, or one "
            "whose list of blocks is lost.",
            "Choose another name, or start anew with overwrite=True.",
        )


def _begin(target: Destination, layout: Layout, wanted: dict[str, Any]) -> None:
    """Clear what there is, and make empty arrays and an empty list."""
    # The main list goes last: as long as it is there, the others are known to be of its job.
    for path in (*target.part_manifests(), target.manifest, target.root, target.exported):
        remove(path)
    target.scratch.mkdir(exist_ok=True)
    if isinstance(target.root, RemotePath):
        create(target.root, layout, target.scratch)
    else:
        unnamed = target.root.with_suffix(".new")
        remove(unnamed)
        create(unnamed, layout, target.scratch)
        unnamed.rename(target.root)
    Manifest(target.manifest, layout).start(wanted, layout.blocks)


def _sweep_scratch(target: Destination) -> None:
    """Remove the half files of runs that ended somehow."""
    target.scratch.mkdir(exist_ok=True)
    alive = {token_of(path) for path in (target.lock, *target.part_locks())}
    for name in os.listdir(target.scratch):
        if name not in alive:
            remove(target.scratch / name)
