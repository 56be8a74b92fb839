"""SUPIR's denoising network: SDXL's, its decoder half told by a control network what to draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffusers import ControlNetModel, UNet2DConditionModel
    from torch import Tensor

    from napari_superres.models.families.supir.layout import Layout


@dataclass(frozen=True)
class Conditioning:
    """What the network is told in words.

    Parameters
    ----------
    context : Tensor, shape (n, tokens, context)
        Each token of the text.
    vector : Tensor, shape (n, vector)
        The text as a whole, and six sizes.
    """

    context: Tensor
    vector: Tensor

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Conditioning:
        """Return the same on a device, in a type."""
        return Conditioning(self.context.to(device, dtype), self.vector.to(device, dtype))


class Network(nn.Module):  # type: ignore[misc]
    """SDXL's network, a control network and the adapters between them. Stateless when called.

    Parameters
    ----------
    layout : Layout
        Widths of all parts.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.unet = layout.unet()
        self.control = layout.control()
        self.adapters = layout.adapters()

    def states(self, x: Tensor, t: Tensor, hint: Tensor, words: Conditioning) -> list[Tensor]:
        """Return the control states, the middle one last.

        Parameters
        ----------
        x : Tensor, shape (n, latent, y, x)
            Noisy latent, scaled to unit variance.
        t : Tensor, shape (n,)
            Time step between 0 and 999.
        hint : Tensor, shape (n, latent, y, x)
            Latent of the degraded image.
        words : Conditioning
        """
        embedded = _embed(self.control, x, t, words)
        first = self.control.conv_in(x) + self.control.controlnet_cond_embedding(hint)
        skips, middle = _descend(self.control, first, embedded, words.context)
        return [*skips, middle]

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        hint: Tensor | None,
        words: Conditioning,
        strength: float = 1.0,
    ) -> Tensor:
        """Return the noise that the network sees in a latent.

        Parameters
        ----------
        x, t, hint, words
            As for `states`. Without a hint it is SDXL's network alone.
        strength : float
            Of the control, 0 to 1.

        Returns
        -------
        Tensor, shape (n, latent, y, x)
        """
        states = self.states(x, t, hint, words) if hint is not None else None
        embedded = _embed(self.unet, x, t, words)
        skips, h = _descend(self.unet, self.unet.conv_in(x), embedded, words.context)
        if states is None:
            h = self._ascend(h, skips, embedded, words.context, _join, _keep)
        else:
            h = self._told(h, skips, embedded, words.context, states, strength)
        return self.unet.conv_out(self.unet.conv_act(self.unet.conv_norm_out(h)))

    def _told(
        self,
        h: Tensor,
        skips: list[Tensor],
        embedded: Tensor,
        context: Tensor,
        states: list[Tensor],
        strength: float,
    ) -> Tensor:
        """Go up the decoder half, each adapter in its place and each state used once or twice."""
        index = len(self.adapters) - 1
        used = len(states) - 1

        def adapter() -> nn.Module:
            nonlocal index
            index -= 1
            return self.adapters[str(index + 1)]

        def join(main: Tensor, skip: Tensor) -> Tensor:
            nonlocal used
            used -= 1
            return adapter()(states[used], main, skip, strength)

        def inject(main: Tensor) -> Tensor:
            return adapter()(states[used], main, strength)

        h = adapter()(states[used], h, None, strength)
        return self._ascend(h, skips, embedded, context, join, inject)

    def _ascend(
        self,
        h: Tensor,
        skips: list[Tensor],
        embedded: Tensor,
        context: Tensor,
        join: Callable[[Tensor, Tensor], Tensor],
        inject: Callable[[Tensor], Tensor],
    ) -> Tensor:
        skips = list(skips)
        for block in self.unet.up_blocks:
            attentions = getattr(block, "attentions", None) or [None] * len(block.resnets)
            for resnet, attention in zip(block.resnets, attentions, strict=True):
                h = resnet(join(h, skips.pop()), embedded)
                if attention is not None:
                    h = attention(h, encoder_hidden_states=context, return_dict=False)[0]
            if block.upsamplers is not None:
                h = block.upsamplers[0](inject(h))
        return h


def _join(main: Tensor, skip: Tensor) -> Tensor:
    return torch.cat([main, skip], dim=1)


def _keep(main: Tensor) -> Tensor:
    return main


def _embed(
    half: UNet2DConditionModel | ControlNetModel, x: Tensor, t: Tensor, words: Conditioning
) -> Tensor:
    """Return what is added in every residual block: the time step and the vector of words."""
    time = half.time_embedding(half.time_proj(t.expand(len(x))).to(x.dtype))
    return time + half.add_embedding(words.vector)


def _descend(
    half: UNet2DConditionModel | ControlNetModel, h: Tensor, embedded: Tensor, context: Tensor
) -> tuple[list[Tensor], Tensor]:
    """Go down the encoder half and through the middle; return the skips and what comes out."""
    skips = [h]
    for block in half.down_blocks:
        if getattr(block, "has_cross_attention", False):
            h, states = block(h, embedded, encoder_hidden_states=context)
        else:
            h, states = block(h, embedded)
        skips += states
    return skips, half.mid_block(h, embedded, encoder_hidden_states=context)
