"""Noise estimates follow the noise, and `denoise="auto"` tells grain from detail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, rotate

from napari_superres.models.camera_noise import measure_noise
from napari_superres.models.noise_line import noise_map
from napari_superres.training.camera import Camera
from napari_superres.training.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Callable

NO_CAMERA = Camera(photons=None, bits=None)
FLUORESCENT = ("nuclei", "filaments", "membranes", "mitochondria")


@pytest.mark.parametrize("std", [0.5, 3.0, 40.0])
def test_white_noise_is_measured(std: float) -> None:
    """The plan states this number to the user."""
    plane = 100 + std * np.random.default_rng(0).standard_normal((256, 256))
    assert measure_noise([plane]).std == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize("kind", FLUORESCENT)
@pytest.mark.parametrize("photons", [100, 1000])
def test_camera_noise_over_structure_is_measured_and_removed(kind: str, photons: float) -> None:
    """Noisy images must be denoised without the user's asking."""
    camera = Camera(photons=photons)
    pair = simulate(kind, (192, 192), seed=4, scale=2, camera=camera, blur_sigma=0.6)
    found = measure_noise([pair.source])
    assert found.std == pytest.approx(pair.noise, rel=0.35)
    assert found.denoise > 0.6


@pytest.mark.parametrize("kind", [*FLUORESCENT, "tissue"])
def test_detail_without_noise_is_kept(kind: str) -> None:
    """A clean image must not lose its finest detail to a denoiser that nobody asked for."""
    pair = simulate(kind, (192, 192), seed=4, scale=2, camera=NO_CAMERA, blur_sigma=0)
    assert measure_noise([pair.source]).denoise < 0.4


@given(gain=st.floats(0.01, 1000), offset=st.floats(-1000, 1000))
@settings(max_examples=20, deadline=None)
def test_gain_and_offset_change_nothing_but_the_unit(gain: float, offset: float) -> None:
    """The choice must not depend on a camera's settings."""
    plane = np.random.default_rng(1).gamma(2.0, 1.0, (64, 64))
    plain, changed = measure_noise([plane]), measure_noise([gain * (plane + offset)])
    assert changed.std == pytest.approx(gain * plain.std, rel=1e-6)
    assert changed.denoise == pytest.approx(plain.denoise, abs=1e-6)


@pytest.mark.parametrize(
    "windows",
    [[], [np.zeros((4, 4))], [np.full((64, 64), 7.0)], [np.full((64, 64), np.nan)]],
)
def test_nothing_to_measure_means_nothing_to_remove(windows: list[np.ndarray]) -> None:
    """Tiny, constant and empty images must pass, and must not be changed by a guess."""
    assert measure_noise(windows).denoise == 0


def test_a_hot_pixel_on_an_even_ground_is_no_noise() -> None:
    """One broken pixel says nothing of the others, and must not fill the log with warnings."""
    plane = np.full((64, 64), 300, np.uint16)
    plane[20, 30] = 60000
    assert measure_noise([plane]).denoise == 0


@pytest.mark.parametrize("hot", [-3e4, 3e4, 65535.0])
def test_a_hot_pixel_hides_neither_detail_nor_noise(hot: float) -> None:
    """One pixel of a clean image had all its finest detail removed, and of a dim one no noise."""
    rng = np.random.default_rng(5)
    clean = simulate("filaments", (256, 256), seed=5, scale=2, camera=NO_CAMERA).source
    dim = 100 + rng.poisson(gaussian_filter(rng.random((256, 256)), 8) * 20)
    for plane in (clean, dim):
        plain = measure_noise([plane])
        broken = plane.astype(np.float64)
        broken[100, 77] = hot
        found = measure_noise([broken])
        assert found.std == pytest.approx(plain.std, rel=0.02)
        assert found.contrast == pytest.approx(plain.contrast, rel=0.02)
        assert found.denoise == pytest.approx(plain.denoise, abs=0.1)


@pytest.mark.parametrize("share", [0.003, 0.05])
def test_single_photons_are_noise(share: float) -> None:
    """A photomultiplier's pulses are pixels that stand alone, too, but they are many."""
    rng = np.random.default_rng(0)
    plane = rng.poisson(share, (256, 256)) * 50.0 + rng.standard_normal((256, 256))
    whole = measure_noise([plane])
    assert whole.contrast == pytest.approx(plane.std(), rel=0.01)
    assert whole.denoise == 1


def test_shot_noise_in_small_bright_spots_is_measured() -> None:
    """Beads on a dark ground: one number for the background would be far too little."""
    camera = Camera(photons=1000)
    pair = simulate("puncta", (96, 96), seed=8, scale=4, camera=camera, blur_sigma=0.6)
    assert measure_noise([pair.source]).std == pytest.approx(pair.noise, rel=0.25)


@pytest.mark.parametrize("offset", [0.0, 5000.0])
@pytest.mark.parametrize("kind", ["nuclei", "membranes", "mitochondria"])
def test_how_shot_noise_grows_is_measured(offset: float, kind: str) -> None:
    """Dark structure would else be taken for the noise of bright places."""
    camera = Camera(photons=500, read_noise=3, offset=offset)
    pair = simulate(kind, (256, 256), seed=3, scale=2, camera=camera)
    found = measure_noise([pair.source])
    assert found.line is not None
    level = noise_map(pair.source, found.std, found.line)
    assert np.abs(np.log(level / pair.local_noise)).mean() < 0.06


def test_the_growth_of_steady_noise_is_not_told() -> None:
    """What little growth is measured there is an error of the measurement."""
    rng = np.random.default_rng(2)
    ramp = np.linspace(0, 100, 256 * 256).reshape(256, 256)
    assert measure_noise([ramp + rng.standard_normal(ramp.shape)]).line is None


def test_grain_that_is_the_same_everywhere_is_removed_in_part() -> None:
    """It may be the specimen's own; removing a quarter of it does little harm, whatever it is."""
    rng = np.random.default_rng(3)
    pair = simulate("nuclei", (256, 256), seed=4, scale=2, camera=NO_CAMERA, blur_sigma=0.6)
    light = pair.source / pair.source.max()
    steady = measure_noise([light + 0.05 * rng.standard_normal(light.shape)])
    growing = measure_noise([rng.poisson(400 * light) / 400])
    assert steady.growth < 2 < growing.growth
    assert 0 < steady.denoise <= 0.25
    assert growing.denoise == 1


def test_an_even_field_cannot_show_that_noise_is_steady() -> None:
    """Where there is one brightness alone, a camera's noise does not grow either."""
    plane = np.random.default_rng(0).poisson(100, (256, 256))
    assert measure_noise([plane]).denoise == 1


def test_a_small_piece_cannot_show_that_noise_is_steady() -> None:
    """A crop of a noisy image is treated as the image is."""
    plane = np.random.default_rng(0).standard_normal((24, 24))
    assert measure_noise([plane]).growth > 1e6


def _noisy() -> np.ndarray:
    rng = np.random.default_rng(5)
    light = gaussian_filter(rng.random((256, 256)), 4)
    light = (light - light.min()) / np.ptp(light)
    return rng.poisson(100 + 400 * light**2).astype(np.float64)


def _padded(plane: np.ndarray) -> np.ndarray:
    return np.pad(plane, 20)


def _turned(plane: np.ndarray) -> np.ndarray:
    return rotate(plane, 20, order=0)


def _saturated(plane: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(plane.shape)
    return np.where((rows - 90) ** 2 + (columns - 120) ** 2 < 40**2, 4095, plane)


def _with_corner(plane: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(plane.shape)
    return np.where(rows + columns < 80, 0, plane)


def _with_gaps(plane: np.ndarray) -> np.ndarray:
    gaps = plane.copy()
    gaps[100], gaps[:, 30], gaps[7, 9] = np.nan, np.inf, np.nan
    return gaps


@pytest.mark.parametrize("changed", [_padded, _turned, _saturated, _with_corner, _with_gaps])
def test_places_that_no_camera_filled_do_not_hide_the_noise(
    changed: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Registered, padded and saturated images kept all their noise, as if they had none."""
    plain, found = measure_noise([_noisy()]), measure_noise([changed(_noisy())])
    assert found.std == pytest.approx(plain.std, rel=0.05)
    assert plain.denoise == found.denoise == 1
