"""SQUIRREL: whether the result, blurred, explains the image that it was made from.

S. Culley et al., Nature Methods 15, 263 (2018), doi:10.1038/nmeth.4605. The result is averaged to
the source's pixels, blurred by a Gaussian (the resolution scaling function, RSF) and brought to the
source's gain and offset, all three fitted; what remains is error.

It sees light that was moved, lost or added at the scale of the source's pixels. It cannot see
detail that was invented below that scale: a model that redraws everything inside a pixel can
score near 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, optimize

from napari_superres.trust.figures import figure
from napari_superres.trust.light import coarse
from napari_superres.trust.similarity import best_fit, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDEST = 3.0


@dataclass(frozen=True)
class Squirrel:
    """Agreement of the blurred result with its source."""

    rsp: float = figure(
        "RSP", "correlation of the blurred result with the source; 1 is perfect", "", 4
    )
    rse: float = figure("RSE", "root-mean-square error of the same; noise counts", "grey levels")
    rsf: float = figure(
        "RSF", "blur that explains the source best (standard deviation)", "source pixels", 2
    )


def squirrel(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Squirrel:
    """Return how well the result explains its source.

    Parameters
    ----------
    pairs : sequence of (result, source)
        Windows of one channel: result of shape (s*y, s*x), source of shape (y, x). One blur, gain
        and offset are fitted for all of them.

    Returns
    -------
    Squirrel
        `rsp` is NaN where the source or the result is constant.
    """
    means = [coarse(result, source) for result, source in pairs]
    sources = [np.asarray(source, np.float64) for _, source in pairs]
    sigma, gain, offset = _fit(means, sources)
    seen = joined([_blurred(mean, sigma) for mean in means])
    wanted = joined(sources)
    spread = float(seen.std() * wanted.std())
    covariance = float(np.mean((seen - seen.mean()) * (wanted - wanted.mean())))
    return Squirrel(
        rsp=covariance / spread if spread else float("nan"),
        rse=float(np.sqrt(np.mean((gain * seen + offset - wanted) ** 2))),
        rsf=sigma,
    )


def error_map(result: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Return where a result fails to explain its source.

    Parameters
    ----------
    result : np.ndarray, shape (s*y, s*x)
        One plane, or a window of one.
    source : np.ndarray, shape (y, x)
        The same field of view.

    Returns
    -------
    np.ndarray, shape (y, x), float32
        Absolute error in the source's grey levels, after the fit. Noise that was removed shows as
        an even background; look for structure in it.
    """
    mean, wanted = coarse(result, source), np.asarray(source, np.float64)
    sigma, gain, offset = _fit([mean], [wanted])
    return np.abs(gain * _blurred(mean, sigma) + offset - wanted).astype(np.float32)


def _fit(means: Sequence[np.ndarray], sources: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """Return the blur in source pixels, gain and offset that explain the source best."""
    wanted = joined(sources)

    def fitted(sigma: float) -> tuple[float, float, float]:
        seen = joined([_blurred(mean, sigma) for mean in means])
        gain, offset = best_fit(seen, wanted)
        return float(np.mean((gain * seen + offset - wanted) ** 2)), gain, offset

    found = optimize.minimize_scalar(
        lambda sigma: fitted(sigma)[0],
        bounds=(0, _WIDEST),
        method="bounded",
        options={"xatol": 0.02},
    )
    # No blur at all lies on the bound, which the search only comes near to.
    sigma = 0.0 if fitted(0.0)[0] <= found.fun else float(found.x)
    return sigma, *fitted(sigma)[1:]


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(ndimage.gaussian_filter(image, sigma, mode="reflect")) if sigma else image
