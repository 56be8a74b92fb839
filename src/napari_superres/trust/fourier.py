"""Up to which detail two images agree, and what a result adds beyond its source's sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, ndimage
from scipy.signal.windows import hann

from napari_superres.errors import InputError
from napari_superres.trust.figures import figure
from napari_superres.trust.similarity import best_fit, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

THRESHOLD = 1 / 7
"""Where a ring counts as resolved: R. P. J. Nieuwenhuizen et al., Nature Methods 10, 557 (2013),
doi:10.1038/nmeth.2448."""

_SMALLEST = 16
_SMOOTH = 3
# Share of the rings that are pooled. A fixed number would reach farther in a small window, and the
# strong low frequencies would pass for detail.
_POOLED = 7 / 128


@dataclass(frozen=True, eq=False)
class RingCorrelation:
    """Correlation of two images in rings of equal spatial frequency.

    W. O. Saxton and W. Baumeister, J. Microsc. 127, 127 (1982),
    doi:10.1111/j.1365-2818.1982.tb00405.x.

    Parameters
    ----------
    frequency : np.ndarray, shape (n,)
        Middle of each ring, in cycles a pixel, ascending.
    correlation : np.ndarray, shape (n,)
        From -1 to 1.
    limit : float
        Highest frequency that could be seen, in cycles a pixel.
    """

    frequency: np.ndarray
    correlation: np.ndarray
    limit: float

    @property
    def cutoff(self) -> float:
        """Return where the curve first falls below 1/7, in cycles a pixel.

        `limit` if it never does; 0 if it lies below from the beginning.
        """
        smooth = ndimage.uniform_filter1d(self.correlation, _SMOOTH, mode="nearest")
        below = np.flatnonzero(smooth < THRESHOLD)
        if below.size == 0:
            return self.limit
        last = int(below[0])
        if last == 0:
            return 0.0
        high, low = smooth[last - 1], smooth[last]
        share = (high - THRESHOLD) / (high - low)
        step = self.frequency[last] - self.frequency[last - 1]
        return float(self.frequency[last - 1] + share * step)

    @property
    def mean(self) -> float:
        """Return the mean correlation over all frequencies up to the limit."""
        return float(self.correlation.mean())

    def resolution(self, pixel_size: float = 1.0) -> float:
        """Return the finest period on which both agree, in the unit of `pixel_size`.

        Infinite where they agree on nothing.
        """
        return pixel_size / self.cutoff if self.cutoff else float("inf")


@dataclass(frozen=True)
class Detail:
    """What a result holds beyond the sampling limit of its source, against a known truth."""

    recovered: float = figure(
        "detail recovered",
        "share of the truth's detail beyond the source's sampling that is there, in phase",
    )
    invented: float = figure(
        "detail invented",
        "detail added there that does not correlate with the truth, same unit; 0 is best",
        "",
        4,
    )


def ring_correlation(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> RingCorrelation:
    """Return the Fourier ring correlation (FRC) of two images.

    Parameters
    ----------
    pairs : sequence of (np.ndarray, np.ndarray), each of shape (y, x)
        Windows of the two images. Their rings are pooled. Each is tapered by a Hann window.

    Returns
    -------
    RingCorrelation
        Noise that both share, such as a fixed pattern of the camera, counts as detail.

    Raises
    ------
    InputError
        If a window has an edge below 16 pixels.
    """
    bins = _bins(pairs)
    sums = sum(_ring_sums(_spectrum(a), _spectrum(b), _radius(a.shape), bins) for a, b in pairs)
    return _correlation(np.asarray(sums), 0.5)


def split_correlation(windows: Sequence[np.ndarray]) -> RingCorrelation:
    """Return the FRC of one image, split into its two diagonals of pixels.

    S. Koho et al., Nature Communications 10, 3103 (2019), doi:10.1038/s41467-019-11024-z. What they
    calibrate with a fitted curve is taken out here by what is known: the phase of the half-pixel
    offset between the two parts, and that a part, with a fourth of the pixels, has a fourth of the
    ratio of signal to noise. The curve is that of two whole exposures.

    Parameters
    ----------
    windows : sequence of np.ndarray, shape (y, x)
        Of one image.

    Returns
    -------
    RingCorrelation
        Up to 0.25 cycles a pixel: with half of the pixels along each axis nothing beyond can be
        told apart, so a resolution of 4 pixels means "4 or finer".

    Raises
    ------
    InputError
        If a window has an edge below 32 pixels.

    Notes
    -----
    It needs noise that is independent from pixel to pixel. In an image that was interpolated,
    denoised or upscaled, noise and invented detail extend over neighbouring pixels, are the same
    in both parts, and count as resolved. For a result this figure says how fine its texture is,
    not how true.
    """
    halves = [half for window in windows for half in _diagonals(np.asarray(window, np.float64))]
    bins = _bins([(one, two) for one, two, _ in halves])
    sums = np.zeros((3, bins))
    for one, two, shift in halves:
        phase = np.exp(2j * np.pi * _phase(one.shape, shift))
        sums += _ring_sums(
            fft.rfft2(one), fft.rfft2(two) * np.conj(phase), _radius(one.shape), bins
        )
    # The step from one ratio to the other magnifies chance, so rings are pooled first.
    width = 2 * int(_POOLED * bins / 2) + 1
    sums = ndimage.uniform_filter1d(sums, width, axis=1, mode="nearest")
    parts = _correlation(sums, 0.25)
    # S / (S + 4 N) -> S / (S + N)
    whole = 4 * parts.correlation / (1 + 3 * np.maximum(parts.correlation, 0))
    return replace(parts, correlation=np.maximum(whole, -1))


def binomial_correlation(
    windows: Sequence[np.ndarray], gain: float, offset: float, seed: int = 0
) -> RingCorrelation:
    """Return the FRC of one image of counted photons, split at random into two half exposures.

    B. Rieger et al., Optics Express 32, 21767 (2024), doi:10.1364/OE.524683: each photon goes to
    one of the halves with probability 1/2, and halves of a Poisson number are independent Poisson
    numbers.

    Parameters
    ----------
    windows : sequence of np.ndarray, shape (y, x)
        As the camera recorded them. Not for results: their pixels count nothing.
    gain : float
        Grey levels a photo-electron.
    offset : float
        Grey levels without light.
    seed : int
        Of the split.

    Returns
    -------
    RingCorrelation
        Up to 0.5 cycles a pixel, for half of the light. Read noise is halved too and does not
        become independent, so it counts as detail where it exceeds the shot noise; use it with
        more than some 10 photons a pixel.

    Raises
    ------
    InputError
        If the gain is not positive, the offset no number, or a window has an edge below 16 pixels.
    """
    if not 0 < gain < math.inf:
        raise InputError(f"gain={gain} is not positive.", "Give grey levels a photo-electron.")
    if not math.isfinite(offset):
        raise InputError(f"offset={offset} is no number.", "Give the grey levels without light.")
    rng = np.random.default_rng(seed)
    pairs = []
    for window in windows:
        counts = np.maximum(np.rint((np.asarray(window, np.float64) - offset) / gain), 0)
        one = rng.binomial(counts.astype(np.int64), 0.5)
        pairs.append((one, counts - one))
    return ring_correlation(pairs)


def beyond_sampling(pairs: Sequence[tuple[np.ndarray, np.ndarray]], scale: int) -> Detail:
    """Return what a result holds beyond its source's Nyquist frequency.

    Parameters
    ----------
    pairs : sequence of (result, truth), each np.ndarray of shape (s*y, s*x)
        Windows of one channel. The result is brought to the truth's gain and offset first.
    scale : int
        Scale factor; the source's Nyquist frequency is ``0.5 / scale`` cycles a fine pixel.

    Returns
    -------
    Detail
        `recovered` is ``sum(Re R T*) / sum(|T|^2)`` over the rings from there to 0.5 cycles a
        pixel: 1 for the truth, 0 for nothing, negative for detail of the wrong sign. `invented` is
        the result's energy in those of the rings whose correlation lies below 1/7, as a share of
        the truth's energy over all of them. Both are NaN where the truth holds nothing there. A
        truth's own noise is detail nobody can recover.
    """
    bins = _bins(pairs)
    gain, _ = best_fit(joined([r for r, _ in pairs]), joined([t for _, t in pairs]))
    sums = np.asarray(
        sum(_ring_sums(gain * _spectrum(r), _spectrum(t), _radius(r.shape), bins) for r, t in pairs)
    )
    fine = _frequencies(bins) > 0.5 / scale
    cross, own, true = sums[:, fine]
    total = float(true.sum())
    if not total:
        return Detail(float("nan"), float("nan"))
    correlation = _correlation(sums, 0.5).correlation[fine]
    return Detail(
        recovered=float(cross.sum()) / total,
        invented=float(own[correlation < THRESHOLD].sum()) / total,
    )


def _bins(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
    """Return how many rings windows of these shapes can tell apart."""
    edge = min(min(a.shape) for a, _ in pairs)
    if edge < _SMALLEST:
        raise InputError(
            f"An image with an edge of {edge} pixels has too few frequencies to compare.",
            f"Give windows of {_SMALLEST} pixels or more, {2 * _SMALLEST} to split one image.",
        )
    return edge // 2


def _frequencies(bins: int) -> np.ndarray:
    return np.asarray((np.arange(bins) + 1) * 0.5 / bins)


def _spectrum(image: np.ndarray) -> np.ndarray:
    return np.asarray(fft.rfft2(_tapered(np.asarray(image, np.float64))))


def _tapered(image: np.ndarray) -> np.ndarray:
    y, x = (hann(n, sym=False) for n in image.shape)
    return np.asarray((image - image.mean()) * y[:, None] * x)


def _radius(shape: tuple[int, ...]) -> np.ndarray:
    """Return the spatial frequency of each value of a real transform, in cycles a pixel."""
    return np.asarray(np.hypot(fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])))


def _phase(shape: tuple[int, ...], shift: tuple[float, float]) -> np.ndarray:
    y, x = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])
    return np.asarray(shift[0] * y + shift[1] * x)


def _ring_sums(a: np.ndarray, b: np.ndarray, radius: np.ndarray, bins: int) -> np.ndarray:
    """Return, for each ring, the sums of ``Re a b*``, ``|a|^2`` and ``|b|^2``: shape (3, bins).

    Ring k is centred at ``(k + 1) * 0.5 / bins`` cycles a pixel; constants and corners are out.
    """
    ring = np.rint(radius * 2 * bins).astype(np.int64).ravel() - 1
    kept = (ring >= 0) & (ring < bins)
    parts = ((a * np.conj(b)).real, np.abs(a) ** 2, np.abs(b) ** 2)
    return np.stack([np.bincount(ring[kept], part.ravel()[kept], minlength=bins) for part in parts])


def _correlation(sums: np.ndarray, limit: float) -> RingCorrelation:
    cross, a, b = sums
    power = np.sqrt(a * b)
    curve = np.divide(cross, power, out=np.zeros_like(cross), where=power > 0)
    return RingCorrelation(_frequencies(curve.size) * 2 * limit, curve, limit)


def _diagonals(
    window: np.ndarray,
) -> Iterator[tuple[np.ndarray, np.ndarray, tuple[float, float]]]:
    """Yield both splits of a window: two quarters of its pixels, and how far the second lies off.

    ::

        a . a .      . a . a       a, b: the two parts
        . b . b      b . b .       offset (1/2, 1/2) and (1/2, -1/2) of a part's own pixels
    """
    height, width = (n - n % 2 for n in window.shape)
    tapered = _tapered(window[:height, :width])
    yield tapered[::2, ::2], tapered[1::2, 1::2], (0.5, 0.5)
    yield tapered[::2, 1::2], tapered[1::2, ::2], (0.5, -0.5)
