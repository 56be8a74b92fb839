"""Point spread functions from a microscope's pupil, and the blur they cause.

Scalar diffraction theory: the field in the image of a point is the Fourier transform of the
pupil, and the intensity is its squared magnitude (J. W. Goodman, *Introduction to Fourier
Optics*, chapter 6; M. Gu, *Advanced Optical Imaging Theory*, chapter 3 for defocus).
Good for numerical apertures up to about 1.4; polarisation is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from napari_superres.errors import SettingError
from napari_superres.training.finite import check_finite

if TYPE_CHECKING:
    from collections.abc import Mapping

MODALITIES = ("widefield", "confocal", "light-sheet")

# Finer than the camera by this odd number while the pupil is squared: the intensity holds twice
# the pupil's frequencies, and 3 keeps them apart down to pixels as large as the resolution.
_OVERSAMPLING = 3


@dataclass(frozen=True)
class Optics:
    """What the light passes on its way to the camera.

    Parameters
    ----------
    modality : {"widefield", "confocal", "light-sheet"}
        How the specimen is lit and detected.
    na : float
        Numerical aperture of the objective, below `refractive_index`.
    wavelength : float
        Emission wavelength in micrometres.
    pixel_size : float
        Pixel size in the specimen, in micrometres.
    refractive_index : float
        Of the immersion medium.
    excitation : float
        Excitation wavelength in micrometres, used by the confocal alone.
    pinhole : float
        Diameter of the confocal's pinhole in Airy units.
    sheet : float
        Full width at half maximum of the light sheet in micrometres.
    aberrations : mapping of str to float
        Root-mean-square wave fronts, in wavelengths: ``astigmatism``, ``coma``, ``spherical``,
        ``trefoil``.

    Raises
    ------
    SettingError
        If the modality is unknown, or a quantity is not possible in nature.
    """

    modality: str = "widefield"
    na: float = 1.4
    wavelength: float = 0.52
    pixel_size: float = 0.065
    refractive_index: float = 1.515
    excitation: float = 0.488
    pinhole: float = 1.0
    sheet: float = 2.0
    aberrations: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_finite({**vars(self), **self.aberrations})
        if self.modality not in MODALITIES:
            msg = f"modality={self.modality!r} is unknown: use one of {', '.join(MODALITIES)}."
            raise SettingError(msg)
        if not 0 < self.na < self.refractive_index:
            msg = (
                f"na={self.na} is not possible: it must lie between 0 and the refractive index, "
                f"{self.refractive_index}."
            )
            raise SettingError(msg)
        if min(self.wavelength, self.excitation, self.pixel_size, self.pinhole, self.sheet) <= 0:
            msg = "wavelengths, pixel size, pinhole and sheet must all be greater than 0."
            raise SettingError(msg)
        unknown = set(self.aberrations) - set(_ZERNIKE)
        if unknown:
            msg = f"unknown aberrations {sorted(unknown)}: use any of {', '.join(_ZERNIKE)}."
            raise SettingError(msg)

    @property
    def fwhm(self) -> float:
        """Return the width at half maximum of the PSF in focus, in pixels."""
        return 0.51 * self.wavelength / self.na / self.pixel_size


# Orthonormal Zernike polynomials (R. J. Noll, J. Opt. Soc. Am. 66, 207, 1976), rho and theta in.
_ZERNIKE = {
    "astigmatism": lambda r, a: np.sqrt(6) * r**2 * np.cos(2 * a),
    "coma": lambda r, a: np.sqrt(8) * (3 * r**3 - 2 * r) * np.cos(a),
    "trefoil": lambda r, a: np.sqrt(8) * r**3 * np.cos(3 * a),
    "spherical": lambda r, a: np.sqrt(5) * (6 * r**4 - 6 * r**2 + 1),
}


def transfer(optics: Optics, size: int, defocus: float = 0.0) -> np.ndarray:
    """Return the optical transfer function of a plane, pixel area included.

    Parameters
    ----------
    optics : Optics
        The microscope.
    size : int
        Edge of the square of pixels on which the PSF is laid out; it repeats beyond.
    defocus : float
        Distance of the plane from the focus, in micrometres.

    Returns
    -------
    np.ndarray, shape (size, size), complex64
        Its value at frequency 0 is the share of light that arrives: 1 in focus, and less out of
        focus where a pinhole or a light sheet suppresses it.
    """
    detection = _intensity(optics, optics.wavelength, size, defocus)
    if optics.modality == "confocal":
        focused = _confocal(optics, size, 0.0).sum()
        psf = _confocal(optics, size, defocus) / focused
    else:
        psf = detection / detection.sum()
        if optics.modality == "light-sheet":
            psf = psf * np.exp(-4 * np.log(2) * (defocus / optics.sheet) ** 2)
    return _sampled(psf, size)


def point_spread(optics: Optics, size: int, defocus: float = 0.0) -> np.ndarray:
    """Return the image of a point in the middle of a square of pixels.

    Parameters
    ----------
    optics : Optics
        The microscope.
    size : int
        Edge of the square in pixels; the point lies in the centre of pixel ``size // 2``.
    defocus : float
        Distance of the point from the focus, in micrometres.

    Returns
    -------
    np.ndarray, shape (size, size), float32
        Sums to the share of light that arrives, see `transfer`.
    """
    kernel = np.real(fft.ifft2(transfer(optics, size, defocus)))
    return np.asarray(fft.fftshift(kernel), dtype=np.float32)


def blur(image: np.ndarray, otf: np.ndarray) -> np.ndarray:
    """Return an image as seen through a transfer function.

    Parameters
    ----------
    image : np.ndarray, shape (y, x)
        Light per pixel; taken to repeat beyond its edges.
    otf : np.ndarray, shape (n, n)
        From `transfer`; `n` is at most the image's shorter edge.

    Returns
    -------
    np.ndarray, shape (y, x), float32
    """
    size = otf.shape[0]
    kernel = np.real(fft.ifft2(otf)).astype(np.float32)
    laid_out = np.zeros(image.shape, np.float32)
    half = size // 2
    laid_out[:size, :size] = np.roll(kernel, (half, half), (0, 1))
    laid_out = np.roll(laid_out, (-half, -half), (0, 1))
    product = fft.rfft2(image.astype(np.float32, copy=False)) * fft.rfft2(laid_out)
    return np.asarray(fft.irfft2(product, s=image.shape), dtype=np.float32)


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Return an image blurred by a Gaussian, exactly, with periodic edges.

    Parameters
    ----------
    image : np.ndarray, shape (..., y, x)
        Any real image, or a stack of them.
    sigma : float
        Standard deviation in pixels.

    Returns
    -------
    np.ndarray, shape (..., y, x), float32
    """
    y, x = image.shape[-2:]
    response_y = np.exp(-2 * (np.pi * sigma * fft.fftfreq(y)) ** 2).astype(np.float32)
    response_x = np.exp(-2 * (np.pi * sigma * fft.rfftfreq(x)) ** 2).astype(np.float32)
    spectrum = fft.rfft2(image.astype(np.float32, copy=False))
    return np.asarray(
        fft.irfft2(spectrum * response_y[:, None] * response_x, s=(y, x)), dtype=np.float32
    )


def _intensity(optics: Optics, wavelength: float, size: int, defocus: float) -> np.ndarray:
    """Return the PSF of one wavelength on the fine grid, its centre at index 0, sum 1."""
    n = _OVERSAMPLING * size
    frequency = fft.fftfreq(n, optics.pixel_size / _OVERSAMPLING)  # cycles per micrometre
    fy, fx = frequency[:, None], frequency[None, :]
    squared = fy**2 + fx**2
    edge = optics.na / wavelength
    # A soft edge one frequency sample wide, so that the aperture's area does not jump with `size`.
    step = abs(frequency[1])
    rho = np.sqrt(squared) / edge
    aperture = np.clip(0.5 + (edge - np.sqrt(squared)) / step, 0, 1)
    axial = np.sqrt(np.maximum((optics.refractive_index / wavelength) ** 2 - squared, 0))
    waves = defocus * (axial - optics.refractive_index / wavelength)
    if optics.aberrations:
        inside, angle = np.minimum(rho, 1), np.arctan2(fy, fx)
        for name, rms in optics.aberrations.items():
            waves = waves + rms * _ZERNIKE[name](inside, angle)
    field_in_image = fft.ifft2((aperture * np.exp(2j * np.pi * waves)).astype(np.complex64))
    intensity = np.abs(field_in_image) ** 2
    return np.asarray(intensity / intensity.sum(), dtype=np.float64)


def _confocal(optics: Optics, size: int, defocus: float) -> np.ndarray:
    """Return excitation times pinholed detection on the fine grid, not normalised."""
    lit = _intensity(optics, optics.excitation, size, defocus)
    seen = _intensity(optics, optics.wavelength, size, defocus)
    n = seen.shape[0]
    radius = optics.pinhole * 0.61 * optics.wavelength / optics.na  # micrometres, in the specimen
    frequency = fft.fftfreq(n) * n * optics.pixel_size / _OVERSAMPLING
    distance = np.hypot(frequency[:, None], frequency[None, :])
    hole = (distance <= radius).astype(np.float64)
    detected = np.real(fft.ifft2(fft.fft2(seen) * fft.fft2(hole)))
    return np.asarray(lit * np.maximum(detected, 0), dtype=np.float64)


def _sampled(psf: np.ndarray, size: int) -> np.ndarray:
    """Integrate a fine PSF over each camera pixel and keep one sample a pixel."""
    n = psf.shape[0]
    box = np.sinc(fft.fftfreq(n) * _OVERSAMPLING)  # a pixel is `_OVERSAMPLING` fine samples wide
    integrated = np.real(fft.ifft2(fft.fft2(psf) * box[:, None] * box[None, :]))
    kernel = integrated[::_OVERSAMPLING, ::_OVERSAMPLING] * _OVERSAMPLING**2
    return np.asarray(fft.fft2(kernel[:size, :size]), dtype=np.complex64)
