"""The Real-ESRGAN family: RRDBNet and SRVGGNetCompact networks, with the official weights.

Nothing heavy is imported before `load` is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_superres.errors import WeightsError
from napari_superres.models.families.realesrgan.tensors import read_network, read_one

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_superres.models.catalog import ModelSpec, WeightFile
    from napari_superres.models.engine import Engine, Setting
    from napari_superres.models.ncnn_graph import Graph
    from napari_superres.models.onnx_graph import OnnxGraph

ENGINES = ("ncnn", "torch")


def load(spec: ModelSpec, weights: Mapping[str, Path], setting: Setting) -> Engine:
    """Return an engine for a model of the family.

    Parameters
    ----------
    spec : ModelSpec
        A row of the table, or of a checkpoint recognised by its tensors.
    weights : mapping of str to Path
        Where each file lies, by its name in the row. The second file of a model that blends two may
        be left out when the denoising strength is 1.
    setting : Setting
        ``engine`` is ``"ncnn"`` (float32 on a CPU) or ``"torch"``.

    Raises
    ------
    WeightsError
        If the files do not hold the model.
    SettingError
        If the device cannot compute in the precision asked for.
    """
    architecture, tensors = read_network(spec, weights, setting.denoise)
    if setting.engine == "ncnn":
        from napari_superres.models.families.realesrgan.ncnn import load_ncnn

        return load_ncnn(architecture, tensors)
    from napari_superres.models.families.realesrgan.torch_engine import load_torch

    return load_torch(architecture, tensors, setting)


def draw(
    spec: ModelSpec, weights: Mapping[str, Path], graph: Graph | OnnxGraph, denoise: float | None
) -> int:
    """Draw the whole network, as published, into a graph; see `exporting`.

    Parameters
    ----------
    spec, weights
        As for `load`.
    graph : Graph or OnnxGraph
        Empty.
    denoise : float or None
        Strength of a model that blends two files.

    Returns
    -------
    int
        0: its layers pad with zeros, so the output has all pixels of the input.
    """
    from napari_superres.models.families.realesrgan.layers import Layers

    architecture, tensors = read_network(spec, weights, denoise)
    Layers(architecture, tensors, padded=True).whole(graph)
    return 0


def check_file(spec: ModelSpec, file: WeightFile, path: Path) -> None:
    """Refuse a file whose tensors are not those of a model.

    Parameters
    ----------
    spec : ModelSpec
        A row of the table.
    file : WeightFile
        Which of its files; both files of a model that blends two have the same tensors.
    path : Path
        What the user gives for it.

    Raises
    ------
    WeightsError
        If the network is another one.
    """
    found, _ = read_one(path)
    is_it = (found.scale, found.samples, found.radius, found.parameters)
    should_be = (spec.scale, spec.samples, spec.radius, spec.parameters)
    if is_it != should_be:
        raise WeightsError(
            f"'{path}' is not the network of '{spec.name}': it makes x{found.scale} of "
            f"{found.samples} samples with {found.parameters} numbers, not x{spec.scale} of "
            f"{spec.samples} with {spec.parameters}.",
            "Add it under a name of its own.",
        )
