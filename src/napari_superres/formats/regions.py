"""Indices as ranges: what lazy arrays are asked for, in one shape."""

from __future__ import annotations

import operator
from typing import Any


def as_ranges(key: Any, shape: tuple[int, ...]) -> tuple[list[range], list[bool]]:
    """Return an index as one range an axis, and which axes an integer drops.

    Parameters
    ----------
    key : int, slice, Ellipsis, or a tuple of them
        As for a numpy array; steps may be negative.
    shape : tuple of int
        Of the array.

    Raises
    ------
    IndexError
        If there are too many indices, or one lies outside.
    """
    parts = list(key) if isinstance(key, tuple) else [key]
    if any(part is Ellipsis for part in parts):
        at = next(i for i, part in enumerate(parts) if part is Ellipsis)
        parts[at : at + 1] = [slice(None)] * (len(shape) - len(parts) + 1)
    parts += [slice(None)] * (len(shape) - len(parts))
    if len(parts) != len(shape):
        raise IndexError(f"{len(parts)} indices for an array of {len(shape)} dimensions")
    ranges, dropped = [], []
    for part, size in zip(parts, shape, strict=True):
        dropped.append(not isinstance(part, slice))
        if isinstance(part, slice):
            ranges.append(range(size)[part])
        else:
            i = range(size)[operator.index(part)]
            ranges.append(range(i, i + 1))
    return ranges, dropped
