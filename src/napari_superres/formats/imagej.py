"""What ImageJ writes into a TIFF: calibration, display ranges, lookup tables, labels.

References
----------
ImageJ 1.x, classes FileInfo, TiffEncoder and TiffDecoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres.formats.units import full_name
from napari_superres.image import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COMPOSITE_COLORS = ("FF0000", "00FF00", "0000FF", "FFFFFF", "00FFFF", "FF00FF", "FFFF00")
"""What ImageJ gives the channels of a composite without lookup tables, in this order."""


def calibration(
    imagej: Mapping[str, Any], resolution: tuple[float, float], microns: float | None = None
) -> tuple[dict[str, float], dict[str, str | None]]:
    """Return the pixel size along x, y, z and the time step, and their units.

    Parameters
    ----------
    imagej : mapping
        As tifffile reads it.
    resolution : (float, float)
        Pixels per unit along y and x, from the TIFF tags.
    microns : float, optional
        Length of the unit of that tag in micrometers, where it measures the specimen. It counts
        where the description names no unit, along y and x; the spacing of z then has none, since
        programs that write centimeters into that tag give it in micrometers all the same.

    Returns
    -------
    pixel_size : dict
        By axis, as far as the file gives them.
    units : dict
        Full names, for the same axes.
    """
    pixel_size: dict[str, float] = {}
    units: dict[str, str | None] = {}
    unit, length = full_name(str(imagej.get("unit", ""))), 1.0
    # ImageJ writes no spacing where it is 1 (FileSaver, getDescriptionString).
    is_stack = _number(imagej.get("slices")) > 1
    spacing = abs(_number(imagej.get("spacing", 1.0 if is_stack else None)))
    if microns and {"unit", "yunit", "zunit"}.isdisjoint(imagej):
        unit, length, spacing = "micrometer", microns, 0.0
    if unit is not None:
        # ImageJ writes yunit and zunit only where they differ from unit.
        own = {
            axis: full_name(str(imagej[f"{axis}unit"])) if f"{axis}unit" in imagej else unit
            for axis in "xyz"
        }
        y, x = resolution
        for axis, size in (("x", x and length / x), ("y", y and length / y), ("z", spacing)):
            if size > 0 and own[axis] is not None:
                pixel_size[axis], units[axis] = size, own[axis]
    step = _number(imagej.get("finterval"))
    if step > 0:
        pixel_size["t"] = step
        units["t"] = full_name(str(imagej.get("tunit", "sec"))) or "second"
    return pixel_size, units


def channels(imagej: Mapping[str, Any], count: int) -> tuple[Channel, ...]:
    """Return the channels with their names, colours and display ranges.

    Parameters
    ----------
    imagej : mapping
        As tifffile reads it.
    count : int
        How many channels the image has.
    """
    ranges = list(imagej.get("Ranges", ()))
    if not ranges and count == 1 and "min" in imagej and "max" in imagej:
        ranges = [imagej["min"], imagej["max"]]
    tables = list(imagej.get("LUTs", ()))
    labels = imagej.get("Labels", ())
    labels = [labels] if isinstance(labels, str) else list(labels)
    images = int(imagej.get("images", 1))
    names = labels if len(labels) == count == images and count > 1 else []
    is_composite = imagej.get("mode") == "composite" and count > 1
    found = []
    for i in range(count):
        color = _color(tables[i]) if i < len(tables) else None
        if color is None and is_composite and not tables and i < len(_COMPOSITE_COLORS):
            color = _COMPOSITE_COLORS[i]
        window = _window(ranges[2 * i : 2 * i + 2])
        name = str(names[i]).partition("\n")[0].strip() if names else ""
        found.append(Channel(name, color, window))
    return tuple(found)


def as_json(imagej: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of ImageJ's metadata that is text and numbers.

    Parameters
    ----------
    imagej : mapping
        As tifffile reads it. Lookup tables, overlays and regions of interest are left out.
    """
    simple = (str, int, float, bool)
    return {
        key: list(value) if isinstance(value, list | tuple) else value
        for key, value in imagej.items()
        if isinstance(value, simple)
        or (isinstance(value, list | tuple) and all(isinstance(v, simple) for v in value))
    }


def _number(value: Any) -> float:
    """Return a value as a finite number, 0 where it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if np.isfinite(number) else 0.0


def _window(pair: Sequence[Any]) -> tuple[float, float] | None:
    if len(pair) != 2:
        return None
    low, high = float(pair[0]), float(pair[1])
    if not np.isfinite([low, high]).all() or not low < high:
        return None
    return low, high


def _color(table: Any) -> str | None:
    """Return the colour of a lookup table that is a ramp from black, None of any other."""
    lut = np.asarray(table)
    if lut.shape != (3, 256):
        return None
    ramp = np.outer(lut[:, -1], np.linspace(0, 1, 256))
    if np.abs(ramp - lut).max() > 2 or not lut[:, -1].any():
        return None
    return "".join(f"{int(v):02X}" for v in lut[:, -1])
