"""A fixed sample says what must be known of the pixels."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_superres.errors import InputError
from napari_superres.image import Image
from napari_superres.surveying import WINDOW, WINDOWS, sample_windows, survey


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 5000), st.integers(1, 5000))
def test_windows_are_few_inside_the_image_and_the_same_every_time(
    t: int, z: int, height: int, width: int
) -> None:
    """A terabyte is surveyed as fast as a snapshot, and a rerun finds the same facts."""
    image = Image(da.zeros((t, 2, z, height, width), chunks=-1, dtype=np.uint8), "tczyx")
    windows = list(sample_windows(image))
    assert 1 <= len(windows) <= WINDOWS
    assert windows == list(sample_windows(image))
    for window in windows:
        assert 0 <= window["y"].start < height
        assert 0 <= window["x"].start < width
        assert window["t"].start < t
        assert window["z"].start < z
        assert window["y"].stop - window["y"].start == WINDOW


def test_a_small_image_is_read_whole() -> None:
    """Its limits are its percentiles, not those of a sample."""
    values = np.random.default_rng(0).normal(100, 10, (2, 300, 400)).astype(np.float32)
    facts = survey(Image(da.from_array(values), "zyx"))
    assert facts.pixels == values.size
    assert facts.limits[0] == pytest.approx(np.percentile(values, (0.1, 99.9)), rel=1e-6)


def test_one_hot_pixel_does_not_darken_the_image() -> None:
    """Limits from minimum and maximum would make a model see black."""
    values = np.full((300, 300), 100, np.uint16)
    values[150, 150] = 60_000
    low, high = survey(Image(da.from_array(values), "yx")).limits[0]
    assert (low, high) == (100, 100)


def test_channels_have_limits_of_their_own_and_rgb_shares_one_pair() -> None:
    """A dim channel beside a bright one is seen in full; a colour keeps its tint."""
    rng = np.random.default_rng(0)
    two = np.stack([rng.normal(10, 1, (50, 60)), rng.normal(1000, 10, (50, 60))])
    channels = survey(Image(da.from_array(two), "cyx")).limits
    assert len(channels) == 2
    assert channels[0][1] < 20 < channels[1][0]
    colour = np.moveaxis(np.stack([two[0], two[1], two[1]]), 0, -1)
    assert len(survey(Image(da.from_array(colour), "yxs")).limits) == 1


def test_values_that_are_not_finite_are_left_out() -> None:
    """One NaN would make every limit NaN."""
    values = np.arange(100.0).reshape(10, 10)
    values[0] = np.nan
    values[1, 0] = np.inf
    low, high = survey(Image(da.from_array(values), "yx")).limits[0]
    assert 11 <= low < high <= 99
    with pytest.raises(InputError, match="no finite pixel"):
        survey(Image(da.from_array(values * np.nan), "yx", name="dark"))
