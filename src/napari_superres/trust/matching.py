"""Which pixels of a source and a truth belong to a result."""

from __future__ import annotations

import itertools
import operator
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_superres.arrays import as_image
from napari_superres.errors import InputError
from napari_superres.formats import read
from napari_superres.selection import select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.image import Image

_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Match:
    """Images of the same field of view, with the same axes in the same order.

    Parameters
    ----------
    result : Image
    source : Image or None
        Cut to the planes and pixels that the result shows.
    truth : Image or None
        Of the result's shape.
    scale : int
        Result pixels a source pixel; 1 where nothing says it.
    """

    result: Image
    source: Image | None
    truth: Image | None
    scale: int


def match(result: Image, source: Image | None, truth: Image | None) -> Match:
    """Return the images cut to the same field of view.

    Parameters
    ----------
    result : Image
    source : Image or None
        Of the same size over a whole scale factor; or the whole image of which the result shows
        some channels, planes or a region, to be found by their names and place.
    truth : Image or None
        Of the result's own size along y and x. Channels of both are paired by name; where names do
        not tell, as the result's history says, or else in their order.

    Returns
    -------
    Match

    Raises
    ------
    InputError
        If they do not belong together.
    """
    scale = _scale(result, source)
    if truth is not None:
        truth = _aligned(truth, result, "truth")
        if truth.shape != result.shape:
            raise InputError(
                f"The truth '{truth.name}' is {_by(truth.shape)}, but '{result.name}' is "
                f"{_by(result.shape)}.",
                "Give a truth with the result's own pixels.",
            )
    if source is not None:
        source = _cut(_aligned(source, result, "source"), result, scale)
    return Match(result, source, truth, scale)


def named_channels(image: Image, other: Image) -> list[int] | None:
    """Return where the channels of another image lie in this one, by their names.

    Parameters
    ----------
    image, other : Image

    Returns
    -------
    list of int or None
        One for each channel of `other`; None if one of them has no name of its own in both.
    """
    names = [channel.name for channel in image.channels]
    wanted = [channel.name for channel in other.channels]
    if all(name and names.count(name) == wanted.count(name) == 1 for name in wanted):
        return [names.index(name) for name in wanted]
    return None


def source_of(result: Image) -> Image | None:
    """Return the image that a result was made from, if its history names a file that is there.

    Parameters
    ----------
    result : Image

    Returns
    -------
    Image or None
    """
    # Channels that were made finer one by one may come from several files.
    if not result.history or "channel" in result.history[-1]:
        return None
    facts = result.history[-1].get("source", {})
    path = str(facts.get("path", ""))
    if not path or not ("://" in path or os.path.exists(path)):
        return None
    found = read(
        path,
        axes=facts.get("axes"),
        series=int(facts.get("series", 0)),
        level=int(facts.get("level", 0)),
    )
    return as_image(found, facts.get("taken_as"))


def was_changed(source: Image, result: Image) -> bool:
    """Return whether a source was written anew since a result was made from it.

    Parameters
    ----------
    source : Image
        As `source_of` returns it.
    result : Image
    """
    facts = result.history[-1].get("source", {})
    state = ("size", "mtime_ns", "version")
    return any(facts[key] != source.source.get(key) for key in state if key in facts)


def _scale(result: Image, source: Image | None) -> int:
    if result.history:
        scales = [int(record["plan"]["scale"]) for record in reversed(result.history)]
        # Of a result of a result that was never written, the source may be that of the first.
        for factor in itertools.accumulate(scales, operator.mul):
            if source is not None and all(result.size(a) == factor * source.size(a) for a in "yx"):
                return factor
        return scales[0]
    if source is None:
        return 1
    factors = {result.size(axis) / source.size(axis) for axis in "yx"}
    factor = max(factors)
    if len(factors) > 1 or factor != int(factor):
        raise InputError(
            f"'{result.name}' ({_by(result.shape)}) is no whole number of times finer than "
            f"'{source.name}' ({_by(source.shape)}).",
            "Give the source of the same field of view.",
        )
    return int(factor)


def _aligned(image: Image, result: Image, what: str) -> Image:
    """Return an image with the result's channels and axes, in their order."""
    if result.rgb and not image.rgb and image.size("c") in (3, 4):
        image = as_image(image, rgb=True)  # taken so when the result was made
    if "c" in image.axes:
        image = select(image, _channels(image, result))
    # A TIFF drops axes of length 1: which plane of the others it shows, its history says.
    missing = [axis for axis in image.axes if axis not in result.axes]
    for axis in missing:
        part = _part(result, axis)
        if axis != "c" and len(part) == 1 and part[0] < image.size(axis):
            image = select(image, planes={axis: part[0]})
    image = _without(image, [axis for axis in missing if image.size(axis) == 1])
    if sorted(image.axes) != sorted(result.axes):
        raise InputError(
            f"The {what} '{image.name}' has axes '{image.axes}', the result '{result.axes}'.",
            f"Give a {what} with the same axes.",
        )
    return image.transposed(result.axes)


def _without(image: Image, axes: Sequence[str]) -> Image:
    """Return an image without some axes of length 1."""
    kept = [i for i, axis in enumerate(image.axes) if axis not in axes]
    return replace(
        image,
        data=image.data[tuple(0 if axis in axes else slice(None) for axis in image.axes)],
        axes="".join(image.axes[i] for i in kept),
        pixel_size=tuple(image.pixel_size[i] for i in kept),
        units=tuple(image.units[i] for i in kept),
        translation=tuple(image.translation[i] for i in kept),
        levels=(),
    )


def _part(result: Image, axis: str) -> list[int]:
    """Return which planes or channels the history says that a result shows; empty for all."""
    part = result.history[-1].get("part", {}).get(axis, []) if result.history else []
    return [int(i) for i in (part if axis == "c" or not part else range(*part))]


def _cut(source: Image, result: Image, scale: int) -> Image:
    """Return the source cut to what the result shows."""
    wanted = tuple(
        n // scale if axis in "yx" else n for axis, n in zip(result.axes, result.shape, strict=True)
    )
    if source.shape == wanted:
        return source
    start = source.rescaled(scale, source.data)
    cut = []
    for i, axis in enumerate(result.axes):
        if axis == "c":
            cut.append(slice(None))
            continue
        factor = scale if axis in "yx" else 1
        step = round(result.pixel_size[i] / start.pixel_size[i]) or 1
        first = (result.translation[i] - start.translation[i]) / start.pixel_size[i] / factor
        stop = round(first) + (wanted[i] - 1) * step + 1
        if abs(first - round(first)) > _TOLERANCE or first < -_TOLERANCE or stop > source.shape[i]:
            raise _strangers(source, result)
        cut.append(slice(round(first), stop, step))
    part = source.cropped(cut)
    if part.shape != wanted:
        raise _strangers(source, result)
    return part


def _channels(image: Image, result: Image) -> list[int] | None:
    """Return where the result's channels lie in an image; None, all of them, if nothing tells."""
    named = named_channels(image, result)
    part = _part(result, "c")
    chosen = result.history[-1].get("source", {}).get("channels") if result.history else None
    if chosen and image.source.get("channels") != chosen:
        # The part counts in the channels that were chosen, the image in those of the file.
        part = [chosen[i] for i in part or range(len(chosen))]
    if named or len(part) != result.size("c") or not all(0 <= i < image.size("c") for i in part):
        return named
    return part


def _strangers(source: Image, result: Image) -> InputError:
    return InputError(
        f"It is not clear which part of '{source.name}' ({_by(source.shape)}) "
        f"'{result.name}' ({_by(result.shape)}) shows.",
        "Give a source of the same field of view, planes and channels.",
    )


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
