"""Chunks of one size that tile an array: which of them a region touches, and where."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Region = tuple[slice, ...]


def chunks_under(
    region: Region, edges: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], Region]]:
    """Yield the position of each chunk that a region touches, and the region's part in it.

    Parameters
    ----------
    region : tuple of slice
        Bounds within the array, without negative numbers.
    edges : tuple of int
        Lengths of a chunk.

    Yields
    ------
    (tuple of int, tuple of slice)
        In C order. The slices count from the array's origin.
    """
    for at in itertools.product(*map(spanned, region, edges)):
        yield (
            at,
            tuple(
                slice(max(part.start, i * edge), min(part.stop, (i + 1) * edge))
                for part, i, edge in zip(region, at, edges, strict=True)
            ),
        )


def spanned(part: slice, edge: int) -> range:
    """Return the numbers of the chunks that a part of one axis touches."""
    return range(part.start // edge, -(-part.stop // edge)) if part.stop > part.start else range(0)


def chunk_region(at: tuple[int, ...], edges: tuple[int, ...], shape: tuple[int, ...]) -> Region:
    """Return where a chunk lies in an array, clipped at its end."""
    return tuple(
        slice(i * edge, min((i + 1) * edge, n)) for i, edge, n in zip(at, edges, shape, strict=True)
    )


def relative(region: Region, origin: Region) -> Region:
    """Return a region counted from where another one starts."""
    return tuple(
        slice(part.start - start.start, part.stop - start.start)
        for part, start in zip(region, origin, strict=True)
    )


def convenient(chunk: int, wanted: int) -> int:
    """Return a length near `wanted` that whole chunks fill, unless a chunk is far longer."""
    return wanted if chunk > 2 * wanted else max(1, wanted // chunk) * chunk
