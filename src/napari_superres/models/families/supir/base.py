"""SDXL checkpoints: where they are, and what is in them.

Nothing is fetched: a checkpoint that is not on this computer is an error that names ways to get it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from napari_superres.errors import WeightsError
from napari_superres.models.cache import weights_folder
from napari_superres.models.families.supir.keys import sort_names
from napari_superres.models.families.supir.text import encoder_config, from_open_clip, open_config
from napari_superres.models.hub import local_place
from napari_superres.models.parts import Found, modern_name, open_folder, open_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from napari_superres.models.families.supir.layout import Layout

IDS = ("stabilityai/stable-diffusion-xl-base-1.0", "RunDiffusion/Juggernaut-XL-v9")
"""Checkpoints on the Hugging Face hub that SUPIR is used with, best first."""

FILES = ("sd_xl_base_1.0_0.9vae.safetensors", "Juggernaut-XL_v9_RunDiffusionPhoto_v2.safetensors")
"""The same as single files."""

TOKENIZERS = (*IDS, "openai/clip-vit-large-patch14")
"""Where a tokenizer can be had; single files have none."""

_FOLDERS = ("unet", "vae", "text_encoder", "text_encoder_2")


class Base(NamedTuple):
    """An SDXL checkpoint.

    Parameters
    ----------
    parts : dict of str to Found
        ``"unet"``, ``"vae"``, ``"text"`` and ``"text_2"``.
    configs : (CLIPTextConfig, CLIPTextConfig)
        Of the two text encoders.
    tokenizer : Path
        Folder of the tokenizer.
    """

    parts: dict[str, Found]
    configs: tuple[Any, Any]
    tokenizer: Path


def open_base(place: Path, tokenizer: str, layout: Layout, *, half: bool) -> Base:
    """Return what is in a checkpoint.

    Parameters
    ----------
    place : Path
        A diffusers folder or a single file; as `find_base` returns it.
    tokenizer : str
        Folder or id; empty looks in the folder and in the usual places.
    layout : Layout
        Of the SUPIR checkpoint that goes over it.
    half : bool
        Whether weights in half precision are preferred where a folder has both.

    Raises
    ------
    WeightsError
        If a part is not there.
    """
    words = find_tokenizer(tokenizer, place)
    if place.is_dir():
        return _open_folder(place, words, half)
    return _open_file(place, words, layout)


def find_base(wish: str) -> Path:
    """Return where an SDXL checkpoint is on this computer.

    Parameters
    ----------
    wish : str
        A file, a diffusers folder or an id on the Hugging Face hub. Empty looks in the usual
        places: the cache of weights, the hub's cache.

    Raises
    ------
    WeightsError
        If there is none; nothing is fetched.
    """
    if wish:
        found = _as_place(wish)
        if found is None:
            raise WeightsError(
                f"There is no SDXL checkpoint '{wish}' on this computer.",
                "Give a file, a diffusers folder, or an id that was fetched with 'hf download'.",
            )
        return found
    for name in FILES:
        if (weights_folder() / name).is_file():
            return weights_folder() / name
    for name in IDS:
        found = _as_place(name)
        if found is not None:
            return found
    raise WeightsError(
        "SUPIR is laid over an SDXL checkpoint, and none is on this computer; nothing is "
        "downloaded unasked.",
        f"Fetch one with 'hf download {IDS[0]}', or put {FILES[0]} into {weights_folder()}, or "
        "name one with the option base=PATH.",
    )


def find_tokenizer(wish: str, place: Path) -> Path:
    """Return the folder of a tokenizer, in a checkpoint's folder or in the usual places.

    Raises
    ------
    WeightsError
        If there is none.
    """
    for name in (wish,) if wish else (str(place), *TOKENIZERS):
        folder = _as_place(name)
        for candidate in (folder / "tokenizer", folder) if folder and folder.is_dir() else ():
            if (candidate / "vocab.json").is_file() or (candidate / "tokenizer.json").is_file():
                return candidate
    raise WeightsError(
        f"'{wish or place}' has no tokenizer ('tokenizer/vocab.json'), and none of "
        f"{', '.join(TOKENIZERS)} is on this computer.",
        f"Fetch one with 'hf download {TOKENIZERS[-1]} vocab.json merges.txt', or name its folder "
        "with the option tokenizer=PATH.",
    )


def _as_place(name: str) -> Path | None:
    place = local_place(name)
    return place if place is None else _inside(place)


def _inside(path: Path) -> Path:
    """Return the single file of a folder that holds one instead of a diffusers model."""
    if path.is_dir() and not (path / "unet").is_dir():
        return next((path / name for name in FILES if (path / name).is_file()), path)
    return path


def _open_folder(folder: Path, tokenizer: Path, half: bool) -> Base:
    lacking = [name for name in _FOLDERS if not (folder / name / "config.json").is_file()]
    if lacking:
        raise WeightsError(
            f"'{folder}' is not a complete SDXL folder: it lacks "
            f"{', '.join(f'{name}/config.json' for name in lacking)}.",
            "Fetch the whole folder again.",
        )
    parts = {}
    for part, name in zip(("unet", "vae", "text", "text_2"), _FOLDERS, strict=True):
        stem = "model" if part.startswith("text") else "diffusion_pytorch_model"
        tensors = open_folder(folder / name, stem, half=half)
        source = {
            modern_name(key) if part == "vae" else key.removeprefix("text_model."): key
            for key in tensors
            if not key.endswith("position_ids")
        }
        parts[part] = Found(tensors, source, str(folder / name))
    configs = [open_config(folder / name) for name in _FOLDERS[2:]]
    return Base(parts, (configs[0], configs[1]), tokenizer)


def _open_file(path: Path, tokenizer: Path, layout: Layout) -> Base:
    tensors = open_tensors(path)
    where = str(path)
    sorted_names = sort_names(tensors, layout.blocks, len(layout.vae_channels))
    # A SUPIR file laid over SDXL and saved whole has its own encoder too.
    parts = {part: Found(tensors, sorted_names[part], where) for part in ("unet", "vae")}
    prefix = "conditioner.embedders.0.transformer.text_model."
    first = {
        key.removeprefix(prefix): key
        for key in tensors
        if key.startswith(prefix) and not key.endswith("position_ids")
    }
    prefix = "conditioner.embedders.1.model."
    second = from_open_clip(
        {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
    )
    for part, names in (
        ("text", first),
        ("text_2", second),
        *((p, parts[p].source) for p in parts),
    ):
        if not names:
            raise WeightsError(
                f"'{path}' is not a complete SDXL checkpoint: it lacks the {_WORDS[part]}.",
                f"Use a whole checkpoint, such as {FILES[0]}.",
            )
    parts["text"] = Found(tensors, first, where)
    parts["text_2"] = Found(second, {key: key for key in second}, where)
    configs = []
    for part, activation in (("text", "quick_gelu"), ("text_2", "gelu")):
        try:
            configs.append(encoder_config(*parts[part][:2], activation))
        except KeyError as error:
            raise WeightsError(
                f"'{path}' is not a complete SDXL checkpoint: its {_WORDS[part]} lacks "
                f"'{error.args[0]}'.",
                "Fetch the file again.",
            ) from error
    return Base(parts, (configs[0], configs[1]), tokenizer)


_WORDS = {
    "unet": "network ('model.diffusion_model.*')",
    "vae": "autoencoder ('first_stage_model.*')",
    "text": "first text encoder ('conditioner.embedders.0.*')",
    "text_2": "second text encoder ('conditioner.embedders.1.*')",
}
