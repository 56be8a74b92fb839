"""The embedded network under torch: the reference, and the way to a graphics card."""

from __future__ import annotations

from contextlib import nullcontext
from math import ceil, log2
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_superres.models.convolutions import SameBits
from napari_superres.models.families.microscopy.network import build_network
from napari_superres.models.precision import exact, torch_type
from napari_superres.models.threads import one_thread_in_workers

if TYPE_CHECKING:
    from napari_superres.models.engine import Setting
    from napari_superres.models.families.microscopy.tensors import Trained


class TorchNetwork:
    """One network on one device, one tile at a time.

    Parameters
    ----------
    trained : Trained
        The weights.
    setting : Setting
        Device, precision and whether the predicted error is wanted.
    """

    def __init__(self, trained: Trained, setting: Setting) -> None:
        self._trained = trained
        self._device = torch.device(setting.device)
        self._precision = torch_type(setting.device, setting.precision)
        self._network = build_network(trained).to(self._device)
        self._uncertainty = setting.uncertainty

    def __call__(self, plane: np.ndarray, noise: np.ndarray | float) -> np.ndarray:
        """Return the result of one padded tile.

        Parameters
        ----------
        plane : np.ndarray, shape (y, x), float32
            `radius` pixels of context at each side.
        noise : float or np.ndarray, shape (y, x), float32
            Standard deviation of the noise to be removed, everywhere or around each pixel.

        Returns
        -------
        np.ndarray, shape (k, s*(y - 2*radius), s*(x - 2*radius)), float32
        """
        # A sum of few products needs no half precision, and its pedestal all its digits.
        mixed = self._precision != torch.float32 and self._trained.kind != "linear"
        # f(a x) is a f(x), and a power of two is exact: the largest and the smallest number of
        # float16 are not far enough apart for any camera's unit.
        unit = _power_of_two(max(float(np.ptp(plane)), float(np.max(noise)))) if mixed else 1.0
        told = np.full(1, noise) if np.ndim(noise) == 0 else np.asarray(noise)[None, None]
        x, level = (
            torch.from_numpy(np.array(values / np.float32(unit), np.float32)).to(self._device)
            for values in (plane[None, None], told)
        )
        kind = self._device.type
        with (
            one_thread_in_workers(),
            exact(self._device),  # mixed precision leaves the interpolation in float32
            nullcontext() if mixed else SameBits(),  # tiles equal the untiled plane exactly
            torch.inference_mode(),
            torch.autocast(kind, self._precision, enabled=mixed),
        ):
            return np.asarray(self._run(x, level).float().cpu().numpy()) * np.float32(unit)

    def _run(self, x: Any, level: Any) -> Any:
        if self._trained.kind == "linear":
            return self._network(x)[0]
        features = self._network.features(x, level)
        results = [self._network.upscaled(x, features, self._trained.scale)]
        if self._uncertainty:
            results.append(self._network.error_scale(features, self._trained.scale).float())
        return torch.cat(results, dim=1)[0]


def _power_of_two(value: float) -> float:
    """Return the least power of two that is not below a value; 1 for 0."""
    return 2.0 ** ceil(log2(value)) if value else 1.0
