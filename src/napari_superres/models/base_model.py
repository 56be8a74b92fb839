"""Which base model a diffusion model stands on: part of what made a result."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from napari_superres.errors import MissingDependencyError, WeightsError
from napari_superres.models.cache import fingerprint
from napari_superres.models.engine import load_family

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_superres.models.catalog import ModelSpec

_SNAPSHOTS = "snapshots"
"""The hub's cache keeps each revision of a folder in one of its own below this one."""

_KINDS = frozenset({".json", ".txt", ".safetensors", ".bin"})
"""Endings of files that make a model what it is."""

_LOOK = 2**20
"""Bytes that are read at either end of a file."""


def base_record(spec: ModelSpec, options: Sequence[tuple[str, Any]]) -> dict[str, str]:
    """Return what a result's history says about the base model.

    The option ``base`` alone does not tell: empty, it stands for whatever is on the computer. A
    single file is read for its checksum, once as long as it does not change; gigabytes take a
    while. Of a folder of the user's own a little of each file is read: see `contents_of`.

    Parameters
    ----------
    spec : ModelSpec
    options : sequence of (str, value)
        Of the plan.

    Returns
    -------
    dict
        ``path``, and ``sha256`` of a single file, ``revision`` of a folder of the hub's cache, or
        ``contents`` of a folder of the user's own. Empty for models that need no base, and where it
        is not on this computer, which whoever computes will hear.
    """
    if all(option.name != "base" for option in spec.options):
        return {}  # and no family is imported before its model is needed
    try:
        place = load_family(spec.family).base_place(spec, options)
    except (WeightsError, MissingDependencyError):
        return {}
    found = {"path": str(place)}
    if place.is_file():
        found["sha256"] = fingerprint(place).sha256
    elif place.parent.name == _SNAPSHOTS:
        found["revision"] = place.name
    else:
        found["contents"] = contents_of(place)
    return found


def contents_of(folder: Path) -> str:
    """Return what tells a model's folder from others: a checksum of a little of each file.

    Of each configuration, vocabulary and file of weights in the folder and in those inside it, the
    name, the size, and the first and the last mebibyte. Two trainings of one network differ in each
    of their numbers, so that tells them apart without reading gigabytes.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    WeightsError
        If a file cannot be read.
    """
    try:
        files = sorted(
            path
            for pattern in ("*", "*/*")
            for path in folder.glob(pattern)
            if path.suffix in _KINDS and path.is_file()
        )
        status = [(path, path.stat()) for path in files]
        return _contents(folder, tuple((p, s.st_size, s.st_mtime_ns) for p, s in status))
    except OSError as error:
        raise WeightsError(
            f"'{error.filename}' cannot be read ({error.strerror}).",
            "Check its path and permissions.",
        ) from error


@lru_cache(maxsize=32)  # a history is written for each image, and again for its spread
def _contents(folder: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, size, _ in files:
        digest.update(f"{path.relative_to(folder).as_posix()} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_LOOK))
            file.seek(max(_LOOK, size - _LOOK))
            digest.update(file.read(_LOOK))
    return digest.hexdigest()
