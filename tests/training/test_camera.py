"""Simulated cameras follow the statistics of real ones."""

from __future__ import annotations

import numpy as np
import pytest

from napari_superres.errors import SettingError
from napari_superres.training.camera import Camera, expose, noise_std

FLAT = np.full((300, 300), 0.5, np.float32)


def _recorded(camera: Camera, image: np.ndarray = FLAT) -> np.ndarray:
    return expose(image, camera, np.random.default_rng(1))


@pytest.mark.parametrize("multiplication", [1.0, 2**0.5])
def test_variance_is_shot_noise_plus_read_noise(multiplication: float) -> None:
    """Noise estimates and photon-transfer curves are checked against these images."""
    camera = Camera(photons=400, read_noise=3, gain=2, multiplication=multiplication)
    image = _recorded(camera)
    # 200 electrons: mean 2 * 200 + 100, variance 4 * (200 * excess + 9).
    assert image.mean() == pytest.approx(500, rel=0.01)
    assert image.var() == pytest.approx(4 * (200 * multiplication**2 + 9), rel=0.03)
    assert noise_std(FLAT, camera) == pytest.approx(image.std(), rel=0.02)


def test_scmos_pixels_differ_in_the_stated_way() -> None:
    """The stated noise of an sCMOS camera is what its pixels show on average."""
    camera = Camera(photons=1000, read_noise=2, gain=1, pixel_spread=0.3, bits=None)
    dark = _recorded(camera, np.zeros_like(FLAT))
    temporal = noise_std(np.zeros_like(FLAT), camera)
    assert temporal == pytest.approx(2 * np.exp(0.3**2), rel=1e-6)
    # Offsets that differ by 1 grey level add to the noise in time.
    assert dark.std() == pytest.approx(np.hypot(temporal, 1), rel=0.03)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_values_are_whole_and_saturate(bits: int) -> None:
    """A simulated 12-bit camera must not write values that no 12-bit camera can."""
    image = _recorded(Camera(photons=1e5, bits=bits), np.linspace(0, 2, 90000).reshape(300, 300))
    assert image.max() == 2**bits - 1
    assert (image == np.rint(image)).all()
    assert image.min() >= 0


def test_a_camera_without_noise_is_linear() -> None:
    """The benchmark's ideal case must not carry hidden rounding."""
    camera = Camera(photons=None, bits=None)
    image = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    np.testing.assert_allclose(_recorded(camera, image), 2000 * image + 100, rtol=1e-6)
    assert noise_std(image, camera) == 0


def test_hot_pixels_are_as_many_as_stated() -> None:
    """Robust estimates are tested on images with a known share of outliers."""
    image = _recorded(Camera(photons=1000, hot_pixels=0.01))
    hot = image > 100 + 1000 + 500
    assert hot.mean() == pytest.approx(0.009, abs=0.003)


def test_the_seed_decides_everything() -> None:
    """Users validate with pairs that they can make again."""
    camera = Camera(pixel_spread=0.3, hot_pixels=0.01)
    one, two = (expose(FLAT, camera, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "wrong", [{"bits": 10}, {"photons": 0}, {"gain": 0}, {"multiplication": 0.5}]
)
def test_impossible_cameras_are_refused(wrong: dict) -> None:
    """A typing error must not give a plausible picture."""
    with pytest.raises(SettingError):
        Camera(**wrong)
