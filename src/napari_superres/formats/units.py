"""Names of units: as OME-Zarr writes them out, as OME-XML abbreviates them, as ImageJ spells them.

Inside the package a unit is always the full name of OME-Zarr ("micrometer"). A spelling that no
table knows is kept as it is, so that nothing is lost, and `is_known` tells the reader to warn.

References
----------
NGFF 0.4 and 0.5, section "axes metadata"; OME-XML 2016-06, UnitsLength and UnitsTime.
"""

from __future__ import annotations

import re
import unicodedata

_PREFIXES = {
    "yotta": ("Y", 24),
    "zetta": ("Z", 21),
    "exa": ("E", 18),
    "peta": ("P", 15),
    "tera": ("T", 12),
    "giga": ("G", 9),
    "mega": ("M", 6),
    "kilo": ("k", 3),
    "hecto": ("h", 2),
    "": ("", 0),
    "deci": ("d", -1),
    "centi": ("c", -2),
    "milli": ("m", -3),
    "micro": ("µ", -6),
    "nano": ("n", -9),
    "pico": ("p", -12),
    "femto": ("f", -15),
    "atto": ("a", -18),
    "zepto": ("z", -21),
    "yocto": ("y", -24),
}

_LENGTHS = {f"{p}meter": (f"{s}m", 10.0**e) for p, (s, e) in _PREFIXES.items()} | {
    "angstrom": ("Å", 1e-10),
    "inch": ("in", 0.0254),
    "foot": ("ft", 0.3048),
    "yard": ("yd", 0.9144),
    "mile": ("mi", 1609.344),
    "parsec": ("pc", 3.0856775814913673e16),
}
_TIMES = {f"{p}second": (f"{s}s", 10.0**e) for p, (s, e) in _PREFIXES.items()} | {
    "minute": ("min", 60.0),
    "hour": ("h", 3600.0),
    "day": ("d", 86400.0),
}
_UNITS = _LENGTHS | _TIMES

_NO_UNIT = {"", "pixel", "pixels", "px", "none", "null", "unknown", "reference frame", "frame"}
"""Spellings that say that there is no physical unit."""

_WORDS = {
    "um": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "angstroms": "angstrom",
    "inches": "inch",
    "feet": "foot",
    "sec": "second",
    "secs": "second",
    "msec": "millisecond",
    "usec": "microsecond",
    "us": "microsecond",
    "hr": "hour",
    "hrs": "hour",
}
_SYMBOLS = {symbol: name for name, (symbol, _) in _UNITS.items()}


def full_name(spelling: str) -> str | None:
    r"""Return the full name of a unit, such as ``"micrometer"`` for ``"µm"``.

    Parameters
    ----------
    spelling : str
        A symbol of OME-XML, a full name, or what ImageJ writes: ``"micron"``, ``"um"``, or the six
        characters ``"\u00B5"`` in place of a micro sign.

    Returns
    -------
    str or None
        None for spellings that mean "no unit", such as ``"pixel"``. An unknown spelling comes back
        as it is.
    """
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), spelling)
    text = text.replace("\0", "").strip()
    # NFC turns the angstrom sign into the letter; the Greek mu stands for the micro sign.
    text = unicodedata.normalize("NFC", text).replace("\u03bc", "\u00b5")
    if text in _SYMBOLS:  # before any change of case: "Mm" is not "mm"
        return _SYMBOLS[text]
    word = text.casefold().replace("metre", "meter")
    if word in _NO_UNIT:
        return None
    for candidate in (word, word.removesuffix("s")):
        if candidate in _UNITS:
            return candidate
    return _WORDS.get(word, text)


def is_known(name: str | None) -> bool:
    """Return whether `name` is a full name that the tables hold, or None.

    Parameters
    ----------
    name : str or None
        As `full_name` returned it.
    """
    return name is None or name in _UNITS


def ome_symbol(name: str | None) -> str | None:
    """Return how OME-XML abbreviates a unit, ``"µm"`` for ``"micrometer"``; None if it cannot.

    Parameters
    ----------
    name : str or None
        A full name.
    """
    return _UNITS[name][0] if name in _UNITS else None


def imagej_spelling(name: str | None) -> str | None:
    """Return how ImageJ spells a unit, ``"micron"`` for ``"micrometer"``; None if it has none.

    Parameters
    ----------
    name : str or None
        A full name. An unknown one is handed on, because ImageJ takes any text.
    """
    if name is None or name == "micrometer":
        return "micron" if name else None
    return ome_symbol(name) or name


def factor(name: str | None, to: str | None) -> float | None:
    """Return how many `to` one `name` is; None where the two cannot be compared.

    Parameters
    ----------
    name, to : str or None
        Full names of two lengths or of two times.
    """
    for table in (_LENGTHS, _TIMES):
        if name in table and to in table:
            return table[name][1] / table[to][1]
    return None
