"""A picture of how a training stands: the source, the embedded or classical result, ours, truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_superres.formats.picture import write_png

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

EDGE = 192
"""Edge of a tile of the picture, in truth pixels."""

_GAP = 4


def write_preview(path: Path, rows: Sequence[Sequence[np.ndarray]]) -> None:
    """Write rows of pictures side by side as PNG; an older picture is replaced.

    Parameters
    ----------
    path : Path
        Where to.
    rows : sequence of sequence of np.ndarray, each of shape (y, x)
        Of one shape within a row. The last of a row is the truth: its 0.5 and 99.8 percentiles are
        black and white for the whole row, so that brightness can be compared.
    """
    strips = [np.hstack([_framed(picture) for picture in _stretched(row)]) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    whole = np.vstack(
        [
            np.pad(strip, ((0, 0), (0, width - strip.shape[1])), constant_values=255)
            for strip in strips
        ]
    )
    unfinished = path.with_suffix(".part")
    write_png(whole, str(unfinished))
    unfinished.replace(path)


def _stretched(row: Sequence[np.ndarray]) -> list[np.ndarray]:
    low, high = np.percentile(row[-1], (0.5, 99.8))
    span = max(float(high - low), 1e-12)
    return [
        np.clip(np.rint(255 * (picture[:EDGE, :EDGE] - low) / span), 0, 255).astype(np.uint8)
        for picture in row
    ]


def _framed(picture: np.ndarray) -> np.ndarray:
    return np.pad(picture, ((0, _GAP), (0, _GAP)), constant_values=255)
