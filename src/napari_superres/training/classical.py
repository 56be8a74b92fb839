"""Classical ways to a finer image, as measures of what learning must beat.

Interpolations know nothing of the camera. `wiener` and `richardson_lucy` are told the blur and
the noise, which nobody knows of a real image: they are the hardest opponents that are not learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, ndimage

from napari_superres.errors import SettingError
from napari_superres.models.engine import Halo
from napari_superres.models.families.interpolation import Interpolation, phase_kernels
from napari_superres.training.recording import area_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

INTERPOLATIONS = ("nearest", "bicubic", "spline", "lanczos")
_RADII = {"nearest": 0, "bicubic": 2, "lanczos": 3}


def interpolate(image: np.ndarray, scale: int, method: str) -> np.ndarray:
    """Return an interpolated image; pixel centres stay where they are.

    Parameters
    ----------
    image : np.ndarray, shape (y, x)
        Source.
    scale : int
        Scale factor.
    method : {"nearest", "bicubic", "spline", "lanczos"}
        Bicubic is Keys' kernel with a = -1/2; spline is the cubic B-spline interpolation.

    Returns
    -------
    np.ndarray, shape (scale * y, scale * x), float32; float64 for a spline

    Raises
    ------
    SettingError
        If the method is unknown.
    """
    if method == "spline":
        # Mirrored far enough that the spline's own boundary handling does not matter.
        padded = np.pad(image.astype(np.float64), 12, mode="symmetric")
        finer = ndimage.zoom(padded, scale, order=3, mode="grid-mirror", grid_mode=True)
        return np.asarray(finer[12 * scale : -12 * scale, 12 * scale : -12 * scale])
    if method not in _RADII:
        raise SettingError(
            f"method={method!r} is unknown.", f"Use one of: {', '.join(INTERPOLATIONS)}."
        )
    radius = _RADII[method]
    engine = Interpolation(radius, phase_kernels(method, radius, scale))
    return np.asarray(engine(image[None, None].astype(np.float32), Halo(0, 0, 0, 0), ())[0, 0])


def wiener(
    image: np.ndarray, scale: int, *, blur_sigma: float, noise: float, slope: float = 3.0
) -> np.ndarray:
    """Return the linear estimate of least mean square error, aliasing accounted for.

    Parameters
    ----------
    image : np.ndarray, shape (y, x)
        Source; continued by reflection.
    scale : int
        Scale factor.
    blur_sigma : float
        Gaussian blur before sampling, in source pixels.
    noise : float
        Standard deviation of the noise in the image's unit.
    slope : float
        The truth's power spectrum is taken to fall as frequency to the power of minus this.

    Returns
    -------
    np.ndarray, shape (scale * y, scale * x), float64
    """
    height, width = image.shape
    mean = float(image.mean())
    mirrored = np.pad(image - mean, ((0, height), (0, width)), mode="symmetric")
    shape = (scale * mirrored.shape[0], scale * mirrored.shape[1])
    fy, fx = fft.fftfreq(shape[0])[:, None], fft.fftfreq(shape[1])[None, :]
    seen = _response(fy, scale, blur_sigma) * _response(fx, scale, blur_sigma)
    power = (fy**2 + fx**2 + shape[0] ** -2.0) ** (-slope / 2)
    # Of the power that reaches the camera, its strength follows from the image's own variance.
    measured = fft.fft2(mirrored)
    folded = _fold(power * seen**2, scale)
    signal = max(float(mirrored.var()) - noise**2, 0.05 * float(mirrored.var()))
    power = power * signal / float(folded.mean())
    ratio = np.tile(measured / (_fold(power * seen**2, scale) + noise**2), (scale, scale))
    # Sample i of the source is the block whose centre lies (scale - 1) / 2 fine pixels further.
    shift = np.exp(-2j * np.pi * (fy + fx) * (scale - 1) / 2)
    finer = np.real(fft.ifft2(power * seen * ratio * shift)) * scale**2
    return np.asarray(finer[: scale * height, : scale * width] + mean)


def richardson_lucy(
    image: np.ndarray,
    scale: int,
    *,
    blur_sigma: float,
    offset: float,
    iterations: Collection[int],
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield Richardson-Lucy estimates on the finer grid.

    Parameters
    ----------
    image : np.ndarray, shape (y, x)
        Source.
    scale : int
        Scale factor.
    blur_sigma : float
        Gaussian blur before sampling, in source pixels.
    offset : float
        The image's value without light.
    iterations : collection of int
        After how many an estimate is yielded. More sharpen, and amplify noise.

    Yields
    ------
    int, np.ndarray of shape (scale * y, scale * x), float64
        The number of iterations and the estimate, in ascending order. See W. H. Richardson, J.
        Opt. Soc. Am. 62, 55 (1972), doi:10.1364/JOSA.62.000055.
    """
    floor = 1e-3 * max(float(np.ptp(image)), 1e-9)
    light = np.maximum(image.astype(np.float64) - offset, floor)
    estimate = np.maximum(interpolate(light, scale, "bicubic"), floor)

    def blurred(finer: np.ndarray) -> np.ndarray:
        if not blur_sigma:
            return finer
        return np.asarray(ndimage.gaussian_filter(finer, blur_sigma * scale, mode="reflect"))

    for number in range(1, max(iterations) + 1):
        ratio = light / np.maximum(area_mean(blurred(estimate), scale), floor)
        estimate = estimate * blurred(interpolate(ratio, scale, "nearest"))
        if number in iterations:
            yield number, np.asarray(estimate + offset)


def _response(frequency: np.ndarray, scale: int, blur_sigma: float) -> np.ndarray:
    """Return how blur and the mean over `scale` pixels pass a frequency of the fine grid."""
    gaussian = np.exp(-2 * (np.pi * blur_sigma * scale * frequency) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.sin(np.pi * frequency * scale) / (scale * np.sin(np.pi * frequency))
    return np.asarray(gaussian * np.where(frequency == 0, 1.0, mean))


def _fold(power: np.ndarray, scale: int) -> np.ndarray:
    """Return the power at each frequency of the source grid, all its aliases added."""
    height, width = power.shape[0] // scale, power.shape[1] // scale
    return np.asarray(power.reshape(scale, height, scale, width).sum(axis=(0, 2)))
