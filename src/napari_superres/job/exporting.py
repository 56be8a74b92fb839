"""One file made of stored blocks, in a stream: of a job's own, or of an image that is there."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import TYPE_CHECKING

from napari_superres.errors import Cancelled, OutputError, SuperresError
from napari_superres.formats.changes import check_unchanged
from napari_superres.formats.pyramid import level_shapes
from napari_superres.formats.zarr_encode import sync_folders
from napari_superres.job.blocks import check_held
from napari_superres.job.destination import check_free, explained, remove, take_name
from napari_superres.job.folder import check_own, clear, dissolve, sweep
from napari_superres.job.lock import Lock
from napari_superres.job.manifest import read_fingerprint
from napari_superres.job.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_superres.image import Image
    from napari_superres.job.destination import Destination

LOOK_SECONDS = 0.25

EXPORTING = "exporting"
"""What the lock is held for."""


class Export:
    """A file made straight of an image that is stored with its pyramid: no block is computed.

    It cannot be taken up again: what was begun is thrown away, and nothing has the result's name.

    Parameters
    ----------
    image : Image
    target : Destination
    overwrite : bool
        Whether a result of that name is replaced.
    """

    def __init__(self, image: Image, target: Destination, *, overwrite: bool = False) -> None:
        self.image = image
        self.target = target
        self.overwrite = overwrite

    def iterate(self) -> Iterator[Progress]:
        """Yield progress until the result has its name."""
        try:
            yield from self._exported()
        except OSError as error:
            if isinstance(error, SuperresError):
                raise
            raise explained(error, self.target.path) from error
        yield Progress(1, 1)

    def _exported(self) -> Iterator[Progress]:
        target = self.target
        with ExitStack() as stack:
            lock = Lock(target.lock, target.path)
            lock.__enter__()
            stack.callback(dissolve, target)
            stack.push(lock)
            lock.note(EXPORTING)
            check_free(target, overwrite=self.overwrite)
            if read_fingerprint(target.manifest) is None:
                check_own(target)
            elif not self.overwrite:
                raise OutputError(
                    f"'{target.part}' is an unfinished result of another command.",
                    "Finish it, or start anew with overwrite=True.",
                )
            clear(target)
            try:
                for share in stream(target, self.image, self.image):
                    check_held(lock)
                    yield Progress(0, 1, step="exporting", under_way=share)
                check_unchanged(self.image)
                sync_folders({target.part})
                take_name(target, target.exported)
                sync_folders({target.path.parent})
            finally:
                if lock.is_held():  # else it is somebody else's
                    sweep(target)


def is_streamable(image: Image) -> bool:
    """Return whether a pyramidal file can be made of an image as it is stored.

    So it is if its coarser levels are there, each half as fine along y and x alone, or if it is so
    small that it needs none.
    """
    if image.plan is not None or "path" not in image.source:
        return False
    y, x = image.axes.index("y"), image.axes.index("x")
    shapes = [level.shape for level in (image.data, *image.levels)]
    for fine, coarse in itertools.pairwise(shapes):
        for axis, (n, half) in enumerate(zip(fine, coarse, strict=True)):
            if half not in ((n // 2, -(-n // 2)) if axis in (y, x) else (n,)):
                return False
    return len(shapes) >= len(level_shapes((image.shape[y], image.shape[x])))


def stream(target: Destination, image: Image, stored: Image) -> Iterator[float]:
    """Write one file, in a thread, so that the caller stays in control.

    Parameters
    ----------
    target : Destination
    image : Image
        What is said of the pixels.
    stored : Image
        The pixels and coarser levels, with axes as in `image`.

    Yields
    ------
    float
        The share that is done.
    """
    stop = threading.Event()
    share = 0.0

    def tick(done: int, total: int) -> None:
        nonlocal share
        if stop.is_set():
            raise Cancelled(f"The export of '{target.path}' was stopped.")
        share = done / max(total, 1)

    remove(target.exported)
    with ThreadPoolExecutor(1, "export") as thread:
        future = thread.submit(_write, target, image, stored, tick)
        try:
            while not wait([future], timeout=LOOK_SECONDS).done:
                yield share
            future.result()
        finally:
            stop.set()


def _write(
    target: Destination, image: Image, stored: Image, tick: Callable[[int, int], None]
) -> None:
    if target.kind == "png":
        from napari_superres.formats.picture import write_png

        planar = tuple(slice(None) if a in "yxs" else 0 for a in stored.axes)
        pixels = stored.data[planar].compute(scheduler="synchronous")
        write_png(pixels, str(target.exported), image.history)
    else:
        from napari_superres.formats.tiff_write import write_ome_tiff

        write_ome_tiff((stored.data, *stored.levels), image, target.exported, tick=tick)
