"""Whether the light that was measured is still there."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.consistency import block_mean
from napari_superres.trust.figures import figure
from napari_superres.trust.similarity import best_fit, joined, spread_of

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK = 8
"""Edge of the blocks whose light is compared, in source pixels: about a small organelle."""


@dataclass(frozen=True)
class Light:
    """The result, averaged over the area of each source pixel, against the source.

    None of these figures can see detail finer than a source pixel, invented or not.
    """

    slope: float = figure(
        "slope", "intensity of the result per intensity of the source; 1 keeps it"
    )
    intercept: float = figure(
        "intercept", "what the result shows where the source is 0", "grey levels"
    )
    r2: float = figure(
        "R2", "share of the source's variation that the result explains; 1 is all", "", 4
    )
    flux_error: float = figure(
        "block flux error",
        f"mean error of the light in {BLOCK} x {BLOCK} source pixels, share of the range",
        "",
        5,
    )
    residual: float = figure(
        "consistency residual",
        "root-mean-square difference to each source pixel, share of the range; noise counts",
        "",
        5,
    )


def light(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Light:
    """Return how much of the source's light the result holds.

    Parameters
    ----------
    pairs : sequence of (result, source)
        Windows of one channel: result of shape (s*y, s*x), source of shape (y, x).

    Returns
    -------
    Light
        The slope is that of a regression on the source as it was recorded. Where noise was
        removed it lies below 1 even if all light is kept, by the noise's share of the source's
        variance. `flux_error` and `residual` relate to the source's range between its 0.1 and 99.9
        percentiles, so gain and pedestal do not matter. Neither pixels that are not finite count
        nor blocks that hold one.
    """
    means = [coarse(result, source) for result, source in pairs]
    sources = [np.asarray(source, np.float64) for _, source in pairs]
    seen, true = joined(means), joined(sources)
    known = np.isfinite(seen) & np.isfinite(true)
    if not known.any():
        return Light(*[float("nan")] * len(fields(Light)))
    seen, true = seen[known], true[known]
    slope, intercept = best_fit(true, seen)
    back = best_fit(seen, true)[0]
    span = spread_of(true)
    blocks = np.concatenate(
        [np.abs(_blocks(_less(mean, source))) for mean, source in zip(means, sources, strict=True)]
    )
    blocks = blocks[np.isfinite(blocks)]
    moved = float(blocks.mean()) if blocks.size else float("nan")
    residual = float(np.sqrt(np.mean((seen - true) ** 2)))
    return Light(
        slope=slope if span else float("nan"),
        intercept=intercept,
        r2=slope * back if span else float("nan"),  # the square of the correlation
        flux_error=moved / span if span else float("nan"),
        residual=residual / span if span else float("nan"),
    )


def residual_map(result: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Return by how much a result, averaged over each source pixel, exceeds the source.

    Parameters
    ----------
    result : np.ndarray, shape (s*y, s*x) or (s*y, s*x, samples)
        One plane, or a window of one. Of colour pictures, the mean of red, green and blue.
    source : np.ndarray, shape (y, x) or (y, x, samples)
        The same field of view.

    Returns
    -------
    np.ndarray, shape (y, x), float32
        In the source's grey levels, above and below zero. Noise that was removed is in it. Not
        finite where one of the two is not.
    """
    if source.ndim == 3:
        return residual_map(*(np.mean(image[..., :3], axis=-1) for image in (result, source)))
    return _less(coarse(result, source), source).astype(np.float32)


def coarse(result: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Return a result averaged over the area of each pixel of its source, in float64."""
    scale = result.shape[-1] // source.shape[-1]
    # Sums in float32 would lose the last digits of a small signal on a large pedestal.
    finite = source[np.isfinite(source)]
    pedestal = float(finite[0]) if finite.size else 0.0
    return block_mean(result - pedestal, scale).astype(np.float64) + pedestal


def _less(mean: np.ndarray, source: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # infinity less infinity: not a number, as it should be
        return np.asarray(mean - source)


def _blocks(values: np.ndarray) -> np.ndarray:
    """Return the means of blocks; what does not fill one is left out, unless nothing does."""
    edge = min(BLOCK, *values.shape)
    height, width = (n // edge for n in values.shape)
    cut = values[: height * edge, : width * edge]
    return np.asarray(cut.reshape(height, edge, width, edge).mean(axis=(1, 3)).ravel())
