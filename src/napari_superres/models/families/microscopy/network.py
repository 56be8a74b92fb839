r"""The embedded network and its linear sibling: convolutions that commute with gain and offset.

::

    x ---- 9x9 of unit sum, one kernel a phase (from Lanczos) ------+
      \--- 5x5, zero sum --> [3x3, 3x3, + crop] * pairs --> 3x3 ----+--> pixel shuffle --> y
                 ^                ^
            noise * b        noise * b

For a > 0: ``f(a x + b, a noise) == a f(x, noise) + b``. The first kernels sum to zero, so offsets
do not pass; every activation is positively homogeneous; there is no normalisation and no bias but
those that are multiplied by the noise's standard deviation. With ``noise=0`` the network is free
of them, and reconstructs; with more noise, features below it are suppressed, as by a threshold.
Bias-free denoisers generalise over noise levels (S. Mohan et al., ICLR 2020), and a noise level as
an input lets one network serve all of them (K. Zhang et al., IEEE Trans. Image Process. 27, 4608,
2018).

Convolutions are valid: an output pixel depends on the source pixels within `radius`, and on
nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from napari_superres.models.families.interpolation import phase_kernels
from napari_superres.models.families.microscopy.tensors import (
    BASE_RADIUS,
    SLOPE,
    unit_sum,
    zero_sum,
)

if TYPE_CHECKING:
    from napari_superres.models.families.microscopy.tensors import Trained

_FIRST = 5


class MicroscopyNet(nn.Module):  # type: ignore[misc]
    """One body and a head for each scale factor.

    Parameters
    ----------
    channels : int
        Width of the body.
    pairs : int
        Number of residual pairs of 3 x 3 convolutions.
    scales : tuple of int
        Scale factors that have a head.
    """

    def __init__(
        self, channels: int = 48, pairs: int = 5, scales: tuple[int, ...] = (2, 4)
    ) -> None:
        super().__init__()
        self.channels, self.pairs, self.scales = channels, pairs, scales
        self.first = nn.Conv2d(1, channels, _FIRST, bias=False)
        self.body = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, bias=False) for _ in range(2 * pairs)
        )
        self.thresholds = nn.Parameter(torch.zeros(1 + 2 * pairs, channels))
        self.heads = nn.ModuleDict(
            {str(s): nn.Conv2d(channels, s * s, 3, bias=False) for s in scales}
        )
        self.errors = nn.ModuleDict(
            {str(s): nn.Conv2d(channels, s * s, 3, bias=False) for s in scales}
        )
        self._initialise()
        self.bases = nn.ParameterDict({str(s): wide_lanczos_kernels(s) for s in scales})

    @property
    def radius(self) -> int:
        """Return how far a source pixel can be from an output pixel and still influence it."""
        return max(BASE_RADIUS, _FIRST // 2 + 2 * self.pairs + 1)

    def forward(self, x: Any, noise: Any, scale: int) -> Any:
        """Return the prediction for every source pixel that lies `radius` inside.

        Parameters
        ----------
        x : torch.Tensor, shape (n, 1, y, x), float32
            Source pixels in any unit.
        noise : torch.Tensor, shape (n,) or (n, 1, y, x), float32
            Standard deviation of the noise to be removed, in the same unit, for an image or for
            each of its pixels; 0 for none.
        scale : int
            Which head.

        Returns
        -------
        torch.Tensor, shape (n, 1, scale * (y - 2 * radius), scale * (x - 2 * radius))
        """
        return self.upscaled(x, self.features(x, noise), scale)

    def features(self, x: Any, noise: Any) -> Any:
        """Return what both heads read, cropped by ``radius - 1`` at each side."""
        # Values before the first convolution carry the pedestal, so they keep all their digits.
        with torch.autocast(x.device.type, enabled=False):
            y = functional.conv2d(x, zero_sum(self.first.weight))
        y = functional.leaky_relu(y + self._bias(noise, y, 0), SLOPE)
        for pair in range(self.pairs):
            one, two = self.body[2 * pair], self.body[2 * pair + 1]
            z = one(y)
            z = functional.leaky_relu(z + self._bias(noise, z, 2 * pair + 1), SLOPE)
            z = two(z)
            z = z + self._bias(noise, z, 2 * pair + 2)
            # The gradient of a slice is not channels last, which makes a step half as long again.
            y = functional.leaky_relu(z + functional.pad(y, (-2,) * 4), SLOPE)
        return y

    def _bias(self, noise: Any, maps: Any, layer: int) -> Any:
        """Return what a layer adds to its maps, in their type."""
        threshold = self.thresholds[layer].view(1, -1, 1, 1)
        if noise.ndim == 1:
            return (noise.view(-1, 1, 1, 1) * threshold).to(maps.dtype)
        cut = (noise.shape[-1] - maps.shape[-1]) // 2
        return noise[..., cut:-cut, cut:-cut].to(maps.dtype) * threshold.to(maps.dtype)

    def upscaled(self, x: Any, features: Any, scale: int) -> Any:
        """Return interpolation plus correction."""
        correction = functional.pixel_shuffle(self.heads[str(scale)](features), scale)
        plain = self.interpolated(x, scale)
        return plain + correction.to(plain.dtype)

    def interpolated(self, x: Any, scale: int) -> Any:
        """Return the interpolation that the network corrects, on the same pixels."""
        spare = self.radius - BASE_RADIUS
        inner = x[..., spare : x.shape[-2] - spare, spare : x.shape[-1] - spare]
        with torch.autocast(x.device.type, enabled=False):
            plain = functional.conv2d(inner, unit_sum(self.bases[str(scale)]))
        return functional.pixel_shuffle(plain, scale)

    def error_scale(self, features: Any, scale: int) -> Any:
        """Return what grows as the expected error of each output pixel, in the source's unit."""
        spread = self.errors[str(scale)](features).abs()
        return functional.pixel_shuffle(spread, scale)

    def _initialise(self) -> None:
        for convolution in (self.first, *self.body):
            nn.init.kaiming_normal_(convolution.weight, a=SLOPE)
        with torch.no_grad():
            for pair in range(self.pairs):  # residual pairs start near the identity
                self.body[2 * pair + 1].weight.mul_(0.3)
            for head in self.heads.values():
                head.weight.mul_(0.1)


class LinearNet(nn.Module):  # type: ignore[misc]
    """One linear kernel for each phase of the finer grid, each with unit sum.

    Parameters
    ----------
    scale : int
        Scale factor.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.kernels = nn.Parameter(wide_lanczos_kernels(scale))

    @property
    def radius(self) -> int:
        """Return the kernels' reach in source pixels."""
        return int(self.kernels.shape[-1]) // 2

    def forward(self, x: Any) -> Any:
        """Return the finer image of every source pixel that lies `radius` inside."""
        return functional.pixel_shuffle(functional.conv2d(x, self.kernels), self.scale)


def build_network(trained: Trained) -> MicroscopyNet | LinearNet:
    """Return a weight file's network, ready to run."""
    state = {name: torch.from_numpy(value.copy()) for name, value in trained.tensors.items()}
    network: MicroscopyNet | LinearNet
    if trained.kind == "linear":
        network = LinearNet(trained.scale)
    else:
        network = MicroscopyNet(trained.channels, trained.pairs, (trained.scale,))
    network.load_state_dict(state)
    return network.eval()


def wide_lanczos_kernels(scale: int) -> Any:
    """Return Lanczos interpolation as one kernel for each phase of the finer grid.

    Parameters
    ----------
    scale : int
        Scale factor.

    Returns
    -------
    torch.Tensor, shape (scale * scale, 1, 9, 9), float32
        Phase (i, j) is at index ``scale * i + j``, as pixel shuffle wants it. Each kernel sums to
        one, and is 0 beyond Lanczos' three pixels.
    """
    lines = phase_kernels("lanczos", 3, scale).astype(np.float64)
    lines /= lines.sum(axis=1, keepdims=True)
    edge = lines.shape[1]
    kernels = np.einsum("iy,jx->ijyx", lines, lines).reshape(scale * scale, 1, edge, edge)
    return functional.pad(torch.from_numpy(kernels.astype(np.float32)), (BASE_RADIUS - 3,) * 4)
