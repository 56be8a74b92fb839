"""A Real-ESRGAN network as one ncnn graph, as a converter would write it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_superres.models.ncnn_graph import Blob, Graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from napari_superres.models.families.realesrgan.architecture import Architecture


def whole_graph(architecture: Architecture, tensors: Mapping[str, np.ndarray]) -> Graph:
    """Return the whole network, each layer padded with zeros.

    Parameters
    ----------
    architecture : Architecture
    tensors : mapping of str to np.ndarray, float32
        By official names.
    """
    graph = Graph()

    def convolve(blob: Blob, name: str, slope: float | None = None) -> Blob:
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        return graph.convolution(blob, weight, bias, pad=1, slope=slope)

    def dense(x: Blob, name: str) -> Blob:
        grown = x
        for i in range(1, 5):
            grown = graph.concat([grown, convolve(grown, f"{name}.conv{i}", 0.2)])
        return graph.scaled_sum([convolve(grown, f"{name}.conv5"), x], [0.2, 1.0])

    x = blob = graph.input()
    if architecture.kind == "compact":
        for layer in range(0, 2 * architecture.blocks + 3, 2):
            blob = convolve(blob, f"body.{layer}")
            if f"body.{layer + 1}.weight" in tensors:
                blob = graph.prelu(blob, tensors[f"body.{layer + 1}.weight"])
        blob = graph.pixel_shuffle(blob, architecture.scale)
        graph.output(graph.add(blob, graph.nearest(x, architecture.scale)))
        return graph
    first = blob = convolve(x, "conv_first")
    for number in range(architecture.blocks):
        before = blob
        for part in (1, 2, 3):
            blob = dense(blob, f"body.{number}.rdb{part}")
        blob = graph.scaled_sum([blob, before], [0.2, 1.0])
    blob = graph.add(first, convolve(blob, "conv_body"))
    for up in range(1, architecture.ups + 1):
        blob = convolve(graph.nearest(blob, 2), f"conv_up{up}", 0.2)
    graph.output(convolve(convolve(blob, "conv_hr", 0.2), "conv_last"))
    return graph
