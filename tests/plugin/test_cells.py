"""Cells cover what is on the screen, once, the middle first."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_superres.plugin.cells import Grid


@st.composite
def grids_and_regions(draw: st.DrawFn) -> tuple[Grid, tuple[slice, ...]]:
    """Draw a grid, and a region inside it that is not empty."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)))
    edges = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    region = []
    for n in shape:
        start = draw(st.integers(0, n - 1))
        region.append(slice(start, draw(st.integers(start + 1, n))))
    return Grid(shape, edges), tuple(region)


@given(grids_and_regions())
def test_cells_fill_a_region_with_the_pixels_that_belong_there(
    drawn: tuple[Grid, tuple[slice, ...]],
) -> None:
    """A gap, or a cell at the wrong place, is a hole or a jump in the picture."""
    grid, region = drawn
    whole = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    out = np.full([part.stop - part.start for part in region], -1)
    seen = set()
    for overlap in grid.touched(region):
        assert overlap.cell not in seen
        seen.add(overlap.cell)
        cell = whole[(*overlap.cell.plane, *grid.bounds(overlap.cell))]
        assert (out[overlap.place] == -1).all()
        out[overlap.place] = cell[overlap.part]
    assert np.array_equal(out, whole[region])


def test_the_middle_of_the_view_comes_first() -> None:
    """People look at the middle."""
    grid = Grid((1, 100, 100), (10, 10))
    region = (slice(0, 1), slice(20, 70), slice(20, 70))
    cells = [overlap.cell for overlap in grid.touched(region)]
    ordered = grid.centre_first(cells, region)
    assert ordered[0][1:] == (4, 4)
    assert {cell[1:] for cell in ordered[-4:]} == {(2, 2), (2, 6), (6, 2), (6, 6)}
