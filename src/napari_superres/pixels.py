"""Arithmetic on pixels that several steps of an upscaling share."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

_AROUND = np.ones((3, 3), np.float32)


def value_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the smallest and largest finite value that a pixel can hold.

    Infinite for floats of 32 bits and more, whose range nothing here comes near to.
    """
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return float(info.min), float(info.max)
    if dtype == np.float16:
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return -np.inf, np.inf


_STRIP = 2**16
"""Pixels that are converted at a time, if a row is not longer."""


def to_dtype(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Return values as pixels of a type: rounded half to even for integers, clipped to its range.

    Parameters
    ----------
    values : np.ndarray
        Any shape. In integers NaN becomes 0, and infinity the end of the range; floats keep both.
    dtype : dtype
        Integer or floating.

    Returns
    -------
    np.ndarray, of type `dtype`
    """
    if dtype.kind not in "iu":
        low, high = value_range(dtype)
        if np.isfinite(high) and values.dtype != dtype:  # 60000 and an overshoot are too much
            values = np.where(np.isfinite(values), np.clip(values, low, high), values)
        return values.astype(dtype, copy=False)
    if values.dtype == bool:
        return values.astype(dtype)
    if values.dtype.kind in "iu":
        own, new = np.iinfo(values.dtype), np.iinfo(dtype)
        return np.clip(values, max(own.min, new.min), min(own.max, new.max)).astype(dtype)
    if values.ndim >= 2 and values.size > _STRIP:
        # Strip by strip, so that what lies between stays in the processor's cache.
        out = np.empty(values.shape, dtype)
        rows = max(1, _STRIP * values.shape[-2] // values.size)
        for start in range(0, values.shape[-2], rows):
            strip = (..., slice(start, start + rows), slice(None))
            out[strip] = to_dtype(values[strip], dtype)
        return out
    low, high = value_range(dtype)
    # float32 cannot hold the largest 32-bit integer, and a cast beyond the range is undefined.
    rounded = np.rint(values, dtype=np.float64 if dtype.itemsize >= 4 else values.dtype)
    if not np.isfinite(rounded).all():
        rounded = np.nan_to_num(rounded, copy=False, posinf=high, neginf=low)
    return np.clip(rounded, low, high, out=rounded).astype(dtype)


def fill_gaps(values: np.ndarray, reach: int) -> np.ndarray:
    """Return values with each one that is not finite replaced by its finite neighbours' mean.

    Gaps are closed from their rim inwards, one pixel a step, so that what a model sees near a gap
    continues what was measured. Deeper inside than `reach` they become 0: no finite pixel's result
    depends on that.

    Parameters
    ----------
    values : np.ndarray, shape (n, c, y, x), float32
    reach : int
        Number of steps.

    Returns
    -------
    np.ndarray
        The same array when all of it is finite.
    """
    known = np.isfinite(values)
    if known.all():
        return values
    filled = np.where(known, values, np.float32(0))
    for plane in np.ndindex(*values.shape[:2]):
        _close(filled[plane], known[plane].copy(), reach)
    return filled


def _close(plane: np.ndarray, known: np.ndarray, reach: int) -> None:
    for _ in range(reach):
        if known.all() or not known.any():
            return
        weight = ndimage.correlate(known.astype(np.float32), _AROUND, mode="constant")
        total = ndimage.correlate(np.where(known, plane, 0), _AROUND, mode="constant")
        rim = ~known & (weight > 0)
        plane[rim] = total[rim] / weight[rim]
        known |= rim


def resample_area(values: np.ndarray, scale: int, wanted: int) -> np.ndarray:
    """Return blocks of `scale` x `scale` pixels as blocks of `wanted` x `wanted`, by area.

    Each source pixel's block is resampled by itself, so pixel centres and block means are kept.

    Parameters
    ----------
    values : np.ndarray, shape (..., scale*y, scale*x), float32
    scale, wanted : int

    Returns
    -------
    np.ndarray, shape (..., wanted*y, wanted*x), float32
    """
    if scale == wanted:
        return values
    edges, new = np.arange(scale + 1) / scale, np.arange(wanted + 1) / wanted
    overlap = np.minimum(edges[None, 1:], new[1:, None]) - np.maximum(
        edges[None, :-1], new[:-1, None]
    )
    share = (np.clip(overlap, 0, None) * wanted).astype(np.float32)  # (wanted, scale)
    for axis in (-2, -1):
        moved = np.moveaxis(values, axis, -1)
        blocks = moved.reshape(*moved.shape[:-1], -1, scale) @ share.T
        values = np.moveaxis(blocks.reshape(*moved.shape[:-1], -1), -1, axis)
    return values
