"""The embedded network layer by layer, drawn into a graph: for the ncnn engine, and for files.

A graph is anything with the methods of `ncnn_graph.Graph`; `onnx_graph.OnnxGraph` has them too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_superres.models.families.microscopy.tensors import BASE_RADIUS, SLOPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.models.families.microscopy.tensors import Trained
    from napari_superres.models.ncnn_graph import Blob, Graph
    from napari_superres.models.onnx_graph import OnnxGraph


@dataclass
class LocalNoise:
    """The noise around each pixel, which becomes smaller with the maps.

    Parameters
    ----------
    blob : Blob
        Shape (1, y, x), as large as the maps before the next convolution.
    """

    blob: Blob

    def cropped(self, graph: Graph | OnnxGraph, radius: int) -> Blob:
        """Return the noise at the pixels that a convolution of such a radius leaves."""
        self.blob = graph.crop(self.blob, radius)
        return self.blob


@dataclass(frozen=True)
class Layers:
    """Draws the layers of a weight file, with valid convolutions.

    Parameters
    ----------
    trained : Trained
    noise : bool or LocalNoise
        Whether for noise 1 everywhere, otherwise for noise 0; or what says it for each pixel.
    uncertainty : bool
        Whether the predicted error is the second channel of the result.
    """

    trained: Trained
    noise: bool | LocalNoise = False
    uncertainty: bool = False

    def whole(self, graph: Graph | OnnxGraph) -> None:
        """Draw all of the network, with the inputs ``image`` and, where it has one, ``noise``."""
        source = graph.input("image", 1)
        if self.trained.kind == "linear":
            graph.output(self.linear(graph, source))
            return
        told = replace(self, noise=LocalNoise(graph.input("noise", 1)))
        maps = told.features(graph, told.first(graph, source), range(self.trained.pairs))
        inner = graph.crop(source, self.trained.radius - BASE_RADIUS)
        graph.output(told.heads(graph, maps, inner))

    def linear(self, graph: Graph | OnnxGraph, source: Blob) -> Blob:
        """Return the finer image of a linear model."""
        phases = graph.convolution(source, self.trained.tensors["kernels"])
        return graph.pixel_shuffle(phases, self.trained.scale)

    def first(self, graph: Graph | OnnxGraph, source: Blob) -> Blob:
        """Return the maps after the first convolution."""
        return self._convolve(graph, source, "first.weight", 0, slope=SLOPE)

    def features(self, graph: Graph | OnnxGraph, maps: Blob, pairs: Sequence[int]) -> Blob:
        """Return the maps after some residual pairs."""
        for one, two in ((2 * pair, 2 * pair + 1) for pair in pairs):
            new = self._convolve(graph, maps, f"body.{one}.weight", 1 + one, slope=SLOPE)
            new = self._convolve(graph, new, f"body.{two}.weight", 1 + two)
            maps = graph.leaky_relu(graph.add(new, graph.crop(maps, 2)), SLOPE)
        return maps

    def heads(self, graph: Graph | OnnxGraph, maps: Blob, source: Blob) -> Blob:
        """Return interpolation plus correction, and the predicted error below it.

        Parameters
        ----------
        graph : Graph or OnnxGraph
        maps : Blob
            After the last pair.
        source : Blob
            With `BASE_RADIUS` pixels of context around what becomes finer.
        """
        tensors, scale = self.trained.tensors, self.trained.scale
        plain = graph.convolution(source, tensors[f"bases.{scale}"])
        phases = graph.add(plain, graph.convolution(maps, tensors[f"heads.{scale}.weight"]))
        fine = graph.pixel_shuffle(phases, scale)
        if not self.uncertainty:
            return fine
        error = graph.absolute(graph.convolution(maps, tensors[f"errors.{scale}.weight"]))
        return graph.concat([fine, graph.pixel_shuffle(error, scale)])

    def _convolve(
        self,
        graph: Graph | OnnxGraph,
        blob: Blob,
        name: str,
        threshold: int,
        slope: float | None = None,
    ) -> Blob:
        weight = self.trained.tensors[name]
        if self.noise is False:
            return graph.convolution(blob, weight, slope=slope)
        bias = self.trained.tensors["thresholds"][threshold]
        if self.noise is True:
            return graph.convolution(blob, weight, bias, slope=slope)
        told = self.noise.cropped(graph, weight.shape[-1] // 2)
        # The noise times the threshold of each feature.
        level = graph.convolution(told, bias.reshape(-1, 1, 1, 1))
        maps = graph.add(graph.convolution(blob, weight), level)
        return maps if slope is None else graph.leaky_relu(maps, slope)
