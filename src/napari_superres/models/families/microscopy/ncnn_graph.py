"""The embedded network for ncnn: its two files, written in memory from the tensors.

ncnn's constants cannot depend on the noise. They need not: the network is positively homogeneous
in the image and the noise together, so ``f(x, noise) == noise * f(x / noise, 1)``, and two graphs
suffice, one for noise 1 and one for noise 0.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ncnn
import numpy as np

from napari_superres.errors import WeightsError
from napari_superres.models.families.microscopy.network import BASE_RADIUS

if TYPE_CHECKING:
    from napari_superres.models.families.microscopy.tensors import Trained

_SLOPE = 0.1


class Graph:
    """Layers and weights in ncnn's formats, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.blobs: list[str] = []
        self.weights: list[bytes] = []

    def layer(self, kind: str, inputs: list[str], outputs: list[str], parameters: str = "") -> None:
        """Append a layer."""
        names = " ".join([*inputs, *outputs])
        label = f"{kind.lower()}{len(self.lines)}"
        self.lines.append(f"{kind} {label} {len(inputs)} {len(outputs)} {names} {parameters}")
        self.blobs.extend(outputs)

    def convolution(
        self,
        source: str,
        result: str,
        kernels: np.ndarray,
        bias: np.ndarray | None = None,
        *,
        leaky: bool = False,
    ) -> None:
        """Append a valid convolution; kernels have shape (out, in, y, x)."""
        parameters = f"0={kernels.shape[0]} 1={kernels.shape[-1]} 6={kernels.size}"
        parameters += f" 5={int(bias is not None)}"
        if leaky:
            parameters += f" 9=2 -23310=1,{_SLOPE}"
        self.layer("Convolution", [source], [result], parameters)
        # Four zero bytes in front of the weights say that they are float32.
        self.weights.append(b"\0\0\0\0" + np.ascontiguousarray(kernels, "<f4").tobytes())
        if bias is not None:
            self.weights.append(np.ascontiguousarray(bias, "<f4").tobytes())

    def crop(self, source: str, result: str, margin: int) -> None:
        """Append the removal of `margin` pixels at each side."""
        keep = " ".join(f"{key}=-233" for key in (3, 4, 5))
        self.layer(
            "Crop", [source], [result], f"0={margin} 1={margin} 2=0 {keep} 6={margin} 7={margin}"
        )

    def text(self) -> str:
        """Return the graph file."""
        head = f"7767517\n{len(self.lines)} {len(self.blobs)}\n"
        return head + "\n".join(self.lines) + "\n"


def build_graph(trained: Trained, *, noise: bool, uncertainty: bool) -> Graph:
    """Return a weight file's network as an ncnn graph with blobs ``x``, ``y`` and ``spread``.

    Parameters
    ----------
    trained : Trained
        The weights.
    noise : bool
        Whether for noise 1, otherwise for noise 0.
    uncertainty : bool
        Whether ``spread``, the predicted error, is computed.

    Returns
    -------
    Graph
    """
    graph, tensors = Graph(), trained.tensors
    if trained.kind == "linear":
        graph.layer("Input", [], ["x"])
        graph.convolution("x", "phases", tensors["kernels"])
        graph.layer("PixelShuffle", ["phases"], ["y"], f"0={trained.scale}")
        return graph
    thresholds = tensors["thresholds"]
    graph.layer("Input", [], ["x"])
    graph.layer("Split", ["x"], ["x0", "x1"])
    spare = trained.radius - BASE_RADIUS
    graph.crop("x0", "inner", spare)
    graph.convolution("inner", "plain", tensors[f"bases.{trained.scale}"])
    bias = thresholds[0] if noise else None
    graph.convolution("x1", "f0", tensors["first.weight"], bias, leaky=True)
    for pair in range(trained.pairs):
        one, two = 2 * pair, 2 * pair + 1
        biases = [thresholds[1 + i] if noise else None for i in (one, two)]
        here = f"f{pair}"
        graph.layer("Split", [here], [f"{here}a", f"{here}b"])
        graph.convolution(
            f"{here}a", f"{here}c", tensors[f"body.{one}.weight"], biases[0], leaky=True
        )
        graph.convolution(f"{here}c", f"{here}d", tensors[f"body.{two}.weight"], biases[1])
        graph.crop(f"{here}b", f"{here}e", 2)
        graph.layer("BinaryOp", [f"{here}d", f"{here}e"], [f"{here}s"], "0=0")
        graph.layer("ReLU", [f"{here}s"], [f"f{pair + 1}"], f"0={_SLOPE}")
    last = f"f{trained.pairs}"
    if uncertainty:
        graph.layer("Split", [last], ["mean", "error"])
        graph.convolution("error", "signed", tensors[f"errors.{trained.scale}.weight"])
        graph.layer("UnaryOp", ["signed"], ["absolute"], "0=0")
        graph.layer("PixelShuffle", ["absolute"], ["spread"], f"0={trained.scale}")
        last = "mean"
    graph.convolution(last, "correction", tensors[f"heads.{trained.scale}.weight"])
    graph.layer("BinaryOp", ["plain", "correction"], ["phases"], "0=0")
    graph.layer("PixelShuffle", ["phases"], ["y"], f"0={trained.scale}")
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
        self._wanted = ("y", "spread") if uncertainty else ("y",)
        self._nets = {
            noise: _load(build_graph(trained, noise=noise, uncertainty=uncertainty))
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
        told = noise > 0 and True in self._nets
        unit = np.float32(noise) if told else np.float32(1)
        extractor = self._nets[told].create_extractor()
        # ncnn borrows an array's memory and does not keep it alive: it needs a name until the end.
        scaled = np.ascontiguousarray((plane / unit)[None], dtype=np.float32)
        extractor.input("x", ncnn.Mat(scaled))
        results = []
        for name in self._wanted:
            code, blob = extractor.extract(name)
            assert code == 0, name
            results.append(np.array(blob, np.float32).reshape(blob.h, blob.w))
        return np.stack(results) * unit


def _load(graph: Graph) -> Any:
    """Return a graph loaded into ncnn, in float32 throughout."""
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_vulkan_compute = False
    # Half-precision storage would cost the pedestal's digits.
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, name, False)
    # ncnn's Python binding takes weights from a file alone; it keeps its own copy.
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.bin"
        weights.write_bytes(b"".join(graph.weights))
        loaded = net.load_param_mem(graph.text()) == 0 and net.load_model(str(weights)) == 0
    if not loaded:
        raise WeightsError(
            "The network does not load into ncnn.", "Use another engine, such as torch."
        )
    return net
