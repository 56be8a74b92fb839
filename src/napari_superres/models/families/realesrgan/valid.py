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

from typing import TYPE_CHECKING

from torch.nn import functional

from napari_superres.models.convolutions import convolve2d
from napari_superres.models.engine import Halo

if TYPE_CHECKING:
    import torch


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
    return convolve2d(x, layer.weight, layer.bias, (y, x_)), after
