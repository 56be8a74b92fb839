"""What a weight file of the embedded models holds, ready for either engine.

A file is a safetensors file with the tensors of one scale factor, in half precision, and metadata:
``format`` (`FORMAT`), ``kind`` (``"network"`` or ``"linear"``), ``scale``, ``channels``,
``pairs``, ``bound``, ``scanned`` and the model's card as JSON in ``card``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from napari_superres.errors import WeightsError
from napari_superres.models.cards import card_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = "napari-superres microscopy 1"

BASE_RADIUS = 4
"""Reach in source pixels of the interpolation that a network corrects, and of a linear model."""

SLOPE = 0.1
"""Of the leaky ReLUs."""


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
        How many predicted error scales are to hold the error in 90 % of pixels; 0 without an
        error head.
    scanned : bool
        Whether it was trained on sources whose pixels are the light at their centres.
    card : mapping
        Where the weights come from and what they reach.
    """

    kind: str
    scale: int
    tensors: Mapping[str, np.ndarray]
    channels: int = 0
    pairs: int = 0
    bound: float = 0.0
    scanned: bool = False
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
    kind, base = metadata["kind"], f"bases.{metadata['scale']}"
    # Half precision has lost the sums that gain and offset rely on.
    wanted = (
        {"kernels": unit_sum} if kind == "linear" else {"first.weight": zero_sum, base: unit_sum}
    )
    for name, mend in wanted.items():
        tensors[name] = mend(tensors[name].astype(np.float64)).astype(np.float32)
    return Trained(
        kind=kind,
        scale=int(metadata["scale"]),
        tensors=tensors,
        channels=int(metadata.get("channels", 0)),
        pairs=int(metadata.get("pairs", 0)),
        bound=float(metadata.get("bound", 0)),
        scanned=metadata.get("scanned") == str(True),
        card=card_in(metadata),
    )


def zero_sum(kernels: Any) -> Any:
    """Return kernels of numpy or torch, shape (out, in, y, x), each shifted to sum to zero."""
    return kernels - kernels.mean(axis=(-2, -1), keepdims=True)


def unit_sum(kernels: Any) -> Any:
    """Return kernels of numpy or torch, shape (out, in, y, x), each shifted to sum to one."""
    taps = kernels.shape[-2] * kernels.shape[-1]
    return kernels + (1 - kernels.sum(axis=(-2, -1), keepdims=True)) / taps
