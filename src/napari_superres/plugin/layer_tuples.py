"""An `Image` as napari's layer tuples, and layers as one `Image`: for reader, writer, samples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dask.array as da
from napari.layers import Layer

from napari_superres.errors import InputError
from napari_superres.image import Channel, Image
from napari_superres.plugin.layer_history import (
    NOTE,
    channel_history,
    channel_place,
    history_metadata,
    joined_history,
    joined_source,
)
from napari_superres.plugin.layers import layer_to_image, source_note

if TYPE_CHECKING:
    from collections.abc import Sequence

LayerTuple = tuple[Any, dict[str, Any], str]

# napari's own colormaps where one fits, because people know their names.
_NAMED = {
    "FFFFFF": "gray",
    "FF0000": "red",
    "00FF00": "green",
    "0000FF": "blue",
    "00FFFF": "cyan",
    "FF00FF": "magenta",
    "FFFF00": "yellow",
}


def image_to_layer_data(image: Image) -> list[LayerTuple]:
    """Return an image as layers, one a channel, for napari to add. No pixel is read.

    Parameters
    ----------
    image : Image

    Returns
    -------
    list of (data, kwargs, layer type)
        Multiscale where the image has levels. Names, colours and contrast limits are those of the
        channels; several channels are shown on top of each other by adding their light. Axes that
        are not channels keep pixel size, units, translation and their letters as axis labels. The
        history is in ``metadata["superres"]``.
    """
    levels = [image.data, *image.levels]
    if "c" not in image.axes:
        return [_layer(image, levels, image.channels[0], _title(image, image.channels[0]))]
    position = image.axes.index("c")
    tuples = []
    for i, channel in enumerate(image.channels):
        pixels = [level[(slice(None),) * position + (i,)] for level in levels]
        several = len(image.channels) > 1
        own = image
        if several:
            said = image.channel_fields([i])
            own = replace(
                image,
                source=said["source"],
                metadata=said["metadata"],
                history=channel_history(image.history, i),
            )
        title = _title(own, channel, number=i)
        tuples.append(_layer(own, pixels, channel, title, several=several))
    return tuples


def layers_from_data(layer_data: Sequence[LayerTuple]) -> list[Any]:
    """Return the layers that napari hands to a writer. No pixel is read."""
    # Hidden layers read no pixel.
    return [
        Layer.create(data, {**kwargs, "visible": False}, kind) for data, kwargs, kind in layer_data
    ]


def image_from_layer_data(layer_data: Sequence[LayerTuple]) -> Image:
    """Return layers that napari hands to a writer as one image, lazily.

    Parameters
    ----------
    layer_data : sequence of (data, kwargs, layer type)
        One layer, or several of the same size at the same place: the channels of one image.

    Returns
    -------
    Image
        With axis ``c`` when there are several layers.

    Raises
    ------
    InputError
        If the layers cannot be channels of one image.
    AxesError
        If a layer does not name its axes.
    """
    return joined([layer_to_image(layer) for layer in layers_from_data(layer_data)])


def joined(images: Sequence[Image]) -> Image:
    """Return images as the channels of one; a single image as it is.

    Raises
    ------
    InputError
        If they differ in size, place or type.
    """
    first = images[0]
    if len(images) == 1:
        return first
    for other in images[1:]:
        different = _difference(first, other)
        if different:
            raise InputError(
                f"The layers '{first.name}' and '{other.name}' differ in {different}, so they are "
                "not channels of one image.",
                "Save them one by one.",
            )
    axes, place = first.axes, channel_place(first.axes)
    return Image(
        data=da.stack([image.data for image in images], axis=place),
        axes=axes[:place] + "c" + axes[place:],
        pixel_size=(*first.pixel_size[:place], 1.0, *first.pixel_size[place:]),
        units=(*first.units[:place], None, *first.units[place:]),
        translation=(*first.translation[:place], 0.0, *first.translation[place:]),
        channels=tuple(image.channels[0] for image in images),
        name=first.name,
        is_labels=first.is_labels,
        source=joined_source([image.source for image in images]),
        metadata=_said(images),
        history=joined_history([image.history for image in images]),
    )


def is_far(image: Image) -> bool:
    """Return whether an image is read from a server, so that napari should keep what it has shown.

    It keeps up to a quarter of the memory; from a disk the same is read again in milliseconds.
    """
    return "://" in str(image.source.get("path", ""))


def _said(images: Sequence[Image]) -> dict[str, Any]:
    """Return the metadata of channels that are shown as one image: the first one's, of each."""
    metadata = dict(images[0].metadata)
    if isinstance(omero := metadata.get("omero"), dict):
        own = [image.metadata.get("omero") or {} for image in images]
        metadata["omero"] = {**omero, "channels": [c for o in own for c in o.get("channels") or ()]}
    if "ome_xml" in metadata:
        same = [i for i in images if i.metadata.get("ome_xml") == metadata["ome_xml"]]
        metadata["ome_channels"] = [n for i in same for n in i.metadata.get("ome_channels", ())]
    return metadata


def _layer(
    image: Image, levels: list[Any], channel: Channel, title: str, *, several: bool = False
) -> LayerTuple:
    kept = [i for i, a in enumerate(image.axes) if a not in "cs"]
    kwargs: dict[str, Any] = {
        "name": title,
        "scale": tuple(image.pixel_size[i] for i in kept),
        "translate": tuple(image.translation[i] for i in kept),
        "units": tuple(image.units[i] or "pixel" for i in kept),
        "axis_labels": tuple(image.axes[i] for i in kept),
        "multiscale": len(levels) > 1,
        "cache": is_far(image),
        "metadata": {
            **history_metadata(image.history),
            NOTE: source_note(image, levels[0], title, channel.name),
        },
    }
    data = levels if len(levels) > 1 else levels[0]
    if image.is_labels:
        return data, kwargs, "labels"
    kwargs["rgb"] = image.rgb
    if channel.window and channel.window[0] < channel.window[1] and not image.rgb:
        kwargs["contrast_limits"] = channel.window
    if channel.color and not image.rgb:
        kwargs["colormap"] = _NAMED.get(channel.color.upper(), f"#{channel.color}")
    if several:
        kwargs["blending"] = "additive"
    return data, kwargs, "image"


def _title(image: Image, channel: Channel, number: int | None = None) -> str:
    """Return a layer's name: the channel's where there are several, else the image's."""
    if number is None or len(image.channels) == 1:
        return image.name
    title = channel.name or f"{image.name} channel {number}"
    if not image.history:
        return title
    last = image.history[-1]
    return f"{title} [x{last['plan']['scale']} {last['model']}]"


def _difference(a: Image, b: Image) -> str:
    for what in ("axes", "shape", "dtype", "pixel_size", "units", "translation", "is_labels"):
        if getattr(a, what) != getattr(b, what):
            return what.replace("_", " ")
    return "having a channel axis" if "c" in a.axes else ""
