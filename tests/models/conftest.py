"""Small checkpoints of every kind, and real images as tiles."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_superres.models.families.realesrgan.architecture import Architecture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.supir_tiny import Tiny

COMPACT = Architecture("compact", samples=3, features=8, blocks=3, growth=0, scale=4)
COMPACT_GRAY = Architecture("compact", samples=1, features=12, blocks=2, growth=0, scale=2)
RRDB = Architecture("rrdb", samples=3, features=8, blocks=2, growth=4, scale=4)
RRDB_X2 = Architecture("rrdb", samples=3, features=8, blocks=1, growth=4, scale=2, unshuffle=2)
RRDB_X1 = Architecture("rrdb", samples=3, features=8, blocks=1, growth=4, scale=1, unshuffle=4)
RRDB_X8 = Architecture("rrdb", samples=1, features=8, blocks=1, growth=4, scale=8)
TINY = {
    "compact": COMPACT,
    "compact-gray": COMPACT_GRAY,
    "rrdb": dataclasses.replace(RRDB, blocks=1),
    "rrdb-x2": RRDB_X2,
    "rrdb-x1": RRDB_X1,
    "rrdb-x8": RRDB_X8,
}


def random_tensors(architecture: Architecture, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random weights that neither fade out nor explode from layer to layer."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in architecture.tensors.items():
        fan_in = int(np.prod(shape[1:])) or 1
        spread = 0.2 if len(shape) == 1 else 1.5 / fan_in**0.5
        tensors[name] = (rng.standard_normal(shape) * spread).astype(np.float32)
    return tensors


def image(samples: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return one tile of noise in [0, 1], shape (1, samples, height, width), float32."""
    rng = np.random.default_rng(seed)
    return rng.random((1, samples, height, width), dtype=np.float32)


@pytest.fixture(scope="session")
def membranes(shared: Path) -> np.ndarray:
    """Return a real micrograph with three channels in [0, 1], shape (1, 3, 512, 672), float32."""
    import tifffile

    pixels = tifffile.imread(shared / "real" / "hela-cells.tif").astype(np.float32)  # (y, x, c)
    low, high = pixels.min(axis=(0, 1)), pixels.max(axis=(0, 1))
    return np.ascontiguousarray(np.moveaxis((pixels - low) / (high - low), -1, 0)[None])


@pytest.fixture(scope="session")
def supir(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return tiny SUPIR and SDXL checkpoints; skips without the diffusion extra."""
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    from tests import supir_tiny

    return supir_tiny.make(tmp_path_factory.mktemp("supir"))


@pytest.fixture(scope="session")
def ldm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a tiny LDM-SR as it is published: pickled weights with attention by its old names."""
    pytest.importorskip("diffusers")
    import torch
    from diffusers import DDIMScheduler, LDMSuperResolutionPipeline, UNet2DModel, VQModel

    folder = tmp_path_factory.mktemp("ldm")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DModel(
            in_channels=6,
            out_channels=3,
            block_out_channels=(32, 64),
            layers_per_block=1,
            attention_head_dim=32,
            norm_num_groups=16,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        )
        vqvae = VQModel(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(32, 32, 32),
            latent_channels=3,
            num_vq_embeddings=64,
            norm_num_groups=16,
        )
    schedule = DDIMScheduler(
        beta_start=0.0015, beta_end=0.0155, beta_schedule="scaled_linear", clip_sample=False
    )
    pipe = LDMSuperResolutionPipeline(vqvae, unet, schedule)
    pipe.save_pretrained(folder)
    for name, part in (("unet", unet), ("vqvae", vqvae)):
        (folder / name / "diffusion_pytorch_model.safetensors").unlink()
        old = {_old_name(key): tensor for key, tensor in part.state_dict().items()}
        torch.save(old, folder / name / "diffusion_pytorch_model.bin")
    return folder


def _old_name(name: str) -> str:
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value")):
        name = name.replace(f".{new}.", f".{old}.")
    return name.replace(".to_out.0.", ".proj_attn.")


_operators: list[Any] = []


def repair_torchvision() -> None:
    """Let a torchvision that was built for another torch be imported, for tests alone.

    It cannot register its operators then, and fails because two of them are not known. Packages
    that import it but do not call these two work with their names alone.
    """
    import torch

    operators = torch.library.Library("torchvision", "FRAGMENT")
    for name, boxes in (("nms", "Tensor dets, Tensor scores"), ("qnms", "Tensor d, Tensor s")):
        if not hasattr(torch.ops.torchvision, name):
            operators.define(f"{name}({boxes}, float iou_threshold) -> Tensor")
    _operators.append(operators)  # they are forgotten with it
