"""3 x 3 convolutions of a tile that give the whole image's numbers, without computing what is lost.

Every network here pads each of its layers with zeros, so in a tile each layer spoils one more pixel
at every side, except where the tile ends with the plane and the zeros are right. The usual way is
to compute all layers on the whole tile and to cut the halo off at the end. Here a side gives up one
pixel in each layer as soon as no more are needed::

    halo 3, three layers     |h h h|k k k k ...          h = halo, k = kept
    after layer 1              |h h|k k k k ...
    after layer 2                |h|k k k k ...
    after layer 3                  |k k k k ...

A side with less halo than layers that follow keeps it and is padded with zeros, until the layers
left are no more than its pixels. That one rule covers the plane's border (a halo of 0, or one that
ends with the plane: there the zeros are what the network wants) and a halo shorter than the
receptive radius (there the result is that of the usual way, bit for bit, for less work).
"""

from __future__ import annotations

import torch
from torch.nn import functional

from napari_superres.models.engine import Halo


def spare(halo: Halo, need: int) -> Halo:
    """Return the halo without what no later layer can see.

    Parameters
    ----------
    halo : Halo
        Context at each side.
    need : int
        Radius of the layers that follow.
    """
    return Halo(*(min(side, need) for side in halo))


def crop(x: torch.Tensor, have: Halo, want: Halo) -> torch.Tensor:
    """Return a view of `x` with less context.

    Parameters
    ----------
    x : torch.Tensor, shape (n, c, y, x)
    have, want : Halo
        Context that `x` has at each side, and that the result has; never more.
    """
    height, width = x.shape[2:]
    return x[
        :,
        :,
        have.top - want.top : height - (have.bottom - want.bottom),
        have.left - want.left : width - (have.right - want.right),
    ]


def convolve(
    layer: torch.nn.Conv2d, x: torch.Tensor, halo: Halo, need: int
) -> tuple[torch.Tensor, Halo]:
    """Return a 3 x 3 convolution of a tile, and how much context is left.

    Parameters
    ----------
    layer : torch.nn.Conv2d
        Weights of shape (out, in, 3, 3).
    x : torch.Tensor, shape (n, in, y, x)
    halo : Halo
        Context of `x` at each side, at most ``need + 1``.
    need : int
        Radius of the layers that follow this one.

    Returns
    -------
    torch.Tensor, shape (n, out, y', x')
    Halo
        Context of the result.
    """
    top, bottom, left, right = (int(side <= need) for side in halo)
    # The convolution itself pads both sides of an axis or neither; the rest is padded before.
    y, x_ = min(top, bottom), min(left, right)
    if (top, bottom, left, right) != (y, y, x_, x_):
        x = functional.pad(x, (left - x_, right - x_, top - y, bottom - y))
    after = Halo(*(min(side, need) for side in halo))
    return _convolution(x, layer.weight, layer.bias, (y, x_)), after


def _convolution(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, padding: tuple[int, int]
) -> torch.Tensor:
    """Return a 3 x 3 convolution whose bits do not depend on the size of `x`.

    ``conv2d`` takes another algorithm below some 20000 numbers, with another order of summation;
    oneDNN's own convolution, called by its name, has one order for every size (shown by
    ``tests/models/test_realesrgan_exact.py``).
    """
    known = x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16)
    if known and torch.backends.mkldnn.is_available():
        if x.shape[1] == 1:
            # A single sample has two memory layouts at once, and oneDNN picks one by the size.
            more = (0, 0, 0, 0, 0, 1)
            x, weight = functional.pad(x, more), functional.pad(weight, more)
            x = x.contiguous(memory_format=torch.channels_last)
        return torch.mkldnn_convolution(x, weight, bias, padding, (1, 1), (1, 1), 1)
    return functional.conv2d(x, weight, bias, padding=padding)
