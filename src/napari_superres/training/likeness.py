"""Which blur and noise make sharp images look like real coarse ones of such specimens.

The noise of the coarse images gives the photons, and the fall of their power spectrum the blur.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_superres.errors import InputError
from napari_superres.surveying import PERCENTILES, sample_windows
from napari_superres.training.own_images import (
    MOST_PHOTONS,
    estimated_camera,
    read_window,
)
from napari_superres.training.recording import area_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.image import Image
    from napari_superres.training.camera import Camera
    from napari_superres.training.degrading import Degrading
    from napari_superres.training.own_images import Piece

DOUBT = 3.0
"""An estimate of photons is taken for right within this factor."""

_BLURS = np.arange(0, 1.01, 0.05)
_RINGS = np.arange(0.05, 0.51, 0.03)
_COARSE = 0.2
_WINDOW, _LEAST_WINDOW, _MOST = 256, 48, 64


def from_coarse(
    images: Sequence[Image], pieces: Sequence[Piece], scale: int, usual: Degrading
) -> Degrading:
    """Return the degradation that makes sharp images look like real coarse ones.

    Parameters
    ----------
    images : sequence of Image
        Coarse images of such specimens, their axes in canonical order; all channels are used, in
        windows from all over the field, of which those with little structure tell noise alone.
    pieces : sequence of Piece
        Sharp images.
    scale : int
        Scale factor between the two.
    usual : Degrading
        What the images do not tell.

    Returns
    -------
    Degrading
        Its blur is the one whose power spectrum, coarse noise added, falls as that of the coarse
        images does; scans through the same optics have none. Specimens should be of one kind: what
        the comparison cannot explain otherwise, it explains by blur.

    Raises
    ------
    InputError
        If the coarse images are too small or have no contrast.
    """
    spectra, cameras = [], []
    for image in images:
        for index in range(3 if image.rgb else image.size("c")):
            windows = _windows(image, index)
            if not windows:
                continue
            low, high = np.percentile(np.concatenate([w.ravel() for w in windows]), PERCENTILES)
            if high <= low:
                continue
            cameras.append(estimated_camera(windows, float(low), float(high)))
            most = max(float(window.std()) for window in windows)
            # Of empty ground a spectrum tells nothing but the noise.
            full = [window for window in windows if window.std() > most / 2]
            light = [(window - low) / (high - low) for window in full]
            spectra.append((_power(light), _noise_power(light, cameras[-1])))
    if not spectra:
        names = ", ".join(f"'{image.name}'" for image in images)
        raise InputError(
            f"{names} cannot tell blur and noise: no contrast, or below {_LEAST_WINDOW} pixels.",
            "Give blur= and photons= yourself.",
        )
    seen = np.mean([power for power, _ in spectra], axis=0)
    noise = float(np.mean([level for _, level in spectra]))
    blur = 0.0 if usual.scanned else _matching_blur(seen, noise, pieces, scale)
    photons = float(np.exp(np.mean([np.log(camera.photons or 1) for camera in cameras])))
    # Electrons of one camera are not those of another: what is comparable is the light they hide.
    dark = np.mean([(camera.read_noise / (camera.photons or 1)) ** 2 for camera in cameras])
    read_noise = float(np.sqrt(dark)) * photons
    return replace(
        usual,
        blur=blur,
        blur_spread=0.0 if usual.scanned else 0.1,
        photons=(photons / DOUBT, photons * DOUBT),
        read_noise=read_noise,
        noisy=photons < MOST_PHOTONS or read_noise > 0,
    )


def _windows(image: Image, index: int) -> list[np.ndarray]:
    """Return windows of a channel from all over the image: a corner may be empty."""
    windows = []
    for window in sample_windows(image, _WINDOW, _MOST):
        at: dict[str, Any] = {axis: cut.start for axis, cut in window.items()}
        at |= {"c": index, "s": index, "y": slice(None), "x": slice(None)}
        plane = image.data[tuple(at[axis] for axis in image.axes)]
        windows.append(read_window(plane, window["y"], window["x"]))
    return [window for window in windows if min(window.shape) >= _LEAST_WINDOW]


def _matching_blur(seen: np.ndarray, noise: float, pieces: Sequence[Piece], scale: int) -> float:
    costs = []
    for sigma in _BLURS:
        coarse = []
        for piece in pieces[:: max(1, len(pieces) // 12)]:
            light = piece.light
            if sigma:
                light = ndimage.gaussian_filter(light, sigma * scale, mode="reflect")
            coarse.append(area_mean(light, scale))
        costs.append(_misfit(seen, _power(coarse), noise))
    return float(_BLURS[int(np.argmin(costs))])


def _misfit(seen: np.ndarray, model: np.ndarray, noise: float) -> float:
    """Return how far a spectrum is from a model's, the specimen's own contrast left free."""
    low = _RINGS[:-1] < _COARSE
    gain = float(np.median(np.maximum(seen[low] - noise, 1e-12) / model[low]))
    return float(np.mean((np.log(seen) - np.log(gain * model + noise)) ** 2))


def _power(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean spectral power in rings of equal width, from coarse to Nyquist."""
    totals = np.zeros(len(_RINGS) - 1)
    for plane in planes:
        window = np.hanning(plane.shape[0])[:, None] * np.hanning(plane.shape[1])[None, :]
        power = np.abs(np.fft.rfft2((plane - plane.mean()) * window)) ** 2 / (window**2).sum()
        radius = np.hypot(
            np.fft.fftfreq(plane.shape[0])[:, None], np.fft.rfftfreq(plane.shape[1])[None, :]
        )
        count, _ = np.histogram(radius, _RINGS)
        total, _ = np.histogram(radius, _RINGS, weights=power)
        totals += total / np.maximum(count, 1)
    return np.maximum(totals / len(planes), 1e-12)


def _noise_power(planes: Sequence[np.ndarray], camera: Camera) -> float:
    """Return the spectral power of a camera's noise, the same at all frequencies."""
    assert camera.photons is not None
    bright = float(np.mean([np.maximum(plane, 0).mean() for plane in planes]))
    return bright / camera.photons + (camera.read_noise / camera.photons) ** 2
