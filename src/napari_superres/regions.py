"""What a lazy array is asked for, in one shape."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def as_indices(key: Any, shape: tuple[int, ...]) -> tuple[list[Sequence[int]], list[bool]]:
    """Return an index as the wanted positions along each axis, and which axes an integer drops.

    dask joins slices, integers and one list into one such key before it asks for pixels.

    Parameters
    ----------
    key : int, slice, Ellipsis, list or array of int or bool, or a tuple of them
        As for a numpy array; steps may be negative. At most one list is meaningful: several are
        taken as the rows and columns of a grid, not as pairs.
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
    wanted: list[Sequence[int]] = []
    dropped: list[bool] = []
    for part, size in zip(parts, shape, strict=True):
        is_list = isinstance(part, list) or (isinstance(part, np.ndarray) and part.ndim == 1)
        dropped.append(not is_list and not isinstance(part, slice))
        if isinstance(part, slice):
            wanted.append(range(size)[part])
        elif is_list:
            wanted.append(np.arange(size)[part].tolist())
        else:
            wanted.append((range(size)[operator.index(part)],))
    return wanted, dropped
