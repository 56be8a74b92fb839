"""From a source and wishes on the command line to a lazy result."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_superres.cli import parsing
from napari_superres.cli.console import talk
from napari_superres.cli.wording import as_options
from napari_superres.errors import SettingError
from napari_superres.models.cache import accept_licence
from napari_superres.models.weights import check_licence, find_model

if TYPE_CHECKING:
    from napari_superres.image import Image
    from napari_superres.models.catalog import ModelSpec


class Opened(NamedTuple):
    """A source and what will be made of it.

    Parameters
    ----------
    image : Image
        The source.
    result : Image
        Lazy.
    spread : Image or None
        What `Plan.spread` says, if several samples or the error are wanted.
    labels : dict of str to Image
        Label images that will lie beside the result.
    notes : tuple of str
        What a user should know before it begins.
    """

    image: Image
    result: Any
    spread: Any
    labels: dict[str, Image]
    notes: tuple[str, ...]


def opened(source: str, wishes: dict[str, Any]) -> Opened:
    """Open a source and return it with its lazy result.

    Parameters
    ----------
    source : str
    wishes : dict
        By the names of the options in `OPENING` and `WISHES`, as they were given.
    """
    from napari_superres.arrays import as_image
    from napari_superres.labelling import finer_labels
    from napari_superres.upscaling import upscale

    image, wishes = read_source(source, wishes)
    rgb, wants_labels = wishes.pop("rgb"), wishes.pop("labels")
    if rgb:
        image = as_image(image, rgb=True)
    beside = labels_beside(image)
    if wants_labels and not beside:
        if image.source.get("format") == "zarr" and not image.is_labels:
            raise SettingError(
                f"'{source}' has no labels beside its image.",
                "Leave --labels out. If its own pixels are labels, say --model nearest.",
            )
        image = replace(image, is_labels=True)
        wishes["model"] = wishes["model"] or "nearest"
    keywords = {
        **wishes,
        **selection(wishes),
        "limits": parsing.limits(wishes["limits"], image),
        "denoise": parsing.denoise(wishes["denoise"]),
        "tile": parsing.whole_pair(wishes["tile"]),
        "options": parsing.options(wishes["options"]),
    }
    found = upscale(image, **keywords)
    result, spread = found if isinstance(found, tuple) else (found, None)
    labels: dict[str, Image] = {}
    if wants_labels and beside:
        part = {key: keywords[key] for key in ("channels", "planes", "region")}
        labels = finer_labels(image, result.plan.scale, **part)
    return Opened(image, result, spread, labels, notes(image, beside, labels))


def consent(wishes: dict[str, Any], *, needed: bool = True) -> dict[str, Any]:
    """Record the licences that are accepted, and return the wishes that are left.

    Parameters
    ----------
    wishes : dict
        By the names of the options in `WISHES`.
    needed : bool
        Whether to refuse a model whose licence must be accepted and is not.

    Raises
    ------
    LicenceError
        If it is not.
    """
    left = {name: wish for name, wish in wishes.items() if name != "accept_licence"}
    for name in wishes["accept_licence"]:
        accept(find_model(name))
    if needed and wishes["model"]:
        check_licence(find_model(wishes["model"], wishes["scale"]))
    return left


def accept(spec: ModelSpec) -> None:
    """Show the terms of a model's licence, and record that it is accepted."""
    where = f" ({spec.homepage})" if spec.homepage else ""
    if not spec.consent:
        talk(f"'{spec.name}' asks for no acceptance; its licence is {spec.licence}{where}.")
        return
    accept_licence(spec.name)
    talk(f"Accepted for '{spec.name}': {spec.licence}{where}. {spec.terms}".rstrip())


def read_source(source: str, wishes: dict[str, Any]) -> tuple[Image, dict[str, Any]]:
    """Return an image, and the wishes that are left."""
    from napari_superres.formats import read

    opening = {key: wishes[key] for key in ("axes", "series", "level", "missing")}
    return read(source, **opening), {k: v for k, v in wishes.items() if k not in opening}


def selection(wishes: dict[str, Any]) -> dict[str, Any]:
    """Return which part is wanted, as keywords of `select`."""
    return {
        "channels": parsing.channels(wishes["channels"]),
        "planes": parsing.planes(wishes["planes"]),
        "region": parsing.region(wishes["region"]),
    }


def notes(image: Image, beside: tuple[str, ...], labels: dict[str, Image]) -> tuple[str, ...]:
    """Return what a user should know: of the source, and of labels that are left out."""
    warnings = tuple(as_options(warning) for warning in image.warnings)
    left = [name for name in beside if name not in labels]
    if not left:
        return warnings
    listed = ", ".join(f"'{name}'" for name in left)
    said = f"The labels beside '{image.name}' are left out: {listed}. --labels takes them along."
    return (*warnings, said)


def labels_beside(image: Image) -> tuple[str, ...]:
    """Return the names of the label images beside an image."""
    from napari_superres.formats.labels import label_names

    return label_names(image)
