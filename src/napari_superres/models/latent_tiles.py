"""Overlapping tiles of a latent, fused at every step of a sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

VARIANCE = 0.01
"""Of the Gaussian seam weights, for a tile one wide."""


@dataclass(frozen=True)
class Tile:
    """A part of a latent, and how much it counts where tiles overlap.

    Parameters
    ----------
    rows, columns : slice
        In latents.
    weights : Tensor, shape (y, x), float32
        Over all tiles they sum to one at every latent.
    """

    rows: slice
    columns: slice
    weights: Tensor


def lay_tiles(
    height: int, width: int, edge: int, stride: int, *, shift: float = 0.0
) -> tuple[Tile, ...]:
    """Return overlapping tiles that cover a latent, in raster order.

    All have the same size; the last of a row or column is moved inward, and a latent smaller than a
    tile is one tile.

    Parameters
    ----------
    height, width : int
        Of the latent.
    edge, stride : int
        Of a tile, and from one to the next, in latents.
    shift : float
        By how many latents the weights' centre lies below the tile's. 0.5 is the original's.
    """
    tall, wide = min(edge, height), min(edge, width)
    weights = torch.outer(_bell(tall, shift), _bell(wide, 0.0))
    places = [
        (slice(y, y + tall), slice(x, x + wide))
        for y in _starts(height, tall, stride)
        for x in _starts(width, wide, stride)
    ]
    total = torch.zeros(height, width, dtype=torch.float64)
    for rows, columns in places:
        total[rows, columns] += weights
    return tuple(
        Tile(rows, columns, (weights / total[rows, columns]).float()) for rows, columns in places
    )


def _starts(length: int, edge: int, stride: int) -> list[int]:
    starts = list(range(0, length - edge + 1, stride))
    if starts[-1] + edge < length:
        starts.append(length - edge)
    return starts


def _bell(length: int, shift: float) -> Tensor:
    centre = (length - 1) / 2 + shift
    distance = (torch.arange(length, dtype=torch.float64) - centre) / length
    return torch.exp(-(distance**2) / (2 * VARIANCE))
