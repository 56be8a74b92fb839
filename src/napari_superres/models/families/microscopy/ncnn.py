"""The embedded network in ncnn, written straight from the tensors; see `ncnn_graph`.

ncnn's constants cannot depend on the noise. They need not: the network is positively homogeneous
in the image and the noise together, so ``f(x, noise) == noise * f(x / noise, 1)``, and two graphs
suffice, one for noise 1 and one for noise 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_superres.models.families.microscopy.tensors import BASE_RADIUS, SLOPE
from napari_superres.models.ncnn_engine import Network
from napari_superres.models.ncnn_graph import Graph

if TYPE_CHECKING:
    from napari_superres.models.families.microscopy.tensors import Trained


def build_graph(trained: Trained, *, noise: bool, uncertainty: bool) -> Graph:
    """Return a weight file's network as an ncnn graph, from (1, y, x) to (k, y', x').

    Parameters
    ----------
    trained : Trained
        The weights.
    noise : bool
        Whether for noise 1, otherwise for noise 0.
    uncertainty : bool
        Whether the predicted error is the second channel of the output.

    Returns
    -------
    Graph
    """
    graph, tensors, scale = Graph(), trained.tensors, trained.scale
    x = graph.input()
    if trained.kind == "linear":
        graph.output(graph.pixel_shuffle(graph.convolution(x, tensors["kernels"]), scale))
        return graph
    biases = [row if noise else None for row in tensors["thresholds"]]
    maps = graph.convolution(x, tensors["first.weight"], biases[0], slope=SLOPE)
    for one, two in ((2 * pair, 2 * pair + 1) for pair in range(trained.pairs)):
        new = graph.convolution(maps, tensors[f"body.{one}.weight"], biases[1 + one], slope=SLOPE)
        new = graph.convolution(new, tensors[f"body.{two}.weight"], biases[1 + two])
        maps = graph.leaky_relu(graph.add(new, graph.crop(maps, 2)), SLOPE)
    inner = graph.crop(x, trained.radius - BASE_RADIUS)
    plain = graph.convolution(inner, tensors[f"bases.{scale}"])
    phases = graph.add(plain, graph.convolution(maps, tensors[f"heads.{scale}.weight"]))
    fine = graph.pixel_shuffle(phases, scale)
    if uncertainty:
        error = graph.absolute(graph.convolution(maps, tensors[f"errors.{scale}.weight"]))
        fine = graph.concat([fine, graph.pixel_shuffle(error, scale)])
    graph.output(fine)
    return graph


class NcnnNetwork:
    """The network under ncnn, one thread a call. Safe to call from several threads.

    Parameters
    ----------
    trained : Trained
        The weights.
    uncertainty : bool
        Whether the predicted error is computed too.
    """

    def __init__(self, trained: Trained, *, uncertainty: bool) -> None:
        self._networks = {
            noise: Network(build_graph(trained, noise=noise, uncertainty=uncertainty))
            for noise in ((False,) if trained.kind == "linear" else (False, True))
        }

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
        told = noise > 0 and True in self._networks
        unit = np.float32(noise if told else 1)
        return self._networks[told]((plane / unit)[None]) * unit
