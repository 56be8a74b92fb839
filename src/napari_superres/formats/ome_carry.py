"""What a source's OME-XML says of the microscope, copied into the OME-XML of a result."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement

from napari_superres.formats.ome_schema import ANNOTATIONS, CARRIED, attributes, is_valid
from napari_superres.formats.ome_xml import NAMESPACE, OmeImage, children, local, number
from napari_superres.formats.units import factor, full_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NOWHERE = Element("OME")


class Carrier:
    """Copies elements of one OME-XML, as far as the schema of the result allows them.

    References to things that are not handed on are dropped with them, so that nothing dangles.

    Parameters
    ----------
    root : Element or None
        Of the source's OME-XML, of any version of the schema.
    """

    def __init__(self, root: Element | None) -> None:
        self._root = _NOWHERE if root is None else root
        self._defined = {
            element.get("ID", "")
            for name in ("Experimenter", "Instrument")
            for top in children(self._root, name)
            for element in top.iter()
            if "ID" in (attributes(local(element)) if local(element) in CARRIED else {})
            and attributes(local(element))["ID"][0] == "id"
            and is_valid(local(element), "ID", "id", element.get("ID", ""))
        }
        self._defined |= {element.get("ID", "") for element in self._sound_annotations()}

    def all_of(self, name: str) -> list[Element]:
        """Return copies of the elements of that name at the top."""
        return self.children(self._root, name)

    def children(self, parent: Element, name: str) -> list[Element]:
        """Return copies of the children of that name; those that would be invalid are left out."""
        made = (self._copy(child) for child in children(parent, name))
        return [element for element in made if element is not None]

    def elements(self, image: OmeImage, name: str) -> list[Element]:
        """Return the elements of that name in an image's Pixels, as they are."""
        pixels = next(children(image.element, "Pixels"))
        return list(children(pixels, name))

    def fill(self, element: Element, original: Element) -> None:
        """Add to an element what is handed on of another one of its name.

        Parameters
        ----------
        element : Element
            Of the result; what it says already stays.
        original : Element
            Of the source.
        """
        name = local(element)
        for attribute, (kind, _) in attributes(name).items():
            text = original.get(attribute)
            if text is None or not self._is_valid(name, attribute, kind, text):
                continue
            unit = f"{attribute}Unit"
            if unit in original.attrib and unit in attributes(name):
                unit_kind = attributes(name)[unit][0]
                if not self._is_valid(name, unit, unit_kind, original.attrib[unit]):
                    continue  # a number whose unit is lost would mean something else
            element.set(attribute, text)
        for child in CARRIED[name].children.split():
            element.extend(self.children(original, child))
        if CARRIED[name].text:
            element.text = original.text

    def move(self, plane: Element, moved: Mapping[str, tuple[float, str | None]]) -> None:
        """Shift a plane's stage position.

        Parameters
        ----------
        plane : Element
            Of the result.
        moved : mapping
            By axis: how far, and the full name of the unit. A position in a unit that cannot be
            compared stays.
        """
        for axis, (distance, unit) in moved.items():
            attribute = f"Position{axis.upper()}"
            position = number(plane, attribute)
            ratio = factor(unit, full_name(plane.get(f"{attribute}Unit", "")))
            if position is not None and ratio is not None and distance:
                plane.set(attribute, repr(position + distance * ratio))

    def annotations(self, result: Element) -> list[Element]:
        """Return copies of the annotations that concern the result.

        Parameters
        ----------
        result : Element
            Root of the result, finished but for its annotations. Annotations that the source
            attaches to other images alone are left out.
        """
        wanted = {e.get("ID") for e in result.iter() if local(e) == "AnnotationRef"}
        attached = {e.get("ID") for e in self._root.iter() if local(e) == "AnnotationRef"}
        made = []
        for element in self._sound_annotations():
            identifier = element.get("ID")
            if identifier in attached and identifier not in wanted:
                continue
            clean = Element(local(element), {"ID": identifier or ""})
            if element.get("Namespace"):
                clean.set("Namespace", element.get("Namespace", ""))
            for description in children(element, "Description"):
                SubElement(clean, "Description").text = description.text
            value = next(children(element, "Value"))
            if local(element) == "MapAnnotation":
                holder = SubElement(clean, "Value")
                holder.extend(self.children(value, "M"))
            else:
                holder = copy.deepcopy(value)
                holder.tag, holder.tail = "Value", None
                clean.append(holder)
            made.append(clean)
        return made

    def _copy(self, original: Element) -> Element | None:
        name = local(original)
        made = Element(name)
        self.fill(made, original)
        needed = [key for key, (_, is_needed) in attributes(name).items() if is_needed]
        if any(key not in made.attrib for key in needed):
            return None
        kind = CARRIED[name].text
        if kind and not is_valid(name, "", kind, original.text or ""):
            return None
        return made

    def _is_valid(self, name: str, attribute: str, kind: str, text: str) -> bool:
        if kind == "ref":
            return text in self._defined
        return is_valid(name, attribute, kind, text)

    def _sound_annotations(self) -> Iterator[Element]:
        seen: set[str] = set()
        for group in children(self._root, "StructuredAnnotations"):
            for element in group:
                kind = ANNOTATIONS.get(local(element))
                value = next(children(element, "Value"), None)
                identifier = element.get("ID", "")
                namespace = element.get("Namespace", "")
                if kind is None or value is None or identifier in seen:
                    continue
                if namespace == NAMESPACE or namespace.endswith("modulo"):
                    continue  # replaced by our own; about axes that are spelled out by now
                if not is_valid("Annotation", "ID", "id", identifier):
                    continue
                if kind and not is_valid(local(element), "", kind, value.text or ""):
                    continue
                seen.add(identifier)
                yield element
