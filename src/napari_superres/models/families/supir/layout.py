"""How wide SUPIR's parts are, and the stock diffusers parts of that size.

The published models have one layout, SDXL's. It is read from the shapes of the tensors all the
same, so that small models for tests take the same way as real ones, and a file of another network
is refused for what it lacks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel

from napari_superres.errors import WeightsError
from napari_superres.models.families.supir.modules import CrossInject, ZeroSFT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from torch import nn

SCALE_FACTOR = 0.13025
"""What latents of SDXL's autoencoder are multiplied by, so that their variance is about one."""

_CONTROL = "model.control_model."
_ADAPTERS = "model.diffusion_model.project_modules."
_ENCODER = "first_stage_model.denoise_encoder."


@dataclass(frozen=True)
class Layout:
    """Widths of all parts. The defaults are SDXL's.

    Parameters
    ----------
    channels : tuple of int
        Feature maps of each level of the network, finest first.
    depth : tuple of int
        Transformer blocks of each level; 0 for a level without attention.
    blocks : int
        Residual blocks of each level on the way down.
    head : int
        Width of an attention head.
    context, vector : int
        Width of a text token, and of the vector of pooled text and sizes.
    latent : int
        Channels of a latent.
    hidden : int
        Width inside a `ZeroSFT`.
    vae_channels : tuple of int
        Feature maps of each level of the autoencoder, finest first.
    vae_blocks : int
        Residual blocks of each level of its encoder.
    """

    channels: tuple[int, ...] = (320, 640, 1280)
    depth: tuple[int, ...] = (0, 2, 10)
    blocks: int = 2
    head: int = 64
    context: int = 2048
    vector: int = 2816
    latent: int = 4
    hidden: int = 128
    vae_channels: tuple[int, ...] = (128, 256, 512, 512)
    vae_blocks: int = 2

    @property
    def factor(self) -> int:
        """Pixels along an edge of a latent."""
        return 2 ** (len(self.vae_channels) - 1)

    def unet(self) -> UNet2DConditionModel:
        """Return SDXL's denoising network."""
        kinds = ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in self.depth]
        return UNet2DConditionModel(
            **self._half(), out_channels=self.latent, up_block_types=tuple(reversed(kinds))
        )

    def control(self) -> ControlNetModel:
        """Return a copy of its encoder half, whose states leave without further convolutions."""
        control = ControlNetModel(**self._half())
        # The hint is a latent, not an image eight times its size: one convolution takes it in.
        control.controlnet_cond_embedding = torch.nn.Conv2d(
            self.latent, self.channels[0], 3, padding=1
        )
        del control.controlnet_down_blocks, control.controlnet_mid_block
        return control

    def adapters(self) -> nn.ModuleDict:
        """Return the modules that feed the control states to the decoder half, by their index.

        The twelve of SDXL's layout are, from the middle outwards (index: control state)::

            11: 9 (middle)   10: 8   9: 7   8: 6   7: 6 (cross)   upsample
                              6: 5   5: 4   4: 3   3: 3 (cross)   upsample
                              2: 2   1: 1   0: 0
        """
        states = self._states()
        modules: list[nn.Module] = [ZeroSFT(states[-1], 0, self.channels[-1], self.hidden)]
        main, state = self.channels[-1], len(states) - 2
        for level in reversed(range(len(self.channels))):
            for _ in range(self.blocks + 1):
                modules.append(ZeroSFT(states[state], states[state], main, self.hidden))
                main, state = self.channels[level], state - 1
            if level:
                modules.append(CrossInject(main, states[state + 1]))
        count = len(modules)
        return torch.nn.ModuleDict({str(count - 1 - i): part for i, part in enumerate(modules)})

    def autoencoder(self) -> AutoencoderKL:
        """Return SDXL's autoencoder."""
        levels = len(self.vae_channels)
        return AutoencoderKL(
            in_channels=3,
            out_channels=3,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=self.vae_channels,
            layers_per_block=self.vae_blocks,
            latent_channels=self.latent,
            scaling_factor=SCALE_FACTOR,
        )

    def _half(self) -> dict[str, Any]:
        kinds = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in self.depth]
        return {
            "in_channels": self.latent,
            "down_block_types": tuple(kinds),
            "block_out_channels": self.channels,
            "layers_per_block": self.blocks,
            "transformer_layers_per_block": tuple(max(1, depth) for depth in self.depth),
            "cross_attention_dim": self.context,
            # diffusers calls the number of heads so.
            "attention_head_dim": tuple(width // self.head for width in self.channels),
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            # Only diffusers' own forward uses it; the vector comes complete to ours.
            "addition_time_embed_dim": 2,
            "projection_class_embeddings_input_dim": self.vector,
        }

    def _states(self) -> list[int]:
        """Return the width of each control state: after the first convolution, ..., middle."""
        widths = [self.channels[0]]
        for level, width in enumerate(self.channels):
            last = level == len(self.channels) - 1
            widths += [width] * (self.blocks if last else self.blocks + 1)
        return [*widths, self.channels[-1]]


def layout_of(shapes: Mapping[str, tuple[int, ...]], name: str, head: int = 64) -> Layout:
    """Return the layout of a SUPIR checkpoint.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Of all its tensors, by their published names.
    name : str
        What to call the checkpoint in an error.
    head : int
        Width of an attention head, which the shapes do not tell.

    Raises
    ------
    WeightsError
        If a part is missing whose shapes are needed.
    """
    for prefix, part in (
        (_CONTROL, "control network"),
        (_ADAPTERS, "adapters between control network and decoder"),
        (_ENCODER, "degradation-robust encoder"),
    ):
        if not any(key.startswith(prefix) for key in shapes):
            raise WeightsError(
                f"'{name}' is not a SUPIR checkpoint: it lacks the {part} ('{prefix}*').",
                "Use one of the published files, such as SUPIR-v0F_fp16.safetensors.",
            )
    try:
        return _measure(shapes, head)
    except (KeyError, IndexError) as error:
        raise WeightsError(
            f"'{name}' is not a complete SUPIR checkpoint: it lacks '{error.args[0]}'.",
            "Fetch the file again.",
        ) from error


def _measure(shapes: Mapping[str, tuple[int, ...]], head: int) -> Layout:
    inputs = f"{_CONTROL}input_blocks."
    first = shapes[f"{inputs}0.0.weight"]
    blocks = _count(shapes, _ENCODER + r"down\.0\.block\.(\d+)\.")
    per_level = _first_downsampler(shapes, inputs) - 1
    # Of the input blocks the first is a convolution; each level but the last ends in a downsampler.
    units = range(1, _count(shapes, re.escape(inputs) + r"(\d+)\."), per_level + 1)
    widths = [shapes[f"{inputs}{unit}.0.in_layers.2.weight"][0] for unit in units]
    depth = [_count(shapes, rf"{inputs}{unit}\.1\.transformer_blocks\.(\d+)\.") for unit in units]
    attention = f"{_CONTROL}middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    levels = _count(shapes, _ENCODER + r"down\.(\d+)\.")
    return Layout(
        channels=tuple(widths),
        depth=tuple(depth),
        blocks=per_level,
        head=head,
        context=shapes[attention][1],
        vector=shapes[f"{_CONTROL}label_emb.0.0.weight"][1],
        latent=first[1],
        hidden=shapes[f"{_ADAPTERS}0.mlp_shared.0.weight"][0],
        vae_channels=tuple(
            shapes[f"{_ENCODER}down.{level}.block.0.conv1.weight"][0] for level in range(levels)
        ),
        vae_blocks=blocks,
    )


def _first_downsampler(shapes: Mapping[str, tuple[int, ...]], inputs: str) -> int:
    found = [
        int(key.removeprefix(inputs).split(".")[0])
        for key in shapes
        if key.startswith(inputs) and key.endswith(".0.op.weight")
    ]
    if not found:
        raise KeyError(f"{inputs}3.0.op.weight")
    return min(found)


def _count(shapes: Mapping[str, tuple[int, ...]], pattern: str) -> int:
    found = [int(match[1]) for key in shapes if (match := re.match(pattern, key))]
    return max(found, default=-1) + 1
