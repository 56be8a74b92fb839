"""The embedded models: a small network and a linear one, trained on simulated microscopy."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_superres.errors import WeightsError
from napari_superres.models.convolutions import SameBits
from napari_superres.models.families.microscopy.tensors import build_network, read_trained
from napari_superres.models.threads import one_thread_in_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_superres.models.catalog import ModelSpec
    from napari_superres.models.engine import Address, Halo, Setting
    from napari_superres.models.families.microscopy.tensors import Trained

ENGINES = ("ncnn", "torch")


def load(spec: ModelSpec, weights: Mapping[str, Path], setting: Setting) -> MicroscopyEngine:
    """Return an engine for one of the embedded models, or for a file of this family.

    Parameters
    ----------
    spec : ModelSpec
        A row of this family.
    weights : mapping of str to Path
        One file.
    setting : Setting
        `uncertainty` asks for the predicted error scale as a second sample.

    Returns
    -------
    MicroscopyEngine

    Raises
    ------
    WeightsError
        If the file is not of this family, is for another scale factor, or has no error head
        although one is asked for.
    """
    (path,) = weights.values()
    trained = read_trained(path)
    if trained.scale != spec.scale:
        raise WeightsError(
            f"'{path}' makes images {trained.scale} times finer, not {spec.scale} times.",
            f"Use scale={trained.scale}, or another file.",
        )
    if setting.uncertainty and not trained.bound:
        raise WeightsError(
            f"'{path}' holds a model that does not predict its error.",
            "Leave out uncertainty=True, or choose a model that offers it.",
        )
    if setting.engine == "ncnn":
        # Only where it is asked for: torch alone must do.
        from napari_superres.models.families.microscopy.ncnn_graph import NcnnNetwork

        network: Callable[[np.ndarray, float], np.ndarray] = NcnnNetwork(
            trained, uncertainty=setting.uncertainty
        )
    else:
        network = TorchNetwork(trained, setting)
    return MicroscopyEngine(trained.radius, network)


class MicroscopyEngine:
    """Cuts and pads tiles to the network's own radius and runs them one by one. See `Engine`.

    Parameters
    ----------
    radius : int
        Receptive radius in source pixels.
    network : callable
        From a padded tile, shape (y, x), and a noise level to samples, shape (k, y', x').
    """

    def __init__(self, radius: int, network: Callable[[np.ndarray, float], np.ndarray]) -> None:
        self.radius = radius
        self._network = network

    def __call__(self, tiles: np.ndarray, halo: Halo, at: Sequence[Address]) -> np.ndarray:
        """Return finer tiles, the halo dropped; a plane's border is continued by reflection.

        Parameters
        ----------
        tiles : np.ndarray, shape (n, 1 or 2, y, x), float32
            In the source's own units; the second plane, where given, holds the standard deviation
            of the noise to be removed, the same at every pixel.
        halo : Halo
            Context at each side, in source pixels.
        at : sequence of Address
            Not used.

        Returns
        -------
        np.ndarray, shape (n, k, s*(y - top - bottom), s*(x - left - right)), float32
            `k` is 1, or 2 with the predicted error scale.
        """
        height, width = tiles.shape[-2:]
        spare = [max(0, side - self.radius) for side in halo]
        missing = [max(0, self.radius - side) for side in halo]
        finer = []
        for tile in tiles:
            noise = float(tile[1, 0, 0]) if len(tile) > 1 else 0.0
            plane = tile[0, spare[0] : height - spare[1], spare[2] : width - spare[3]]
            if any(missing):
                plane = np.pad(plane, (missing[:2], missing[2:]), mode="symmetric")
            finer.append(self._network(plane, noise))
        return np.stack(finer)


class TorchNetwork:
    """The network under torch: the reference, and the way to a graphics card.

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
        self._network = build_network(trained).to(self._device)
        self._uncertainty = setting.uncertainty
        self._precision = getattr(torch, setting.precision)

    def __call__(self, plane: np.ndarray, noise: float) -> np.ndarray:
        """Return the result of one padded tile.

        Parameters
        ----------
        plane : np.ndarray, shape (y, x), float32
            `radius` pixels of context at each side.
        noise : float
            Standard deviation of the noise to be removed.

        Returns
        -------
        np.ndarray, shape (k, s*(y - 2*radius), s*(x - 2*radius)), float32
        """
        x = torch.from_numpy(np.ascontiguousarray(plane))[None, None].to(self._device)
        mixed = self._precision != torch.float32
        kind = self._device.type
        with (
            one_thread_in_workers(),
            nullcontext() if mixed else SameBits(),  # tiles equal the untiled plane exactly
            torch.inference_mode(),
            torch.autocast(kind, self._precision, enabled=mixed),
        ):
            return np.asarray(self._run(x, noise).float().cpu().numpy())

    def _run(self, x: Any, noise: float) -> Any:
        if self._trained.kind == "linear":
            return self._network(x)[0]
        level = torch.full((1,), noise, dtype=torch.float32, device=self._device)
        features = self._network.features(x, level)
        results = [self._network.upscaled(x, features, self._trained.scale)]
        if self._uncertainty:
            results.append(self._network.error_scale(features, self._trained.scale).float())
        return torch.cat(results, dim=1)[0]
