"""Tiny SUPIR and SDXL checkpoints of random weights, saved exactly as the real ones are published.

Published names are written here the other way round than the package reads them, from diffusers'
names, so that a slip in one direction does not hide in the other.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from napari_superres.models.families.supir.autoencoder import DoubleAutoencoder
from napari_superres.models.families.supir.layout import Layout
from napari_superres.models.families.supir.network import Network

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

# Two channels a group at least: with one, the network's norms would erase time steps and biases.
LAYOUT = Layout(
    channels=(64, 64),
    depth=(0, 1),
    blocks=1,
    context=128,
    vector=16 + 6 * 8,
    hidden=16,
    vae_channels=(32, 32, 32),
    vae_blocks=1,
)

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_EDGES = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "controlnet_cond_embedding": "input_hint_block.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_SFT = {
    "norm": "param_free_norm",
    "shared": "mlp_shared.0",
    "scale": "zero_mul",
    "shift": "zero_add",
    "mix": "zero_conv",
}
_CROSS = {
    "norm": "norm1",
    "control_norm": "norm2",
    "query": "attn.to_q",
    "key": "attn.to_k",
    "value": "attn.to_v",
    "out": "attn.to_out.0",
}


@dataclass(frozen=True)
class Tiny:
    """Where the checkpoints are, and what was saved."""

    folder: Path
    network: Network
    autoencoder: DoubleAutoencoder

    @property
    def supir(self) -> Path:
        """SUPIR's own file, half precision."""
        return self.folder / "SUPIR-v0F_fp16.safetensors"

    @property
    def ckpt(self) -> Path:
        """The same as the authors publish it."""
        return self.folder / "SUPIR-v0F.ckpt"

    @property
    def single(self) -> Path:
        """SDXL as a single file."""
        return self.folder / "sd_xl_base_1.0_0.9vae.safetensors"

    @property
    def diffusers(self) -> Path:
        """SDXL as a diffusers folder."""
        return self.folder / "sdxl"


def make(folder: Path) -> Tiny:
    """Write tiny checkpoints into a folder."""
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    network, autoencoder = _rounded(Network(LAYOUT)), _rounded(DoubleAutoencoder(LAYOUT))
    encoders = _rounded(CLIPTextModel(_text(64))), _rounded(CLIPTextModelWithProjection(_text(16)))
    torch.random.set_rng_state(state)
    tiny = Tiny(folder, network, autoencoder)
    _save_supir(tiny)
    _save_single(tiny, *encoders)
    _save_diffusers(tiny, *encoders)
    return tiny


def _rounded(part: Any) -> Any:
    """Round the weights to what half precision holds, so that nothing is lost on the disk."""
    return part.half().float().eval().requires_grad_(False)


def _text(projection: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=514,
        hidden_size=64,
        intermediate_size=128,
        projection_dim=projection,
        num_hidden_layers=2,
        num_attention_heads=1,
        hidden_act="quick_gelu" if projection == 64 else "gelu",
        bos_token_id=512,
        eos_token_id=513,
    )


def _save_supir(tiny: Tiny) -> None:
    own = {f"model.control_model.{k}": v for k, v in _published(tiny.network.control).items()}
    for name, tensor in tiny.network.adapters.state_dict().items():
        index, word, kind = name.split(".")
        table = _CROSS if f"{index}.query.weight" in tiny.network.adapters.state_dict() else _SFT
        own[f"model.diffusion_model.project_modules.{index}.{table[word]}.{kind}"] = tensor
    for name, tensor in tiny.autoencoder.robust.encoder.state_dict().items():
        published = _vae_name(f"encoder.{name}")
        own[f"first_stage_model.denoise_{published}"] = _vae_tensor(published, tensor)
    own["model.control_model.mask_LQ"] = torch.ones(1, 4, 64, 64)
    save_file({name: tensor.half().contiguous() for name, tensor in own.items()}, tiny.supir)
    torch.save({"state_dict": own}, tiny.ckpt)


def _save_single(tiny: Tiny, first: Any, second: Any) -> None:
    whole = {f"model.diffusion_model.{k}": v for k, v in _published(tiny.network.unet).items()}
    for name, tensor in tiny.autoencoder.plain.state_dict().items():
        published = _vae_name(name)
        whole[f"first_stage_model.{published}"] = _vae_tensor(published, tensor)
    for name, tensor in first.state_dict().items():
        stem = name.removeprefix("text_model.")
        whole[f"conditioner.embedders.0.transformer.text_model.{stem}"] = tensor
    for name, tensor in _open_clip(second).items():
        whole[f"conditioner.embedders.1.model.{name}"] = tensor
    save_file({name: tensor.half().contiguous() for name, tensor in whole.items()}, tiny.single)
    save_tokenizer(tiny.folder / "tokenizer")


def _save_diffusers(tiny: Tiny, first: Any, second: Any) -> None:
    folder = tiny.diffusers
    # In several pieces, as large models are.
    tiny.network.unet.save_pretrained(folder / "unet", max_shard_size="1MB")
    tiny.autoencoder.plain.half().save_pretrained(folder / "vae", variant="fp16")
    tiny.autoencoder.plain.float()
    first.save_pretrained(folder / "text_encoder")
    second.save_pretrained(folder / "text_encoder_2")
    save_tokenizer(folder / "tokenizer")


def save_tokenizer(folder: Path) -> None:
    """Write a vocabulary of single letters in the layout of CLIP's."""
    folder.mkdir(parents=True)
    letters = [chr(i) for i in [*range(33, 127), *range(161, 173), *range(174, 256)]]
    letters += [chr(256 + i) for i in range(256 - len(letters))]
    words = [*letters, *(letter + "</w>" for letter in letters)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")


def _published(half: Any) -> dict[str, Tensor]:
    """Return the tensors of a network or control network by published names."""
    per_level = LAYOUT.blocks + 1
    out = {}
    for name, tensor in half.state_dict().items():
        stem, _, kind = name.rpartition(".")
        where = re.match(r"(down|mid|up)_block(?:s\.(\d+))?\.(\w+)\.(\d+)\.(.*)", name)
        if stem in _EDGES:
            new = f"{_EDGES[stem]}.{kind}"
        else:
            assert where, name
            way, level, what, unit, rest = where.groups()
            new = _block_name(way, int(level or 0), what, int(unit), rest, per_level)
        out[new] = tensor
    return out


def _block_name(way: str, level: int, what: str, unit: int, rest: str, per_level: int) -> str:
    if what == "resnets":
        word, _, kind = rest.rpartition(".")
        rest = f"{_RESNET[word]}.{kind}"
    if way == "mid":
        return f"middle_block.{1 if what == 'attentions' else 2 * unit}.{rest}"
    if what == "downsamplers":
        return f"input_blocks.{(level + 1) * per_level}.0.op.{rest.removeprefix('conv.')}"
    if what == "upsamplers":
        attends = LAYOUT.depth[len(LAYOUT.depth) - 1 - level] > 0
        return f"output_blocks.{(level + 1) * per_level - 1}.{1 + attends}.{rest}"
    index = level * per_level + unit
    block = f"input_blocks.{index + 1}" if way == "down" else f"output_blocks.{index}"
    return f"{block}.{int(what == 'attentions')}.{rest}"


def _vae_name(name: str) -> str:
    levels = len(LAYOUT.vae_channels)
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = name.replace("downsamplers.0.conv", "downsample.conv")
    name = name.replace("upsamplers.0.conv", "upsample.conv")
    name = re.sub(r"down_blocks\.(\d+)\.", r"down.\1.", name)
    name = re.sub(r"up_blocks\.(\d+)\.", lambda m: f"up.{levels - 1 - int(m[1])}.", name)
    name = re.sub(r"mid_block\.resnets\.(\d)\.", lambda m: f"mid.block_{int(m[1]) + 1}.", name)
    name = re.sub(
        r"mid_block\.attentions\.0\.(\w+(?:\.0)?)\.(\w+)$",
        lambda m: f"mid.attn_1.{_ATTENTION[m[1]]}.{m[2]}",
        name,
    )
    return re.sub(r"(down|up)\.(\d)\.resnets\.(\d)\.", r"\1.\2.block.\3.", name)


def _vae_tensor(published: str, tensor: Tensor) -> Tensor:
    """Return a tensor as published: attention as convolutions of one pixel."""
    linear = ".attn_1." in published and published.endswith(".weight") and tensor.ndim == 2
    return tensor[:, :, None, None] if linear else tensor


def _open_clip(encoder: Any) -> dict[str, Tensor]:
    """Return the tensors of a text encoder by OpenCLIP's names."""
    state = {k.removeprefix("text_model."): v for k, v in encoder.state_dict().items()}
    out = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "text_projection": state["text_projection.weight"].T,
        "logit_scale": torch.tensor(4.6),
    }
    for layer in range(2):
        old, new = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            qkv = [state[f"{old}self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
            out[f"{new}attn.in_proj_{kind}"] = torch.cat(qkv)
            for theirs, ours in (
                ("attn.out_proj", "self_attn.out_proj"),
                ("ln_1", "layer_norm1"),
                ("ln_2", "layer_norm2"),
                ("mlp.c_fc", "mlp.fc1"),
                ("mlp.c_proj", "mlp.fc2"),
            ):
                out[f"{new}{theirs}.{kind}"] = state[f"{old}{ours}.{kind}"]
    return out
