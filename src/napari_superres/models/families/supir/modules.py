"""The two modules that SUPIR adds to SDXL's network.

Written from the description of the method: Yu F et al. Scaling Up to Excellence: Practicing Model
Scaling for Photo-Realistic Image Restoration In the Wild. CVPR 2024.
doi:10.1109/CVPR52733.2024.02425
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

GROUPS = 32
"""Groups of every normalisation in SDXL."""

HEAD = 64
"""Width of an attention head in `CrossInject`, whatever that of the network is."""


class ZeroSFT(nn.Module):  # type: ignore[misc]
    """Scale and shift the decoder's feature maps by what the control network saw.

    Parameters
    ----------
    control, skip, main : int
        Feature maps of the control state, of the skip connection (0 where there is none) and of the
        decoder.
    hidden : int
        Feature maps between control state and scale and shift.
    """

    def __init__(self, control: int, skip: int, main: int, hidden: int) -> None:
        super().__init__()
        self.has_skip = skip > 0
        self.norm = nn.GroupNorm(GROUPS, skip + main)
        self.shared = nn.Conv2d(control, hidden, 3, padding=1)
        self.scale = nn.Conv2d(hidden, skip + main, 3, padding=1)
        self.shift = nn.Conv2d(hidden, skip + main, 3, padding=1)
        self.mix = nn.Conv2d(control, skip or main, 1)

    def forward(
        self, control: Tensor, main: Tensor, skip: Tensor | None, strength: float
    ) -> Tensor:
        """Return the decoder's maps, those of the skip connection appended.

        Parameters
        ----------
        control : Tensor, shape (n, control, y, x)
        main : Tensor, shape (n, main, y, x)
        skip : Tensor, shape (n, skip, y, x), or None
        strength : float
            Between 0 (the maps as SDXL has them) and 1.

        Returns
        -------
        Tensor, shape (n, main + skip, y, x)
        """
        if skip is None:
            plain = main
            mixed = main + self.mix(control)
        else:
            plain = torch.cat([main, skip], dim=1)
            mixed = torch.cat([main, skip + self.mix(control)], dim=1)
        seen = functional.silu(self.shared(control))
        told = self.norm(mixed) * (1 + self.scale(seen)) + self.shift(seen)
        return told * strength + plain * (1 - strength)


class CrossInject(nn.Module):  # type: ignore[misc]
    """Let every position of the decoder attend to every position of a control state.

    Parameters
    ----------
    main, control : int
        Feature maps of the decoder and of the control state.
    """

    def __init__(self, main: int, control: int) -> None:
        super().__init__()
        self.heads = max(1, main // HEAD)
        self.norm = nn.GroupNorm(GROUPS, main)
        self.control_norm = nn.GroupNorm(GROUPS, control)
        self.query = nn.Linear(main, main, bias=False)
        self.key = nn.Linear(control, main, bias=False)
        self.value = nn.Linear(control, main, bias=False)
        self.out = nn.Linear(main, main)

    def forward(self, control: Tensor, main: Tensor, strength: float) -> Tensor:
        """Return the decoder's maps with what they found added `strength` times.

        Parameters
        ----------
        control : Tensor, shape (n, control, y', x')
        main : Tensor, shape (n, main, y, x)
        strength : float

        Returns
        -------
        Tensor, shape (n, main, y, x)
        """
        n, width, height, length = main.shape
        at = self._heads(self.query(_positions(self.norm(main))))
        states = _positions(self.control_norm(control))
        found = functional.scaled_dot_product_attention(
            at, self._heads(self.key(states)), self._heads(self.value(states))
        )
        # (n, heads, y*x, head) -> (n, y*x, main) -> (n, main, y, x)
        found = self.out(found.transpose(1, 2).reshape(n, height * length, width))
        return main + found.transpose(1, 2).reshape(main.shape) * strength

    def _heads(self, values: Tensor) -> Tensor:
        # (n, positions, width) -> (n, heads, positions, width / heads)
        n, positions, width = values.shape
        return values.reshape(n, positions, self.heads, width // self.heads).transpose(1, 2)


def _positions(maps: Tensor) -> Tensor:
    # (n, width, y, x) -> (n, y*x, width)
    return maps.flatten(2).transpose(1, 2)
