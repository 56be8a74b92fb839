"""The embedded models: a small network and a linear one, trained on simulated microscopy.

Nothing heavy is imported before `load` is called, and then the chosen engine alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_superres.errors import WeightsError
from napari_superres.models.families.microscopy.tensors import read_trained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_superres.models.catalog import ModelSpec
    from napari_superres.models.engine import Address, Halo, Setting
    from napari_superres.models.ncnn_graph import Graph
    from napari_superres.models.onnx_graph import OnnxGraph

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
    network: Callable[[np.ndarray, np.ndarray | float], np.ndarray]
    if setting.engine == "ncnn":
        from napari_superres.models.families.microscopy.ncnn import NcnnNetwork

        network = NcnnNetwork(trained, uncertainty=setting.uncertainty)
    else:
        from napari_superres.models.families.microscopy.torch_engine import TorchNetwork

        network = TorchNetwork(trained, setting)
    return MicroscopyEngine(trained.radius, network)


def draw(
    spec: ModelSpec, weights: Mapping[str, Path], graph: Graph | OnnxGraph, denoise: float | None
) -> int:
    """Draw the whole network into a graph; see `exporting`.

    Parameters
    ----------
    spec : ModelSpec
        A row of this family.
    weights : mapping of str to Path
        One file.
    graph : Graph or OnnxGraph
        Empty.
    denoise : None
        The noise to be removed, around each pixel, is an input of the graph.

    Returns
    -------
    int
        How many pixels at each side of the input are context, and missing in the output.
    """
    from napari_superres.models.families.microscopy.layers import Layers

    (path,) = weights.values()
    trained = read_trained(path)
    Layers(trained).whole(graph)
    return trained.radius


class MicroscopyEngine:
    """Cuts and pads tiles to the network's own radius and runs them one by one. See `Engine`.

    Parameters
    ----------
    radius : int
        Receptive radius in source pixels.
    network : callable
        From a padded tile, shape (y, x), and the noise, a number or of the same shape, to samples,
        shape (k, y', x').
    """

    def __init__(
        self, radius: int, network: Callable[[np.ndarray, np.ndarray | float], np.ndarray]
    ) -> None:
        self.radius = radius
        self._network = network

    def __call__(self, tiles: np.ndarray, halo: Halo, at: Sequence[Address]) -> np.ndarray:
        """Return finer tiles, the halo dropped; a plane's border is continued by reflection.

        Parameters
        ----------
        tiles : np.ndarray, shape (n, 1 or 2, y, x), float32
            In the source's own units; the second plane, where given, holds the standard deviation
            of the noise to be removed around each pixel.
        halo : Halo
            Context at each side, in source pixels.
        at : sequence of Address
            Not used.

        Returns
        -------
        np.ndarray, shape (n, k, s*(y - top - bottom), s*(x - left - right)), float32
            `k` is 1, or 2 with the predicted error scale.
        """
        return np.stack([self._network(*self._inputs(tile, halo)) for tile in tiles])

    def _inputs(self, tile: np.ndarray, halo: Halo) -> tuple[np.ndarray, np.ndarray | float]:
        """Return a tile with as much context as the network needs, and its noise."""
        height, width = tile.shape[-2:]
        spare = [max(0, side - self.radius) for side in halo]
        missing = [max(0, self.radius - side) for side in halo]
        planes = tile[:, spare[0] : height - spare[1], spare[2] : width - spare[3]]
        if any(missing):
            planes = np.pad(planes, ((0, 0), missing[:2], missing[2:]), mode="symmetric")
        if len(planes) == 1:
            return planes[0], 0.0
        plane, noise = planes
        return plane, float(noise.flat[0]) if noise.min() == noise.max() else noise
