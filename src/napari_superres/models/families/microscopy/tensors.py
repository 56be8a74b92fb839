"""What a weight file of the embedded models holds, and the networks that read it.

A file is a safetensors file with the tensors of one scale factor, in half precision, and metadata:
``format`` (`FORMAT`), ``kind`` (``"network"`` or ``"linear"``), ``scale``, ``channels``,
``pairs``, ``bound`` and the model's card as JSON in ``card``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from napari_superres.errors import WeightsError
from napari_superres.models.families.microscopy.network import (
    BASE_RADIUS,
    LinearNet,
    MicroscopyNet,
    unit_sum,
    zero_sum,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = "napari-superres microscopy 1"


@dataclass(frozen=True, eq=False)
class Trained:
    """The content of one weight file.

    Parameters
    ----------
    kind : {"network", "linear"}
        Which of the two it is.
    scale : int
        Scale factor.
    tensors : mapping of str to np.ndarray
        float32, first kernels summing to zero, linear kernels to one.
    channels, pairs : int
        Size of the network; 0 for a linear one.
    bound : float
        How many predicted error scales hold the error in 90 % of pixels, on simulated images;
        0 without an error head.
    card : mapping
        Where the weights come from and what they reach.
    """

    kind: str
    scale: int
    tensors: Mapping[str, np.ndarray]
    channels: int = 0
    pairs: int = 0
    bound: float = 0.0
    card: Mapping[str, Any] | None = None

    @property
    def radius(self) -> int:
        """Return the exact receptive radius in source pixels."""
        if self.kind == "linear":
            return BASE_RADIUS
        return max(BASE_RADIUS, 3 + 2 * self.pairs)


def read_trained(path: Path) -> Trained:
    """Return the content of a weight file.

    Parameters
    ----------
    path : Path
        A safetensors file.

    Returns
    -------
    Trained

    Raises
    ------
    WeightsError
        If the file is damaged, or not of this family.
    """
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"'{path}' cannot be read as weights: {error}.",
            "Fetch or copy the file again.",
        ) from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"'{path}' does not hold a model of the microscopy family.",
            "Use a file that `superres train` wrote, or choose the model by name.",
        )
    kind = metadata["kind"]
    if kind == "linear":
        kernels = unit_sum(torch.from_numpy(tensors["kernels"]).double())
        tensors["kernels"] = kernels.numpy().astype(np.float32)
    else:
        first = zero_sum(torch.from_numpy(tensors["first.weight"]).double())
        tensors["first.weight"] = first.numpy().astype(np.float32)
        base = unit_sum(torch.from_numpy(tensors[f"bases.{metadata['scale']}"]).double())
        tensors[f"bases.{metadata['scale']}"] = base.numpy().astype(np.float32)
    return Trained(
        kind=kind,
        scale=int(metadata["scale"]),
        tensors=tensors,
        channels=int(metadata.get("channels", 0)),
        pairs=int(metadata.get("pairs", 0)),
        bound=float(metadata.get("bound", 0)),
        card=json.loads(metadata.get("card", "{}")),
    )


def build_network(trained: Trained) -> Any:
    """Return the torch module of a weight file, `MicroscopyNet` or `LinearNet`."""
    if trained.kind == "linear":
        linear = LinearNet(trained.scale)
        linear.load_state_dict({"kernels": torch.from_numpy(trained.tensors["kernels"])})
        return linear.eval()
    network = MicroscopyNet(trained.channels, trained.pairs, (trained.scale,))
    state = {name: torch.from_numpy(value.copy()) for name, value in trained.tensors.items()}
    network.load_state_dict(state)
    return network.eval()
