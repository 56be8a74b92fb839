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
