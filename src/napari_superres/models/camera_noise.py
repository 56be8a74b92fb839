"""How much noise a channel holds, and whether it should be removed: ``denoise="auto"``.

Noise of a camera is white: the highest frequencies of an image that holds it all have the same
power. An image that was sampled without a camera's noise, such as a binned one, goes on falling
there. The first is to be restored, the second to be reconstructed faithfully; nothing but the
pixels is known. White grain can be the specimen's too, or belong to a recording that was binned
since. What gives a camera away in low light is shot noise, which grows with brightness: where the
noise does not, only so much of it is removed that an image rarely ends below an interpolation,
whichever the noise is.

The pixels are asked by differences between neighbours, of high order along y and x: those are
blind to smooth structure, and see mostly the corners of the spectrum, which a microscope's PSF
leaves to the noise. They use every pixel alike, where a spectrum has to taper an image.

Everything here is unchanged by an offset and scales with gain.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.optimize import nnls

from napari_superres.models.noise_line import NoiseLine, noise_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Orders of the differences. Differences of the second order are the classical choice (J. Immerkaer,
# Comput. Vis. Image Underst. 64, 300 (1996)); those of the fourth see less of the structure, and
# beside those of the sixth they tell whether the power falls.
_ORDER, _HIGHER_ORDER = 4, 6
_BLOCK = 8
# The blocks with the least structure tell the noise. A quarter of the blocks of pure noise lie
# below this share of its variance (64 correlated samples a block; by simulation).
_QUANTILE, _SHARE = 0.25, 0.698
_BINS = 16
_ROUNDS = 6
# Blocks that are left out leave at least this share.
_LEAST_BLOCKS = 0.1
# A pixel that differs from all 8 around it by more than so many times their range is hot or dead: a
# spot of light is at least as wide as the PSF. Where more than so many do, they are single photons.
_LONELY, _MOST_LONELY = 10, 1e-3
_SMALLEST = 16

# Drop of the logarithm of the power between the two orders. Below the first number all noise is
# removed, above the second none; chosen on real and simulated images with and without added noise
# (docs/explanation/embedded-model.md).
_FLAT, _FALLING = 0.01, 0.03
# Noise below this share of the contrast is not worth removing.
_NEGLIGIBLE = 0.01
# Noise whose variance grows by less than the first factor from dark to bright may not be a camera's
# in low light. Removing the second share of it does little harm, whether it is or not.
_STEADY, _CAUTIOUS = 2.0, 0.25
# In an image whose brightness spans less than this many standard deviations of the noise, such as
# an empty field, noise of a camera cannot be seen to grow either.
_SPAN = 1.5
_GROUPS = 10


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
    growth : float
        By what factor, at most, the variance of the noise grows from the darkest to the brightest
        block; about 1 where it is the same everywhere, infinite where too little is seen.
    line : NoiseLine or None
        How it grows with brightness; None where it does not, or hardly.
    """

    std: float
    contrast: float
    drop: float
    growth: float
    line: NoiseLine | None = None

    @property
    def denoise(self) -> float:
        """Return how much of the noise to remove, from 0 (faithful) to 1 (all of it)."""
        if self.std <= _NEGLIGIBLE * self.contrast:
            return 0.0
        white = float(np.clip((_FALLING - self.drop) / (_FALLING - _FLAT), 0, 1))
        return white * (_CAUTIOUS if self.growth < _STEADY else 1.0)


def measure_noise(windows: Iterable[np.ndarray]) -> Noise:
    """Return the noise of one channel from a sample of it.

    Parameters
    ----------
    windows : iterable of np.ndarray, shape (y, x)
        Pieces of the channel's planes, of any real type. Pieces with an edge below 16 pixels are
        left out, and so are blocks that no camera has filled: constant ones, such as padding or
        saturated areas, and those with values that are not finite, or with a hot pixel.

    Returns
    -------
    Noise
        Zero throughout when nothing is left.
    """
    usable = list(_usable(windows))
    blocks = _all_blocks(usable)
    if blocks is None:
        return Noise(0.0, 0.0, 0.0, 1.0)
    spread = np.mean([np.nanvar(pixels) for pixels in usable])
    contrast = float(np.sqrt(spread + np.var([np.nanmean(pixels) for pixels in usable])))
    ends = _noise_at_ends(blocks.means, blocks.high)
    if not any(ends):
        return Noise(0.0, contrast, 0.0, 1.0)
    expected = _expected(blocks.means, *ends)
    growth = _most_growth(blocks.means, blocks.high, expected)
    return Noise(
        std=float(np.sqrt(expected.mean())),
        contrast=contrast,
        drop=_drop(blocks.high, blocks.highest, expected),
        growth=growth,
        line=_line(blocks.means, expected) if growth >= _STEADY else None,
    )


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
    blocks = _all_blocks(_usable(windows))
    if blocks is None:
        return 0.0, 0.0
    means = blocks.means
    dark, bright = _noise_at_ends(means, blocks.high)
    span = float(np.ptp(means))
    if span == 0 or bright <= dark:
        return 0.0, float(_expected(means, dark, bright).mean())
    slope = (bright - dark) / span
    return slope, dark - slope * float(means.min())


def _differences(pixels: np.ndarray, order: int) -> np.ndarray:
    """Return differences of an even order along both axes; white noise keeps its variance."""
    along = np.diff(np.diff(pixels, n=order, axis=0), n=order, axis=1)
    return np.asarray(along / comb(2 * order, order))  # the sum of the squared coefficients


def _drop(high: np.ndarray, highest: np.ndarray, expected: np.ndarray) -> float:
    """Return the logarithm of the ratio of two powers, less its standard error.

    Parameters
    ----------
    high, highest : np.ndarray, shape (blocks,)
        Power in each block. Blocks tell the error too, for few and for unequal ones: shot noise
        that sits in a few bright spots is known less well than its number of pixels suggests.
    expected : np.ndarray, shape (blocks,)
        Variance of the noise in each block, by which they are weighed.
    """
    if not highest.any():
        return float("inf")
    high, highest = high / expected, highest / expected
    ratio = high.mean() / highest.mean()
    error = np.std(high - ratio * highest) / np.sqrt(high.size) / high.mean()
    return float(np.log10(ratio) - error / np.log(10))


def _usable(windows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the windows that can tell noise, in float64; NaN where they are not finite or hot."""
    for window in windows:
        pixels = np.asarray(window, dtype=np.float64)
        finite = np.isfinite(pixels)
        if min(pixels.shape) >= _SMALLEST and finite.any() and np.ptp(pixels[finite]):
            pixels = np.where(finite, pixels, np.nan)
            lonely = _lonely(pixels)
            yield np.where(lonely, np.nan, pixels) if lonely.mean() < _MOST_LONELY else pixels


def _lonely(pixels: np.ndarray) -> np.ndarray:
    """Return which pixels are unlike all around them, which must not be all the same."""
    height, width = pixels.shape
    padded = np.pad(pixels, 1, mode="reflect")
    places = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    around = [padded[y : y + height, x : x + width] for y, x in places]
    low, high = np.minimum.reduce(around), np.maximum.reduce(around)
    away = np.maximum(pixels - high, low - pixels)
    return np.asarray((away > _LONELY * (high - low)) & (high > low))


class _Blocks(NamedTuple):
    """What small blocks of a channel tell, each an array with one number a block.

    Parameters
    ----------
    means : np.ndarray
        Mean of the pixels.
    high, highest : np.ndarray
        Variance of the noise if there were no structure, by differences of either order.
    bordering : np.ndarray
        Whether it, or a block beside it, sees a place of 7 x 7 pixels that are all equal.
    """

    means: np.ndarray
    high: np.ndarray
    highest: np.ndarray
    bordering: np.ndarray


def _all_blocks(windows: Iterable[np.ndarray]) -> _Blocks | None:
    """Return the blocks that a camera has filled; None where there are none."""
    found = [_blocks(pixels) for pixels in windows]
    if not found:
        return None
    blocks = _Blocks(*(np.concatenate(part) for part in zip(*found, strict=True)))
    # Not finite where a pixel that is not finite was seen, and 0 twice where all were equal.
    known = np.isfinite(blocks.highest)
    filled = known & (blocks.high + blocks.highest > 0)
    # The border of padding is an edge that no specimen has. But where there are few photons, empty
    # places are everywhere, and belong to the image.
    enough = _LEAST_BLOCKS * known.sum()
    for kept in (filled & ~blocks.bordering, filled, known):
        if kept.any() and kept.sum() >= enough:
            return _Blocks(*(part[kept] for part in blocks))
    return None


def _blocks(pixels: np.ndarray) -> _Blocks:
    """Return what the blocks of one window tell."""
    highest = _differences(pixels, _HIGHER_ORDER) ** 2
    high = _differences(pixels, _ORDER) ** 2
    # The same blocks for each order.
    spare = (_HIGHER_ORDER - _ORDER) // 2
    high = high[spare:-spare, spare:-spare]
    inner = _HIGHER_ORDER // 2
    height, width = (edge // _BLOCK for edge in highest.shape)

    def blocked(values: np.ndarray) -> np.ndarray:
        cut = values[: height * _BLOCK, : width * _BLOCK]
        return cut.reshape(height, _BLOCK, width, _BLOCK)

    within = (1, 3)
    empty = blocked(high + highest == 0).any(axis=within)
    parts = (
        blocked(pixels[inner:, inner:]).mean(axis=within),
        blocked(high).mean(axis=within),
        blocked(highest).mean(axis=within),
        maximum_filter(empty, 3),
    )
    return _Blocks(*(part.ravel() for part in parts))


def _line(means: np.ndarray, expected: np.ndarray) -> NoiseLine | None:
    """Return the line on which the variances of the blocks lie."""
    darkest, brightest = int(means.argmin()), int(means.argmax())
    span = float(means[brightest] - means[darkest])
    floor = float(expected[darkest])
    slope = (float(expected[brightest]) - floor) / span if span else 0.0
    return noise_line(float(means[darkest]), floor, slope, float(expected.mean()))


def _expected(means: np.ndarray, dark: float, bright: float) -> np.ndarray:
    """Return the variance of the noise in each block, from that at both ends of the brightness."""
    low, span = means.min(), float(np.ptp(means))
    line = dark + (bright - dark) * (means - low) / span if span else np.full(means.shape, dark)
    return np.maximum(line, max(1e-3 * float(line.max()), np.finfo(float).tiny))


def _most_growth(means: np.ndarray, variances: np.ndarray, expected: np.ndarray) -> float:
    """Return the growth of the noise's variance from dark to bright, plus one standard error.

    The error is the jackknife's: few blocks, or few bright ones, cannot show that noise is steady.
    """
    span = float(np.diff(np.quantile(means, [0.01, 0.99]))[0])
    if means.size < 2 * _GROUPS or span < _SPAN * np.sqrt(expected.mean()):
        return float("inf")
    group = np.arange(means.size) % _GROUPS
    left_out = [_log_growth(means[group != one], variances[group != one]) for one in range(_GROUPS)]
    error = np.sqrt(_GROUPS - 1) * np.std(left_out)
    return float(np.exp(_log_growth(means, variances) + error))


def _log_growth(means: np.ndarray, variances: np.ndarray) -> float:
    ends = np.array(_noise_at_ends(means, variances))
    if not ends.any():
        return 0.0
    dark, bright = np.log(np.maximum(ends, 1e-3 * ends.max()))
    return float(bright - dark)


def _noise_at_ends(means: np.ndarray, variances: np.ndarray) -> tuple[float, float]:
    """Return the variance of the noise in the darkest and in the brightest block.

    Camera noise is a line in brightness. In each class of brightness the calmest blocks tell it:
    a quantile of the ratios to the line so far, so that blocks of one class may differ in
    brightness; one number for all blocks would be that of the background. Relative errors count.
    """
    dark = bright = 1.0
    parts = np.array_split(np.argsort(means), max(2, min(_BINS, means.size // _BINS)))
    parts = [part for part in parts if part.size]
    share = (means - means.min()) / max(float(np.ptp(means)), np.finfo(float).tiny)
    middle = np.array([share[part].mean() for part in parts])
    ends = np.stack([1 - middle, middle], axis=1)
    for _ in range(_ROUNDS):
        line = _expected(means, dark, bright)
        ratios = [np.quantile(variances[part] / line[part], _QUANTILE) for part in parts]
        calm = np.array(ratios) / _SHARE * [line[part].mean() for part in parts]
        if not calm.any():
            return 0.0, 0.0
        weight = np.sqrt([part.size for part in parts]) / np.maximum(calm, 1e-4 * calm.max())
        (dark, bright), _ = nnls(ends * weight[:, None], calm * weight)
    return float(dark), float(bright)
