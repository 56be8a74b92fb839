"""Simulated pairs: the truth is the truth of the source, pixel for pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_superres.errors import SettingError
from napari_superres.training.camera import Camera
from napari_superres.training.optics import Optics
from napari_superres.training.recording import area_mean, degrade
from napari_superres.training.simulate import Scene, simulate
from napari_superres.training.specimens import STRUCTURES
from napari_superres.training.volume import cell_stack, image_volume

NOISELESS = Camera(photons=None, bits=None)


@pytest.mark.parametrize("kind", STRUCTURES)
def test_every_kind_draws_an_image_with_content(kind: str) -> None:
    """`superres simulate` offers each of these to users."""
    pair = simulate(kind, (24, 31), seed=3, scale=2)
    assert pair.source.shape == (24, 31)
    assert pair.truth.shape == (48, 62)
    assert np.isfinite(pair.truth).all()
    assert pair.truth.min() >= 100  # the camera's offset: light is never negative
    assert pair.truth.std() > 5
    assert pair.noise > 0


@pytest.mark.parametrize("kind", STRUCTURES)
def test_same_seed_same_pair_and_another_seed_another(kind: str) -> None:
    """Published figures name a seed, and it must give their images."""
    one, two, other = (simulate(kind, (12, 12), seed=seed, scale=2) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.source, two.source)
    np.testing.assert_array_equal(one.truth, two.truth)
    assert not np.array_equal(one.truth, other.truth)


@given(
    seed=st.integers(0, 1000),
    scale=st.sampled_from([1, 2, 3, 4]),
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
@settings(max_examples=20, deadline=None)
def test_source_without_blur_and_noise_is_the_area_mean_of_its_truth(
    seed: int, scale: int, shape: tuple[int, int]
) -> None:
    """Otherwise truth and source would be misaligned, and every figure on them wrong."""
    pair = simulate("nuclei", shape, seed=seed, scale=scale, camera=NOISELESS, blur_sigma=0)
    np.testing.assert_allclose(pair.source, area_mean(pair.truth, scale), rtol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_scan_sees_the_light_at_the_centres_of_pixels(scale: int) -> None:
    """Taken at their corners, all pairs of coarse and fine scans would be shifted."""
    y, x = np.mgrid[: 24 * scale, : 20 * scale].astype(np.float32)
    light = 1 + np.sin(y / 9) * np.cos(x / 11)
    pair = degrade(light, scale, np.random.default_rng(0), camera=NOISELESS, scanned=True)
    middle = (scale - 1) / 2
    at_y, at_x = y[::scale, ::scale] + middle, x[::scale, ::scale] + middle
    light_there = 1 + np.sin(at_y / 9) * np.cos(at_x / 11)
    seen = (pair.source - 100) / NOISELESS.levels_per_unit
    inner = (slice(3, -3), slice(3, -3))  # a spline through mirrored borders is not the wave there
    np.testing.assert_allclose(seen[inner], light_there[inner], atol=1e-4)
    assert np.abs(area_mean(light, scale) - light_there)[inner].max() > 1e-3


@pytest.mark.parametrize("scanned", [False, True])
def test_an_image_of_broken_blocks_is_refused(scanned: bool) -> None:
    """Cropped in silence, truth and source would no longer cover the same ground."""
    light = np.ones((8, 9), np.float32)
    with pytest.raises(SettingError, match="8 x 9"):
        degrade(light, 2, np.random.default_rng(0), camera=NOISELESS, scanned=scanned)


def test_blur_moves_no_light_and_no_centre() -> None:
    """A blur that shifts by part of a pixel would be learned as a shift."""
    light = np.zeros((64, 64), np.float32)
    light[30:34, 30:34] = 1  # source pixels 15 and 16, so the centre is between them
    pair = degrade(light, 2, np.random.default_rng(0), camera=NOISELESS, blur_sigma=0.8)
    seen = pair.source - 100
    assert seen.sum() == pytest.approx((pair.truth - 100).sum() / 4, rel=1e-4)
    np.testing.assert_allclose(seen, seen[::-1, ::-1], atol=1e-3)


def test_inverting_and_haze_keep_the_range() -> None:
    """Dark structures on bright ground must not become negative light."""
    scene = Scene("membranes", inverted=True, haze=0.4, gradient=0.5, background=0.0)
    pair = simulate(shape=(40, 40), seed=1, scale=2, scene=scene, camera=NOISELESS)
    assert pair.truth.min() >= 100
    assert pair.truth.max() <= 100 + 2000 * 1.5


def test_planes_out_of_focus_add_light() -> None:
    """Haze from other planes is what makes widefield images hard."""
    optics = Optics(pixel_size=0.08)
    alone, deep = (
        simulate(shape=(40, 40), seed=2, scale=2, scene=Scene(optics=optics, planes=planes))
        for planes in ((), (-1.0, 1.0))
    )
    assert deep.truth.mean() > 1.2 * alone.truth.mean()


@pytest.mark.parametrize(
    "wrong", [{"kind": "unicorns"}, {"scale": 0}, {"shape": (0, 5)}, {"blur_sigma": -1.0}]
)
def test_impossible_requests_are_refused(wrong: dict) -> None:
    """A typing error must not give a plausible picture."""
    with pytest.raises(SettingError):
        simulate(**{"seed": 0, **wrong})


def test_area_mean_refuses_a_remainder() -> None:
    """Dropping the last rows in silence would shift everything that follows."""
    with pytest.raises(SettingError, match="5 x 4"):
        area_mean(np.zeros((5, 4)), 2)


def test_a_thin_volume_is_imaged_as_its_layers() -> None:
    """A focal series must add up what each layer's own PSF makes of it."""
    volume = np.zeros((3, 80, 80), np.float32)
    volume[1, 40, 40] = 1
    seen = image_volume(volume, Optics("widefield"), step=0.6)
    np.testing.assert_allclose(seen.sum(axis=(1, 2)), 1, atol=2e-2)
    np.testing.assert_allclose(seen[0], seen[2], atol=1e-5)
    assert seen[1].max() > 2 * seen[0].max()


def test_a_cell_stack_has_two_different_channels() -> None:
    """The sample data's z-stack is made by this."""
    stack = cell_stack(
        (4, 64, 64), seed=1, step=0.5, optics=[Optics("confocal")] * 2, cameras=[Camera()] * 2
    )
    assert stack.shape == (2, 4, 64, 64)
    assert (stack.std(axis=(1, 2, 3)) > 20).all()
    assert abs(np.corrcoef(stack[0].ravel(), stack[1].ravel())[0, 1]) < 0.9
