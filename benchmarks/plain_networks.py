"""Real-ESRGAN's two networks in torch as anybody would write them: what ours are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from napari_superres.models.families.realesrgan.architecture import Architecture


class Compact(nn.Module):
    """SRVGGNetCompact."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.scale = a.scale
        layers: list[nn.Module] = [_convolution(a.samples, a.features), nn.PReLU(a.features)]
        for _ in range(a.blocks):
            layers += [_convolution(a.features, a.features), nn.PReLU(a.features)]
        layers.append(_convolution(a.features, a.samples * a.scale**2))
        self.body = nn.ModuleList(layers)

    def forward(self, x: Any) -> Any:
        """Return the finer image."""
        y = x
        for layer in self.body:
            y = layer(y)
        plain = functional.interpolate(x, scale_factor=float(self.scale), mode="nearest")
        return functional.pixel_shuffle(y, self.scale) + plain


class Dense(nn.Module):
    """Residual dense block."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for i in range(5):
            layer = _convolution(features + i * growth, growth if i < 4 else features)
            self.add_module(f"conv{i + 1}", layer)

    def forward(self, x: Any) -> Any:
        """Return maps of the same size."""
        maps = [x]
        for i in range(1, 5):
            layer = getattr(self, f"conv{i}")
            maps.append(functional.leaky_relu(layer(torch.cat(maps, 1)), 0.2))
        return self.conv5(torch.cat(maps, 1)) * 0.2 + x


class Block(nn.Module):
    """Residual in residual dense block."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (Dense(features, growth) for _ in range(3))

    def forward(self, x: Any) -> Any:
        """Return maps of the same size."""
        return self.rdb3(self.rdb2(self.rdb1(x))) * 0.2 + x


class RRDBNet(nn.Module):
    """RRDBNet for x4."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.conv_first = _convolution(a.samples, a.features)
        self.body = nn.Sequential(*(Block(a.features, a.growth) for _ in range(a.blocks)))
        self.conv_body = _convolution(a.features, a.features)
        self.conv_up1 = _convolution(a.features, a.features)
        self.conv_up2 = _convolution(a.features, a.features)
        self.conv_hr = _convolution(a.features, a.features)
        self.conv_last = _convolution(a.features, a.samples)

    def forward(self, x: Any) -> Any:
        """Return the finer image."""
        y = self.conv_first(x)
        y = y + self.conv_body(self.body(y))
        for layer in (self.conv_up1, self.conv_up2):
            y = functional.leaky_relu(layer(functional.interpolate(y, scale_factor=2.0)), 0.2)
        return self.conv_last(functional.leaky_relu(self.conv_hr(y), 0.2))


def plain_network(architecture: Architecture, tensors: Mapping[str, np.ndarray]) -> nn.Module:
    """Return a network with its weights, ready for inference.

    Parameters
    ----------
    architecture : Architecture
    tensors : mapping of str to np.ndarray, float32
        By official names.
    """
    network = Compact(architecture) if architecture.kind == "compact" else RRDBNet(architecture)
    network.load_state_dict({name: torch.from_numpy(t) for name, t in tensors.items()})
    return network.eval().requires_grad_(False)


def _convolution(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)
