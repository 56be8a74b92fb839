"""The finer cells that on-demand layers keep, all of them together within one bound of memory."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from napari_superres.plugin.cells import Cell

LEAST = 4
"""Cells that each layer may keep however large they are: less could not fill a screen."""

_most = 1000**3
_caches: weakref.WeakSet[CellCache] = weakref.WeakSet()
_lock = threading.Lock()
_clock = itertools.count()


class CellCache:
    """The cells of one layer; those that no layer has used for longest go first.

    A cache goes with its layer, and leaves its room to the others. Safe to use from any thread.
    """

    def __init__(self) -> None:
        self._cells: OrderedDict[Cell, tuple[int, np.ndarray]] = OrderedDict()
        self._bytes = 0
        with _lock:
            _caches.add(self)

    def __len__(self) -> int:
        return len(self._cells)

    def __contains__(self, cell: Cell) -> bool:
        return cell in self._cells

    def get(self, cell: Cell) -> np.ndarray | None:
        """Return a cell's pixels, which are thereby used now; None if they are not kept."""
        with _lock:
            kept = self._cells.pop(cell, None)
            if kept is None:
                return None
            self._cells[cell] = next(_clock), kept[1]
            return kept[1]

    def put(self, cell: Cell, pixels: np.ndarray) -> None:
        """Keep a cell's pixels, and drop those used longest ago where there is no room."""
        with _lock:
            old = self._cells.pop(cell, None)
            self._bytes += pixels.nbytes - (0 if old is None else old[1].nbytes)
            self._cells[cell] = next(_clock), pixels
            _make_room()

    def room(self, nbytes: int) -> int:
        """Return how many cells of a size this layer may want at once, so that all find room.

        Parameters
        ----------
        nbytes : int
            Bytes of a cell.
        """
        with _lock:
            return max(LEAST, _most // len(_caches) // max(1, nbytes))

    def _oldest(self) -> int:
        return next(iter(self._cells.values()))[0]

    def _drop_oldest(self) -> None:
        _, (_, pixels) = self._cells.popitem(last=False)
        self._bytes -= pixels.nbytes


def keep_at_most(nbytes: int) -> None:
    """Bound what all layers keep together, from now on.

    Parameters
    ----------
    nbytes : int
        Each layer keeps `LEAST` cells in any case.
    """
    global _most
    with _lock:
        _most = nbytes
        _make_room()


def bytes_kept() -> int:
    """Return how many bytes all layers keep."""
    with _lock:
        return sum(cache._bytes for cache in _caches)


def _make_room() -> None:
    while sum(cache._bytes for cache in _caches) > _most:
        rich = [cache for cache in _caches if len(cache) > LEAST]
        if not rich:
            return
        min(rich, key=CellCache._oldest)._drop_oldest()
