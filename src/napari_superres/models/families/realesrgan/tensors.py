"""The tensors of a Real-ESRGAN model, ready for either engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_superres.errors import WeightsError
from napari_superres.models.checkpoints import read_tensors
from napari_superres.models.families.realesrgan.architecture import recognise
from napari_superres.models.families.realesrgan.names import official_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_superres.models.catalog import ModelSpec
    from napari_superres.models.families.realesrgan.architecture import Architecture


def read_network(
    spec: ModelSpec, weights: Mapping[str, Path], denoise: float | None
) -> tuple[Architecture, dict[str, np.ndarray]]:
    """Return the architecture and the tensors of a model.

    Parameters
    ----------
    spec : ModelSpec
        Row of the table. Its first file is the network; a second one, where there is one, is the
        same network trained to keep noise.
    weights : mapping of str to Path
        Where each file lies, by its name in the row. The second file may be left out when it has no
        influence.
    denoise : float or None
        Strength d from 0 to 1: every tensor is ``d * first + (1 - d) * second``, as the official
        program blends them. None is 1.

    Returns
    -------
    Architecture
        Recognised from the tensors.
    dict of str to np.ndarray, float32
        By official names, in the order in which the network uses them.

    Raises
    ------
    WeightsError
        If a file is missing, is not what `spec` says, or the two do not fit each other.
    """
    strength = 1.0 if denoise is None or len(spec.weights) < 2 else denoise
    path = _path(spec, weights, 0)
    architecture, tensors = read_one(path)
    if (architecture.scale, architecture.samples) != (spec.scale, spec.samples):
        raise WeightsError(
            f"'{path}' makes x{architecture.scale} of {architecture.samples} samples, but "
            f"'{spec.name}' is x{spec.scale} of {spec.samples}.",
            "Give the file that belongs to the model, or its own name to the file.",
        )
    if strength < 1:
        noisy_path = _path(spec, weights, 1)
        other, noisy = read_one(noisy_path)
        if other != architecture:
            raise WeightsError(
                f"'{noisy_path}' is another network than '{path}', so they cannot be blended.",
                "Use the two files of one release.",
            )
        first, second = np.float32(strength), np.float32(1 - strength)
        tensors = {name: first * tensors[name] + second * noisy[name] for name in tensors}
    return architecture, tensors


def _path(spec: ModelSpec, weights: Mapping[str, Path], index: int) -> Path:
    name = spec.weights[index].name
    if name not in weights:
        raise WeightsError(
            f"'{spec.name}' needs the file '{name}', which is not there.",
            f"Run 'superres models download {spec.name}'.",
        )
    return weights[name]


def read_one(path: Path) -> tuple[Architecture, dict[str, np.ndarray]]:
    """Return the architecture and the tensors of one file, by official names, in order of use.

    Raises
    ------
    WeightsError
        If the file cannot be read or holds another kind of network.
    """
    tensors = read_tensors(path)
    architecture = recognise({name: t.shape for name, t in tensors.items()}, str(path))
    names = official_names(tensors)
    official = {names[name]: tensor for name, tensor in tensors.items()}
    return architecture, {name: official[name] for name in architecture.tensors}
