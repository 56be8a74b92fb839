"""RRDBNet and SRVGGNetCompact layer by layer, drawn into graphs for the ncnn engine and for files.

A graph is anything with the methods of `ncnn_graph.Graph`; `onnx_graph.OnnxGraph` has them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_superres.models.families.realesrgan.architecture import Architecture
    from napari_superres.models.ncnn_graph import Blob, Graph
    from napari_superres.models.onnx_graph import OnnxGraph

DENSE_RADIUS = 5

RESIDUAL = 0.2
"""What an RRDBNet multiplies residuals by; and the slope of its leaky ReLUs."""


@dataclass(frozen=True, eq=False)
class Layers:
    """Draws the layers of a network.

    Parameters
    ----------
    architecture : Architecture
    tensors : mapping of str to np.ndarray, float32
        By official names.
    padded : bool
        Whether each layer is padded with zeros; otherwise it cuts off what it has no context for.
    """

    architecture: Architecture
    tensors: Mapping[str, np.ndarray]
    padded: bool

    def whole(self, graph: Graph | OnnxGraph) -> None:
        """Draw all of a padded network, with the input ``image``."""
        assert self.padded
        a = self.architecture
        source = graph.input("image", a.samples)
        if a.kind == "compact":
            maps = self.compact(graph, source, range(a.blocks + 2))
            graph.output(self.compact_head(graph, maps, source))
            return
        folded = graph.pixel_unshuffle(source, a.unshuffle) if a.unshuffle > 1 else source
        first = maps = self.convolve(graph, folded, "conv_first")
        for block in range(a.blocks):
            grown = self.dense(graph, maps, f"body.{block}.rdb1")
            grown = self.dense(graph, grown, f"body.{block}.rdb2")
            grown = self.dense(graph, grown, f"body.{block}.rdb3")
            maps = graph.scaled_sum([grown, maps], [RESIDUAL, 1.0])
        maps = graph.add(self.convolve(graph, maps, "conv_body"), first)
        graph.output(self.tail(graph, maps))

    def compact(self, graph: Graph | OnnxGraph, maps: Blob, layers: Sequence[int]) -> Blob:
        """Return what some convolutions of SRVGGNetCompact make, each but the last activated."""
        for layer in layers:
            maps = self.convolve(graph, maps, f"body.{2 * layer}")
            slopes = self.tensors.get(f"body.{2 * layer + 1}.weight")
            if slopes is not None:
                maps = graph.prelu(maps, slopes)
        return maps

    def compact_head(self, graph: Graph | OnnxGraph, maps: Blob, source: Blob) -> Blob:
        """Return the finer image of SRVGGNetCompact."""
        scale = self.architecture.scale
        plain = graph.nearest(source, scale)
        return graph.add(graph.pixel_shuffle(maps, scale), plain)

    def dense(self, graph: Graph | OnnxGraph, maps: Blob, name: str) -> Blob:
        """Return a residual dense block of RRDBNet."""
        grown = maps
        for i in range(1, 5):
            new = self.convolve(graph, grown, f"{name}.conv{i}", slope=RESIDUAL)
            grown = graph.concat([grown if self.padded else graph.crop(grown, 1), new])
        # The factor of the residual is a factor of the weights as well.
        weight, bias = (self.tensors[f"{name}.conv5.{part}"] for part in ("weight", "bias"))
        factor = np.float32(RESIDUAL)
        new = graph.convolution(grown, factor * weight, factor * bias, pad=int(self.padded))
        return graph.add(new, maps if self.padded else graph.crop(maps, DENSE_RADIUS))

    def tail(self, graph: Graph | OnnxGraph, maps: Blob) -> Blob:
        """Return the finer image that RRDBNet's upsampler makes."""
        spare = self.architecture.tail_radius
        for up in range(self.architecture.ups):
            maps = graph.nearest(maps, 2)
            maps = self.convolve(graph, maps, f"conv_up{up + 1}", slope=RESIDUAL)
            spare = 2 * spare - 1
        maps = self.convolve(graph, maps, "conv_hr", slope=RESIDUAL)
        maps = self.convolve(graph, maps, "conv_last")
        return maps if self.padded else graph.crop(maps, spare - 2)

    def convolve(
        self, graph: Graph | OnnxGraph, blob: Blob, name: str, slope: float | None = None
    ) -> Blob:
        """Return a 3 x 3 convolution, activated if it has a slope."""
        weight, bias = (self.tensors[f"{name}.{part}"] for part in ("weight", "bias"))
        return graph.convolution(blob, weight, bias, pad=int(self.padded), slope=slope)
