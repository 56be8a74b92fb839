"""Keeping the weights on this computer: add files, remove them, check them."""

from __future__ import annotations

import dataclasses
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_superres.errors import SettingError, WeightsError
from napari_superres.models import custom
from napari_superres.models.cache import (
    SUFFIXES,
    alone,
    fingerprint,
    forget,
    models_folder,
    replacing,
    weights_folder,
    write_record,
)
from napari_superres.models.catalog import MODELS
from napari_superres.models.engine import load_family
from napari_superres.models.weights import check_added, check_file, find_model, locate

if TYPE_CHECKING:
    from napari_superres.models.catalog import ModelSpec, WeightFile


@dataclass(frozen=True)
class Added:
    """A file that was added to the cache.

    Parameters
    ----------
    model : str
        The model it belongs to.
    path : Path
        Where it is now.
    sha256 : str
        Its checksum.
    official : str
        The checksum of the official file; empty where there is none.
    """

    model: str
    path: Path
    sha256: str
    official: str

    @property
    def is_official(self) -> bool:
        """Whether it is the official file, byte for byte."""
        return self.sha256 == self.official


def add(file: Path, name: str | None = None) -> Added:
    """Copy a file of weights into the cache, after a look at its tensors.

    Parameters
    ----------
    file : Path
        A ``.pth`` or ``.safetensors`` file.
    name : str, optional
        The model that it is for. A name of the table: then its tensors must fit that model, and it
        takes the place of the official file (for a model of two files the second is named as in
        ``realesr-general-x4v3:wdn``, or known by its own name). Another name: then it becomes a
        model of that name. None if the file is called as in the table.

    Returns
    -------
    Added

    Raises
    ------
    WeightsError
        If it is not a file of weights, or not of that model.
    SettingError
        If the name cannot be one, or is missing.
    OutputError
        If the cache cannot be written.
    ResourceError
        If its disk is full.
    """
    if name is None:
        name = _name_for(file)
    row, _, part = name.partition(":")
    if row in MODELS:
        spec = MODELS[row]
        return _add_official(file, spec, _which(spec, part, file))
    if not custom.is_model_name(name):
        raise SettingError(
            f"'{name}' cannot be the name of a model.",
            "Use letters, digits, '-', '_', '.' and '+', and no ending such as '.pth'.",
        )
    custom.row(file, str(file.absolute()))  # refuses what could not be used later
    target = models_folder() / (name + _suffix(file))
    return Added(name, target, _copy(file, target), "")


def remove(name: str) -> list[Path]:
    """Delete the files of a model from the cache, and return which.

    Raises
    ------
    UnknownModelError
        If there is no such model.
    WeightsError
        If its weights ship with the package, or there are none in the cache.
    """
    own = _own(name)
    if own is not None:  # even one that is damaged
        forget(own)
        return [own]
    spec = find_model(name)
    if spec.bundled or custom.is_file_name(name):
        raise WeightsError(
            f"The weights of '{name}' are not in the cache, so they are not deleted.",
            "They belong to the package." if spec.bundled else "Delete the file yourself.",
        )
    paths = [path for file in spec.weights if (path := locate(spec, file)) is not None]
    if not paths:
        raise WeightsError(f"There are no weights of '{name}' in the cache.", "Nothing to do.")
    for path in paths:
        forget(path)
    return paths


def verify(name: str) -> list[Path]:
    """Read the files of a model again, compare their checksums, and return where they are.

    Raises
    ------
    WeightsError
        If a file is not what it was, or no file is here.
    """
    own = _own(name)
    if own is not None:  # whatever is in it now
        check_added(own, name, again=True)
        return [own]
    spec = find_model(name)
    paths = []
    for file in spec.weights:
        path = locate(spec, file)
        if path is not None:
            check_file(spec, file, path, again=True)
            paths.append(path)
    if spec.weights and not paths:
        raise WeightsError(
            f"There are no weights of '{name}' on this computer to verify.",
            f"Run 'superres models download {name}'.",
        )
    return paths


def _own(name: str) -> Path | None:
    """Return the file of a model of the user's own; None for the table's."""
    return None if name in MODELS else custom.added_models().get(name)


def _name_for(file: Path) -> str:
    for spec in MODELS.values():
        if any(Path(known.name).stem == file.stem for known in spec.weights):
            return spec.name
    raise SettingError(
        f"'{file.name}' is not called like a file of the model table, so its model is not known.",
        "Say which model it is for, or what to call it: --as NAME.",
    )


def _which(spec: ModelSpec, part: str, file: Path) -> WeightFile:
    """Return the file of a row that a user's file is meant to be."""
    if not spec.weights:
        raise SettingError(f"'{spec.name}' has no weights.", "There is nothing to add.")
    if part:
        for known in spec.weights[1:]:
            if custom.part_of(spec, known) == part:
                return known
        parts = ", ".join(custom.part_of(spec, known) for known in spec.weights[1:]) or "no others"
        raise SettingError(
            f"'{spec.name}' has no file '{part}'.", f"Beside the first it has: {parts}."
        )
    by_name = (known for known in spec.weights if Path(known.name).stem == file.stem)
    return next(by_name, spec.weights[0])


def _add_official(file: Path, spec: ModelSpec, known: WeightFile) -> Added:
    if spec.bundled:
        raise WeightsError(
            f"The weights of '{spec.name}' ship with the package.", "Add the file by another name."
        )
    check = getattr(load_family(spec.family), "check_file", None)
    if check is not None:
        check(spec, known, file)
    elif fingerprint(file).sha256 != known.sha256:
        raise WeightsError(
            f"'{file}' is not the official '{known.name}', and whether it fits '{spec.name}' "
            "cannot be told.",
            f"Use the file with SHA-256 {known.sha256}.",
        )
    target = weights_folder() / (Path(known.name).stem + _suffix(file))
    digest = _copy(file, target)
    return Added(spec.name, target, digest, known.sha256)


def _copy(file: Path, target: Path) -> str:
    """Copy a file into the cache, remember it as the user's, and return its checksum."""
    with alone(target):
        if target != file.absolute():
            with file.open("rb") as source, replacing(target) as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
            times = file.stat()
            os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
        record = fingerprint(target, again=True)
        write_record(target, dataclasses.replace(record, added=True))
        for suffix in SUFFIXES:
            if suffix != target.suffix:
                forget(target.with_name(target.stem + suffix))
        return record.sha256


def _suffix(file: Path) -> str:
    """Return the ending by what a file is, whatever it is called."""
    with file.open("rb") as content:
        return ".safetensors" if content.read(9)[8:] == b"{" else ".pth"
