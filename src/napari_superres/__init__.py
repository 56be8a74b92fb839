"""Super-resolution that a microscopist can trust.

>>> import napari_superres as sr
>>> image = sr.read("cells.ome.zarr")  # doctest: +SKIP
>>> finer = sr.upscale(image, "microscopy-x4")  # doctest: +SKIP
>>> sr.write(finer, "cells_x4.ome.zarr")  # doctest: +SKIP

Importing this module imports neither torch nor napari: a name is looked up when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from napari_superres._version import __version__

if TYPE_CHECKING:
    from napari_superres.batching import batch
    from napari_superres.comparing.comparison import Comparison, compare
    from napari_superres.errors import (
        AxesError,
        Cancelled,
        IncompleteError,
        InputError,
        LicenceError,
        MissingDependencyError,
        OutputError,
        ResourceError,
        SettingError,
        SuperresError,
        UnknownModelError,
        UnreadableError,
        WeightsError,
    )
    from napari_superres.formats import read
    from napari_superres.image import Channel, Image
    from napari_superres.job import Progress, run, write
    from napari_superres.models.catalog import MODELS, ModelSpec
    from napari_superres.plan import Plan
    from napari_superres.planning import make_plan
    from napari_superres.surveying import Survey, survey
    from napari_superres.training.simulate import simulate
    from napari_superres.trust.measure import Measures, measure
    from napari_superres.upscaling import upscale

_HOMES = {
    "batching": ("batch",),
    "comparing.comparison": ("Comparison", "compare"),
    "errors": (
        "AxesError",
        "Cancelled",
        "IncompleteError",
        "InputError",
        "LicenceError",
        "MissingDependencyError",
        "OutputError",
        "ResourceError",
        "SettingError",
        "SuperresError",
        "UnknownModelError",
        "UnreadableError",
        "WeightsError",
    ),
    "formats": ("read",),
    "image": ("Channel", "Image"),
    "job": ("Progress", "run", "write"),
    "models.catalog": ("MODELS", "ModelSpec"),
    "plan": ("Plan",),
    "planning": ("make_plan",),
    "surveying": ("Survey", "survey"),
    "training.simulate": ("simulate",),
    "trust.measure": ("Measures", "measure"),
    "upscaling": ("upscale",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "MODELS",
    "AxesError",
    "Cancelled",
    "Channel",
    "Comparison",
    "Image",
    "IncompleteError",
    "InputError",
    "LicenceError",
    "Measures",
    "MissingDependencyError",
    "ModelSpec",
    "OutputError",
    "Plan",
    "Progress",
    "ResourceError",
    "SettingError",
    "SuperresError",
    "Survey",
    "UnknownModelError",
    "UnreadableError",
    "WeightsError",
    "__version__",
    "batch",
    "compare",
    "make_plan",
    "measure",
    "read",
    "run",
    "simulate",
    "survey",
    "upscale",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'napari_superres' has no attribute '{name}'")
    return getattr(importlib.import_module(f"napari_superres.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
