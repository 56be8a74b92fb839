"""Part of an array, found by indexing and not looked at before it becomes a numpy array."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

Read = Callable[[tuple[range, ...]], np.ndarray]
"""Takes a range for every axis, returns pixels with every axis."""


class LazyView:
    """Part of an array.

    napari first cuts out the axes on the screen, keeping whole stacks of the others, and then picks
    the plane: an index that computed at once would compute the whole stack.

    Parameters
    ----------
    ranges : tuple of range
        Indices along every axis of the array.
    dtype : dtype
    read : callable
        See `Read`.
    dropped : tuple of bool, optional
        Axes that were indexed by an integer.
    """

    def __init__(
        self,
        ranges: tuple[range, ...],
        dtype: np.dtype[Any],
        read: Read,
        dropped: tuple[bool, ...] | None = None,
    ) -> None:
        self.dtype = dtype
        self._ranges = ranges
        self._read = read
        self._dropped = dropped or (False,) * len(ranges)
        self.shape = tuple(
            len(r) for r, gone in zip(ranges, self._dropped, strict=True) if not gone
        )
        self.ndim = len(self.shape)
        self.size = math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> LazyView:
        parts = list(key) if isinstance(key, tuple) else [key]
        if any(part is Ellipsis for part in parts):
            at = next(i for i, part in enumerate(parts) if part is Ellipsis)
            parts[at : at + 1] = [slice(None)] * (self.ndim - len(parts) + 1)
        if len(parts) > self.ndim:
            raise IndexError(f"{len(parts)} indices for an array of {self.ndim} dimensions")
        left = iter([*parts, *[slice(None)] * (self.ndim - len(parts))])
        ranges, dropped = list(self._ranges), list(self._dropped)
        for axis, gone in enumerate(self._dropped):
            if gone:
                continue
            part = next(left)
            if isinstance(part, slice):
                ranges[axis] = ranges[axis][part]
            else:
                i = ranges[axis][operator.index(part)]
                ranges[axis], dropped[axis] = range(i, i + 1), True
        return LazyView(tuple(ranges), self.dtype, self._read, tuple(dropped))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.size:
            pixels = self._read(self._ranges)
        else:
            pixels = np.empty([len(r) for r in self._ranges], self.dtype)
        pixels = pixels[tuple(0 if gone else slice(None) for gone in self._dropped)]
        return pixels if dtype is None else pixels.astype(dtype, copy=False)
