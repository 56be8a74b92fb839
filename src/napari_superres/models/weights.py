"""Which model a user means, and where the files of its weights are.

Nothing is fetched here: a missing file is an error that names the ways to get it.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_superres.errors import LicenceError, UnknownModelError, WeightsError
from napari_superres.models import custom
from napari_superres.models.cache import (
    SUFFIXES,
    VARIABLE,
    accepted_licences,
    cache_folder,
    fingerprint,
    models_folder,
    read_record,
    weights_folder,
)
from napari_superres.models.catalog import MODELS, default_model
from napari_superres.models.hub import local_place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.models.catalog import ModelSpec, WeightFile

State = Literal["ready", "bundled", "to download", "to add", "to accept"]

EMBEDDED = Path(__file__).with_name("embedded")
"""The folder of the weights that ship with the package."""


def find_model(model: str | os.PathLike[str] | None = None, scale: int | None = None) -> ModelSpec:
    """Return the row for a name or a file.

    Parameters
    ----------
    model : str or path, optional
        A name of the table, the name of a model that was added, or a file of weights (whatever
        holds a path separator or ends in ``.pth`` or ``.safetensors``), which is recognised by its
        tensors. None for the default.
    scale : int, optional
        The scale factor wanted, which decides the default.

    Returns
    -------
    ModelSpec
        With the checksums of the files on this computer, where the user added others in place of
        the official ones; so that a result's history names the weights that made it.

    Raises
    ------
    UnknownModelError
        If no model has that name and no file does.
    WeightsError
        If it is a file, and not one of weights that can be used.
    """
    name = os.fspath(model or default_model(scale or 2))
    if name in MODELS:
        return _as_here(MODELS[name])
    if custom.is_file_name(name):
        # pathlib's own fails where a user has no home.
        path = Path(os.path.expanduser(name)).absolute()
        if not path.is_file():
            raise UnknownModelError(
                f"There is no file of weights '{path}'.",
                "Check the path, or run 'superres models list' for the names of models.",
            )
        return custom.row(path, str(path))
    path_of = custom.added_models()
    if name in path_of:
        return custom.row(path_of[name], name)
    names = [*MODELS, *path_of]
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known are: {', '.join(names)}."
    raise UnknownModelError(f"There is no model named '{name}'.", hint)


def find_weights(spec: ModelSpec, denoise: float | None = None) -> dict[str, Path]:
    """Return where the files of a model are, after a look at their checksums.

    Cheap when called again: a checksum is computed once as long as a file does not change.

    Parameters
    ----------
    spec : ModelSpec
        A row as `find_model` returns it.
    denoise : float, optional
        Strength of denoising that will be used. Below 1 all files of the model are needed; else the
        first is enough for models that blend two, and the others are returned if they are here.

    Returns
    -------
    dict of str to Path
        By the names in the row.

    Raises
    ------
    WeightsError
        If a file is missing (nothing is fetched; the message names the ways to get it) or is not
        the one that the row describes.
    LicenceError
        If the licence must be accepted first.
    """
    check_licence(spec)
    needed = needed_files(spec, denoise)
    found: dict[str, Path] = {}
    for file in spec.weights:
        path = locate(spec, file)
        if path is not None:
            check_file(spec, file, path)
            found[file.name] = path
        elif file in needed:
            raise missing(spec, file)
    return found


def needed_files(spec: ModelSpec, denoise: float | None = None) -> Sequence[WeightFile]:
    """Return the files without which a model cannot run at a strength of denoising."""
    blends = spec.family == "realesrgan" and spec.denoise is not None
    return spec.weights[:1] if blends and (denoise is None or denoise >= 1) else spec.weights


def locate(spec: ModelSpec, file: WeightFile) -> Path | None:
    """Return where a file of a model is on this computer, unchecked; None if it is not here."""
    if spec.bundled:
        candidates = [EMBEDDED / file.name]
    elif spec.name not in MODELS:
        own = custom.is_file_name(spec.name)
        candidates = [Path(spec.name) if own else models_folder() / file.name]
    else:
        stem = Path(file.name).stem
        names = dict.fromkeys([file.name, *(stem + suffix for suffix in SUFFIXES)])
        candidates = [weights_folder() / name for name in names]
    return next((path for path in candidates if path.is_file()), None)


def check_file(spec: ModelSpec, file: WeightFile, path: Path, *, again: bool = False) -> None:
    """Refuse a file that is not the one which a row describes.

    Parameters
    ----------
    spec : ModelSpec
    file : WeightFile
        Which of its files.
    path : Path
        Where it was found.
    again : bool
        Whether to read the file even if its checksum is remembered.

    Raises
    ------
    WeightsError
        If the checksum is neither that of the row nor that of a file which the user added.
    """
    record = fingerprint(path, again=again)
    if path.parent == models_folder():
        check_added(path, spec.name)
    if not file.sha256 or record.sha256 == file.sha256 or (record.added and spec.name in MODELS):
        return
    if spec.name in MODELS:
        raise WeightsError(
            f"'{path}' is not the file that '{spec.name}' needs: its SHA-256 is {record.sha256}, "
            f"the official one is {file.sha256}.",
            "Reinstall napari-superres."
            if spec.bundled
            else f"Delete it and run 'superres models download {spec.name}', or, if you trust it, "
            f"run 'superres models add FILE --as {spec.name}'.",
        )
    raise WeightsError(
        f"'{path}' has changed since the model '{spec.name}' was chosen (SHA-256 {record.sha256}, "
        f"then {file.sha256}).",
        "Start again with the file as it is now.",
    )


def check_added(path: Path, name: str, *, again: bool = False) -> None:
    """Refuse a file of a model of the user's own that is no longer what was added.

    Parameters
    ----------
    path : Path
        In the folder of added models.
    name : str
        What the model is called.
    again : bool
        Whether to read the file even if its checksum is remembered.

    Raises
    ------
    WeightsError
        If it has changed, or was not added.
    """
    if not fingerprint(path, again=again).added:
        raise WeightsError(
            f"'{path}' is not the file that was added as '{name}': it has changed.",
            f"Run 'superres models add FILE --as {name}' with the right one.",
        )


def check_licence(spec: ModelSpec) -> None:
    """Refuse a model whose licence must be accepted and was not."""
    if spec.consent and spec.name not in accepted_licences():
        raise LicenceError(
            f"The licence of '{spec.name}' ({spec.licence}) must be accepted before its first use.",
            f"{spec.terms} Read it at {spec.homepage}, then run 'superres models accept "
            f"{spec.name}', or add --accept-licence {spec.name}.".strip(),
        )


def missing(spec: ModelSpec, file: WeightFile) -> WeightsError:
    """Return the error for a file that is not here, with the ways to get it."""
    if spec.name not in MODELS or spec.bundled:
        return WeightsError(
            f"The weights '{file.name}' of '{spec.name}' are no longer there.",
            "Reinstall napari-superres." if spec.bundled else "Add the model again.",
        )
    part = "" if file == spec.weights[0] else f":{custom.part_of(spec, file)}"
    check = f"SHA-256 {file.sha256}" if file.sha256 else "no published checksum"
    add = f"'superres models add {file.name} --as {spec.name}{part}'"
    there = f"set {VARIABLE} (now {cache_folder()}) to a folder that has them."
    if not file.urls:
        return WeightsError(
            f"'{spec.name}' needs the weights '{file.name}', which are not on this computer, and "
            "whose authors offer no link to download.",
            f"Two ways out: fetch them as {spec.homepage} says ({check}) and run {add}; or {there}",
        )
    return WeightsError(
        f"'{spec.name}' needs the weights '{file.name}' ({file.size / 1e6:.0f} MB), which are not "
        "on this computer; nothing is downloaded unasked.",
        f"Three ways out: 'superres models download {spec.name}'; or, without a network, fetch "
        f"{file.urls[0]} elsewhere ({check}) and run {add}; or {there}",
    )


def state(spec: ModelSpec) -> State:
    """Return whether a model can be used now, without reading its files."""
    if spec.consent and spec.name not in accepted_licences():
        return "to accept"
    if spec.bundled:
        return "bundled"
    here = all(locate(spec, file) is not None for file in needed_files(spec))
    if spec.folders:
        here = here and any(local_place(name) is not None for name in spec.folders)
    if here:
        return "ready"
    # Weights without a link are got as their page says.
    return "to download" if all(file.urls for file in needed_files(spec)) else "to add"


def _as_here(spec: ModelSpec) -> ModelSpec:
    """Return a row with the checksums of files that the user added in place of official ones."""
    files = []
    for file in spec.weights:
        path = None if spec.bundled else locate(spec, file)
        record = read_record(path) if path else None
        if record and record.added:
            file = dataclasses.replace(file, sha256=record.sha256, size=record.size)
        files.append(file)
    return dataclasses.replace(spec, weights=tuple(files))
