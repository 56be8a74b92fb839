"""Models that are not in the table: checkpoints of the user's own, recognised by their tensors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.errors import WeightsError
from napari_superres.models.cache import SUFFIXES, models_folder
from napari_superres.models.checkpoints import read_metadata, read_tensors
from napari_superres.models.file_row import file_row

if TYPE_CHECKING:
    from pathlib import Path

    from napari_superres.models.catalog import ModelSpec, WeightFile
    from napari_superres.models.families.realesrgan.architecture import Architecture

REACH = 96
"""How far trained RRDB networks were seen to reach, in feature pixels: less than their radius."""


def is_file_name(name: str) -> bool:
    """Return whether a user means a file, and not a model by its name."""
    return "/" in name or "\\" in name or name.lower().endswith(SUFFIXES)


def is_model_name(name: str) -> bool:
    """Return whether a model may be called that."""
    return bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name)) and not is_file_name(name)


def added_models() -> dict[str, Path]:
    """Return the file of each model that was added, by its name, in alphabetical order."""
    folder = models_folder()
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    return {path.stem: path for path in files if not path.name.startswith(".")}


def row(path: Path, name: str) -> ModelSpec:
    """Return the row of a model that is a file.

    Parameters
    ----------
    path : Path
        A file of weights.
    name : str
        What the model is called: its own name, or the path.

    Raises
    ------
    WeightsError
        If it is not a file of weights, or of a network that no installed family knows.
    MissingDependencyError
        If the network is none of ours or the Real-ESRGAN family's, and the extra for others is not
        installed.
    """
    from napari_superres.models.families.realesrgan.architecture import recognise

    tensors = read_tensors(path, integers=True)
    if read_metadata(path).get("format", "").startswith("napari-superres microscopy"):
        return _microscopy_row(path, name)
    try:
        architecture = recognise({key: t.shape for key, t in tensors.items()}, str(path))
    except WeightsError as error:
        from napari_superres.models.families import community

        return community.row(path, name, because=error)
    if any(t.dtype != np.float32 for t in tensors.values()):
        read_tensors(path)  # says which tensor is of the wrong type
    return _realesrgan_row(path, name, architecture)


def part_of(spec: ModelSpec, file: WeightFile) -> str:
    """Return the word that tells a second file of a model from its first, such as ``wdn``."""
    first, other = (set(re.split(r"[-_.]", f.name)) for f in (spec.weights[0], file))
    return min(other - first, default=file.name)


def _microscopy_row(path: Path, name: str) -> ModelSpec:
    """Return the row of a file that our own training wrote: as the embedded one of its kind."""
    from napari_superres.models.families.microscopy.tensors import read_trained

    trained = read_trained(path)
    kind = "microscopy" if trained.kind == "network" else "linear"
    parameters = sum(tensor.size for tensor in trained.tensors.values())
    network = kind == "microscopy"
    card = trained.card or {}
    told = {"domain": "data", "licence": "licence", "citation": "citation"}
    return file_row(
        path,
        name,
        family="microscopy",
        scale=trained.scale,
        title=f"{path.stem}: our {kind} model, trained again, x{trained.scale}",
        noise_input=network,
        denoise="auto" if network else None,
        consistency="local" if network else "pixel",
        bound=trained.bound,
        scanned=trained.scanned,
        radius=trained.radius,
        halo=trained.radius,
        workspace=1_200,
        parameters=parameters,
        flop=2.0 * parameters,
        **{field: str(card[key]) for field, key in told.items() if card.get(key)},
    )


def _realesrgan_row(path: Path, name: str, architecture: Architecture) -> ModelSpec:
    fold, rrdb = architecture.unshuffle, architecture.kind == "rrdb"
    network = "RRDBNet" if rrdb else "SRVGGNetCompact"
    return file_row(
        path,
        name,
        family="realesrgan",
        scale=architecture.scale,
        title=f"{path.stem}: {network}, {architecture.blocks} blocks, x{architecture.scale}",
        samples=architecture.samples,
        needs_limits=True,
        consistency="local",
        radius=architecture.radius,
        halo=min(architecture.radius, REACH * fold),
        tile=512 * fold,
        multiple=architecture.multiple,
        workspace=architecture.workspace,
        parameters=architecture.parameters,
        flop=architecture.flop,
    )
