"""A network as ncnn's two files, written in memory from layers and float32 weights.

No converter and no framework is needed: ncnn's text file lists layers and the blobs between them,
its binary file the weights in the same order::

    graph = Graph()
    x = graph.input()
    y = graph.convolution(x, weight, bias, slope=0.1)
    y = graph.pixel_shuffle(graph.convolution(y, head), 4)       # a convolution without bias
    graph.output(graph.add(y, graph.nearest(graph.crop(x, 2), 4)))
    network = Network(graph)                                     # of `ncnn_engine`
    fine = network(tile)                                         # (c, y, x) -> (c', y', x')

Convolutions are valid unless padded, so a sum needs `Graph.crop` on its shorter way. A large tile
is better computed in pieces that stay in the processor's cache: wrap the graph in a `Stage` of
`ncnn_stages`, as `families/realesrgan/ncnn.py` does.

References
----------
The layers' numbered parameters: ncnn, ``docs/developer-guide/operators.md``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NewType

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Blob = NewType("Blob", str)
"""Name of what flows from one layer to others: feature maps of shape (c, y, x)."""

_MAGIC = 7767517
_REST = -233
"""ncnn's word for "as far as it goes"."""
_FLOAT32 = b"\0\0\0\0"
"""Tag before weights that are stored as they are."""


@dataclass(frozen=True)
class _Layer:
    kind: str
    inputs: tuple[Blob, ...]
    output: Blob
    parameters: str


@dataclass(eq=False)
class Graph:
    """Layers in the order in which they run; each method adds one and returns its output."""

    OUTPUT: ClassVar[str] = "out"
    """What ncnn calls the output."""

    inputs: list[Blob] = field(default_factory=list)
    _layers: list[_Layer] = field(default_factory=list)
    _weights: list[bytes] = field(default_factory=list)

    def input(self, name: str = "", channels: int = 0) -> Blob:
        """Add an array that is given from outside, of shape (c, y, x).

        Parameters
        ----------
        name : str
            What whoever gives it calls it; empty for any name.
        channels : int
            How many it has; ncnn need not be told.
        """
        blob = self._add("Input", (), "", name)
        self.inputs.append(blob)
        return blob

    def output(self, blob: Blob) -> None:
        """Say which blob is the result. A graph has one; stack channels if there are more."""
        self._add("Noop", (blob,), "", self.OUTPUT)

    def convolution(
        self,
        blob: Blob,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        *,
        pad: int | tuple[int, int, int, int] = 0,
        slope: float | None = None,
    ) -> Blob:
        """Add a convolution (a correlation, as in torch) with stride 1.

        Parameters
        ----------
        blob : Blob
        weight : np.ndarray, shape (out, in, y, x), float32
        bias : np.ndarray, shape (out,), float32, optional
        pad : int or (top, bottom, left, right)
            Zeros added before.
        slope : float, optional
            Follow it with a leaky ReLU: what is below zero is multiplied by this.
        """
        out, _, height, width = weight.shape
        top, bottom, left, right = (pad,) * 4 if isinstance(pad, int) else pad
        parameters = (
            f"0={out} 1={width} 11={height} 4={left} 15={right} 14={top} 16={bottom} "
            f"5={int(bias is not None)} 6={weight.size}"
        )
        if slope is not None:
            parameters += f" 9=2 -23310=1,{slope:.9e}"
        self._weights += [_FLOAT32, _bytes(weight)]
        if bias is not None:
            self._weights.append(_bytes(bias))
        return self._add("Convolution", (blob,), parameters)

    def prelu(self, blob: Blob, slopes: np.ndarray) -> Blob:
        """Multiply what is below zero by a slope for each channel, shape (c,)."""
        self._weights.append(_bytes(slopes))
        return self._add("PReLU", (blob,), f"0={slopes.size}")

    def leaky_relu(self, blob: Blob, slope: float) -> Blob:
        """Multiply what is below zero by `slope`."""
        return self._add("ReLU", (blob,), f"0={slope:.9e}")

    def pixel_shuffle(self, blob: Blob, scale: int) -> Blob:
        """Turn (c * scale**2, y, x) into (c, scale * y, scale * x), as torch does."""
        return self._add("PixelShuffle", (blob,), f"0={scale} 1=0")

    def pixel_unshuffle(self, blob: Blob, scale: int) -> Blob:
        """Turn (c, scale * y, scale * x) into (c * scale**2, y, x), as torch does."""
        return self._add("Reorg", (blob,), f"0={scale} 1=0")

    def nearest(self, blob: Blob, scale: int) -> Blob:
        """Repeat each pixel `scale` times along y and x."""
        return self._add("Interp", (blob,), f"0=1 1={scale}.0 2={scale}.0")

    def bilinear(self, blob: Blob, scale: int) -> Blob:
        """Interpolate linearly, pixel centres kept."""
        return self._add("Interp", (blob,), f"0=2 1={scale}.0 2={scale}.0")

    def concat(self, blobs: Sequence[Blob]) -> Blob:
        """Stack channels."""
        return self._add("Concat", tuple(blobs), "0=0")

    def add(self, one: Blob, other: Blob) -> Blob:
        """Add two blobs of equal shape, or a blob and one of shape (c, 1, 1) or (1, y, x)."""
        return self._add("BinaryOp", (one, other), "0=0")

    def multiply(self, one: Blob, other: Blob) -> Blob:
        """Multiply two blobs of equal shape, or with one of shape (c, 1, 1) or (1, y, x)."""
        return self._add("BinaryOp", (one, other), "0=2")

    def scaled_sum(self, blobs: Sequence[Blob], factors: Sequence[float]) -> Blob:
        """Add blobs of equal shape, each times its factor."""
        values = ",".join(f"{factor:.9e}" for factor in factors)
        return self._add("Eltwise", tuple(blobs), f"0=1 -23301={len(factors)},{values}")

    def absolute(self, blob: Blob) -> Blob:
        """Take absolute values."""
        return self._add("AbsVal", (blob,), "")

    def crop(self, blob: Blob, margin: int) -> Blob:
        """Cut `margin` pixels off each side."""
        rest = " ".join(f"{key}={_REST}" for key in (3, 4, 5))
        return self._add(
            "Crop", (blob,), f"0={margin} 1={margin} 2=0 {rest} 6={margin} 7={margin} 8=0"
        )

    def channels(self, blob: Blob, start: int, stop: int) -> Blob:
        """Take some channels."""
        return self._add("Crop", (blob,), f"0=0 1=0 2={start} 3={_REST} 4={_REST} 5={stop - start}")

    def text(self) -> str:
        """Return the text file.

        In ncnn a blob has one consumer, so one that is used more often is handed to a layer that
        makes as many names of it as there are consumers.
        """
        uses = Counter(blob for layer in self._layers for blob in layer.inputs)
        used: Counter[Blob] = Counter()
        lines = []
        blobs = 0
        for number, layer in enumerate(self._layers):
            inputs = []
            for blob in layer.inputs:
                inputs.append(f"{blob}_{used[blob]}" if uses[blob] > 1 else blob)
                used[blob] += 1
            names = " ".join([*inputs, layer.output])
            lines.append(f"{layer.kind} {number} {len(inputs)} 1 {names} {layer.parameters}")
            blobs += 1
            copies = uses[layer.output]
            if copies > 1:
                names = " ".join(f"{layer.output}_{i}" for i in range(copies))
                lines.append(f"Split {number}s 1 {copies} {layer.output} {names}")
                blobs += copies
        return "\n".join([str(_MAGIC), f"{len(lines)} {blobs}", *lines, ""])

    def weights(self) -> bytes:
        """Return the binary file."""
        return b"".join(self._weights)

    def _add(self, kind: str, inputs: tuple[Blob, ...], parameters: str, name: str = "") -> Blob:
        output = Blob(name or f"blob{len(self._layers)}")
        self._layers.append(_Layer(kind, inputs, output, parameters))
        return output


def _bytes(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, np.float32).tobytes()
