"""Which base model a diffusion model stands on: part of what made a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_superres.errors import MissingDependencyError, WeightsError
from napari_superres.models.cache import fingerprint
from napari_superres.models.engine import load_family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.models.catalog import ModelSpec

_SNAPSHOTS = "snapshots"
"""The hub's cache keeps each revision of a folder in one of its own below this one."""


def base_record(spec: ModelSpec, options: Sequence[tuple[str, Any]]) -> dict[str, str]:
    """Return what a result's history says about the base model.

    The option ``base`` alone does not tell: empty, it stands for whatever is on the computer. A
    single file is read for its checksum, once as long as it does not change; gigabytes take a
    while.

    Parameters
    ----------
    spec : ModelSpec
    options : sequence of (str, value)
        Of the plan.

    Returns
    -------
    dict
        ``path``, and ``sha256`` of a single file or ``revision`` of a folder of the hub's cache; a
        folder of the user's own has its path alone. Empty for models that need no base, and where
        it is not on this computer, which whoever computes will hear.
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
    return found
