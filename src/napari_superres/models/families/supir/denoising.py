"""What the network makes of a noisy latent: scaled, guided by words, and fused from tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_superres.models.families.supir import schedule
from napari_superres.models.families.supir.network import Conditioning
from napari_superres.models.workload import step_words
from napari_superres.progress import tick

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_superres.models.families.supir.network import Network
    from napari_superres.models.latent_tiles import Tile


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
            words = step_words(index, self.steps, number, len(self.tiles))
            tick(index * len(self.tiles) + number, self.steps * len(self.tiles), words)
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
