"""From finished blocks to a finished file: metadata, export, name, and what is swept away."""

from __future__ import annotations

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from napari_superres.errors import Cancelled
from napari_superres.formats.ome_zarr import open_image
from napari_superres.formats.ome_zarr_write import commit
from napari_superres.formats.zarr_encode import sync_folders
from napari_superres.job.destination import put_back, remove, take_name
from napari_superres.job.lock import Lock
from napari_superres.job.manifest import is_committed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_superres.formats.ome_zarr_layout import Layout
    from napari_superres.image import Image
    from napari_superres.job.destination import Destination

LOOK_SECONDS = 0.25


def finish(
    target: Destination,
    layout: Layout,
    image: Image,
    note: Callable[[], None],
    labels: Sequence[str] = (),
) -> Iterator[float]:
    """Write the metadata, make one file of the blocks if that is wanted, and give it its name.

    Parameters
    ----------
    target : Destination
    layout : Layout
    image : Image
    note : callable
        Called when nothing but the name is missing.
    labels : sequence of str
        Names of the label images that have been written into its folder.

    Yields
    ------
    float
        Share of an export that is done.
    """
    commit(target.root, layout, image, target.scratch, labels)
    finished = target.root
    if target.kind != "zarr":
        yield from _exported(target, image)
        finished = target.exported
    sync_folders({target.part})
    note()
    take_name(target, finished)
    sync_folders({target.path.parent})


def _exported(target: Destination, image: Image) -> Iterator[float]:
    """Stream the blocks into one file, in a thread, so that the caller stays in control."""
    stop = threading.Event()
    share = 0.0

    def tick(done: int, total: int) -> None:
        nonlocal share
        if stop.is_set():
            raise Cancelled(f"The export of '{target.path}' was stopped.")
        share = done / max(total, 1)

    remove(target.exported)
    with ThreadPoolExecutor(1, "export") as thread:
        future = thread.submit(_export, target, image, tick)
        try:
            while not wait([future], timeout=LOOK_SECONDS).done:
                yield share
            future.result()
        finally:
            stop.set()


def _export(target: Destination, image: Image, tick: Callable[[int, int], None]) -> None:
    stored = open_image(str(target.root)).transposed(image.axes)
    if target.kind == "png":
        from napari_superres.formats.picture import write_png

        planar = tuple(slice(None) if a in "yxs" else 0 for a in stored.axes)
        write_png(stored.data[planar].compute(scheduler="synchronous"), str(target.exported))
    else:
        from napari_superres.formats.tiff_write import write_ome_tiff

        write_ome_tiff((stored.data, *stored.levels), image, target.exported, tick=tick)


def clear(target: Destination) -> None:
    """Empty the folder of the unfinished result, but for the locks, which may still be held."""
    # The list goes first: without it nothing takes what is left for something to go on with.
    remove(target.manifest)
    for entry in list(target.part.iterdir()):
        if not _is_lock(entry.name):
            remove(entry)


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
    """Remove what a crash left after a result had got its name; put back an older result."""
    if not target.part.is_dir():
        return
    finished = target.root if target.kind == "zarr" else target.exported
    named = is_committed(target.manifest) and not finished.exists() and target.path.exists()
    if not named and not os.path.lexists(target.old):
        return
    with Lock(target.lock, target.path):
        put_back(target)
        if named:
            clear(target)
    if named:
        dissolve(target)
