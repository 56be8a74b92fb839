"""The row of a model that is a file of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_superres.models.cache import fingerprint
from napari_superres.models.spec import ModelSpec, WeightFile

if TYPE_CHECKING:
    from pathlib import Path


def file_row(path: Path, name: str, **facts: Any) -> ModelSpec:
    """Return the row of a file of weights of which nothing is known but what it holds.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        What the model is called.
    **facts
        What its tensors, or it itself, say: fields of `ModelSpec`.

    Raises
    ------
    WeightsError
        If the file cannot be read.
    """
    record = fingerprint(path)
    unknown = {
        "domain": "not known: the file does not say",
        "licence": "not known: see where the file comes from",
        "citation": "Cite the authors of the weights.",
        "proven": "layout only",
    }
    file = WeightFile(path.name, record.sha256, record.size)
    return ModelSpec(name=name, weights=(file,), **{**unknown, **facts})
