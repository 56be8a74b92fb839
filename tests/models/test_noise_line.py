"""Noise that grows with brightness is told pixel by pixel, and needs no wider halo."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_superres.models.noise_line import REACH, NoiseLine, noise_line, noise_map
from napari_superres.training.camera import Camera, expose, line_of, noise_std


def _pixels(shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    return np.random.default_rng(0).gamma(2, 50, shape).astype(np.float32)


def test_the_mean_square_is_that_of_the_channel() -> None:
    """However it is spread over the pixels, as much noise is removed."""
    rng = np.random.default_rng(0)
    light = np.linspace(0, 1, 256 * 256).reshape(256, 256).astype(np.float32)
    camera = Camera(photons=300, gain=2.5)
    source = expose(light, camera, rng)
    std = noise_std(light, camera)
    level = noise_map(source, std, line_of(light, camera))
    assert np.sqrt(np.mean(level**2)) == pytest.approx(std, rel=0.01)
    expected = 2.5 * np.sqrt(300 * light + camera.read_noise**2)
    assert np.abs(level / expected - 1).mean() < 0.08


@given(gain=st.floats(0.01, 1000), offset=st.floats(-100, 100))
@settings(max_examples=30, deadline=None)
def test_another_gain_and_offset_are_another_unit(gain: float, offset: float) -> None:
    """A camera's settings change nothing that is seen."""
    line = NoiseLine(dark=20, floor=0.1, slope=0.02)
    other = NoiseLine(gain * (20 + offset), 0.1, 0.02 / gain)
    changed = np.float32(gain) * (_pixels() + np.float32(offset))
    expected = np.float32(gain) * noise_map(_pixels(), 3.0, line)
    np.testing.assert_allclose(noise_map(changed, 3.0 * gain, other), expected, rtol=1e-4)


@given(top=st.integers(0, 20), left=st.integers(0, 30), edge=st.integers(5, 20))
@settings(max_examples=40, deadline=None)
def test_a_part_has_the_noise_of_the_whole(top: int, left: int, edge: int) -> None:
    """To the last bit, where a tile knows its neighbours."""
    line = NoiseLine(dark=20, floor=0.1, slope=0.02)
    whole = noise_map(_pixels(), 2.0, line)
    part = (slice(top, top + edge), slice(left, left + edge))
    inner = slice(REACH, -REACH)
    cut = noise_map(_pixels()[part], 2.0, line)[inner, inner]
    np.testing.assert_array_equal(cut, whole[part][inner, inner])


def test_dark_pixels_have_the_read_noise() -> None:
    """Below the dark end nothing is extrapolated, so no variance is negative."""
    line = NoiseLine(dark=100, floor=0.25, slope=0.01)
    level = noise_map(np.full((9, 9), -1e6, np.float32), 4.0, line)
    np.testing.assert_array_equal(level, 2.0)


@pytest.mark.parametrize("slope", [0.0, -0.5])
def test_noise_that_does_not_grow_is_one_number(slope: float) -> None:
    """A negative of transmitted light would have brighter noise in the dark: left alone."""
    assert noise_line(10, 4.0, slope, 4.0) is None
    np.testing.assert_array_equal(noise_map(_pixels(), 3.0, None), 3.0)
