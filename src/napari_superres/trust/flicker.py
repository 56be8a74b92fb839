"""Whether a result changes more from plane to plane than its source does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.trust.figures import figure

if TYPE_CHECKING:
    from collections.abc import Sequence

WORSE = 1.05
"""From this ratio on a result is said to flicker more than its source."""


@dataclass(frozen=True)
class Flicker:
    """Changes to and fro between neighbouring planes, as shares of the contrast."""

    axis: str
    result: float = figure(
        "flicker of the result", "change to and fro between neighbouring planes, share of contrast"
    )
    source: float = figure("flicker of the source", "the same, for the source")
    ratio: float = figure("ratio", "above 1, the result flickers more than the source does", "", 2)


def flicker(triples: Sequence[tuple[np.ndarray, np.ndarray]], axis: str) -> Flicker:
    """Return how much planes change to and fro along an axis.

    Parameters
    ----------
    triples : sequence of (result, source)
        Three neighbouring planes each: result of shape (3, s*y, s*x), source of shape (3, y, x).
    axis : str
        ``"z"`` or ``"t"``.

    Returns
    -------
    Flicker
        From ``(f0 - 2 f1 + f2) / sqrt(6)``, which is blind to what moves or fades steadily and has
        the standard deviation of noise that is independent from plane to plane. A sharper image of
        something that jumps changes more too: look before you blame the model.
    """
    result = _relative([r for r, _ in triples])
    source = _relative([s for _, s in triples])
    return Flicker(axis, result, source, result / source if source else float("nan"))


def _relative(triples: Sequence[np.ndarray]) -> float:
    change = contrast = 0.0
    for planes in triples:
        values = np.asarray(planes, np.float64)
        change += float(np.mean((values[0] - 2 * values[1] + values[2]) ** 2)) / 6
        contrast += float(values.var())
    return float(np.sqrt(change / contrast)) if contrast else float("nan")
