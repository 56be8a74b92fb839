"""RRDBNet and SRVGGNetCompact in torch, with the official names of their tensors.

Each is called with a batch of tiles and the halo of their sides (see `valid`), and gives the finer
pixels without it; with a halo of 0 it is the network as published.

References
----------
Wang X et al. ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks. ECCV Workshops
2018. doi:10.1007/978-3-030-11021-5_5
Wang X et al. Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data. ICCV
Workshops 2021. doi:10.1109/ICCVW54120.2021.00217
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from napari_superres.models.engine import Halo
from napari_superres.models.families.realesrgan.valid import convolve, crop, spare

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from napari_superres.models.families.realesrgan.architecture import Architecture

NO_HALO = Halo(0, 0, 0, 0)

PIECE = 128
"""Feature pixels along each side of what the upsampler of an RRDBNet makes finer at once: at the
output's resolution its maps take up to 16 times the memory of everything before."""


def build(architecture: Architecture, tensors: Mapping[str, np.ndarray]) -> Network:
    """Return the network with its weights, ready for inference on the CPU.

    Parameters
    ----------
    architecture : Architecture
    tensors : mapping of str to np.ndarray, float32
        Exactly the tensors of `architecture`, by their official names.
    """
    with torch.device("meta"):  # no memory for numbers that are replaced at once
        kind = Compact if architecture.kind == "compact" else RRDBNet
        network: Network = kind(architecture)
    state = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    network.load_state_dict(state, strict=True, assign=True)
    network.eval().requires_grad_(False)
    return network


class Network(nn.Module):  # type: ignore[misc]  # torch has no types here
    """What both networks have in common.

    Parameters
    ----------
    architecture : Architecture
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture

    def forward(self, x: torch.Tensor, halo: Halo = NO_HALO) -> torch.Tensor:
        """Return finer tiles, the halo dropped.

        Parameters
        ----------
        x : torch.Tensor, shape (n, c, y, x)
            In [0, 1].
        halo : Halo
            Context at each side in source pixels; multiples of ``architecture.multiple``.

        Returns
        -------
        torch.Tensor, shape (n, c, s*(y - top - bottom), s*(x - left - right))
        """
        raise NotImplementedError


class Compact(Network):
    """SRVGGNetCompact: convolutions at the source's resolution, then a pixel shuffle.

    The network adds to the nearest-neighbour upscaled input.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        a = architecture
        layers: list[nn.Module] = [_convolution(a.samples, a.features), nn.PReLU(a.features)]
        for _ in range(a.blocks):
            layers += [_convolution(a.features, a.features), nn.PReLU(a.features)]
        layers.append(_convolution(a.features, a.samples * a.scale**2))
        self.body = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor, halo: Halo = NO_HALO) -> torch.Tensor:
        """Return finer tiles, the halo dropped. See `Network.forward`."""
        scale, need = self.architecture.scale, self.architecture.radius
        base = crop(x, halo, NO_HALO)
        have = spare(halo, need)
        x = crop(x, halo, have)
        for layer in self.body:
            if isinstance(layer, nn.Conv2d):
                need -= 1
                x, have = convolve(layer, x, have, need)
            else:
                x = layer(x)
        fine = functional.pixel_shuffle(x, scale)
        return fine + functional.interpolate(base, scale_factor=scale, mode="nearest")


class RRDBNet(Network):
    """Residual-in-residual dense blocks at the features' resolution, then two or so doublings."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        a = architecture
        self.conv_first = _convolution(a.samples * a.unshuffle**2, a.features)
        self.body = nn.ModuleList(Block(a.features, a.growth) for _ in range(a.blocks))
        self.conv_body = _convolution(a.features, a.features)
        self.ups = [f"conv_up{i + 1}" for i in range(a.ups)]
        for name in self.ups:
            self.add_module(name, _convolution(a.features, a.features))
        self.conv_hr = _convolution(a.features, a.features)
        self.conv_last = _convolution(a.features, a.samples)

    def forward(self, x: torch.Tensor, halo: Halo = NO_HALO) -> torch.Tensor:
        """Return finer tiles, the halo dropped. See `Network.forward`."""
        fold, scale = self.architecture.unshuffle, self.architecture.scale
        if fold == 1:
            return self._fine(*self._features(x, halo))
        height, width = x.shape[2:]
        x = _to_multiple(x, fold)
        # The features that cover what is kept; more than that is cut off at the end.
        covered = Halo(
            halo.top // fold,
            (x.shape[2] - (height - halo.bottom)) // fold,
            halo.left // fold,
            (x.shape[3] - (width - halo.right)) // fold,
        )
        fine = self._fine(*self._features(functional.pixel_unshuffle(x, fold), covered))
        top, left = halo.top % fold * scale, halo.left % fold * scale
        rows, columns = height - halo.top - halo.bottom, width - halo.left - halo.right
        return fine[:, :, top : top + rows * scale, left : left + columns * scale]

    def _features(self, x: torch.Tensor, halo: Halo) -> tuple[torch.Tensor, Halo]:
        """Return the features that the upsampler needs, and their context."""
        need = self.architecture.body_radius + self.architecture.tail_radius
        have = spare(halo, need)
        x = crop(x, halo, have)
        need -= 1
        first, have_first = convolve(self.conv_first, x, have, need)
        x, have = first, have_first
        for block in self.body:
            need -= Block.RADIUS
            x, have = block(x, have, need)
        need -= 1
        x, have = convolve(self.conv_body, x, have, need)
        return x.add_(crop(first, have_first, have)), have

    def _fine(self, features: torch.Tensor, have: Halo) -> torch.Tensor:
        """Return the output for features, piece by piece."""
        width = self.architecture.scale * self.architecture.unshuffle
        n, _, rows, columns = features.shape
        rows -= have.top + have.bottom
        columns -= have.left + have.right
        shape = (n, self.architecture.samples, rows * width, columns * width)
        out = features.new_empty(shape)
        reach = self.architecture.tail_radius
        for top, bottom in _pieces(rows):
            for left, right in _pieces(columns):
                # Context of the piece: its neighbours' features, or what the tile itself has.
                around = Halo(
                    min(reach, top + have.top),
                    min(reach, rows - bottom + have.bottom),
                    min(reach, left + have.left),
                    min(reach, columns - right + have.right),
                )
                piece = features[
                    :,
                    :,
                    have.top + top - around.top : have.top + bottom + around.bottom,
                    have.left + left - around.left : have.left + right + around.right,
                ]
                fine = self._upsample(piece, around)
                out[:, :, top * width : bottom * width, left * width : right * width] = fine
        return out

    def _upsample(self, x: torch.Tensor, have: Halo) -> torch.Tensor:
        for name, need in zip(self.ups, _needs(len(self.ups)), strict=True):
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            doubled = Halo(*(2 * side for side in have))
            have = spare(doubled, need + 1)
            x, have = convolve(getattr(self, name), crop(x, doubled, have), have, need)
            x = _lrelu(x)
        x, have = convolve(self.conv_hr, x, have, 1)
        x, _ = convolve(self.conv_last, _lrelu(x), have, 0)
        return x


class Block(nn.Module):  # type: ignore[misc]
    """RRDB: three dense blocks in a row, added to the input.

    Parameters
    ----------
    features, growth : int
        Feature maps between blocks, and that each convolution adds within one.
    """

    RADIUS = 15

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = Dense(features, growth)
        self.rdb2 = Dense(features, growth)
        self.rdb3 = Dense(features, growth)

    def forward(self, x: torch.Tensor, halo: Halo, need: int) -> tuple[torch.Tensor, Halo]:
        """Return the block's output and its context; `need` is the radius of what follows."""
        y, have = self.rdb1(x, halo, need + 2 * Dense.RADIUS)
        y, have = self.rdb2(y, have, need + Dense.RADIUS)
        y, have = self.rdb3(y, have, need)
        return y.mul_(0.2).add_(crop(x, halo, have)), have


class Dense(nn.Module):  # type: ignore[misc]
    """Residual dense block: each of five convolutions sees the input and all before it.

    Parameters
    ----------
    features, growth : int
    """

    RADIUS = 5

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.conv1 = _convolution(features, growth)
        self.conv2 = _convolution(features + growth, growth)
        self.conv3 = _convolution(features + 2 * growth, growth)
        self.conv4 = _convolution(features + 3 * growth, growth)
        self.conv5 = _convolution(features + 4 * growth, features)

    def forward(self, x: torch.Tensor, halo: Halo, need: int) -> tuple[torch.Tensor, Halo]:
        """Return the block's output and its context; `need` is the radius of what follows."""
        grown, have = x, halo
        for i, layer in enumerate((self.conv1, self.conv2, self.conv3, self.conv4)):
            new, after = convolve(layer, grown, have, need + 4 - i)
            grown, have = torch.cat((crop(grown, have, after), _lrelu(new)), dim=1), after
        y, after = convolve(self.conv5, grown, have, need)
        # Two operations and not one fused: their rounding does not depend on a tile's width.
        return y.mul_(0.2).add_(crop(x, halo, after)), after


def _convolution(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)


def _lrelu(x: torch.Tensor) -> torch.Tensor:
    return functional.leaky_relu_(x, 0.2)


def _needs(ups: int) -> list[int]:
    """Return the radius of what follows each doubling's convolution, in pixels of its grid."""
    needs: list[int] = []
    need = 2  # conv_hr and conv_last
    for _ in range(ups):
        needs.insert(0, need)
        need = -(-(need + 1) // 2)
    return needs


def _pieces(length: int) -> list[tuple[int, int]]:
    """Cut a length into equal pieces of at most `PIECE`."""
    count = max(1, -(-length // PIECE))
    cuts = [round(i * length / count) for i in range(count + 1)]
    return list(pairwise(cuts))


def _to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Pad a tile at the right and at the bottom to a multiple, by reflection.

    Sides of interior tiles are multiples, so this happens at the plane's border alone, where the
    official program does it too. One pixel has no reflection and is repeated.
    """
    down, right = (-side % multiple for side in x.shape[2:])
    if right:
        mode = "reflect" if right < x.shape[3] else "replicate"
        x = functional.pad(x, (0, right, 0, 0), mode=mode)
    if down:
        mode = "reflect" if down < x.shape[2] else "replicate"
        x = functional.pad(x, (0, 0, 0, down), mode=mode)
    return x
