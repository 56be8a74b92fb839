"""The OME-XML of a result: its own sizes and names, and what its source said of the microscope.

References
----------
OME-XML 2016-06, https://www.openmicroscopy.org/Schemas/OME/2016-06.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from napari_superres._version import __version__
from napari_superres.errors import InputError
from napari_superres.formats.ome_carry import Carrier
from napari_superres.formats.ome_schema import IMAGE_CHILDREN
from napari_superres.formats.ome_source import chosen_indices, distance_moved, find_source
from napari_superres.formats.ome_xml import NAMESPACE, Ome, OmeImage
from napari_superres.formats.units import factor, ome_symbol

if TYPE_CHECKING:
    from napari_superres.image import Image

_OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"

PIXEL_TYPES = {
    "bool": "uint8",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "float32": "float",
    "float64": "double",
}
"""By numpy's name: the pixel type in OME-XML. Masks are written as 0 and 1."""

_SIZES = (
    ("x", "PhysicalSizeX"),
    ("y", "PhysicalSizeY"),
    ("z", "PhysicalSizeZ"),
    ("t", "TimeIncrement"),
)

_RECORD_ID = "Annotation:napari-superres"


def compose_ome(image: Image) -> str:
    """Return the OME-XML that describes an image.

    Parameters
    ----------
    image : Image
        With axes among t, c, z, y, x and s. ``metadata["ome_xml"]`` is what its source said.

    Returns
    -------
    str
        Valid by the schema, without a declaration. What OME-XML has no place for (history, the
        position of the first pixel, display ranges) stands in an annotation of our own.

    Raises
    ------
    InputError
        If OME-XML cannot hold such axes or pixels.
    """
    check_writable(image)
    source, original = find_source(image)
    carrier = Carrier(None if source is None else source.root)
    root = Element(
        "OME",
        {
            "xmlns": _OME,
            "xmlns:xsi": _XSI,
            "xsi:schemaLocation": f"{_OME} {_OME}/ome.xsd",
            "Creator": f"napari-superres {__version__}",
        },
    )
    for name in ("Experimenter", "Instrument"):
        root.extend(carrier.all_of(name))
    element = SubElement(root, "Image", ID="Image:0", Name=_clean(image.name))
    if original is not None:
        for name in IMAGE_CHILDREN:
            element.extend(carrier.children(original.element, name)[:1])
    _add_pixels(element, image, source, original, carrier)
    if original is not None:
        element.extend(carrier.children(original.element, "AnnotationRef"))
    record = _record(image)
    annotations = carrier.annotations(root)
    if record:
        SubElement(element, "AnnotationRef", ID=_RECORD_ID)
        annotations.append(_record_element(record))
    if annotations:
        SubElement(root, "StructuredAnnotations").extend(annotations)
    return ElementTree.tostring(root, encoding="unicode")


def check_writable(image: Image) -> None:
    """Refuse an image that OME-TIFF has no place for.

    Parameters
    ----------
    image : Image
        To be written.

    Raises
    ------
    InputError
        If it has an axis beside t, c, z, y, x, s, or pixels of a type that OME-XML does not know.
    """
    strange = [axis for axis in image.axes if axis not in "tczyxs"]
    if strange:
        raise InputError(
            f"OME-TIFF has no place for the axes {strange} of '{image.called}' ('{image.axes}').",
            "Write OME-Zarr, or choose one plane along them.",
        )
    if image.dtype.name not in PIXEL_TYPES:
        raise InputError(
            f"OME-TIFF has no pixel type for the {image.dtype} of '{image.called}'.",
            "Ask for dtype='float32', or write OME-Zarr.",
        )


def _add_pixels(
    element: Element,
    image: Image,
    source: Ome | None,
    original: OmeImage | None,
    carrier: Carrier,
) -> None:
    samples = image.size("s", 1)
    # The axis that stands last varies fastest, and OME-XML names the fastest first.
    lead = [axis for axis in image.axes if axis in "tcz"]
    order = "XY" + "".join(reversed(lead)).upper()
    order += "".join(axis for axis in "CZT" if axis not in order)
    sizes = {axis: image.size(axis, 1) for axis in "xyzct"}
    attributes = {
        "ID": "Pixels:0",
        "DimensionOrder": order,
        "Type": PIXEL_TYPES[image.dtype.name],
        "BigEndian": "false",
        "SizeX": str(sizes["x"]),
        "SizeY": str(sizes["y"]),
        "SizeZ": str(sizes["z"]),
        "SizeC": str(sizes["c"] * samples),
        "SizeT": str(sizes["t"]),
    }
    for axis, attribute in _SIZES:
        size, symbol = _calibration(image, axis)
        if symbol is not None:
            attributes[attribute] = repr(size)
            attributes[f"{attribute}Unit"] = symbol
    pixels = SubElement(element, "Pixels", attributes)
    chosen = chosen_indices(image, source, original)
    old = [] if original is None else carrier.elements(original, "Channel")
    for i, channel in enumerate(image.channels):
        own = {"ID": f"Channel:0:{i}", "SamplesPerPixel": str(samples)}
        if channel.name:
            own["Name"] = _clean(channel.name)
        if channel.color:
            own["Color"] = str(_signed(channel.color))
        made = SubElement(pixels, "Channel", own)
        at = chosen["c"][i] if "c" in chosen else None
        if at is not None and at < len(old):
            carrier.fill(made, old[at])
    SubElement(pixels, "TiffData", IFD="0", PlaneCount=str(sizes["z"] * sizes["c"] * sizes["t"]))
    if original is not None and len(chosen) == 3:
        _add_planes(pixels, image, source, original, carrier, chosen)


def _add_planes(
    pixels: Element,
    image: Image,
    source: Ome | None,
    original: OmeImage,
    carrier: Carrier,
    chosen: dict[str, list[int]],
) -> None:
    """Hand on times and stage positions of the planes, the latter moved with the first pixel."""
    old = {
        tuple(plane.get(f"The{axis}") for axis in "ZCT"): plane
        for plane in carrier.elements(original, "Plane")
    }
    if not old:
        return
    moved = distance_moved(image, source)
    for t, c, z in itertools.product(*(range(len(chosen[axis])) for axis in "tcz")):
        key = (str(chosen["z"][z]), str(chosen["c"][c]), str(chosen["t"][t]))
        if key in old:
            made = SubElement(pixels, "Plane", TheZ=str(z), TheT=str(t), TheC=str(c))
            carrier.fill(made, old[key])
            carrier.move(made, moved)


def _calibration(image: Image, axis: str) -> tuple[float, str | None]:
    """Return the pixel size along an axis and its symbol; None where OME-XML cannot say it."""
    if axis not in image.axes:
        return 1.0, None
    at = image.axes.index(axis)
    size, symbol = image.pixel_size[at], ome_symbol(image.units[at])
    fits = factor(image.units[at], "second" if axis == "t" else "meter") is not None
    return size, symbol if size > 0 and fits else None


def _record(image: Image) -> dict[str, Any]:
    """Return what OME-XML has no place for; empty where nothing is lost without."""
    lost: dict[str, dict[str, Any]] = {"pixel_size": {}, "units": {}, "translation": {}}
    for at, axis in enumerate(image.axes):
        size, unit = image.pixel_size[at], image.units[at]
        if _calibration(image, axis)[1] is None and (size, unit) != (1.0, None):
            lost["pixel_size"][axis], lost["units"][axis] = size, unit
        if image.translation[at]:
            lost["translation"][axis] = image.translation[at]
    place: dict[str, Any] = {key: values for key, values in lost.items() if values}
    if any(channel.window for channel in image.channels):
        samples = image.size("s", 1)
        place["windows"] = [
            list(channel.window) if channel.window else None
            for channel in image.channels
            for _ in range(samples)
        ]
    if image.is_labels or image.dtype == np.bool_:
        place["is_labels"] = True
    record: dict[str, Any] = {}
    if image.history:
        record["history"] = list(image.history)
    if place:
        record["image"] = place
    return record


def _record_element(record: dict[str, Any]) -> Element:
    element = Element("MapAnnotation", ID=_RECORD_ID, Namespace=NAMESPACE)
    value = SubElement(element, "Value")
    for key, content in record.items():
        SubElement(value, "M", K=key).text = json.dumps(content, ensure_ascii=True)
    return element


def _signed(color: str) -> int:
    """Return ``"RRGGBB"`` as the signed 32-bit RGBA that OME-XML writes."""
    number = (int(color, 16) << 8) | 0xFF
    return number - (1 << 32) if number >= 1 << 31 else number


def _clean(text: str) -> str:
    """Return text without the control characters that XML 1.0 cannot hold."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text)
