"""One task: compute a block, halve it level by level, write it, and say what was written."""

from __future__ import annotations

import hashlib
import math
import time
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import cloudpickle
import numpy as np

from napari_superres.errors import Cancelled, InputError, OutputError, ResourceError
from napari_superres.formats.ome_zarr_layout import stored_order
from napari_superres.formats.ome_zarr_write import read_block, write_block
from napari_superres.formats.pyramid import coarser
from napari_superres.formats.remote_path import RemotePath
from napari_superres.job.destination import explained, remove
from napari_superres.job.lock import holds
from napari_superres.job.manifest import Block, Sum
from napari_superres.models.cache import VARIABLE
from napari_superres.progress import on_tick

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_superres.formats.ome_zarr_layout import Layout
    from napari_superres.image import Image
    from napari_superres.job.destination import Destination

LARGEST_MESSAGE = 8 * 1024**2
"""Most bytes of the image's description that go along with each task to another process."""

ASK_SECONDS = 1.0
"""How often a worker in another process looks whether its job still runs."""


@dataclass(frozen=True)
class Work:
    """All that tasks need to know, the same for each of them.

    Parameters
    ----------
    image : Image
        What is written.
    layout : Layout
    target : Destination
    lock : Path
        The file that says whose the blocks are.
    token : str
        Of the lock. A worker whose job has ended, or was taken over, finds another one and stops.
    """

    image: Image
    layout: Layout
    target: Destination
    lock: Path
    token: str

    @property
    def scratch(self) -> Path:
        """Where files grow. Gone when another run takes over, so nobody writes into its result."""
        return self.target.scratch / self.token


class Packed(NamedTuple):
    """`Work` as bytes, for other processes, which unpack it once."""

    digest: str
    data: bytes


def pack(work: Work) -> Packed:
    """Return work in a form that travels with each task.

    Raises
    ------
    ResourceError
        If the image carries pixels, so that it is too large for that.
    """
    data = cloudpickle.dumps(replace(work, image=replace(work.image, levels=(), metadata={})))
    if len(data) > LARGEST_MESSAGE:
        raise ResourceError(
            f"The image '{work.image.name}' holds {len(data) / 1e6:.0f} MB of pixels or graph in "
            "memory, too much to send along with every block.",
            "Save the source as a file, read it from there, and upscale that.",
        )
    return Packed(hashlib.sha256(data).hexdigest(), data)


_unpacked: dict[str, Work] = {}

_seen: set[str] = set()
"""Tokens of the jobs whose lock this process has seen."""


def unpack(work: Work | Packed) -> Work:
    """Return what `pack` packed, from memory if this process has seen it."""
    if isinstance(work, Work):
        return work
    if work.digest not in _unpacked:
        _unpacked.clear()
        _unpacked[work.digest] = cloudpickle.loads(work.data)
    return _unpacked[work.digest]


def compute(
    packed: Work | Packed, block: Block, attempt: int, listener: Callable[[int, int], None] | None
) -> list[Sum]:
    """Compute and write one block at each level that it owns.

    Parameters
    ----------
    packed : Work or Packed
    block : Block
    attempt : int
        Which try this is. Distributed schedulers take calls with equal arguments for one call.
    listener : callable or None
        Hears of progress inside the block, and raises `Cancelled` to stop it; None in another
        process, where the lock is looked at instead.

    Returns
    -------
    list of Sum
        Of the files, which have reached the disk.

    Raises
    ------
    Cancelled
        If the job is over.
    OutputError
        If this process does not see the lock of the job, from the first.
    SuperresError
        If the pixels cannot be had, or the files not be written.
    """
    del attempt
    work = unpack(packed)
    layout, root = work.layout, work.target.root
    levels = layout.owned(block.number)
    at = _place(layout, block)
    with on_tick(listener or _lock_watcher(work)):
        pixels = _pixels(work, block.number, at)
    sums = []
    for level in levels:
        if level != levels[0]:
            pixels = coarser(pixels, nearest=layout.nearest)
        try:
            sums.append(Sum(*write_block(root, layout, level, at, pixels, work.scratch)))
        except OSError as error:
            raise explained(error, work.target.path) from error
    return sums


def check(
    packed: Work | Packed, claims: Sequence[tuple[Block, list[Sum]]], contents: bool = True
) -> list[Block]:
    """Return the blocks whose files are not what the manifest says of them.

    Parameters
    ----------
    packed : Work or Packed
    claims : sequence of (Block, list of Sum)
    contents : bool
        Whether files are read, or only their sizes looked at.
    """
    work = unpack(packed)
    wrong = []
    for block, sums in claims:
        at = _place(work.layout, block)
        for level, claimed in zip(work.layout.owned(block.number), sums, strict=True):
            names = list(work.layout.files(level, at))
            try:
                # The size first: it costs nothing, and tells most of what can be wrong.
                size = sum((work.target.root / name).stat().st_size for name in names)
                if size == claimed.size and (not contents or _checksum(work, names) == claimed):
                    continue
            except FileNotFoundError:
                pass
            wrong.append(block)
            break
    return wrong


def discard(work: Work, block: Block) -> None:
    """Delete the files of a block, whatever is there of them."""
    at = _place(work.layout, block)
    for level in work.layout.owned(block.number):
        for name in work.layout.files(level, at):
            remove(work.target.root / name)


def describe(layout: Layout, block: Block) -> str:
    """Return where a block lies, in words, for messages."""
    first = layout.owned(block.number)[0]
    region = layout.region(first, _place(layout, block))
    parts = []
    for axis, part in zip(layout.axes, region, strict=True):
        span = f"{part.start}" if part.stop - part.start == 1 else f"{part.start}:{part.stop}"
        parts.append(f"{axis}={span}")
    return ", ".join(parts) + (f" of level {first}" if first else "")


def _place(layout: Layout, block: Block) -> tuple[int, ...]:
    grid = layout.levels[layout.owned(block.number)[0]].grid
    return tuple(int(i) for i in np.unravel_index(block.place, grid))


def _pixels(work: Work, number: int, at: tuple[int, ...]) -> np.ndarray:
    """Return a block of the first level of a pass, in stored order."""
    layout = work.layout
    first = layout.owned(number)[0]
    region = layout.region(first, at)
    if number == 0:
        return _source_pixels(work, region)
    finer = layout.levels[first - 1].shape
    under = tuple(
        slice(2 * part.start, min(2 * part.stop, n)) if i >= len(finer) - 2 else part
        for i, (part, n) in enumerate(zip(region, finer, strict=True))
    )
    return coarser(read_block(work.target.root, layout, first - 1, under), nearest=layout.nearest)


def _source_pixels(work: Work, region: tuple[slice, ...]) -> np.ndarray:
    image, layout = work.image, work.layout
    order = stored_order(image.axes, layout.axes)
    index = [slice(None)] * len(order)
    for part, axis in zip(region, order, strict=True):
        index[axis] = part
    pixels = np.asarray(image.data[tuple(index)].compute(scheduler="synchronous")).transpose(order)
    shape = tuple(part.stop - part.start for part in region)
    if pixels.shape != shape or pixels.dtype != np.dtype(layout.dtype):
        raise InputError(
            f"A block of '{image.name}' came out as {pixels.shape} {pixels.dtype} instead of "
            f"{shape} {layout.dtype}.",
            "The array's announced shape or type is not the real one.",
        )
    return pixels


def _checksum(work: Work, names: list[str]) -> Sum:
    size, crc = 0, 0
    for name in names:
        data = (work.target.root / name).read_bytes()
        size, crc = size + len(data), zlib.crc32(data, crc)
    return Sum(size, crc)


def _lock_watcher(work: Work) -> Callable[[int, int], None]:
    """Return a listener that stops a block whose job is over; looks once a second at most."""
    asked = -math.inf

    def listen(done: int, total: int) -> None:
        nonlocal asked
        now = time.monotonic()
        if now - asked >= ASK_SECONDS:
            asked = now
            if not holds(work.lock, work.token):
                raise Cancelled(f"The job of '{work.target.path}' has ended.")

    if work.token not in _seen and not work.lock.exists():
        raise _unseen(work)
    _seen.add(work.token)
    listen(0, 1)
    return listen


def _unseen(work: Work) -> OutputError:
    advice = "write to a disk that they share."
    if isinstance(work.target.path, RemotePath):
        advice = f"start the job with {VARIABLE} in a folder that they share, such as the home."
    return OutputError(
        f"This worker does not see '{work.lock}', by which the job of '{work.target.path}' is "
        "known.",
        f"All workers must see that folder: {advice}",
    )
