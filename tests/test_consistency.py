"""What was measured stays measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_superres.consistency import RADIUS, bilinear, block_mean, conserve, repeat

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def _random(shape: tuple[int, ...], seed: int, low: float = 0, high: float = 1000) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


@given(SHAPES, st.integers(1, 5), st.integers(0, 1000))
def test_pixel_gives_every_block_the_light_of_its_pixel(
    shape: tuple[int, int], scale: int, seed: int
) -> None:
    """Otherwise intensities summed over a cell differ from those of the source."""
    source = _random(shape, seed)
    prediction = _random((shape[0] * scale, shape[1] * scale), seed + 1)
    result = conserve(prediction, source, "pixel")
    # Values up to 1000 in float32: a unit in the last place is 6e-5.
    np.testing.assert_allclose(block_mean(result, scale), source, atol=1e-3)


@given(SHAPES, st.integers(2, 4), st.integers(0, 1000))
def test_pixel_is_a_plain_shift_where_nothing_clips(
    shape: tuple[int, int], scale: int, seed: int
) -> None:
    """The prediction's structure inside a pixel is kept, only its level moves."""
    source = _random(shape, seed, 400, 600)
    prediction = _random((shape[0] * scale, shape[1] * scale), seed + 1, 400, 600)
    free = conserve(prediction, source, "pixel")
    np.testing.assert_array_equal(conserve(prediction, source, "pixel", 0, 65535), free)


@given(SHAPES, st.integers(2, 4), st.integers(0, 1000), st.sampled_from([60, 255]))
def test_pixel_finds_the_nearest_values_inside_the_range(
    shape: tuple[int, int], scale: int, seed: int, brightest: float
) -> None:
    """A dark pixel beside a bright spot keeps its light although nothing can be negative."""
    source = _random(shape, seed, 0, brightest)
    wild = _random((shape[0] * scale, shape[1] * scale), seed + 1, -200, 300)
    prediction = wild if brightest == 60 else 10 * wild
    result = conserve(prediction, source, "pixel", 0, 255)
    assert result.min() >= 0
    assert result.max() <= 255
    np.testing.assert_allclose(block_mean(result, scale), source, atol=1e-3)
    # Optimality: inside the range all values of a block moved by the same amount, and those on a
    # bound would have moved beyond it.
    moved = (result - prediction).reshape(shape[0], scale, shape[1], scale).swapaxes(1, 2)
    kept = result.reshape(shape[0], scale, shape[1], scale).swapaxes(1, 2)
    for shift, values in zip(moved.reshape(-1, scale**2), kept.reshape(-1, scale**2), strict=True):
        inside = (values > 1e-3) & (values < 255 - 1e-3)
        if inside.any():
            level = shift[inside].mean()
            np.testing.assert_allclose(shift[inside], level, atol=2e-3)
            assert (shift[values <= 1e-3] >= level - 2e-3).all()


def test_pixel_finds_a_solution_wherever_the_prediction_lies() -> None:
    """Newton's steps alone go round in circles where both ends of the range are in the way."""
    source = _random((96, 96), 0, 0, 255)
    source[:8], source[8:16] = 0, 255
    prediction = _random((4 * 96, 4 * 96), 1, -800, 1000)
    result = conserve(prediction, source, "pixel", 0, 255)
    np.testing.assert_allclose(block_mean(result, 4), source, atol=1e-3)


def test_local_restores_light_above_a_pixel_and_leaves_noise_out() -> None:
    """A model that dims a region gets its light back; camera noise is not put back."""
    y, x = np.mgrid[:64, :64]
    smooth = (500 + 200 * np.sin(y / 9) * np.cos(x / 7)).astype(np.float32)
    dimmed = repeat(smooth, 4) * np.float32(0.9)
    restored = block_mean(conserve(dimmed, smooth, "local"), 4)
    # What is missing is 50 and +-20 that varies with 1/9 and 1/7 a pixel, of which the blur passes
    # exp(-2^2 / 2 * (1/9^2 + 1/7^2)) = 94 %.
    assert np.abs(restored - smooth)[5:-5, 5:-5].max() < 0.065 * 20
    # At the border, where the blur sees a reflection, a little more is left.
    assert np.abs(restored - smooth).max() < 3
    noise = np.random.default_rng(0).normal(0, 20, smooth.shape).astype(np.float32)
    noisy = block_mean(conserve(dimmed, smooth + noise, "local"), 4)
    # White noise keeps the share sum(kernel^2)^(1/2) = 1 / (2 sqrt(pi) 2) = 0.14 of its spread; the
    # field holds some 80 independent values, so chance is 8 % (and a border sees itself twice).
    assert (noisy - restored).std() == pytest.approx(0.142 * 20, rel=0.25)


@given(SHAPES, st.integers(2, 4), st.integers(0, 1000))
def test_local_changes_nothing_when_the_light_already_agrees(
    shape: tuple[int, int], scale: int, seed: int
) -> None:
    """A faithful prediction is left alone."""
    prediction = _random((shape[0] * scale, shape[1] * scale), seed)
    result = conserve(prediction, block_mean(prediction, scale), "local")
    np.testing.assert_allclose(result, prediction, atol=1e-3)


@pytest.mark.parametrize("variant", ["pixel", "local"])
def test_a_pixel_outside_the_radius_changes_nothing(variant: str) -> None:
    """The radius is what tiling relies on: one too small makes seams."""
    source = _random((31, 31), 0)
    prediction = _random((62, 62), 1)
    other = source.copy()
    other[15, 15] += 1000
    changed = conserve(prediction, source, variant) != conserve(prediction, other, variant)  # type: ignore[arg-type]
    reach = np.abs(np.argwhere(changed) // 2 - 15).max()
    assert reach == RADIUS[variant]


def test_bilinear_reproduces_a_ramp() -> None:
    """A gradient stays a gradient, at pixel centres."""
    ramp = np.arange(8, dtype=np.float32)[None, :].repeat(3, axis=0)
    fine = bilinear(ramp, 4)[0]
    centres = (np.arange(32) + 0.5) / 4 - 0.5
    np.testing.assert_allclose(fine[2:-2], centres[2:-2], atol=1e-6)
