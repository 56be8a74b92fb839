"""SUPIR: SDXL, guided by the degraded image, draws a restored one.

Yu F et al. Scaling Up to Excellence: Practicing Model Scaling for Photo-Realistic Image Restoration
In the Wild. CVPR 2024. doi:10.1109/CVPR52733.2024.02425. The code is our own, written from the
description; the weights' licence is non-commercial, and they are never fetched unasked.

Nothing heavy is imported before `load` is called.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from napari_superres.errors import MissingDependencyError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_superres.models.catalog import ModelSpec
    from napari_superres.models.engine import Engine, Setting

ENGINES = ("torch",)

NEEDED = ("diffusers", "transformers", "accelerate")
"""Packages of the extra ``diffusion``."""


def load(spec: ModelSpec, weights: Mapping[str, Path], setting: Setting) -> Engine:
    """Return SUPIR as an engine.

    Parameters
    ----------
    spec : ModelSpec
        A row of this family.
    weights : mapping of str to Path
        Where each file lies, by its name in the row: SUPIR's own file, and, if it is here, SDXL's
        single file. The option ``base`` names another SDXL checkpoint.
    setting : Setting
        ``options`` are those of `settings.Settings`.

    Raises
    ------
    MissingDependencyError
        If the extra ``diffusion`` is not installed.
    WeightsError
        If a file is missing, damaged or incomplete.
    SettingError
        If an option is not known, or the device cannot compute in the precision asked for.
    """
    check_installed(spec.name)
    from napari_superres.models.families.supir.engine import load_engine
    from napari_superres.models.families.supir.settings import settings_from

    own, *others = [file.name for file in spec.weights]
    if own not in weights:
        raise WeightsError(f"'{spec.name}' needs the file '{own}'.", f"See {spec.homepage}.")
    return load_engine(
        weights[own],
        next((weights[name] for name in others if name in weights), None),
        settings_from(setting.options),
        scale=spec.scale,
        device=setting.device,
        precision=setting.precision,
    )


def check_installed(name: str) -> None:
    """Refuse a model whose packages are not installed.

    Raises
    ------
    MissingDependencyError
        Naming the first that is missing, and the extra.
    """
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(
                f"'{name}' needs the package '{package}', which is not installed.",
                'Use pip install "napari-superres[diffusion]".',
            )
