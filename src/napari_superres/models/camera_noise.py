"""How much noise a channel holds, and whether it should be removed: ``denoise="auto"``.

Noise of a camera is white: at the highest frequencies of an image the power spectrum is flat. An
image that was sampled without a camera's noise, such as a binned one, goes on falling there. The
first is to be restored, the second to be reconstructed faithfully; nothing but the pixels is known.

Everything here is unchanged by an offset and scales with gain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Blind to planes and to straight edges along both axes; white noise passes with its own variance.
# J. Immerkaer, Comput. Vis. Image Underst. 64, 300 (1996).
_DIFFERENCE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6
_BLOCK = 8
# The blocks with the least structure tell the noise. A quarter of the blocks of pure noise lie
# below this share of its variance (64 correlated samples a block; by simulation).
_QUANTILE, _SHARE = 0.25, 0.775
_BINS = 16
_SMALLEST = 16

# Rings in cycles a pixel: the first still holds detail where there is any, the corners do not.
_INNER, _OUTER = (0.38, 0.44), (0.60, 0.71)
# Drop of the logarithm of the power between them. Below the first number all noise is removed,
# above the second none; chosen on real and simulated images with and without added noise.
_FLAT, _FALLING = 0.1, 0.5
# Noise below this share of the contrast is not worth removing.
_NEGLIGIBLE = 0.01


@dataclass(frozen=True)
class Noise:
    """What is known of a channel's noise.

    Parameters
    ----------
    std : float
        Root-mean-square noise, in the image's own unit.
    contrast : float
        Standard deviation of the pixels, in the same unit.
    drop : float
        By how many powers of ten the power spectrum falls towards its highest frequencies; about 0
        where noise makes it flat.
    """

    std: float
    contrast: float
    drop: float

    @property
    def denoise(self) -> float:
        """Return how much of the noise to remove, from 0 (faithful) to 1 (all of it)."""
        if self.std <= _NEGLIGIBLE * self.contrast:
            return 0.0
        return float(np.clip((_FALLING - self.drop) / (_FALLING - _FLAT), 0, 1))

    def __str__(self) -> str:
        """Say what was found and chosen."""
        share = 100 * self.std / self.contrast if self.contrast else 0.0
        return f"noise {self.std:.4g}, {share:.0f} % of the contrast; removing {self.denoise:.0%}"


def measure_noise(windows: Iterable[np.ndarray]) -> Noise:
    """Return the noise of one channel from a sample of it.

    Parameters
    ----------
    windows : iterable of np.ndarray, shape (y, x)
        Pieces of the channel's planes, of any real type. Pieces with an edge below 16 pixels, and
        with values that are not finite, are left out.

    Returns
    -------
    Noise
        Zero throughout when nothing is left, or when every piece is constant.
    """
    means, variances, spectra, spreads = [], [], [], []
    for window in windows:
        pixels = np.asarray(window, dtype=np.float64)
        if min(pixels.shape) < _SMALLEST or not np.isfinite(pixels).all() or not np.ptp(pixels):
            continue
        mean, variance = _blocks(pixels)
        means.append(mean)
        variances.append(variance)
        spectra.append(_ring_powers(pixels))
        spreads.append(float(pixels.var()))
    if not means:
        return Noise(0.0, 0.0, 0.0)
    inner, outer = np.mean(spectra, axis=0)
    mean = np.concatenate(means)
    contrast = float(np.sqrt(np.mean(spreads) + np.var([part.mean() for part in means])))
    return Noise(_lower_envelope(mean, np.concatenate(variances)), contrast, float(inner - outer))


def _blocks(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean, and the noise variance if there were no structure, of each small block."""
    noise = ndimage.convolve(pixels, _DIFFERENCE, mode="reflect") ** 2
    height, width = (edge // _BLOCK for edge in pixels.shape)

    def averaged(values: np.ndarray) -> np.ndarray:
        cut = values[: height * _BLOCK, : width * _BLOCK]
        return np.asarray(cut.reshape(height, _BLOCK, width, _BLOCK).mean(axis=(1, 3)).ravel())

    return averaged(pixels), averaged(noise)


def _lower_envelope(mean: np.ndarray, variance: np.ndarray) -> float:
    """Return the noise's standard deviation: in each class of brightness, the calmest blocks'.

    Shot noise grows with brightness, so one number for all blocks would be that of the background.
    """
    order: Sequence[np.ndarray] = np.array_split(
        np.argsort(mean), max(1, min(_BINS, mean.size // _BINS))
    )
    calm = [np.quantile(variance[part], _QUANTILE) / _SHARE for part in order]
    return float(np.sqrt(np.average(calm, weights=[part.size for part in order])))


def _ring_powers(pixels: np.ndarray) -> tuple[float, float]:
    """Return the mean logarithm (base 10) of the spectral power in the two rings."""
    height, width = pixels.shape
    window = np.hanning(height)[:, None] * np.hanning(width)[None, :]
    power = np.abs(np.fft.rfft2((pixels - pixels.mean()) * window)) ** 2
    power = power / (window**2).sum() + 1e-12 * pixels.var()
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    levels = [
        float(np.log10(power[(radius >= low) & (radius < high)]).mean())
        for low, high in (_INNER, _OUTER)
    ]
    return levels[0], levels[1]
