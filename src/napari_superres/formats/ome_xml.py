"""What an OME-XML text says, read with distrust.

The text comes out of a file that a stranger may have written: entities are never expanded, and the
names of other files in it are looked at before anything opens them.

References
----------
OME-XML 2016-06; older versions differ in the namespace alone, as far as it is read here.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from napari_superres.formats.units import full_name
from napari_superres.image import Channel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from xml.etree.ElementTree import Element

NAMESPACE = "napari-superres/1"
"""Namespace of the annotation in which results carry their history."""


class OmeXmlError(ValueError):
    """The text is no OME-XML that can be used; the message is half a sentence saying why."""


@dataclass(frozen=True)
class OmeImage:
    """One ``Image`` element.

    Parameters
    ----------
    element : Element
        The element itself, for what is handed on as it is.
    name : str
        Empty where the file gives none.
    sizes : mapping of str to int
        By axis, in capitals: ``X Y Z C T``.
    pixel_size, units : mapping
        By axis of the package (``x y z t``), as far as the file gives them; units are full names.
    channels : tuple of Channel
        One for each index of ``C``. A channel of three samples counts three times.
    """

    element: Element
    name: str
    sizes: Mapping[str, int]
    pixel_size: Mapping[str, float]
    units: Mapping[str, str | None]
    channels: tuple[Channel, ...]


@dataclass(frozen=True)
class Ome:
    """A whole OME-XML text.

    Parameters
    ----------
    text : str
        As it was read.
    root : Element
        Parsed.
    images : tuple of OmeImage
        In the order of the file.
    file_names : tuple of str
        Other files that the text names, unchecked.
    metadata_file : str or None
        Where the real metadata are, when this text only points there.
    record : mapping
        What `napari_superres` stored with a result: ``"history"``, ``"image"``. Empty for files of
        other programs.
    """

    text: str
    root: Element
    images: tuple[OmeImage, ...]
    file_names: tuple[str, ...] = ()
    metadata_file: str | None = None
    record: Mapping[str, Any] = field(default_factory=dict)


def looks_like_ome(description: str) -> bool:
    """Return whether a TIFF's description is, or was meant to be, OME-XML.

    Parameters
    ----------
    description : str
        Of the first page.
    """
    return re.search(r"<(\w+:)?OME[\s>]", description[:4096]) is not None


def parse_ome(text: str) -> Ome:
    """Return what an OME-XML text says.

    Parameters
    ----------
    text : str
        The whole text.

    Returns
    -------
    Ome

    Raises
    ------
    OmeXmlError
        If it is not well formed, declares entities, or lacks what every image must have.
    """
    if re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise OmeXmlError("it declares a document type or entities, which are not expanded")
    # A str with an encoding declaration is refused by some parsers; the declaration is spent.
    body = re.sub(r"^\s*<\?xml[^>]*\?>", "", text.replace("\0", ""))
    try:
        root = ElementTree.fromstring(body)  # noqa: S314, no document type, hence no entities
    except ElementTree.ParseError as error:
        raise OmeXmlError(f"it is not well-formed XML: {error}") from error
    if local(root) != "OME":
        raise OmeXmlError(f"its root is '{local(root)}' and not 'OME'")
    pointer = next(children(root, "BinaryOnly"), None)
    return Ome(
        text=text,
        root=root,
        images=tuple(_image(element) for element in children(root, "Image")),
        file_names=tuple(
            name
            for element in root.iter()
            if local(element) == "UUID" and (name := element.get("FileName")) is not None
        ),
        metadata_file=None if pointer is None else pointer.get("MetadataFile", ""),
        record=_record(root),
    )


def local(element: Element) -> str:
    """Return an element's name without its namespace."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def children(element: Element, name: str) -> Iterator[Element]:
    """Yield the direct children of that name, whatever their namespace."""
    return (child for child in element if local(child) == name)


def number(element: Element, attribute: str) -> float | None:
    """Return an attribute as a finite number; None where it is missing or something else."""
    try:
        value = float(element.get(attribute, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def is_outside(name: str) -> bool:
    """Return whether a file name leaves the folder of the file that mentions it.

    Parameters
    ----------
    name : str
        As it stands in the file; a name and nothing else is allowed, on any system.
    """
    return not name or name in (".", "..") or any(c in name for c in "/\\:\0")


def _image(element: Element) -> OmeImage:
    pixels = next(children(element, "Pixels"), None)
    if pixels is None:
        raise OmeXmlError("an Image has no Pixels")
    try:
        sizes = {axis: int(pixels.attrib[f"Size{axis}"]) for axis in "XYZCT"}
    except (KeyError, ValueError) as error:
        raise OmeXmlError(f"an Image does not give its sizes: {error}") from error
    pixel_size: dict[str, float] = {}
    units: dict[str, str | None] = {}
    for axis, attribute, default in (
        ("x", "PhysicalSizeX", "µm"),
        ("y", "PhysicalSizeY", "µm"),
        ("z", "PhysicalSizeZ", "µm"),
        ("t", "TimeIncrement", "s"),
    ):
        value = number(pixels, attribute)
        unit = full_name(pixels.get(f"{attribute}Unit", default))
        if value is not None and value > 0 and unit is not None:
            pixel_size[axis], units[axis] = value, unit
    return OmeImage(
        element=element,
        name=element.get("Name", ""),
        sizes=sizes,
        pixel_size=pixel_size,
        units=units,
        channels=_channels(pixels, sizes["C"]),
    )


def _channels(pixels: Element, count: int) -> tuple[Channel, ...]:
    found: list[Channel] = []
    for element in children(pixels, "Channel"):
        samples = number(element, "SamplesPerPixel") or 1
        color = _color(element.get("Color"))
        found += [Channel(element.get("Name", ""), color)] * max(1, min(int(samples), count))
    found += [Channel()] * (count - len(found)) if count < 4096 else []
    return tuple(found[:count])


def _color(text: str | None) -> str | None:
    """Return ``"RRGGBB"`` of a colour that OME-XML writes as signed 32-bit RGBA."""
    try:
        return f"{int(text or '') & 0xFFFFFFFF:08X}"[:6]
    except ValueError:
        return None


def _record(root: Element) -> dict[str, Any]:
    for group in children(root, "StructuredAnnotations"):
        for annotation in children(group, "MapAnnotation"):
            if annotation.get("Namespace") != NAMESPACE:
                continue
            entries = {
                entry.get("K", ""): entry.text or ""
                for value in children(annotation, "Value")
                for entry in children(value, "M")
            }
            try:
                record = {key: json.loads(text) for key, text in entries.items()}
            except ValueError as error:
                raise OmeXmlError(f"the history in it is no JSON: {error}") from error
            if not _is_sound(record):
                raise OmeXmlError("what we stored in it is damaged")
            return record
    return {}


def _is_sound(record: Mapping[str, Any]) -> bool:
    """Return whether a record is one that we may have stored."""
    image = record.get("image", {})
    try:
        numbers = [*image.get("pixel_size", {}).values(), *image.get("translation", {}).values()]
        for window in image.get("windows", ()):
            numbers += [] if window is None else [window[0], window[1]]
        units = {**image.get("units", {})}
    except (AttributeError, TypeError, LookupError):
        return False
    return all(isinstance(n, int | float) for n in numbers) and all(
        unit is None or isinstance(unit, str) for unit in units.values()
    )
