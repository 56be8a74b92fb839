"""Coarser levels of a result: how many, how large, and how pixels are merged."""

from __future__ import annotations

import numpy as np

SMALLEST_SIDE = 256
"""No level is made below the first whose smaller side is under this many pixels."""

STRIP = 2**16
"""Pixels that are merged at a time, if two rows are not longer."""

LARGEST_SIDE = 4096
"""Long and narrow planes get levels until their larger side is at most this long."""


def level_shapes(shape: tuple[int, int], at_least: int = 1) -> tuple[tuple[int, int], ...]:
    """Return the lengths along y and x of every level, finest first.

    Parameters
    ----------
    shape : (int, int)
        Pixels along y and x at level 0.
    at_least : int
        How many levels there shall be even when the plane is small.

    Returns
    -------
    tuple of (int, int)
        Each half of the one before, rounded up.
    """
    levels = [shape]
    while True:
        y, x = levels[-1]
        wanted = len(levels) < at_least or min(y, x) >= SMALLEST_SIDE or max(y, x) > LARGEST_SIDE
        if not wanted or max(y, x) == 1:
            return tuple(levels)
        levels.append((-(-y // 2), -(-x // 2)))


def coarser(pixels: np.ndarray, *, nearest: bool = False) -> np.ndarray:
    """Return pixels at half the resolution along the last two axes.

    Each new pixel is the mean of the 2 x 2 that it covers. The last row and column of an odd length
    are repeated first, so a plane's parts can be merged one by one as long as they start at even
    positions::

        5 pixels   a b | c d | e (e)   ->   3 pixels

    Parameters
    ----------
    pixels : np.ndarray, shape (..., y, x)
        Integers, floats or bool.
    nearest : bool
        Keep one of the four pixels instead of their mean, for labels, whose values are names.

    Returns
    -------
    np.ndarray, shape (..., ceil(y / 2), ceil(x / 2)), of the same type
        Means of integers are exact and rounded half to even. Means of floats leave out NaN; where
        all four are NaN, so is the result.
    """
    if nearest or pixels.dtype == bool:
        return np.ascontiguousarray(pixels[..., ::2, ::2])
    odd = [(0, n % 2) for n in pixels.shape[-2:]]
    if any(extra for _, extra in odd):
        pixels = np.pad(pixels, [(0, 0)] * (pixels.ndim - 2) + odd, mode="edge")
    mean = _integer_mean if pixels.dtype.kind in "iu" else _float_mean
    # Strip by strip, so that what lies between stays in the processor's cache.
    rows = max(2, 2 * (STRIP * pixels.shape[-2] // max(2 * pixels.size, 1)))
    starts = range(0, pixels.shape[-2], rows)
    strips = [mean(pixels[..., start : start + rows, :]) for start in starts]
    return strips[0] if len(strips) == 1 else np.concatenate(strips, axis=-2)


def _integer_mean(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype.itemsize == 8:
        return _wide_integer_mean(pixels)
    wide = np.dtype(f"{pixels.dtype.kind}{max(4, 2 * pixels.dtype.itemsize)}")
    rows = np.add(pixels[..., 0::2, :], pixels[..., 1::2, :], dtype=wide)
    total = rows[..., 0::2] + rows[..., 1::2]
    # total / 4 rounded half to even, in integers: only a quotient that is odd lifts a half.
    total += ((total >> 2) & 1) + 1
    total >>= 2
    return total.astype(pixels.dtype)


def _wide_integer_mean(pixels: np.ndarray) -> np.ndarray:
    # There is no wider type to add in: quarters and remainders are added by themselves.
    four = [pixels[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
    quotient = sum((part >> 2 for part in four[1:]), start=four[0] >> 2)
    rest = sum((part & 3 for part in four[1:]), start=four[0] & 3)
    quotient += rest >> 2
    rest &= 3
    quotient += rest + (quotient & 1) > 2
    return np.asarray(quotient)


def _float_mean(pixels: np.ndarray) -> np.ndarray:
    wide = np.dtype(np.float32) if pixels.dtype.itemsize < 4 else pixels.dtype
    # Quarters are added, not the pixels: four large numbers would overflow.
    quarters = pixels.astype(wide, copy=False) * wide.type(0.25)
    four = [quarters[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
    with np.errstate(invalid="ignore"):  # infinity minus infinity is NaN, as it should be
        mean = four[0] + four[1] + four[2] + four[3]
    if np.isnan(mean).any():
        known = [~np.isnan(part) for part in four]
        count = np.sum(known, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            total = np.sum([np.where(k, p, 0) for k, p in zip(known, four, strict=True)], axis=0)
            some = total * (4 / count)
        gap = (count > 0) & (count < 4)
        mean = np.where(gap, some, mean)
    return np.asarray(mean.astype(pixels.dtype, copy=False))
