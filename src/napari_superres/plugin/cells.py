"""The cells of a plane: what an on-demand layer computes, keeps and shows at once."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Cell(NamedTuple):
    """A piece of one plane: its index along the leading axes, its row and column."""

    plane: tuple[int, ...]
    row: int
    column: int


class Overlap(NamedTuple):
    """Where a cell and a region meet.

    Parameters
    ----------
    cell : Cell
    place : tuple of (int or slice)
        In an array of the region.
    part : tuple of slice
        In an array of the cell, along y and x.
    """

    cell: Cell
    place: tuple[int | slice, ...]
    part: tuple[slice, slice]


@dataclass(frozen=True)
class Grid:
    """Cells of equal size, anchored to the planes' origin and cut off at their far border.

    Parameters
    ----------
    shape : tuple of int
        Of the whole array: leading axes, y, x.
    edges : (int, int)
        Of a cell along y and x.
    """

    shape: tuple[int, ...]
    edges: tuple[int, int]

    def bounds(self, cell: Cell) -> tuple[slice, slice]:
        """Return where a cell lies in its plane."""
        y, x = (
            slice(i * edge, min((i + 1) * edge, length))
            for i, edge, length in zip(cell[1:], self.edges, self.shape[-2:], strict=True)
        )
        return y, x

    def touched(self, region: Sequence[slice]) -> Iterator[Overlap]:
        """Yield each cell that meets a region, plane by plane.

        Parameters
        ----------
        region : sequence of slice
            One an axis, with bounds inside the array, not empty, without steps.
        """
        *lead, ys, xs = region
        rows, columns = (
            range(part.start // edge, -(-part.stop // edge))
            for part, edge in zip((ys, xs), self.edges, strict=True)
        )
        for plane in itertools.product(*(range(part.start, part.stop) for part in lead)):
            at = [i - part.start for i, part in zip(plane, lead, strict=True)]
            for row, column in itertools.product(rows, columns):
                cell = Cell(plane, row, column)
                meet = [
                    slice(max(own.start, part.start), min(own.stop, part.stop))
                    for own, part in zip(self.bounds(cell), (ys, xs), strict=True)
                ]
                y, x = (
                    slice(m.start - own.start, m.stop - own.start)
                    for m, own in zip(meet, self.bounds(cell), strict=True)
                )
                there = (
                    slice(m.start - part.start, m.stop - part.start)
                    for m, part in zip(meet, (ys, xs), strict=True)
                )
                yield Overlap(cell, (*at, *there), (y, x))

    def centre_first(self, cells: Sequence[Cell], region: Sequence[slice]) -> list[Cell]:
        """Return cells in the order of their distance from the middle of a region."""
        y, x = (
            (part.start + part.stop) / 2 / edge - 0.5
            for part, edge in zip(region[-2:], self.edges, strict=True)
        )
        return sorted(cells, key=lambda cell: math.hypot(cell.row - y, cell.column - x))
