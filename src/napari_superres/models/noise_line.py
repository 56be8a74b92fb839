"""How a camera's noise changes with brightness, and so from pixel to pixel.

The variance of shot noise grows with the light, so one number for an image is too much noise in
its dark parts, whose faint structure is then taken for noise, and too little in its bright ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import correlate1d

REACH = 2
"""How far a pixel can be and still count in the brightness around another. The embedded networks'
first convolution reaches as far, so knowing the noise needs no wider halo."""


class NoiseLine(NamedTuple):
    """The variance of a channel's noise, as a multiple of its mean: a line in brightness.

    Parameters
    ----------
    dark : float
        Brightness, in the image's own unit, below which the noise is the same.
    floor : float
        Variance there.
    slope : float
        Growth of the variance with each unit of brightness above it.
    """

    dark: float
    floor: float
    slope: float

    def relative(self, pixels: np.ndarray) -> np.ndarray:
        """Return by how much the noise around each pixel is stronger than on the average.

        Parameters
        ----------
        pixels : np.ndarray, shape (..., y, x), float32
            In the image's own unit; finite. Beyond the border they are continued by reflection.

        Returns
        -------
        np.ndarray, same shape, float32
            Factors for the standard deviation. The brightness is the mean of 5 x 5 pixels.
        """
        around = pixels - np.float32(self.dark)
        weights = np.full(2 * REACH + 1, 1 / (2 * REACH + 1))
        for axis in (-2, -1):
            # Not a running mean, whose last bits depend on where it began.
            around = correlate1d(around, weights, axis=axis, mode="reflect")
        variance = np.float32(self.slope) * np.maximum(around, 0) + np.float32(self.floor)
        return np.asarray(np.sqrt(variance), dtype=np.float32)


def noise_line(dark: float, floor: float, slope: float, mean: float) -> NoiseLine | None:
    """Return a line from its ends in absolute numbers; None where the noise does not grow.

    Parameters
    ----------
    dark : float
        Brightness of the darkest part.
    floor, mean : float
        Variance there, and on the average.
    slope : float
        Growth of the variance with brightness.
    """
    if mean <= 0 or slope <= 0:
        return None
    return NoiseLine(dark, max(floor, 0.0) / mean, slope / mean)


def noise_map(pixels: np.ndarray, std: float, line: NoiseLine | None) -> np.ndarray:
    """Return the standard deviation of the noise around each pixel.

    Parameters
    ----------
    pixels : np.ndarray, shape (..., y, x)
        In the image's own unit.
    std : float
        Root-mean-square noise.
    line : NoiseLine or None
        None where the noise is the same everywhere.

    Returns
    -------
    np.ndarray, same shape, float32
    """
    pixels = np.asarray(pixels, np.float32)
    if line is None or std == 0:
        return np.full_like(pixels, std)
    return np.float32(std) * line.relative(pixels)
