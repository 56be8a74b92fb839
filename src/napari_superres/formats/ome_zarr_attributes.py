"""OME-Zarr metadata of a result: from an image and its layout to JSON. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres._version import __version__
from napari_superres.formats.ome_zarr_layout import stored_order
from napari_superres.formats.ome_zarr_metadata import KEY, LABEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.formats.ome_zarr_layout import Layout
    from napari_superres.image import Channel, Image

_LABEL_KEYS = ("colors", "properties", "source")

TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}

COLORS = ("00FFFF", "FF00FF", "FFFF00", "FF0000", "00FF00", "0000FF")
"""For channels whose source gives none; one channel alone is white."""

SAMPLES = (("Red", "FF0000"), ("Green", "00FF00"), ("Blue", "0000FF"), ("Alpha", "FFFFFF"))

Window = tuple[float, float]


def image_attributes(image: Image, layout: Layout, windows: Sequence[Window]) -> dict[str, Any]:
    """Return the attributes of an image's group.

    Parameters
    ----------
    image : Image
        Whose pixels are stored.
    layout : Layout
        How they are stored.
    windows : sequence of (float, float)
        Intensities that a viewer shows as black and as full colour, for each channel.

    Returns
    -------
    dict
        For 0.5 under the key ``ome``, for 0.4 without it. JSON values.
    """
    record: dict[str, Any] = {"history": plain(list(image.history))}
    if image.rgb:
        record["rgb"] = True
    if image.is_labels:
        record["is_labels"] = True
    method = "nearest" if layout.nearest else "mean"
    multiscale = {
        "name": image.name,
        "axes": _axes(image, layout),
        "datasets": _datasets(image, layout),
        "type": method,
        "metadata": {
            "description": (
                "Every second pixel along y and x."
                if layout.nearest
                else "Means of 2 x 2 pixels along y and x, integers rounded half to even."
            ),
            "method": "napari_superres.formats.pyramid.coarser",
            "version": __version__,
            KEY: record,
        },
    }
    ome: dict[str, Any] = {"multiscales": [multiscale]}
    if not layout.nearest:
        ome["omero"] = _omero(image, layout, windows)
    if image.is_labels:
        said = image.metadata.get(LABEL)
        label = {key: plain(said[key]) for key in _LABEL_KEYS if key in said} if said else {}
        ome[LABEL] = {**({"version": "0.4"} if layout.version == "0.4" else {}), **label}
    if layout.version == "0.4":
        multiscale["version"] = "0.4"
        return ome
    return {"ome": {"version": "0.5", **ome}}


def labels_attributes(names: Sequence[str], version: str) -> dict[str, Any]:
    """Return the attributes of the group that lists the label images of an image.

    Parameters
    ----------
    names : sequence of str
    version : str
        Of OME-Zarr.
    """
    listed: dict[str, Any] = {"labels": list(names)}
    return listed if version == "0.4" else {"ome": {"version": "0.5", **listed}}


def kept_metadata(image: Image) -> dict[str, Any]:
    """Return what else the source said, as JSON; what JSON cannot hold is left out."""
    found = plain({k: v for k, v in image.metadata.items() if k not in ("omero", LABEL)})
    assert isinstance(found, dict)
    return found


def plain(value: Any) -> Any:
    """Return a value made of what JSON knows: numpy numbers and arrays become theirs.

    Entries of any other type are left out of their list or mapping.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict) or hasattr(value, "items"):
        pairs = ((str(k), plain(v)) for k, v in value.items())
        return {k: v for k, v in pairs if v is not _UNKNOWN}
    if isinstance(value, list | tuple):
        return [v for v in map(plain, value) if v is not _UNKNOWN]
    return value if value is None or isinstance(value, str | int | float) else _UNKNOWN


_UNKNOWN = object()


def _axes(image: Image, layout: Layout) -> list[dict[str, str]]:
    axes = []
    for letter, i in zip(layout.axes, stored_order(image.axes, layout.axes), strict=True):
        axis = {"name": letter}
        if letter in TYPES:
            axis["type"] = TYPES[letter]
        unit = image.units[i]
        if unit is not None and TYPES.get(letter) in ("time", "space"):
            axis["unit"] = unit
        axes.append(axis)
    return axes


def _datasets(image: Image, layout: Layout) -> list[dict[str, Any]]:
    order = stored_order(image.axes, layout.axes)
    datasets = []
    for number in range(len(layout.levels)):
        level = image.rescaled(0.5**number, image.data)
        scale = [level.pixel_size[i] for i in order]
        shift = [level.translation[i] for i in order]
        if number:
            # The way to the finer level and back leaves an error in the last bits; the level that
            # has the source's pixels shall have the source's numbers.
            shift = [_rounded(t, p) for t, p in zip(shift, scale, strict=True)]
        datasets.append(
            {
                "path": str(number),
                # "They MUST contain exactly one scale transformation ... They MAY contain exactly
                # one translation ... [which] MUST be listed after the scale" (NGFF 0.5)
                "coordinateTransformations": [
                    {"type": "scale", "scale": scale},
                    {"type": "translation", "translation": shift},
                ],
            }
        )
    return datasets


def _rounded(value: float, unit: float) -> float:
    """Return a position with 14 digits, counted from the larger of it and a pixel."""
    largest = max(abs(value), unit)
    return round(value, 13 - math.floor(math.log10(largest)))


def _omero(image: Image, layout: Layout, windows: Sequence[Window]) -> dict[str, Any]:
    source = image.metadata.get("omero")
    source = source if isinstance(source, dict) else {}
    described = source.get("channels")
    extras: list[Any] = [{}] * len(windows)
    if isinstance(described, list) and len(described) == len(windows) and not image.rgb:
        extras = described  # such as the wavelength
    channels = []
    for i, (window, extra) in enumerate(zip(windows, extras, strict=True)):
        name, color = SAMPLES[i] if image.rgb else _look(image.channels[i], i, len(windows))
        low, high = _range(layout.dtype, window)
        channels.append(
            {
                "active": True,
                **(extra if isinstance(extra, dict) else {}),
                "label": name,
                "color": color,
                "window": {"min": low, "max": high, "start": window[0], "end": window[1]},
            }
        )
    if image.rgb and len(channels) == 4:
        channels[3]["active"] = False
    colourful = len(channels) > 1 or channels[0]["color"] != "FFFFFF"
    rdefs = source.get("rdefs")
    rdefs = rdefs if isinstance(rdefs, dict) else {}
    shown = {  # a part of a stack may end before the plane that was shown first
        key: min(rdefs[key], image.size(axis) - 1)
        for key, axis in (("defaultZ", "z"), ("defaultT", "t"))
        if isinstance(rdefs.get(key), int)
    }
    return {
        "channels": channels,
        "rdefs": {**rdefs, **shown, "model": "color" if colourful else "greyscale"},
    }


def _look(channel: Channel, i: int, n: int) -> tuple[str, str]:
    default = "FFFFFF" if n == 1 else COLORS[i % len(COLORS)]
    return channel.name or f"Channel {i}", channel.color or default


def _range(dtype: str, window: Window) -> Window:
    """Return the intensities that a pixel can have; for floats, those of the window."""
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        info = np.iinfo(kind)
        return float(info.min), float(info.max)
    return min(window[0], 0.0), max(window[1], 1.0)
