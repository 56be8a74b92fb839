"""Give a result the colours of a reference: what is coarse is taken from there.

Sources: for the wavelet fix Wang J et al. (StableSR, arXiv:2305.07015), with the a-trous transform
of Holschneider M et al. 1989; for AdaIN Huang X, Belongie S, ICCV 2017, doi:10.1109/ICCV.2017.167.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = 5
"""Blurs with holes of 1, 2, 4, 8 and 16 pixels: what is coarser than about 64 pixels is colour."""


def wavelet(result: Tensor, reference: Tensor) -> Tensor:
    """Return the result with the reference's coarse part.

    Parameters
    ----------
    result, reference : Tensor, shape (n, c, y, x)
        Of the same shape.

    Returns
    -------
    Tensor, shape (n, c, y, x)
    """
    return result - _coarse(result) + _coarse(reference)


def adain(result: Tensor, reference: Tensor) -> Tensor:
    """Return the result with each channel's mean and spread as in the reference.

    Parameters
    ----------
    result, reference : Tensor, shape (n, c, y, x)

    Returns
    -------
    Tensor, shape (n, c, y, x)
    """
    spread, mean = torch.std_mean(result, dim=(2, 3), keepdim=True)
    wanted, middle = torch.std_mean(reference, dim=(2, 3), keepdim=True)
    # 1e-5 of the squared range keeps a flat picture flat instead of dividing by zero.
    return (result - mean) / (spread**2 + 1e-5).sqrt() * (wanted**2 + 1e-5).sqrt() + middle


FIXES = {"wavelet": wavelet, "adain": adain}
"""By the names that users give."""


def _coarse(image: Tensor) -> Tensor:
    channels = image.shape[1]
    line = torch.tensor([0.25, 0.5, 0.25], dtype=image.dtype, device=image.device)
    kernel = torch.outer(line, line).expand(channels, 1, 3, 3)
    for level in range(LEVELS):
        hole = 2**level
        padded = functional.pad(image, (hole,) * 4, mode="replicate")
        image = functional.conv2d(padded, kernel, groups=channels, dilation=hole)
    return image
