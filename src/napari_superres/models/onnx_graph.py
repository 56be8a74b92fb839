"""A network as an ONNX file, written from layers and float32 weights.

It has the methods of `ncnn_graph.Graph` that whole networks are drawn with, so one drawing becomes
either file. Arrays have a batch axis in front, and batch, height and width may be any::

    graph = OnnxGraph()
    maps = graph.convolution(graph.input("image", 1), weight, bias)
    graph.output(graph.pixel_shuffle(maps, 4))
    model = graph.model("name", 1, {"licence": "BSD-3-Clause"})

References
----------
The operators, by version: ONNX, ``docs/Operators.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from napari_superres.errors import MissingDependencyError
from napari_superres.models.ncnn_graph import Blob

try:
    import onnx
except ImportError as error:
    raise MissingDependencyError(
        f"The package 'onnx', which writes ONNX files, cannot be imported ({error}).",
        'Run: pip install "napari-superres[export]".',
    ) from error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OPSET = 13
"""Version of the operators: nothing here needs a newer one, and old programs on devices read it."""

IR_VERSION = 7
"""Version of the file format that goes with it."""


@dataclass(eq=False)
class OnnxGraph:
    """Layers in the order in which they run; each method adds one and returns its output."""

    OUTPUT: ClassVar[str] = "out"
    """What the output is called."""

    _inputs: list[Any] = field(default_factory=list)
    _nodes: list[Any] = field(default_factory=list)
    _constants: list[Any] = field(default_factory=list)
    _channels: dict[Blob, int] = field(default_factory=dict)

    def input(self, name: str, channels: int) -> Blob:
        """Add an array that is given from outside, of shape (n, channels, y, x)."""
        blob = self._input(name, ["n", channels, "y", "x"])
        self._channels[blob] = channels
        return blob

    def output(self, blob: Blob) -> None:
        """Say which blob is the result."""
        self._nodes.append(onnx.helper.make_node("Identity", [blob], [self.OUTPUT]))

    def convolution(
        self,
        blob: Blob,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        *,
        pad: int = 0,
        slope: float | None = None,
    ) -> Blob:
        """Add a convolution; see `ncnn_graph.Graph.convolution`."""
        terms = [blob, self._constant(weight)]
        if bias is not None:
            terms.append(self._constant(bias))
        maps = self._add("Conv", terms, pads=[pad] * 4, kernel_shape=weight.shape[2:])
        return maps if slope is None else self.leaky_relu(maps, slope)

    def prelu(self, blob: Blob, slopes: np.ndarray) -> Blob:
        """Multiply what is below zero by a slope for each channel, shape (c,)."""
        return self._add("PRelu", [blob, self._constant(slopes.reshape(-1, 1, 1))])

    def leaky_relu(self, blob: Blob, slope: float) -> Blob:
        """Multiply what is below zero by `slope`."""
        return self._add("LeakyRelu", [blob], alpha=slope)

    def pixel_shuffle(self, blob: Blob, scale: int) -> Blob:
        """Turn (n, c * scale**2, y, x) into (n, c, scale * y, scale * x), as torch does."""
        return self._add("DepthToSpace", [blob], blocksize=scale, mode="CRD")

    def pixel_unshuffle(self, blob: Blob, scale: int) -> Blob:
        """Turn an input of (n, c, scale * y, scale * x) into (n, c * scale**2, y, x), as torch."""
        # ONNX knows only the order in which the channels of one pixel lie together.
        folded = self._add("SpaceToDepth", [blob], blocksize=scale)
        order = np.arange(scale**2 * self._channels[blob]).reshape(scale**2, -1).T.reshape(-1)
        return self._add("Gather", [folded, self._constant(order.astype(np.int64))], axis=1)

    def nearest(self, blob: Blob, scale: int) -> Blob:
        """Repeat each pixel `scale` times along y and x."""
        return self._add(
            "Resize",
            [blob, Blob(""), self._constant(np.array([1, 1, scale, scale], np.float32))],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def concat(self, blobs: Sequence[Blob]) -> Blob:
        """Stack channels."""
        return self._add("Concat", list(blobs), axis=1)

    def add(self, one: Blob, other: Blob) -> Blob:
        """Add two blobs of equal shape, or a blob and one of shape (1, c, 1, 1)."""
        return self._add("Add", [one, other])

    def scaled_sum(self, blobs: Sequence[Blob], factors: Sequence[float]) -> Blob:
        """Add blobs of equal shape, each times its factor."""
        terms = [
            blob
            if factor == 1
            else self._add("Mul", [blob, self._constant(np.array(factor, np.float32))])
            for blob, factor in zip(blobs, factors, strict=True)
        ]
        total = terms[0]
        for term in terms[1:]:
            total = self.add(total, term)
        return total

    def absolute(self, blob: Blob) -> Blob:
        """Take absolute values."""
        return self._add("Abs", [blob])

    def crop(self, blob: Blob, margin: int) -> Blob:
        """Cut `margin` pixels off each side."""
        ends = [self._constant(np.array([n, n], np.int64)) for n in (margin, -margin)]
        axes = self._constant(np.array([2, 3], np.int64))
        return self._add("Slice", [blob, *ends, axes]) if margin else blob

    def model(self, name: str, samples: int, facts: Mapping[str, str]) -> Any:
        """Return the model, checked for what ONNX allows.

        Parameters
        ----------
        name : str
            Of the graph.
        samples : int
            Channels of the result.
        facts : mapping of str to str
            Metadata of the file.

        Returns
        -------
        onnx.ModelProto
        """
        shape: list[int | str | None] = ["n", samples, "out_y", "out_x"]
        out = onnx.helper.make_tensor_value_info(self.OUTPUT, onnx.TensorProto.FLOAT, shape)
        graph = onnx.helper.make_graph(self._nodes, name, self._inputs, [out], self._constants)
        model = onnx.helper.make_model(
            graph,
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="napari-superres",
        )
        onnx.helper.set_model_props(model, dict(facts))
        onnx.checker.check_model(model, full_check=True)
        return model

    def _input(self, name: str, shape: Sequence[int | str | None]) -> Blob:
        kind = onnx.TensorProto.FLOAT
        self._inputs.append(onnx.helper.make_tensor_value_info(name, kind, shape))
        return Blob(name)

    def _constant(self, values: np.ndarray) -> Blob:
        name = f"constant{len(self._constants)}"
        self._constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return Blob(name)

    def _add(self, kind: str, inputs: Sequence[Blob], **parameters: Any) -> Blob:
        output = f"blob{len(self._nodes)}"
        self._nodes.append(onnx.helper.make_node(kind, list(inputs), [output], **parameters))
        return Blob(output)
