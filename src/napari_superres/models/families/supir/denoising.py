"""What the network makes of a noisy latent: scaled, guided by words, and fused from tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_superres.models.families.supir import schedule
from napari_superres.models.families.supir.network import Conditioning
from napari_superres.progress import tick

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_superres.models.families.supir.network import Network

VARIANCE = 0.01
"""Of the Gaussian seam weights, for a tile one wide."""


@dataclass(frozen=True)
class Guidance:
    """How much the words count.

    Parameters
    ----------
    scale, start : float
        At noise level zero and at the highest; 1 takes the positive words alone, more goes further
        away from the negative ones.
    """

    scale: float
    start: float

    def at(self, level: float) -> float:
        """Return the scale at a noise level."""
        return schedule.linear(self.scale, self.start, level)


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


class WordGuided:
    """A network as a `Denoiser`: each tile seen with and without the words, then fused.

    Parameters
    ----------
    network : Network
    hint : Tensor, shape (1, latent, y, x), float32
        Latent of the degraded image.
    positive, negative : Conditioning
        Of batch 1.
    guidance : Guidance
    tiles : sequence of Tile
        Of the latent.
    steps : int
        Of the sampler, for progress.
    """

    def __init__(
        self,
        network: Network,
        hint: Tensor,
        positive: Conditioning,
        negative: Conditioning,
        guidance: Guidance,
        tiles: Sequence[Tile],
        steps: int,
    ) -> None:
        parameter = network.unet.conv_out.weight
        self.dtype = parameter.dtype
        self.network = network
        self.hint = hint.to(self.dtype)
        self.positive = positive.to(hint.device, self.dtype)
        self.negative = negative.to(hint.device, self.dtype)
        self.guidance = guidance
        self.tiles = tiles
        self.steps = steps

    def __call__(self, x: Tensor, level: float, strength: float, index: int) -> Tensor:
        """Return the clean latent that the network expects. See `Denoiser`.

        The scale of the guidance follows `level`; what the network is told is the nearest level
        that it was trained with.
        """
        step, trained = schedule.nearest(level)
        scaled = (x / math.sqrt(trained**2 + 1)).to(self.dtype)
        seen = torch.zeros_like(x)
        for number, tile in enumerate(self.tiles):
            tick(index * len(self.tiles) + number, self.steps * len(self.tiles))
            cut = (..., tile.rows, tile.columns)
            noise = self._noise(scaled[cut], self.hint[cut], step, level, strength)
            seen[cut] += noise * tile.weights.to(x.device)
        return x - seen * trained

    def _noise(self, x: Tensor, hint: Tensor, step: int, level: float, strength: float) -> Tensor:
        t = torch.tensor([step], device=x.device)
        scale = self.guidance.at(level)
        if scale == 1:
            return self.network(x, t, hint, self.positive, strength).float()
        both = Conditioning(
            torch.cat([self.negative.context, self.positive.context]),
            torch.cat([self.negative.vector, self.positive.vector]),
        )
        pair = self.network(x.repeat(2, 1, 1, 1), t, hint.repeat(2, 1, 1, 1), both, strength)
        without, told = pair.float().chunk(2)
        return without + (told - without) * scale


def _starts(length: int, edge: int, stride: int) -> list[int]:
    starts = list(range(0, length - edge + 1, stride))
    if starts[-1] + edge < length:
        starts.append(length - edge)
    return starts


def _bell(length: int, shift: float) -> Tensor:
    centre = (length - 1) / 2 + shift
    distance = (torch.arange(length, dtype=torch.float64) - centre) / length
    return torch.exp(-(distance**2) / (2 * VARIANCE))
