"""A unit has many spellings and one name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_superres.formats.units import (
    _UNITS,
    factor,
    full_name,
    imagej_spelling,
    is_known,
    ome_symbol,
)

NAMES = sorted(_UNITS)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("µm", "micrometer"),
        ("\u03bcm", "micrometer"),  # the Greek letter
        ("um", "micrometer"),
        ("micron", "micrometer"),
        ("Microns", "micrometer"),
        ("\\u00B5m", "micrometer"),  # ImageJ's way around ASCII
        ("micrometre", "micrometer"),
        ("nm", "nanometer"),
        ("mm", "millimeter"),
        ("Mm", "megameter"),  # not a millimeter
        ("\u212b", "angstrom"),  # the sign, not the letter
        ("Å", "angstrom"),
        ("sec", "second"),
        ("ms", "millisecond"),
        ("min", "minute"),
        ("inch", "inch"),
        ("pixel", None),
        ("", None),
        ("reference frame", None),
        ("furlong", "furlong"),
    ],
)
def test_every_spelling_has_its_name(spelling: str, name: str | None) -> None:
    """A scale bar is wrong by a thousand, or has no unit."""
    assert full_name(spelling) == name


@pytest.mark.parametrize("name", NAMES)
def test_a_name_survives_ome_xml_and_imagej(name: str) -> None:
    """A unit changes when a result is written and read again."""
    assert full_name(name) == name
    assert full_name(ome_symbol(name) or "") == name
    assert full_name(imagej_spelling(name) or "") == name
    assert is_known(name)


@given(st.text())
def test_no_text_is_lost(text: str) -> None:
    """An unknown unit vanishes instead of being shown."""
    name = full_name(text)
    assert name is None or full_name(name) == name


def test_an_unknown_unit_is_not_known() -> None:
    """No warning about a unit that no other program will understand."""
    assert is_known(None)
    assert not is_known("furlong")
    assert ome_symbol("furlong") is None
    assert imagej_spelling("furlong") == "furlong"
    assert imagej_spelling(None) is None


def test_units_are_compared_within_their_kind() -> None:
    """A stage position in millimeters is shifted by micrometers."""
    assert factor("micrometer", "millimeter") == pytest.approx(1e-3)
    assert factor("minute", "second") == 60
    assert factor("second", "meter") is None
    assert factor(None, "meter") is None
