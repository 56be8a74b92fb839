"""Nearest neighbour, bicubic and Lanczos interpolation: exact, and without torch.

Each is a set of kernels, one for each phase of a fine pixel inside its source pixel, with unit sum,
applied along y and then along x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_superres.models.catalog import ModelSpec
    from napari_superres.models.engine import Address, Halo, Setting

ENGINES = ("numpy",)


def load(spec: ModelSpec, weights: Mapping[str, Path], setting: Setting) -> Interpolation:
    """Return the engine for one of the interpolation models.

    Parameters
    ----------
    spec : ModelSpec
        A row of this family, with its scale factor filled in.
    weights : mapping
        Not used: there are none.
    setting : Setting
        Not used: there is one implementation.
    """
    return Interpolation(spec.radius, phase_kernels(spec.name, spec.radius, spec.scale))


def phase_kernels(name: str, radius: int, scale: int) -> np.ndarray:
    """Return the kernel of each phase.

    Parameters
    ----------
    name : {"nearest", "bicubic", "lanczos"}
    radius : int
        Source pixels at each side.
    scale : int
        Scale factor.

    Returns
    -------
    np.ndarray, shape (scale, 2 * radius + 1), float32
        Row p holds the weights of source pixels ``i - radius`` to ``i + radius`` for the fine pixel
        at ``i + (p + 0.5) / scale - 0.5``. Rows sum to one.
    """
    if name == "nearest":
        return np.ones((scale, 1), np.float32)
    centres = (np.arange(scale) + 0.5) / scale - 0.5
    distance = np.arange(-radius, radius + 1)[None, :] - centres[:, None]
    kernels = _keys(distance) if name == "bicubic" else _lanczos(distance, radius)
    return (kernels / kernels.sum(axis=1, keepdims=True)).astype(np.float32)


def _keys(distance: np.ndarray) -> np.ndarray:
    """Return Keys' cubic convolution kernel with a = -1/2 (third-order accurate)."""
    d = np.abs(distance)
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _lanczos(distance: np.ndarray, lobes: int) -> np.ndarray:
    windowed = np.sinc(distance) * np.sinc(distance / lobes)
    return np.where(np.abs(distance) < lobes, windowed, 0.0)


@dataclass(frozen=True, eq=False)
class Interpolation:
    """Separable interpolation of tiles. See `Engine`."""

    radius: int
    kernels: np.ndarray

    def __call__(self, tiles: np.ndarray, halo: Halo, at: Sequence[Address]) -> np.ndarray:
        """Return tiles interpolated, the halo dropped; a plane's border is continued by reflection.

        Parameters
        ----------
        tiles : np.ndarray, shape (n, c, y, x), float32
        halo : Halo
        at : sequence of Address
            Not used.

        Returns
        -------
        np.ndarray, shape (n, c, s*(y - top - bottom), s*(x - left - right)), float32
        """
        rows = self._along(tiles, -2, halo.top, halo.bottom)
        return self._along(rows, -1, halo.left, halo.right)

    def _along(self, tiles: np.ndarray, axis: int, before: int, after: int) -> np.ndarray:
        tiles = np.moveaxis(tiles, axis, -1)
        kept = tiles.shape[-1] - before - after
        scale, taps = self.kernels.shape
        first, last = max(0, before - self.radius), max(0, after - self.radius)
        tiles = tiles[..., first : tiles.shape[-1] - last]
        missing = (max(0, self.radius - before), max(0, self.radius - after))
        if any(missing):
            tiles = np.pad(tiles, [(0, 0)] * (tiles.ndim - 1) + [missing], mode="symmetric")
        # Kernels have unit sum, so neighbours may count by their difference to the pixel itself:
        # what is constant stays so exactly, and a large pedestal costs no digits.
        here = tiles[..., self.radius : self.radius + kept]
        out = np.repeat(here[..., None], scale, axis=-1)
        for tap in range(taps):
            if tap != self.radius:
                difference = tiles[..., tap : tap + kept] - here
                for phase in range(scale):
                    if self.kernels[phase, tap]:
                        out[..., phase] += difference * self.kernels[phase, tap]
        # (..., n, s) -> (..., n*s)
        return np.moveaxis(out.reshape(*out.shape[:-2], kept * scale), -1, axis)
