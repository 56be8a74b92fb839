"""Low-rank changes of weights (LoRA), merged into the weights once and for all.

A layer's change is the product of two narrow ones: down to a few channels, and up again.

Source: Hu E et al. LoRA: Low-Rank Adaptation of Large Language Models. ICLR 2022. arXiv:2106.09685.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import torch

from napari_superres.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

_NAME = re.compile(r"(?P<layer>.+)\.lora_(?P<half>[AB])\.(?P<change>[^.]+)\.weight")


class Change(NamedTuple):
    """A low-rank change of one layer."""

    down: Tensor
    up: Tensor

    def weight(self) -> Tensor:
        """Return the change of the layer's weight, of a linear layer or of a convolution."""
        down, up = self.down.float(), self.up.float()
        # (rank, in, y, x) and (out, rank, 1, 1) -> (out, in, y, x)
        change = up.flatten(1) @ down.flatten(1)
        return change.reshape(len(up), *down.shape[1:])


def read_changes(tensors: Mapping[str, Tensor], ending: str, where: str) -> dict[str, Change]:
    """Return the change of each layer, of all changes whose name ends in a word.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Named ``LAYER.lora_A.CHANGE.weight`` and ``LAYER.lora_B.CHANGE.weight``.
    ending : str
        Such as ``"pix"`` for ``default_encoder_pix``.
    where : str
        What to call the file in an error.

    Raises
    ------
    WeightsError
        If there is none, or one has only one half.
    """
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        if match and match["change"].endswith(ending):
            halves.setdefault(match["layer"], {})[match["half"]] = tensor
    if not halves:
        raise WeightsError(
            f"'{where}' lacks the changes of weights whose names end in '{ending}'.",
            "Use the published file.",
        )
    for layer, found in halves.items():
        for half in "AB":
            if half not in found:
                raise WeightsError(
                    f"'{where}' is incomplete: the change of '{layer}' lacks 'lora_{half}'.",
                    "Fetch the file again.",
                )
    return {layer: Change(found["A"], found["B"]) for layer, found in halves.items()}


def merge(network: nn.Module, changes: Mapping[str, Change], alpha: float, where: str) -> None:
    """Add changes to a network's weights, `alpha` over their rank times.

    Parameters
    ----------
    network : Module
    changes : mapping of str to Change
        By the names of its layers.
    alpha : float
    where : str
        What to call the file in an error.

    Raises
    ------
    WeightsError
        If the network has no such layer, or one of another shape; nothing is changed then.
    """
    layers = dict(network.named_modules())
    merged = {}
    for name, change in changes.items():
        weight = getattr(layers.get(name), "weight", None)
        if weight is None:
            raise WeightsError(
                f"'{where}' changes the layer '{name}', which the network does not have.",
                "It was made for another version of Stable Diffusion.",
            )
        fits = change.up.shape[0] == weight.shape[0] and change.down.shape[1:] == weight.shape[1:]
        rank = change.down.shape[0]
        if not fits or change.up.flatten(1).shape[1] != rank:
            raise WeightsError(
                f"'{where}' changes '{name}' by {tuple(change.up.shape)} and "
                f"{tuple(change.down.shape)}; its weight is {tuple(weight.shape)}.",
                "It was made for another version of Stable Diffusion.",
            )
        full = change.weight() * (alpha / rank)
        if not torch.isfinite(full.sum()):
            raise WeightsError(
                f"'{where}' is unusable: its change of '{name}' is not made of finite numbers.",
                "Fetch the file again.",
            )
        merged[name] = (weight.float() + full).to(weight.dtype)
    for name, weight in merged.items():
        layers[name].weight = torch.nn.Parameter(weight, requires_grad=False)
