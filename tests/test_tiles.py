"""Tiles cover a plane, agree with each other, and cost what the plan says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_superres.errors import SettingError
from napari_superres.tiles import Lattice, block_for, step_for
from tests.strategies import lattices


@given(lattices())
def test_seam_weights_sum_to_one_at_every_pixel(lattice: Lattice) -> None:
    """Otherwise a grid of darker or brighter lines lies over the result."""
    total = np.zeros(lattice.length)
    for k in range(lattice.count):
        kept = lattice.kept(k)
        total[kept.start : kept.stop] += lattice.weights(k)
    # Two float32 numbers w and 1 - w add up to one within a unit in the last place.
    np.testing.assert_allclose(total, 1, atol=1.2e-7)


@given(lattices())
def test_cores_cover_the_axis_without_overlap(lattice: Lattice) -> None:
    """Otherwise pixels are missing, or computed twice."""
    cores = [lattice.core(k) for k in range(lattice.count)]
    assert cores[0].start == 0
    assert cores[-1].stop == lattice.length
    assert all(a.stop == b.start for a, b in itertools.pairwise(cores))
    assert all(core.length > 0 for core in cores)


@given(lattices())
def test_a_tile_sees_its_halo_or_ends_at_the_border(lattice: Lattice) -> None:
    """Otherwise a tile guesses at its edge where real pixels were at hand."""
    for k in range(lattice.count):
        kept, seen = lattice.kept(k), lattice.seen(k)
        assert seen.start == max(0, kept.start - lattice.halo)
        assert seen.stop == min(lattice.length, kept.stop + lattice.halo)


@given(lattices(), st.data())
def test_touching_names_exactly_the_tiles_with_weight_in_a_region(
    lattice: Lattice, data: st.DataObject
) -> None:
    """Otherwise a region lacks a tile, or pays for one that it does not need."""
    start = data.draw(st.integers(0, lattice.length - 1))
    stop = data.draw(st.integers(start + 1, lattice.length))
    expected = [
        k
        for k in range(lattice.count)
        if lattice.kept(k).start < stop and lattice.kept(k).stop > start
    ]
    assert list(lattice.touching(start, stop)) == expected


def test_the_drawing_in_the_module_is_true() -> None:
    """Whoever reads the drawing believes it."""
    lattice = Lattice(length=21, step=8, halo=3, feather=2)
    assert lattice.count == 3
    assert lattice.core(1) == (8, 16)
    assert lattice.kept(1) == (7, 17)
    assert lattice.seen(1) == (4, 20)
    np.testing.assert_allclose(lattice.weights(1), [0.25, 0.75, 1, 1, 1, 1, 1, 1, 0.75, 0.25])


@given(
    st.integers(1, 700), st.integers(1, 8), st.integers(1, 5000), st.sampled_from([256, 2048, 4096])
)
def test_a_block_holds_whole_tiles_and_can_be_halved_three_times(
    step: int, scale: int, length: int, target: int
) -> None:
    """Otherwise two tasks compute the same tile, or write the same shard of a coarse level."""
    block = block_for(step, scale, length, target)
    assert block % (step * scale) == 0
    assert block % 8 == 0


def test_step_leaves_the_halo_out_and_refuses_a_tile_that_is_all_halo() -> None:
    """A tile that keeps nothing would never end."""
    assert step_for(256, halo=34, feather=0, multiple=1) == 188
    assert step_for(256, halo=34, feather=0, multiple=8) == 184
    with pytest.raises(SettingError, match="Use tile=69 or more"):
        step_for(68, halo=34, feather=0, multiple=1)


def test_a_feather_wider_than_the_core_is_refused() -> None:
    """Three tiles would meet at one pixel and the weights would not add up."""
    with pytest.raises(SettingError, match="feather=9"):
        Lattice(length=100, step=8, feather=9)
