"""Coarser levels: exact means, nothing shifted, any type."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_superres.formats.pyramid import coarser, level_shapes

INTEGERS = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"]
planes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(deadline=None)
@given(data=st.data(), dtype=st.sampled_from(INTEGERS), shape=planes)
def test_means_of_integers_are_exact_and_rounded_half_to_even(
    data: st.DataObject, dtype: str, shape: tuple[int, int]
) -> None:
    """A rounding that always goes up brightens every level of the pyramid by half a grey level."""
    pixels = data.draw(hnp.arrays(dtype, shape))
    found = coarser(pixels)
    assert found.dtype == pixels.dtype
    assert found.shape == tuple(math.ceil(n / 2) for n in shape)
    for y, x in np.ndindex(found.shape):
        corners = [
            (min(2 * y + i, shape[0] - 1), min(2 * x + j, shape[1] - 1))
            for i in (0, 1)
            for j in (0, 1)
        ]
        mean = Fraction(sum(int(pixels[c]) for c in corners), 4)
        assert int(found[y, x]) == round(mean)


@settings(deadline=None)
@given(data=st.data(), dtype=st.sampled_from(["f2", "f4", "f8"]), shape=planes)
def test_means_of_floats_leave_out_what_is_not_a_number(
    data: st.DataObject, dtype: str, shape: tuple[int, int]
) -> None:
    """One masked pixel must not blank sixteen, then 256."""
    elements = st.one_of(st.just(math.nan), st.integers(-1000, 1000).map(float))
    pixels = data.draw(hnp.arrays(dtype, shape, elements=elements))
    padded = np.pad(pixels, [(0, n % 2) for n in shape], mode="edge").astype("f8")
    blocks = padded.reshape(padded.shape[0] // 2, 2, -1, 2).swapaxes(1, 2)
    found = coarser(pixels)
    assert found.dtype == pixels.dtype
    for at in np.ndindex(found.shape):
        known = blocks[at][~np.isnan(blocks[at])]
        if known.size:
            # Four numbers of the type's precision, each within 1000.
            np.testing.assert_allclose(found[at], known.mean(), atol=2000 * np.finfo(dtype).eps)
        else:
            assert np.isnan(found[at])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_the_largest_floats_do_not_overflow(dtype: str) -> None:
    """Saturated floating images would turn infinite."""
    largest = np.finfo(dtype).max
    assert coarser(np.full((2, 2), largest, dtype))[0, 0] == largest
    assert coarser(np.array([[np.inf, 1], [1, 1]], dtype))[0, 0] == np.inf


@settings(deadline=None)
@given(data=st.data(), shape=planes)
def test_labels_keep_their_names(data: st.DataObject, shape: tuple[int, int]) -> None:
    """The mean of cells 3 and 5 is another cell."""
    pixels = data.draw(hnp.arrays("u4", shape))
    found = coarser(pixels, nearest=True)
    np.testing.assert_array_equal(found, pixels[::2, ::2])
    mask = pixels % 2 == 0
    assert coarser(mask).dtype == bool


@settings(deadline=None)
@given(data=st.data(), dtype=st.sampled_from(["u2", "f4"]), at=st.integers(1, 4))
def test_parts_that_start_at_even_positions_make_the_whole(
    data: st.DataObject, dtype: str, at: int
) -> None:
    """Tasks halve their own block alone; a seam would show at every border of blocks."""
    elements = {"elements": st.floats(-9, 9, width=32)} if dtype == "f4" else {}
    pixels = data.draw(hnp.arrays(dtype, (2, 11, 9), **elements))
    parts = [coarser(pixels[:, : 2 * at]), coarser(pixels[:, 2 * at :])]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), coarser(pixels))


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(1, 200_000), st.integers(1, 200_000)), at_least=st.integers(1, 4)
)
def test_levels_end_where_a_viewer_is_content(shape: tuple[int, int], at_least: int) -> None:
    """Without small levels a viewer loads gigabytes for a thumbnail."""
    levels = level_shapes(shape, at_least)
    assert levels[0] == shape
    for finer, coarse in itertools.pairwise(levels):
        assert coarse == tuple(math.ceil(n / 2) for n in finer)
    assert len(levels) >= at_least or max(levels[-1]) == 1
    assert min(levels[-1]) < 256
    assert max(levels[-1]) <= 4096


def test_small_planes_have_one_level() -> None:
    """A pyramid of a thumbnail is clutter."""
    assert level_shapes((200, 250)) == ((200, 250),)
    assert level_shapes((2160, 2560))[-1] == (135, 160)
