"""SUPIR: SDXL, guided by the degraded image, draws a restored one.

Yu F et al. Scaling Up to Excellence: Practicing Model Scaling for Photo-Realistic Image Restoration
In the Wild. CVPR 2024. doi:10.1109/CVPR52733.2024.02425. The code is our own, written from the
description; the weights' licence is non-commercial, and they are never fetched unasked.

Nothing heavy is imported before `load` is called.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from napari_superres.errors import MissingDependencyError, WeightsError
from napari_superres.models.families.supir.settings import settings_from
from napari_superres.models.families.supir.sizes import working_size
from napari_superres.models.workload import Work, fused_tiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_superres.models.catalog import ModelSpec, WeightFile
    from napari_superres.models.engine import Engine, Setting

ENGINES = ("torch",)

_FACTOR = 8
"""Pixels along an edge of a latent."""

_CALL, _ENCODE, _DECODE = 10.14e12, 4.9e12, 10.5e12
"""Floating-point operations at 1024 x 1024 pixels, counted: network with control, autoencoder."""

NEEDED = ("diffusers", "transformers", "accelerate")
"""Packages of the extra ``diffusion``."""


def load(spec: ModelSpec, weights: Mapping[str, Path], setting: Setting) -> Engine:
    """Return SUPIR as an engine.

    Parameters
    ----------
    spec : ModelSpec
        A row of this family.
    weights : mapping of str to Path
        Where SUPIR's own file lies, by its name in the row. The SDXL checkpoint is found by the
        option ``base``.
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
    ResourceError
        If memory does not suffice.
    """
    check_installed(spec.name)
    from napari_superres.models.families.supir.engine import load_engine

    own = spec.weights[0].name
    if own not in weights:
        raise WeightsError(f"'{spec.name}' needs the file '{own}'.", f"See {spec.homepage}.")
    return load_engine(
        weights[own],
        settings_from(setting.options),
        scale=spec.scale,
        device=setting.device,
        precision=setting.precision,
    )


def check_options(spec: ModelSpec, options: Sequence[tuple[str, Any]]) -> None:
    """Refuse options that make no sense together, before anything is loaded."""
    settings_from(options)


def base_place(spec: ModelSpec, options: Sequence[tuple[str, Any]]) -> Path:
    """Return where the SDXL checkpoint is that would be used; see `base_model.base_record`."""
    check_installed(spec.name)
    from napari_superres.models.families.supir.base import find_base

    return find_base(settings_from(options).base)


def check_file(spec: ModelSpec, file: WeightFile, path: Path) -> None:
    """Refuse a file that is not a complete SUPIR file; see `library.add`."""
    check_installed(spec.name)
    from napari_superres.models.families.supir.loading import check_supir

    check_supir(path)


def work(spec: ModelSpec, options: Sequence[tuple[str, Any]], height: int, width: int) -> Work:
    """Return what there is to compute for a plane of some source pixels; see `Work`."""
    settings = settings_from(options)
    size = working_size(height, width, spec.scale, settings.smallest)
    tiles, area = 1, 1.0
    for length in (n // _FACTOR for n in size):
        tiles *= fused_tiles(length, settings.latent_tile, settings.latent_stride)
        area *= min(settings.latent_tile, length) / 128
    # With and without the words, unless only the words count.
    branches = 1 if settings.guidance == settings.guidance_start == 1 else 2
    twice = settings.restoration > 0 or settings.reference != "input" or settings.captioner
    seen = (_ENCODE + _DECODE) * (2 if twice else 1)
    pixels = size[0] * size[1]
    rest = seen * pixels / 1024**2
    return Work(settings.steps * tiles, _CALL * area * branches, rest, pixels)


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
