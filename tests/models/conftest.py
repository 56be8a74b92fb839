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
