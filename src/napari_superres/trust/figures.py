"""A figure and what it means stand in one place: the field of a dataclass."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def figure(title: str, words: str, unit: str = "", digits: int = 3) -> Any:
    """Return a dataclass field that knows how it is printed.

    Parameters
    ----------
    title : str
        What the first column of a table says.
    words : str
        What the figure means, and which values are good, in one line.
    unit : str
        ``"dB"``; ``"length"`` for a distance in the image's unit; empty for a plain number.
    digits : int
        After the decimal point.
    """
    meaning = {"title": title, "words": words, "unit": unit, "digits": digits}
    return dataclasses.field(metadata=meaning)


def rows(group: Any, length_unit: str) -> Iterator[tuple[str, str, str]]:
    """Yield title, value with unit, and meaning of each figure of a dataclass.

    Parameters
    ----------
    group : dataclass instance
        Fields that were not made by `figure` are left out.
    length_unit : str
        What distances are measured in.
    """
    for field in dataclasses.fields(group):
        if "title" not in field.metadata:
            continue
        unit = field.metadata["unit"]
        unit = length_unit if unit == "length" else unit
        value = getattr(group, field.name)
        yield (
            field.metadata["title"],
            _number(value, unit, field.metadata["digits"]),
            field.metadata["words"],
        )


def _number(value: float, unit: str, digits: int) -> str:
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "none" if value > 0 else "-"
    large = abs(value) >= 1e5
    text = f"{value:.4g}" if large else f"{value:.{digits}f}"
    return f"{text} {unit}".strip()
