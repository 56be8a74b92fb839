"""A network loaded into ncnn: float32 on the CPU, one thread a call.

ncnn is the fastest way to 3 x 3 convolutions that are right to float32 accuracy: Winograd's
algorithm needs a quarter of the multiplications. See `ncnn_graph` for how a network is written, and
`ncnn_stages` for how it is run over a large tile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres.errors import MissingDependencyError, ResourceError
from napari_superres.models.ncnn_graph import Graph

try:
    import ncnn
except ImportError as error:
    raise MissingDependencyError(
        f"The package 'ncnn', which runs networks on the CPU, cannot be imported ({error}).",
        "Install it with 'pip install ncnn', or use device='cpu/torch'.",
    ) from error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_INEXACT = (
    "use_winograd63_convolution",  # four times the error of smaller tiles, for a tenth of the time
    "use_fp16_packed",
    "use_fp16_storage",
    "use_fp16_arithmetic",
    "use_bf16_packed",
    "use_bf16_storage",
    "use_int8_packed",
    "use_int8_storage",
    "use_int8_arithmetic",
    "use_int8_inference",
)
"""ncnn's options that trade accuracy for speed; not every version has all of them."""

_NO_MEMORY = -100
"""What ncnn's layers return when they cannot have memory for their output."""

_REFUSED = "ncnn refuses the network; its reason is on the standard error."


class Scratch:
    """Memory that calls of one thread use again and again, given back when it is dropped.

    Without it each network would keep memory of its own: gigabytes, where there are many. It must
    not be shared by threads, and must outlive what was computed in it.
    """

    def __init__(self) -> None:
        self.blobs = _pool()
        self.workspace = _pool()


class Network:
    """A graph loaded into ncnn. Threads may share it; other threads run while it computes.

    Parameters
    ----------
    graph : Graph
        The layers and their weights.

    Raises
    ------
    ValueError
        If ncnn does not understand the graph.
    """

    def __init__(self, graph: Graph) -> None:
        self._inputs: tuple[str, ...] = tuple(graph.inputs)
        self._net = _empty()
        if self._net.load_param_mem(graph.text()) != 0:
            raise ValueError(_REFUSED)
        self._net.load_model_mem(graph.weights())

    @classmethod
    def from_files(cls, layers: Path, weights: Path, inputs: Sequence[str]) -> Network:
        """Return a network that lies on the disk.

        Parameters
        ----------
        layers, weights : Path
            ncnn's text file and its binary file.
        inputs : sequence of str
            Names of the inputs, in the order in which they are given in calls.

        Raises
        ------
        ValueError
            If ncnn does not understand the files.
        """
        network = cls.__new__(cls)
        network._inputs = tuple(inputs)
        network._net = _empty()
        if network._net.load_param(str(layers)) or network._net.load_model(str(weights)):
            raise ValueError(_REFUSED)
        return network

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """Return the network's output.

        Parameters
        ----------
        *inputs : np.ndarray, shape (c, y, x), float32
            In the order in which the graph declares them.

        Returns
        -------
        np.ndarray, shape (c', y', x'), float32

        Raises
        ------
        ResourceError
            If there is not enough memory.
        """
        scratch = Scratch()
        result = self._run(inputs, scratch)
        # A copy, because what ncnn returns lies in the scratch memory.
        return np.array(result, dtype=np.float32)

    def paste(
        self,
        inputs: Sequence[np.ndarray],
        out: np.ndarray,
        scratch: Scratch,
        *,
        skip: tuple[int, int] = (0, 0),
    ) -> None:
        """Write a part of the network's output, as large as `out`, into `out`.

        Parameters
        ----------
        inputs : sequence of np.ndarray, shape (c, y, x), float32
        out : np.ndarray, shape (c', y', x'), float32
            Usually a view of something larger.
        scratch : Scratch
            The calling thread's own.
        skip : (int, int)
            Rows and columns of the network's output before the part.

        Raises
        ------
        ResourceError
            If there is not enough memory.
        """
        result = self._run(inputs, scratch)
        top, left = skip
        _, height, width = out.shape
        out[...] = np.array(result, copy=False)[:, top : top + height, left : left + width]

    def _run(self, inputs: Sequence[np.ndarray], scratch: Scratch) -> Any:
        extractor = self._net.create_extractor()
        extractor.set_blob_allocator(scratch.blobs)
        extractor.set_workspace_allocator(scratch.workspace)
        for name, array in zip(self._inputs, inputs, strict=True):
            extractor.input(name, _mat(array, scratch))
        code, result = extractor.extract(Graph.OUTPUT)
        if code == _NO_MEMORY:
            shapes = " and ".join(" x ".join(map(str, array.shape)) for array in inputs)
            raise ResourceError(
                f"There is not enough memory to run the network on {shapes} numbers.",
                "Use a smaller tile, fewer workers, or close other programs.",
            )
        assert code == 0, f"ncnn fails with code {code}"
        return result


def _empty() -> Any:
    net = ncnn.Net()
    options = net.opt
    # Several engines of one thread are faster than one engine of several.
    options.num_threads = 1
    options.use_vulkan_compute = False
    options.use_winograd_convolution = True
    options.use_sgemm_convolution = True
    options.use_packing_layout = True
    options.lightmode = True  # intermediate results are freed as soon as they are used
    for name in _INEXACT:
        if hasattr(options, name):
            setattr(options, name, False)
    return net


def _mat(array: np.ndarray, scratch: Scratch) -> Any:
    """Return a copy for ncnn.

    It could borrow the array's memory instead; but it would not keep it alive, and layers that
    work in place would write into it.
    """
    c, height, width = array.shape
    mat = ncnn.Mat((width, height, c), allocator=scratch.blobs)
    np.array(mat, copy=False)[...] = array
    return mat


def _pool() -> Any:
    pool = ncnn.UnlockedPoolAllocator()
    # Any piece of memory that is large enough will do; pieces of a tile are nearly equal.
    pool.set_size_compare_ratio(0.0)
    return pool
