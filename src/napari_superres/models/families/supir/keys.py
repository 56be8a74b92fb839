"""Published names of tensors, and where each belongs.

SDXL and SUPIR are published under the names of the code that trained them; diffusers' parts have
names of their own. Every published name is taken apart once, here, and goes to one place or none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

IGNORED = frozenset({"model.control_model.mask_LQ"})
"""What the published SUPIR files carry from training and nothing uses."""

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_EDGES = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "input_hint_block.0": "controlnet_cond_embedding",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_SFT = {
    "param_free_norm": "norm",
    "mlp_shared.0": "shared",
    "zero_mul": "scale",
    "zero_add": "shift",
    "zero_conv": "mix",
    "norm1": "norm",
    "norm2": "control_norm",
    "attn.to_q": "query",
    "attn.to_k": "key",
    "attn.to_v": "value",
    "attn.to_out.0": "out",
}
_VAE = {
    "nin_shortcut": "conv_shortcut",
    "norm_out": "conv_norm_out",
    "downsample.conv": "downsamplers.0.conv",
    "upsample.conv": "upsamplers.0.conv",
    "mid.block_1": "mid_block.resnets.0",
    "mid.block_2": "mid_block.resnets.1",
    "mid.attn_1": "mid_block.attentions.0",
    "mid.attn_1.norm": "mid_block.attentions.0.group_norm",
    "mid.attn_1.q": "mid_block.attentions.0.to_q",
    "mid.attn_1.k": "mid_block.attentions.0.to_k",
    "mid.attn_1.v": "mid_block.attentions.0.to_v",
    "mid.attn_1.proj_out": "mid_block.attentions.0.to_out.0",
}


def sort_names(names: Iterable[str], blocks: int = 2, levels: int = 4) -> dict[str, dict[str, str]]:
    """Return for each part the published name of each of its tensors.

    Parameters
    ----------
    names : iterable of str
        Published names, of a SUPIR file, of an SDXL file, or of one laid over the other.
    blocks : int
        Residual blocks of a level of the network.
    levels : int
        Levels of the autoencoder.

    Returns
    -------
    dict of str to dict of str to str
        Keys ``"unet"``, ``"control"``, ``"adapters"``, ``"robust"`` and ``"vae"``; each value maps
        the name in our part to the published one. Names of no part are left out.
    """
    parts: dict[str, tuple[str, Callable[[str], str]]] = {
        "adapters": ("model.diffusion_model.project_modules.", _adapter_name),
        "unet": ("model.diffusion_model.", lambda name: unet_name(name, blocks)),
        "control": ("model.control_model.", lambda name: unet_name(name, blocks)),
        "robust": ("first_stage_model.denoise_encoder.", lambda name: _encoder_name(name, levels)),
        "vae": ("first_stage_model.", lambda name: vae_name(name, levels)),
    }
    found: dict[str, dict[str, str]] = {part: {} for part in parts}
    for name in names:
        if name in IGNORED:
            continue
        for part, (prefix, rename) in parts.items():
            if name.startswith(prefix):
                found[part][rename(name.removeprefix(prefix))] = name
                break
    return found


def unet_name(name: str, blocks: int) -> str:
    """Return diffusers' name of a tensor of SDXL's network or of the control network.

    Parameters
    ----------
    name : str
        Published name without prefix.
    blocks : int
        Residual blocks of a level.
    """
    stem, _, kind = name.rpartition(".")
    if stem in _EDGES:
        return f"{_EDGES[stem]}.{kind}"
    half, _, rest = name.partition(".")
    if half == "middle_block":
        place, _, rest = rest.partition(".")
        where = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}.get(place, place)
        return f"mid_block.{where}.{_resnet_name(rest)}"
    if half not in ("input_blocks", "output_blocks"):
        return name
    index, place, rest = rest.split(".", 2)
    down = half == "input_blocks"
    level, unit = divmod(int(index) - down, blocks + 1)
    block = f"{'down' if down else 'up'}_blocks.{level}"
    if rest.startswith("op."):
        return f"{block}.downsamplers.0.conv.{rest.removeprefix('op.')}"
    if rest.startswith("conv."):
        return f"{block}.upsamplers.0.{rest}"
    if place == "0":
        return f"{block}.resnets.{unit}.{_resnet_name(rest)}"
    return f"{block}.attentions.{unit}.{rest}"


def vae_name(name: str, levels: int) -> str:
    """Return diffusers' name of a tensor of the autoencoder.

    Parameters
    ----------
    name : str
        Published name without prefix.
    levels : int
        Levels of the autoencoder; published decoders count them from the finest.
    """
    half, _, rest = name.partition(".")
    if half not in ("encoder", "decoder"):
        return name
    match = re.match(r"(down|up)\.(\d+)\.(?:block\.(\d+)\.)?(.*)", rest)
    if match:
        way, level, unit, rest = match.groups()
        index = int(level) if way == "down" else levels - 1 - int(level)
        half = f"{half}.{way}_blocks.{index}" + (f".resnets.{unit}" if unit else "")
    return f"{half}.{_renamed(rest, _VAE)}"


def _encoder_name(name: str, levels: int) -> str:
    return vae_name(f"encoder.{name}", levels).removeprefix("encoder.")


def _adapter_name(name: str) -> str:
    index, _, rest = name.partition(".")
    return f"{index}.{_renamed(rest, _SFT)}"


def _resnet_name(name: str) -> str:
    return _renamed(name, _RESNET)


def _renamed(name: str, table: dict[str, str]) -> str:
    """Replace the longest beginning of a name, made of whole words, that is in the table."""
    words = name.split(".")
    for count in range(len(words), 0, -1):
        new = table.get(".".join(words[:count]))
        if new is not None:
            return ".".join([new, *words[count:]])
    return name
