"""Pull a prediction back onto the pixels that were measured: light is conserved.

A source pixel is the light that fell on its area, so a finer image, averaged over that area, has to
give it back. Both variants are parameter-free, local, and applied to each tile before the seam.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_superres.models.catalog import Consistency

_REACH = 5
_GAUSSIAN = np.exp(-0.5 * (np.arange(-_REACH, _REACH + 1) / 2.0) ** 2)
_BLUR = (_GAUSSIAN / _GAUSSIAN.sum()).astype(np.float32)
"""A Gaussian with a standard deviation of two source pixels: narrower ones put more of the noise
back that a model removed (docs/explanation/embedded-model.md has the figures)."""

RADIUS: dict[str, int] = {"off": 0, "pixel": 0, "local": _REACH + 1}
"""How many source pixels around a pixel each variant looks at: the blur, and one to interpolate
the correction."""


def conserve(
    prediction: np.ndarray,
    source: np.ndarray,
    variant: Consistency,
    low: float = -np.inf,
    high: float = np.inf,
) -> np.ndarray:
    """Return the prediction with the source's light.

    Parameters
    ----------
    prediction : np.ndarray, shape (..., s*y, s*x), float32
        What a model says, in the source's units.
    source : np.ndarray, shape (..., y, x), float32
        The pixels that were measured, over the same field of view.
    variant : {"pixel", "local", "off"}
        ``"pixel"``: the mean of each s x s block is its source pixel. ``"local"``: the block means
        agree with the source after a blur of two source pixels, so noise that a model removed is
        not put back. ``"off"``: nothing is changed.
    low, high : float
        Range of values that can be stored; ``"pixel"`` finds, inside it, the values nearest to the
        prediction that have the right mean.

    Returns
    -------
    np.ndarray, shape (..., s*y, s*x), float32
    """
    if variant == "off":
        return prediction
    scale = prediction.shape[-1] // source.shape[-1]
    missing = source - block_mean(prediction, scale)
    if variant == "pixel":
        return _fit_blocks(prediction, source, missing, scale, low, high)
    return prediction + _smooth_repeat(_blur(missing), scale)


def block_mean(values: np.ndarray, scale: int) -> np.ndarray:
    """Return the mean of each block of `scale` x `scale` pixels.

    Parameters
    ----------
    values : np.ndarray, shape (..., s*y, s*x), float32
    scale : int

    Returns
    -------
    np.ndarray, shape (..., y, x), float32
    """
    rows = sum_of(values[..., phase::scale] for phase in range(scale))
    return sum_of(rows[..., phase::scale, :] for phase in range(scale)) / np.float32(scale**2)


def sum_of(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Return the sum of equally large arrays: many times faster than numpy's along a short axis."""
    first, *others = parts
    total = first.astype(np.float32)
    for part in others:
        total += part
    return total


def repeat(values: np.ndarray, scale: int) -> np.ndarray:
    """Return each pixel of the last two axes as a block of `scale` x `scale` equal pixels."""
    # Rows last: they are copied whole, three times as fast as the other way round.
    return values.repeat(scale, axis=-1).repeat(scale, axis=-2)


def bilinear(values: np.ndarray, scale: int) -> np.ndarray:
    """Interpolate linearly between pixel centres; edges are continued.

    Parameters
    ----------
    values : np.ndarray, shape (..., y, x), float32
    scale : int

    Returns
    -------
    np.ndarray, shape (..., s*y, s*x), float32
    """
    return _bilinear_axis(_bilinear_axis(values, scale, -2), scale, -1)


def _bilinear_axis(values: np.ndarray, scale: int, axis: int) -> np.ndarray:
    values = np.moveaxis(values, axis, -1)
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(1, 1)], mode="edge")
    before, here, after = padded[..., :-2], padded[..., 1:-1], padded[..., 2:]
    out = np.empty((*values.shape, scale), np.float32)
    for phase in range(scale):
        at = (phase + 0.5) / scale - 0.5
        neighbour = before if at < 0 else after
        out[..., phase] = here + np.float32(abs(at)) * (neighbour - here)
    # (..., n, s) -> (..., n*s)
    out = out.reshape(*values.shape[:-1], values.shape[-1] * scale)
    return np.moveaxis(out, -1, axis)


def _blur(values: np.ndarray) -> np.ndarray:
    once = ndimage.correlate1d(values, _BLUR, axis=-1, mode="reflect")
    return np.asarray(ndimage.correlate1d(once, _BLUR, axis=-2, mode="reflect"))


def _smooth_repeat(values: np.ndarray, scale: int) -> np.ndarray:
    """Interpolate so that the block means are exactly `values`."""
    smooth = bilinear(values, scale)
    return smooth + repeat(values - block_mean(smooth, scale), scale)


def _fit_blocks(
    prediction: np.ndarray,
    source: np.ndarray,
    missing: np.ndarray,
    scale: int,
    low: float,
    high: float,
) -> np.ndarray:
    fitted = np.ascontiguousarray(prediction + repeat(missing, scale))
    if np.isinf(low) and np.isinf(high):
        return fitted
    *lead, height, width = source.shape
    # (..., s*y, s*x) -> (..., y, x, s, s), a view
    blocks = fitted.reshape(*lead, height, scale, width, scale).swapaxes(-3, -2)
    outside = ((blocks < low) | (blocks > high)).any(axis=(-2, -1))
    if outside.any():
        chosen = blocks[outside].astype(np.float64)  # (m, s, s)
        blocks[outside] = _project(chosen, source[outside].astype(np.float64), low, high)
    return fitted


def _project(blocks: np.ndarray, means: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the values nearest to `blocks` in [low, high] whose means are `means`.

    The solution is ``clip(blocks + shift, low, high)`` with one shift a block (the condition of
    Karush, Kuhn and Tucker for a quadratic distance). The mean grows with the shift, piece by piece
    in proportion, so Newton's steps find it, with bisection where they leave the bracket. A block
    is left alone once it is found: what others need must not change its last bits.
    """
    target = np.clip(means, low, high)
    least = low - blocks.max(axis=(-2, -1))
    most = high - blocks.min(axis=(-2, -1))
    shift = np.clip(target - blocks.mean(axis=(-2, -1)), least, most)
    near = 1e-12 * (np.abs(target) + np.ptp(blocks, axis=(-2, -1)))
    left = np.arange(len(blocks))
    for _ in range(60):
        moved = blocks[left] + shift[left, None, None]
        missing = target[left] - np.clip(moved, low, high).mean(axis=(-2, -1))
        free = ((moved > low) & (moved < high)).mean(axis=(-2, -1))
        wrong = np.abs(missing) > near[left]
        left, missing, free = left[wrong], missing[wrong], free[wrong]
        if not left.size:
            break
        least[left] = np.where(missing > 0, shift[left], least[left])
        most[left] = np.where(missing < 0, shift[left], most[left])
        step = shift[left] + missing / np.where(free > 0, free, np.inf)
        inside = (free > 0) & (step > least[left]) & (step < most[left])
        shift[left] = np.where(inside, step, (least[left] + most[left]) / 2)
    return np.clip(blocks + shift[:, None, None], low, high)
