"""Which part of its source a result shows: which planes and channels, and how far it moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_superres.formats.ome_xml import Ome, OmeImage, OmeXmlError, children, parse_ome

if TYPE_CHECKING:
    from napari_superres.image import Image


def find_source(image: Image) -> tuple[Ome | None, OmeImage | None]:
    """Return what the source said, and which of its images this one was.

    Parameters
    ----------
    image : Image
        With the source's OME-XML in ``metadata["ome_xml"]``, if it had any, and in
        ``metadata["ome_image"]`` which of its images this is: a series has another number where
        images have no planes, and in every copy.

    Returns
    -------
    Ome or None
        None where there is none that can be read.
    OmeImage or None
        None where it is not clear which one.
    """
    try:
        ome = parse_ome(str(image.metadata.get("ome_xml", "")))
    except OmeXmlError:
        return None, None
    number = 0 if len(ome.images) == 1 else image.metadata.get("ome_image")
    if isinstance(number, int) and 0 <= number < len(ome.images):
        return ome, ome.images[number]
    return ome, None


def chosen_indices(
    image: Image, source: Ome | None, original: OmeImage | None
) -> dict[str, list[int]]:
    """Return which indices of the source the image has along z, c and t; less where unknown.

    A part of a stack keeps its place in physical space, which tells its indices.

    Parameters
    ----------
    image : Image
        The result.
    source : Ome or None
        What the source said.
    original : OmeImage or None
        Which of its images the result was made of.
    """
    if original is None:
        return {}
    before, sizes = _noted(source, "translation"), _noted(source, "pixel_size")
    found: dict[str, list[int]] = {}
    for axis in "zt":
        count, there = image.size(axis, 1), original.sizes[axis.upper()]
        if axis not in image.axes:
            if there == 1:
                found[axis] = [0]
            continue
        at = image.axes.index(axis)
        size = sizes.get(axis, original.pixel_size.get(axis, 1.0))
        start = (image.translation[at] - before.get(axis, 0.0)) / size
        step = image.pixel_size[at] / size
        indices = [round(start + i * step) for i in range(count)]
        is_whole = np.allclose([start, step], np.round([start, step]), atol=1e-3)
        if is_whole and step >= 1 and indices[0] >= 0 and indices[-1] < there:
            found[axis] = indices
    channels = _chosen_channels(image, original)
    if channels is not None:
        found["c"] = channels
    return found


def _chosen_channels(image: Image, original: OmeImage) -> list[int] | None:
    samples = image.size("s", 1)
    old = [channel.name for channel in original.channels[::samples]]
    pixels = next(children(original.element, "Pixels"))
    if len([*children(pixels, "Channel")]) > len(old):
        return None  # channels that were taken for the colours of one picture
    new = [channel.name for channel in image.channels]
    if all(name and old.count(name) == 1 for name in new):
        return [old.index(name) for name in new]
    chosen = image.metadata.get("ome_channels", list(range(len(old))))
    if not isinstance(chosen, list) or len(chosen) != len(new):
        return None
    return chosen if all(i in range(len(old)) for i in chosen) else None


def distance_moved(image: Image, source: Ome | None) -> dict[str, tuple[float, str | None]]:
    """Return how far the first pixel is from that of the source along x and y, and the unit.

    Parameters
    ----------
    image : Image
        The result.
    source : Ome or None
        What the source said.
    """
    before = _noted(source, "translation")
    return {
        axis: (image.translation[at] - before.get(axis, 0.0), image.units[at])
        for at, axis in enumerate(image.axes)
        if axis in "xy"
    }


def _noted(source: Ome | None, key: str) -> dict[str, float]:
    """Return what a source that was itself a result notes, by axis."""
    return {} if source is None else dict(source.record.get("image", {}).get(key, {}))
