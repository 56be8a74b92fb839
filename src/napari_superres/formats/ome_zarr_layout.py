"""How a result lies on disk: levels, shards, chunks, and who writes which file. Arithmetic only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_superres.errors import SettingError
from napari_superres.formats.chunk_grid import chunk_region, chunks_under
from napari_superres.formats.pyramid import level_shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_superres.formats.chunk_grid import Region
    from napari_superres.image import Image

Version = Literal["0.5", "0.4"]

BLOCK = 2048
"""Edge of a block where no plan gives one, in pixels."""

CHUNK = 512
"""Wanted edge of a chunk, in pixels: large enough to compress well, small enough for a viewer."""

LEVELS_IN_A_PASS = 4
"""A block owns its pixels at this many levels, its edge halving with each."""


@dataclass(frozen=True)
class Level:
    """One resolution of a result.

    Parameters
    ----------
    shape : tuple of int
        Of the array, in stored order.
    block : tuple of int
        What one task writes: a shard, or a whole number of chunks where there are no shards.
    chunk : tuple of int
        Smallest readable piece; divides `block`.
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]
    chunk: tuple[int, ...]

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of blocks along each axis."""
        return tuple(-(-n // b) for n, b in zip(self.shape, self.block, strict=True))


@dataclass(frozen=True)
class Layout:
    """Everything about a result on disk that does not depend on its pixels.

    Four levels make a *pass*. The task that computes a block of the pass's first level writes its
    part of the other three as well: because the block's edge halves with each level, no file has
    two writers. The second pass starts from the last level of the first, and so on::

        level 0   |  2048  |  2048  |      pass 0: from the image
        level 1   |  1024  |  1024  |
        level 2   |  512   |  512   |
        level 3   |  256   |  256   |
        level 4   |  2048           |      pass 1: from level 3

    Parameters
    ----------
    axes : str
        Letters in stored order: t, c, z, y, x, as OME-Zarr demands.
    image_axes : str
        The image's own letters and order.
    dtype : str
        Type of a pixel.
    version : {"0.5", "0.4"}
        Of OME-Zarr. 0.5 is sharded.
    levels : tuple of Level
        Finest first.
    nearest : bool
        Whether coarser levels are made by picking pixels, for labels.
    """

    axes: str
    image_axes: str
    dtype: str
    version: Version
    levels: tuple[Level, ...]
    nearest: bool

    @property
    def sharded(self) -> bool:
        """True when each block is one file."""
        return self.version == "0.5"

    @property
    def passes(self) -> range:
        """Numbers of the passes over the levels."""
        return range(-(-len(self.levels) // LEVELS_IN_A_PASS))

    @property
    def nbytes(self) -> int:
        """Bytes of all levels, uncompressed."""
        return sum(math.prod(level.shape) for level in self.levels) * np.dtype(self.dtype).itemsize

    @property
    def blocks(self) -> int:
        """Number of tasks of all passes."""
        return sum(self.tasks(number) for number in self.passes)

    def owned(self, number: int) -> range:
        """Return the levels that the tasks of a pass write."""
        first = number * LEVELS_IN_A_PASS
        return range(first, min(first + LEVELS_IN_A_PASS, len(self.levels)))

    def tasks(self, number: int) -> int:
        """Return how many tasks a pass has."""
        return math.prod(self.levels[self.owned(number)[0]].grid)

    def region(self, level: int, at: tuple[int, ...]) -> Region:
        """Return the pixels of a block, clipped at the end of its level."""
        found = self.levels[level]
        return chunk_region(at, found.block, found.shape)

    def files(self, level: int, at: tuple[int, ...]) -> Iterator[str]:
        """Yield the files of a block below the result's root, with ``/``."""
        if self.sharded:
            yield f"{level}/c/{'/'.join(map(str, at))}"
            return
        for chunk, _ in chunks_under(self.region(level, at), self.levels[level].chunk):
            yield f"{level}/{'/'.join(map(str, chunk))}"

    def record(self) -> dict[str, Any]:
        """Return JSON values that are equal for equal files."""
        first = self.levels[0]
        return {
            "axes": self.axes,
            "shape": list(first.shape),
            "dtype": self.dtype,
            "ome_zarr": self.version,
            "levels": len(self.levels),
            "block": list(first.block),
            "chunk": list(first.chunk),
            "nearest": self.nearest,
        }


def layout_for(image: Image, version: Version = "0.5") -> Layout:
    """Return how an image is laid out on disk.

    Parameters
    ----------
    image : Image
        A result with a plan, or any other image.
    version : {"0.5", "0.4"}
        Of OME-Zarr.

    Raises
    ------
    SettingError
        If the version is not known, or OME-Zarr has no place for the image's axes.
    """
    if version not in ("0.5", "0.4"):
        raise SettingError(f"OME-Zarr {version!r} cannot be written.", "Use 0.5 or 0.4.")
    axes = stored_axes(image)
    size = dict(zip(image.axes.replace("s", "c"), image.shape, strict=True))
    block = image.plan.block if image.plan else (BLOCK, BLOCK)
    # At least down to the source's resolution, which a result of x4 reaches at level 2; and a copy
    # has as many levels as what it is a copy of.
    at_least = 1 + int(math.log2(image.plan.scale)) if image.plan else 1 + len(image.levels)
    if any(edge % 2 ** (LEVELS_IN_A_PASS - 1) for edge in block):
        raise SettingError(
            f"A block of {block} pixels cannot be halved {LEVELS_IN_A_PASS - 1} times.",
            "Leave tile= out, or use a multiple of 16 more than twice the halo.",
        )
    levels = []
    for number, (y, x) in enumerate(level_shapes((size["y"], size["x"]), at_least)):
        edges = [edge >> number % LEVELS_IN_A_PASS for edge in block]
        pairs = [_edges(n, edge) for n, edge in zip((y, x), edges, strict=True)]
        lead = tuple(size[a] for a in axes[:-2])
        samples = tuple(size[a] if a == "c" and image.rgb else 1 for a in axes[:-2])
        levels.append(
            Level(
                shape=(*lead, y, x),
                block=(*samples, pairs[0][0], pairs[1][0]),
                chunk=(*(1,) * len(lead), pairs[0][1], pairs[1][1]),
            )
        )
    return Layout(
        axes=axes,
        image_axes=image.axes,
        dtype=str(image.dtype),
        version=version,
        levels=tuple(levels),
        nearest=image.is_labels or image.dtype == bool,
    )


def stored_axes(image: Image) -> str:
    """Return the image's axes in the order in which OME-Zarr stores them, ``s`` as ``c``.

    "The entries MUST be ordered by type where the time axis must come first (if present), followed
    by the channel or custom axis (if present) and the axes of type space." (NGFF 0.5, axes)

    Raises
    ------
    SettingError
        If there is more than one axis beside t, z, y and x.
    """
    axes = image.axes.replace("s", "c")
    other = [a for a in axes if a not in "tzyx"]
    if len(other) > 1 or len(set(axes)) != len(axes):
        raise SettingError(
            f"OME-Zarr has no place for the axes '{image.axes}' of '{image.called}': beside t, z, "
            "y and x it knows one more.",
            "Choose one plane of the others with planes=, or write them one by one.",
        )
    return "".join(a for a in ("t", *other, *"zyx") if a in axes)


def stored_order(image_axes: str, axes: str) -> list[int]:
    """Return for each stored axis its position in the image."""
    return [image_axes.replace("s", "c").index(a) for a in axes]


def _edges(n: int, block: int) -> tuple[int, int]:
    """Return the edge of a block and of its chunks along an axis of `n` pixels."""
    if n <= block:
        # A single block, cut to whole chunks: a small image is not padded to 2048 pixels.
        chunk = min(n, CHUNK)
        return -(-n // chunk) * chunk, chunk
    divisors = [d for d in range(1, block + 1) if block % d == 0]
    return block, min(divisors, key=lambda d: abs(math.log2(d / CHUNK)))
