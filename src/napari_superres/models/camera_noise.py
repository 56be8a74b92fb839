"""How much noise a channel holds, and whether it should be removed: ``denoise="auto"``.

Noise of a camera is white: the highest frequencies of an image that holds it all have the same
power. An image that was sampled without a camera's noise, such as a binned one, goes on falling
there. The first is to be restored, the second to be reconstructed faithfully; nothing but the
pixels is known.

Both questions are put to differences between neighbouring pixels, of high order along y and x: they
are blind to smooth structure, and see mostly the corners of the spectrum, which a microscope's PSF
leaves to the noise. They use every pixel alike, where a spectrum has to taper an image.

Everything here is unchanged by an offset and scales with gain.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Orders of the differences. Differences of the second order are the classical choice (J. Immerkaer,
# Comput. Vis. Image Underst. 64, 300 (1996)); those of the fourth see less of the structure, and
# beside those of the sixth they tell whether the power falls.
_ORDER, _HIGHER_ORDER = 4, 6
_BLOCK = 8
# The blocks with the least structure tell the noise. A quarter of the blocks of pure noise lie
# below this share of its variance (64 correlated samples a block; by simulation).
_QUANTILE, _SHARE = 0.25, 0.698
_BINS = 16
_SMALLEST = 16

# Drop of the logarithm of the power between the two orders. Below the first number all noise is
# removed, above the second none; chosen on real and simulated images with and without added noise
# (docs/explanation/embedded-model.md).
_FLAT, _FALLING = 0.015, 0.04
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
        By how many powers of ten, at least, the power falls between the high and the highest
        frequencies; about 0 where noise makes the spectrum flat.
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
    means, variances, powers, spreads = [], [], [], []
    for pixels in _usable(windows):
        mean, variance = _blocks(pixels)
        means.append(mean)
        variances.append(variance)
        powers.append([variance, _blocks(pixels, _HIGHER_ORDER)[1]])
        spreads.append(float(pixels.var()))
    if not means:
        return Noise(0.0, 0.0, 0.0)
    drop = _drop(*np.concatenate(powers, axis=1))
    mean = np.concatenate(means)
    contrast = float(np.sqrt(np.mean(spreads) + np.var([part.mean() for part in means])))
    return Noise(_lower_envelope(mean, np.concatenate(variances)), contrast, drop)


def photon_transfer(windows: Iterable[np.ndarray]) -> tuple[float, float]:
    """Return the variance of the noise as a line in brightness.

    Shot noise makes the variance grow with brightness by the camera's gain; read noise adds the
    same everywhere.

    Parameters
    ----------
    windows : iterable of np.ndarray, shape (y, x)
        As for `measure_noise`.

    Returns
    -------
    slope : float
        Grey levels an electron; 0 where the noise does not grow with brightness.
    floor : float
        Variance at brightness 0; negative where a pedestal lies under the light.
    """
    means, variances = [], []
    for pixels in _usable(windows):
        mean, variance = _blocks(pixels)
        means.append(mean)
        variances.append(variance)
    if not means:
        return 0.0, 0.0
    brightness, calm, weights = _calm_classes(np.concatenate(means), np.concatenate(variances))
    middle, level = np.average(brightness, weights=weights), np.average(calm, weights=weights)
    spread = np.average((brightness - middle) ** 2, weights=weights)
    together = np.average((brightness - middle) * (calm - level), weights=weights)
    slope = max(0.0, float(together / spread)) if spread > 0 else 0.0
    return slope, float(level - slope * middle)


def _usable(windows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the windows that can tell noise, in float64."""
    for window in windows:
        pixels = np.asarray(window, dtype=np.float64)
        if min(pixels.shape) >= _SMALLEST and np.isfinite(pixels).all() and np.ptp(pixels):
            yield pixels


def _differences(pixels: np.ndarray, order: int) -> np.ndarray:
    """Return differences of an even order along both axes; white noise keeps its variance."""
    along = np.diff(np.diff(pixels, n=order, axis=0), n=order, axis=1)
    return np.asarray(along / comb(2 * order, order))  # the sum of the squared coefficients


def _drop(high: np.ndarray, highest: np.ndarray) -> float:
    """Return the logarithm of the ratio of two powers, less its standard error.

    Parameters
    ----------
    high, highest : np.ndarray, shape (blocks,)
        Power in each block. Blocks tell the error too, for few and for unequal ones: shot noise
        that sits in a few bright spots is known less well than its number of pixels suggests.
    """
    if not highest.any():
        return float("inf")
    ratio = high.mean() / highest.mean()
    error = np.std(high - ratio * highest) / np.sqrt(high.size) / high.mean()
    return float(np.log10(ratio) - error / np.log(10))


def _blocks(pixels: np.ndarray, order: int = _ORDER) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean, and the noise variance if there were no structure, of each small block."""
    noise = _differences(pixels, order) ** 2
    # The same blocks for each order.
    spare = (_HIGHER_ORDER - order) // 2
    noise = noise[spare : noise.shape[0] - spare, spare : noise.shape[1] - spare]
    height, width = (edge // _BLOCK for edge in noise.shape)

    def averaged(values: np.ndarray) -> np.ndarray:
        cut = values[: height * _BLOCK, : width * _BLOCK]
        return np.asarray(cut.reshape(height, _BLOCK, width, _BLOCK).mean(axis=(1, 3)).ravel())

    inner = _HIGHER_ORDER // 2
    return averaged(pixels[inner:, inner:]), averaged(noise)


def _lower_envelope(mean: np.ndarray, variance: np.ndarray) -> float:
    """Return the noise's standard deviation: in each class of brightness, the calmest blocks'.

    Shot noise grows with brightness, so one number for all blocks would be that of the background.
    """
    _, calm, weights = _calm_classes(mean, variance)
    return float(np.sqrt(np.average(calm, weights=weights)))


def _calm_classes(
    mean: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return brightness, noise variance and number of blocks of each class of brightness."""
    order: Sequence[np.ndarray] = np.array_split(
        np.argsort(mean), max(1, min(_BINS, mean.size // _BINS))
    )
    return (
        np.array([mean[part].mean() for part in order]),
        np.array([np.quantile(variance[part], _QUANTILE) / _SHARE for part in order]),
        np.array([part.size for part in order]),
    )
