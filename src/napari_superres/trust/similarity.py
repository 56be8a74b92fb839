"""How near a result comes to a known truth, whatever its gain and offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal.windows import hann
from skimage.metrics import structural_similarity
from skimage.registration import phase_cross_correlation

from napari_superres.surveying import PERCENTILES
from napari_superres.trust.figures import figure

if TYPE_CHECKING:
    from collections.abc import Sequence

# SSIM looks at 11 x 11 pixels (a Gaussian of 1.5, cut at 3.5 standard deviations).
_SSIM_EDGE = 11
_PERFECT = 1e-20


@dataclass(frozen=True)
class Similarity:
    """Likeness to the truth after the one gain and offset that fit best.

    Truths that were recorded carry their own noise, so nobody reaches perfection on them: compare
    methods by their differences on the same images.
    """

    psnr: float = figure("PSNR", "against the truth's range; higher is better", "dB", 2)
    ssim: float = figure("SSIM", "likeness of structure; 1 is perfect")
    nrmse: float = figure("NRMSE", "error as a share of the truth's contrast; 0 is perfect", "", 4)


def similarity(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Similarity:
    """Return how like the truth a result is.

    Parameters
    ----------
    pairs : sequence of (result, truth), each np.ndarray of shape (y, x)
        Windows of one channel. One gain and one offset are fitted for all of them, because a model
        that moves intensities from window to window is wrong.

    Returns
    -------
    Similarity
        The PSNR relates to the range of the truth between its 0.1 and 99.9 percentiles, so that a
        hot pixel does not flatter it. The NRMSE is the root-mean-square error over the truth's
        standard deviation. SSIM: Z. Wang et al., IEEE Trans. Image Process. 13, 600 (2004),
        doi:10.1109/TIP.2003.819861, with its Gaussian weights; NaN below 11 x 11 pixels.
    """
    results = [np.asarray(result, np.float64) for result, _ in pairs]
    truths = [np.asarray(truth, np.float64) for _, truth in pairs]
    flat_truth = joined(truths)
    gain, offset = best_fit(joined(results), flat_truth)
    fitted = [gain * result + offset for result in results]
    error = float(np.mean((joined(fitted) - flat_truth) ** 2))
    span = spread_of(flat_truth)
    likeness = [
        structural_similarity(
            truth, result, data_range=span, gaussian_weights=True, use_sample_covariance=False
        )
        for result, truth in zip(fitted, truths, strict=True)
        if min(truth.shape) >= _SSIM_EDGE and span
    ]
    contrast = float(flat_truth.std())
    return Similarity(
        psnr=_decibels(error, span),
        ssim=float(np.mean(likeness)) if likeness else float("nan"),
        nrmse=error**0.5 / contrast if contrast else float("nan"),
    )


def psnr(result: np.ndarray, truth: np.ndarray) -> float:
    """Return the PSNR alone, as in `similarity`, of one window: for tables of many methods."""
    flat = np.asarray(truth, np.float64).ravel()
    values = np.asarray(result, np.float64).ravel()
    gain, offset = best_fit(values, flat)
    return _decibels(float(np.mean((gain * values + offset - flat) ** 2)), spread_of(flat))


def best_fit(values: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """Return the gain and offset that bring values nearest to others, by least squares.

    Parameters
    ----------
    values, wanted : np.ndarray
        Equally many.

    Returns
    -------
    gain, offset : float
        Gain 0 where `values` are constant.
    """
    mean, target = float(values.mean()), float(wanted.mean())
    centred = values - mean
    power = float(np.vdot(centred, centred))
    gain = float(np.vdot(centred, wanted - target)) / power if power else 0.0
    return gain, target - gain * mean


def spread_of(values: np.ndarray) -> float:
    """Return the range of intensities between the 0.1 and 99.9 percentiles.

    The whole range where these are equal, as in a dark picture with a few bright points.
    """
    low, high = np.percentile(values, PERCENTILES)
    return float(high - low) or float(np.ptp(values))


def grid_shift(image: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Return by how many pixels an image lies off a reference, along y and x.

    Parameters
    ----------
    image, reference : np.ndarray, shape (y, x)
        The same field of view.

    Returns
    -------
    (float, float)
        To 1/200 pixel. Positive when structures in `image` lie at larger indices. NaN where one of
        the two is constant. By cross-correlation: M. Guizar-Sicairos et al., Opt. Lett. 33, 156
        (2008), doi:10.1364/OL.33.000156.
    """
    if not np.ptp(image) or not np.ptp(reference):
        return float("nan"), float("nan")
    window = hann(image.shape[0], sym=False)[:, None] * hann(image.shape[1], sym=False)
    one, two = ((np.asarray(i, np.float64) - np.mean(i)) * window for i in (reference, image))
    shift, _, _ = phase_cross_correlation(one, two, upsample_factor=200, normalization=None)
    return -float(shift[0]), -float(shift[1])


def _decibels(error: float, span: float) -> float:
    if not span:
        return float("nan")
    return float(-10 * np.log10(max(error / span**2, _PERFECT)))


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the values of all windows in one row."""
    return np.concatenate([part.ravel() for part in parts])
