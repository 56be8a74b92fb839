"""Latent diffusion upscalers of diffusers: LDM-SR without words, and Stable Diffusion x4.

Both denoise a latent of the size of the source, with the source beside it at every step, and decode
it four times finer. The parts are those of diffusers' `LDMSuperResolutionPipeline` and
`StableDiffusionUpscalePipeline`; the loop is our own, so that noise has an address, tiles are fused
at every step, and somebody can stop it.

Sources: Rombach R et al. High-Resolution Image Synthesis with Latent Diffusion Models. CVPR 2022.
doi:10.1109/CVPR52688.2022.01042.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from napari_superres.errors import SettingError
from napari_superres.models.families.supir import check_installed
from napari_superres.models.hub import find_folder
from napari_superres.models.workload import Work, fused_tiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_superres.models.catalog import ModelSpec
    from napari_superres.models.engine import Engine, Setting

ENGINES = ("torch",)

_FLOP = {"ldm-sr-x4": (0.458e12, 3.095e12), "sd-x4": (1.131e12, 3.095e12)}
"""Floating-point operations for 128 x 128 source pixels, counted: one call, and decoding."""

MULTIPLE = 8
"""Both networks halve their input three times; planes are continued by reflection to that."""


@dataclass(frozen=True)
class Settings:
    """What these models are told beside an image. LDM-SR uses neither words nor `noise_level`.

    Parameters
    ----------
    steps : int
        Calls of the network.
    eta : float
        Share of fresh noise in each step.
    noise_level : int
        How much noise is added to the source, of 350; more invents more.
    prompt, negative_prompt : str
        What the picture should and should not look like.
    guidance : float
        How much the words count; 1 for the prompt alone.
    latent_tile, latent_stride : int
        Tiles fused at every step, in source pixels.
    base : str
        Folder or id of the model; empty looks for the published ids.
    """

    steps: int = 50
    eta: float = 0.0
    noise_level: int = 20
    prompt: str = ""
    negative_prompt: str = ""
    guidance: float = 1.0
    latent_tile: int = 128
    latent_stride: int = 96
    base: str = ""


def load(spec: ModelSpec, weights: Mapping[str, Path], setting: Setting) -> Engine:
    """Return one of the two upscalers as an engine.

    Parameters
    ----------
    spec : ModelSpec
        ``ldm-sr-x4`` or a row with words.
    weights : mapping
        Not used: the models are folders of several files, found by the option ``base``.
    setting : Setting
        ``options`` are those of `Settings`.

    Raises
    ------
    MissingDependencyError
        If the extra ``diffusion`` is not installed.
    WeightsError
        If the model is not on this computer, or incomplete.
    SettingError
        If an option is not known, or a CPU should compute in float16.
    """
    check_installed(spec.name)
    from napari_superres.models.families.latent.engine import load_latent

    return load_latent(spec, settings_from(setting.options, spec.name), setting)


def check_options(spec: ModelSpec, options: Sequence[tuple[str, Any]]) -> None:
    """Refuse options that make no sense together, before anything is loaded."""
    settings_from(options, spec.name)


def base_place(spec: ModelSpec, options: Sequence[tuple[str, Any]]) -> Path:
    """Return the folder of the model; see `base_model.base_record`."""
    return find_folder(settings_from(options, spec.name).base, spec.folders, spec.name)


def work(spec: ModelSpec, options: Sequence[tuple[str, Any]], height: int, width: int) -> Work:
    """Return what there is to compute for a plane of some source pixels; see `Work`."""
    settings = settings_from(options, spec.name)
    tiles, area = 1, 1.0
    for length in (-(-n // MULTIPLE) * MULTIPLE for n in (height, width)):
        tiles *= fused_tiles(length, settings.latent_tile, settings.latent_stride)
        area *= min(settings.latent_tile, length) / 128
    call, decode = _FLOP[spec.name]
    branches = 1 if settings.guidance == 1 else 2
    rest = decode * height * width / 128**2
    return Work(settings.steps * tiles, call * area * branches, rest, 16 * height * width)


def settings_from(options: Sequence[tuple[str, Any]], name: str) -> Settings:
    """Return the settings for a model's options; what is not given has its default.

    Raises
    ------
    SettingError
        If an option is not known.
    """
    known = {field.name for field in fields(Settings)}
    for option, _ in options:
        if option not in known:
            raise SettingError(
                f"'{name}' has no option '{option}'.", f"It takes {', '.join(sorted(known))}."
            )
    settings = Settings(**dict(options))
    if settings.steps < 1:
        raise SettingError(f"'{name}' has no work to do without steps.", "Use 1 or more.")
    if not 0 < settings.latent_stride <= settings.latent_tile:
        raise SettingError(
            f"latent_stride={settings.latent_stride} of '{name}' leaves gaps between tiles of "
            f"latent_tile={settings.latent_tile}.",
            "Use a stride of 1 to latent_tile.",
        )
    return settings
