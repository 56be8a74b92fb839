"""The ways to run a network that are compared.

Each loads it and returns a function from a picture to a finer one, both of shape (3, y, x) and
float32, in [0, 1].
"""

from __future__ import annotations

import io
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from plain_networks import plain_network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_superres.models.families.realesrgan.architecture import Architecture


class Case:
    """A model with its weights.

    Parameters
    ----------
    name : str
        In the table of models.
    architecture : Architecture
    tensors : mapping of str to np.ndarray
        By official names.
    """

    def __init__(
        self, name: str, architecture: Architecture, tensors: Mapping[str, np.ndarray]
    ) -> None:
        self.name = name
        self.architecture = architecture
        self.tensors = tensors

    def network(self) -> Any:
        """Return the network in torch, as anybody would write it."""
        return plain_network(self.architecture, self.tensors)


def ours(case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """`napari_superres.upscale`, from picture to picture."""
    import napari_superres as sr

    def run(x: np.ndarray) -> np.ndarray:
        picture = np.ascontiguousarray(np.moveaxis(x, 0, -1))
        fine = sr.upscale(
            picture, case.name, rgb=True, limits=(0, 1), consistency="off", device="cpu"
        )
        return np.moveaxis(fine, -1, 0)

    return run


def ours_in_torch(case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """`napari_superres.upscale` on our torch engine."""
    import napari_superres as sr

    def run(x: np.ndarray) -> np.ndarray:
        picture = np.ascontiguousarray(np.moveaxis(x, 0, -1))
        fine = sr.upscale(
            picture, case.name, rgb=True, limits=(0, 1), consistency="off", device="cpu/torch"
        )
        return np.moveaxis(fine, -1, 0)

    return run


def engine_alone(case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """Our engine on the whole picture as one tile: no reading, assembling, mapping."""
    from napari_superres.models.engine import Halo
    from napari_superres.models.families.realesrgan.ncnn import load_ncnn

    engine = load_ncnn(case.architecture, case.tensors)
    return lambda x: engine(x[None], Halo(0, 0, 0, 0), [])[0]


def torch_float32(case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """Plain torch: contiguous, whole picture."""
    return _torch(case.network(), torch.float32, torch.contiguous_format)


def torch_channels_last(case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """Plain torch with channels-last maps."""
    return _torch(case.network(), torch.float32, torch.channels_last)


def torch_bfloat16(case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """Plain torch in bfloat16, channels-last."""
    return _torch(case.network(), torch.bfloat16, torch.channels_last)


def onnxruntime(case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """ONNX Runtime in float32, whole picture."""
    import onnx  # noqa: F401  (torch's exporter needs it)
    from onnxruntime import InferenceSession

    file = io.BytesIO()
    sizes = {2: "y", 3: "x"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            case.network(),
            (torch.zeros(1, 3, 32, 32),),
            file,
            dynamo=False,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": sizes, "y": sizes},
        )
    session = InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x[None]})[0][0]


def openvino_float32(case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """OpenVINO in float32, whole picture."""
    return _openvino(case, "f32")


def openvino_bfloat16(case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """OpenVINO in bfloat16, whole picture."""
    return _openvino(case, "bf16")


def ncnn_by_hand(case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """Plain ncnn as its examples use it: whole picture, one network, all cores."""
    import ncnn
    from whole_graph import whole_graph

    graph = whole_graph(case.architecture, case.tensors)
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = os.cpu_count() or 1
    # By default some versions would compute in bfloat16.
    net.opt.use_bf16_storage = False
    net.opt.use_fp16_storage = net.opt.use_fp16_packed = net.opt.use_fp16_arithmetic = False
    net.load_param_mem(graph.text())
    net.load_model_mem(graph.weights())

    def run(x: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input(graph.inputs[0], ncnn.Mat(x))
        code, out = extractor.extract(graph.OUTPUT)
        if code:
            raise MemoryError(f"ncnn fails with code {code}")
        return np.array(out)

    return run


def _torch(
    network: Any, dtype: torch.dtype, layout: torch.memory_format
) -> Callable[[np.ndarray], np.ndarray]:
    network = network.to(dtype, memory_format=layout)

    def run(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            batch = torch.from_numpy(x)[None].to(dtype).contiguous(memory_format=layout)
            return np.asarray(network(batch)[0].float().contiguous().numpy())

    return run


def _openvino(case: Case, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    import openvino

    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise NotImplementedError("this processor has no bfloat16")
    model = openvino.convert_model(case.network(), example_input=torch.zeros(1, 3, 32, 32))
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", settings)
    return lambda x: np.array(compiled(x[None])[0][0], np.float32)


CONTENDERS: dict[str, Callable[[Case], Callable[[np.ndarray], np.ndarray]]] = {
    "torch float32": torch_float32,
    "napari-superres": ours,
    "its engine alone": engine_alone,
    "napari-superres, torch": ours_in_torch,
    "torch channels_last": torch_channels_last,
    "torch bfloat16": torch_bfloat16,
    "onnxruntime float32": onnxruntime,
    "OpenVINO float32": openvino_float32,
    "OpenVINO bfloat16": openvino_bfloat16,
    "ncnn by hand": ncnn_by_hand,
}
"""In the order of the table; the first is what the others are compared with."""
