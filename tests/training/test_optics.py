"""Point spread functions obey what is known of them without computing them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_superres.errors import SettingError
from napari_superres.training.optics import (
    MODALITIES,
    Optics,
    blur,
    gaussian_blur,
    point_spread,
    transfer,
)


def _fwhm(profile: np.ndarray) -> float:
    """Return the full width at half maximum of a peak in the middle of a profile, in pixels."""
    middle = profile.size // 2
    right = profile[middle:] / profile[middle]
    first = int(np.argmax(right < 0.5))
    return 2 * (first - 1 + (right[first - 1] - 0.5) / (right[first - 1] - right[first]))


@pytest.mark.parametrize("na", [0.5, 1.0, 1.4])
def test_widefield_width_is_that_of_the_airy_pattern(na: float) -> None:
    """With a wrong width, models would be trained for another microscope than the one named."""
    optics = Optics(na=na, wavelength=0.5, pixel_size=0.05 / na)
    width = _fwhm(point_spread(optics, 65)[32]) * optics.pixel_size
    # 0.515 wavelength / NA for an Airy pattern; pixels of a fifth of that widen it by about 2 %.
    assert width == pytest.approx(0.515 * 0.5 / na, rel=0.04)


@pytest.mark.parametrize("modality", MODALITIES)
def test_in_focus_all_light_arrives_and_centred(modality: str) -> None:
    """A shifted or dimmed truth would teach a model to move or lose light."""
    psf = point_spread(Optics(modality), 65)
    assert psf.sum() == pytest.approx(1, abs=1e-5)
    assert np.unravel_index(psf.argmax(), psf.shape) == (32, 32)
    y, x = np.indices(psf.shape) - 32
    assert abs((psf * y).sum()) < 1e-3
    assert abs((psf * x).sum()) < 1e-3


def test_defocus_spreads_light_and_keeps_it() -> None:
    """In a widefield microscope, light out of focus is blurred and not lost."""
    sharp, wide = (point_spread(Optics(), 97, z) for z in (0.0, 0.8))
    assert wide.sum() == pytest.approx(1, abs=1e-4)
    assert wide.max() < 0.3 * sharp.max()


@pytest.mark.parametrize(("modality", "most"), [("confocal", 0.2), ("light-sheet", 0.6)])
def test_sectioning_microscopes_reject_light_from_elsewhere(modality: str, most: float) -> None:
    """Without it, simulated confocal stacks would look like widefield ones."""
    arrived = [abs(transfer(Optics(modality), 97, z)[0, 0]) for z in (0.0, 0.5, 1.0)]
    assert arrived[0] > arrived[1] > arrived[2]
    assert arrived[2] < most


def test_light_sheet_halves_at_half_its_width() -> None:
    """The sheet's stated width is its full width at half maximum."""
    optics = Optics("light-sheet", sheet=2.0)
    assert abs(transfer(optics, 65, 1.0)[0, 0]) == pytest.approx(0.5, abs=1e-3)


def test_aberrations_lower_the_peak_by_marechals_rule() -> None:
    """Strehl ratio exp(-(2 pi rms)^2): the rms that a user states is the one that acts."""
    fine = {"pixel_size": 0.03}
    perfect = point_spread(Optics(**fine), 65).max()
    aberrant = point_spread(Optics(**fine, aberrations={"coma": 0.07}), 65).max()
    assert aberrant / perfect == pytest.approx(np.exp(-((2 * np.pi * 0.07) ** 2)), abs=0.03)


def test_blur_of_a_point_is_the_point_spread_function() -> None:
    """Scenes are blurred by the very PSF that a user can ask for."""
    image = np.zeros((90, 80), np.float32)
    image[40, 30] = 1
    seen = blur(image, transfer(Optics(), 65))
    np.testing.assert_allclose(seen[8:73, :63], point_spread(Optics(), 65)[:, 2:], atol=1e-6)


@given(sigma=st.floats(0.4, 4), y=st.integers(20, 60), x=st.integers(20, 60))
@settings(max_examples=25, deadline=None)
def test_gaussian_blur_keeps_light_and_adds_variance(sigma: float, y: int, x: int) -> None:
    """Haze must not brighten a scene, and a blur must be as wide as stated."""
    image = np.zeros((y + 41, x + 41), np.float32)
    image[y, x] = 3
    seen = gaussian_blur(image, sigma)
    assert seen.sum() == pytest.approx(3, rel=1e-4)
    rows = (np.arange(image.shape[0]) - y).astype(float)
    # A narrower Gaussian is cut off at the pixels' own frequency, and rings.
    if sigma > 1.2 and min(y, 41) > 5 * sigma:
        variance = (seen.sum(axis=1) * rows**2).sum() / 3
        assert variance == pytest.approx(sigma**2, rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"modality": "x-ray"},
        {"na": 1.6},
        {"pixel_size": 0.0},
        {"aberrations": {"squint": 0.1}},
    ],
)
def test_impossible_optics_are_refused(wrong: dict) -> None:
    """A typing error must not give a plausible picture."""
    with pytest.raises(SettingError):
        Optics(**wrong)
