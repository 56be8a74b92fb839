"""The opponents are strong: a weak baseline would flatter the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_superres.errors import SettingError
from napari_superres.training.camera import Camera
from napari_superres.training.classical import (
    INTERPOLATIONS,
    interpolate,
    richardson_lucy,
    wiener,
)
from napari_superres.training.simulate import simulate
from napari_superres.training.validate import DEGRADATIONS, classical_results
from napari_superres.trust.similarity import psnr

if TYPE_CHECKING:
    from napari_superres.training.recording import Pair


def _pair(photons: float | None, blur_sigma: float) -> Pair:
    camera = Camera(photons=photons, bits=None)
    return simulate("nuclei", (48, 52), seed=2, scale=2, camera=camera, blur_sigma=blur_sigma)


@pytest.mark.parametrize("method", INTERPOLATIONS)
@pytest.mark.parametrize("scale", [2, 4])
def test_interpolations_keep_constants_and_centres(method: str, scale: int) -> None:
    """A baseline that is shifted by part of a pixel loses for the wrong reason."""
    assert interpolate(np.full((9, 8), 3.0), scale, method) == pytest.approx(3)
    peak = np.zeros((15, 15))
    peak[7, 7] = 1
    finer = interpolate(peak, scale, method)
    assert finer.shape == (15 * scale, 15 * scale)
    np.testing.assert_allclose(finer, finer[::-1, ::-1], atol=1e-6)


def test_unknown_method_is_refused() -> None:
    """A typing error must not fall back on something else."""
    with pytest.raises(SettingError, match="sinc"):
        interpolate(np.zeros((4, 4)), 2, "sinc")


def test_wiener_beats_interpolation_with_and_without_noise() -> None:
    """It is told the blur and the noise, so it must win."""
    for photons, sigma in ((None, 0.0), (100, 0.6)):
        pair = _pair(photons, sigma)
        noise = pair.noise or 1e-3 * float(pair.source.std())
        sharp = wiener(pair.source, 2, blur_sigma=sigma, noise=noise)
        plain = interpolate(pair.source, 2, "lanczos")
        gain = psnr(sharp, pair.truth) - psnr(plain, pair.truth)
        assert gain > 0.3


def test_richardson_lucy_removes_a_known_blur() -> None:
    """With little noise and a known PSF it must beat interpolation."""
    pair = _pair(1e5, 0.6)
    ((_, sharp),) = richardson_lucy(pair.source, 2, blur_sigma=0.6, offset=100, iterations=[20])
    plain = interpolate(pair.source, 2, "lanczos")
    assert psnr(sharp, pair.truth) > psnr(plain, pair.truth) + 1
    assert sharp.min() >= 100


def test_every_degradation_names_every_method() -> None:
    """A method that is missing in one row would be missing in its best."""
    names = [
        {
            name.split("-")[0]
            for name, _ in classical_results(_pair(how.photons, how.blur_sigma), how)
        }
        for how in DEGRADATIONS
    ]
    assert names[0] == names[1] == names[2] == {*INTERPOLATIONS, "wiener", "richardson"}
