"""Label images that belong to an image: made finer beside it, each value kept."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from napari_superres.errors import SettingError
from napari_superres.formats.labels import beside, read_labels
from napari_superres.selection import channel_index, select
from napari_superres.upscaling import upscale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_superres.image import Image


def finer_labels(
    image: Image,
    scale: int = 1,
    *,
    channels: Sequence[int | str] | None = None,
    planes: Mapping[str, Any] | None = None,
    region: tuple[slice, slice] | None = None,
) -> dict[str, Image]:
    """Return the label images beside an image, lazily, by nearest neighbour, by name.

    Parameters
    ----------
    image : Image
        The source, as it was read.
    scale : int
        Scale factor of the result; 1 for a copy.
    channels, planes, region : optional
        Which part of the result is wanted, as for `upscale`. Labels that lie on a grid of other
        pixels are cut at the same place, and those that have channels keep the ones of the result.

    Returns
    -------
    dict of str to Image
        To be handed to `run` or `write` as `labels`. Empty where there are none.

    Raises
    ------
    InputError
        If a label image cannot be read.
    SettingError
        If a part cannot be cut out of one: it has other planes, or the region ends inside a pixel.
    """
    found = {}
    for name, labels in read_labels(image).items():
        chosen: dict[str, Any] = {
            "channels": _channels(image, labels, channels),
            "planes": _planes(image, labels, planes),
            "region": None if region is None else _region(image, labels, region),
        }
        finer = select(labels, **chosen)
        if scale > 1:
            finer = upscale(labels, "nearest", scale=scale, **chosen)
        found[name] = replace(beside(finer), name=name)
    return found


def _channels(
    image: Image, labels: Image, channels: Sequence[int | str] | None
) -> list[int] | None:
    """Return the channels of labels that have some; others belong to all of the image."""
    if channels is None or not _shares(image, labels, "c"):
        return None
    return [channel_index(image, channel) for channel in channels]


def _planes(image: Image, labels: Image, planes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the planes of labels: an axis that they do not have, or share, is not chosen from."""
    return {axis: wish for axis, wish in (planes or {}).items() if _shares(image, labels, axis)}


def _shares(image: Image, labels: Image, axis: str) -> bool:
    """Return whether labels have one plane for each of the image's, and not one for all."""
    size, wanted = labels.size(axis, 1), image.size(axis, 1)
    if size not in (1, wanted):
        raise SettingError(
            f"The labels '{labels.name}' have {size} planes along '{axis}', and '{image.called}' "
            f"has {wanted}: which belong together is not known.",
            f"Take all along '{axis}', or leave --labels out.",
        )
    return axis in labels.axes and size == wanted


def _region(image: Image, labels: Image, region: tuple[slice, slice]) -> tuple[slice, slice]:
    """Return a region of the image in pixels of the labels, which may be coarser or finer."""
    parts = []
    for axis, part in zip("yx", region, strict=True):
        ratio = Fraction(labels.size(axis), image.size(axis))
        start, stop = (None if b is None else b * ratio for b in (part.start, part.stop))
        if any(bound is not None and bound.denominator != 1 for bound in (start, stop)):
            raise SettingError(
                f"The region {part.start}:{part.stop} along '{axis}' of '{image.called}' begins or "
                f"ends inside a pixel of its labels '{labels.name}', which have "
                f"{labels.size(axis)} of them.",
                "Choose another region, or leave --labels out.",
            )
        whole = [None if bound is None else int(bound) for bound in (start, stop)]
        parts.append(slice(whole[0], whole[1], part.step))
    return parts[0], parts[1]
