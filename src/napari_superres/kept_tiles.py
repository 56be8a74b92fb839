"""Tiles that were expensive to compute, kept in memory for a while.

Restoring a plane takes minutes; a viewer asks for it piece by piece, its result and its spread are
written by two jobs, and parts of a very large plane are needed by all blocks that they touch. So
what was computed last is kept, and nobody computes what somebody else is just computing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_superres.progress import breathe

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    import numpy as np

LIMIT = 2**30
"""Bytes that are kept; the tile that was kept last may alone be larger."""

LOOK_SECONDS = 0.25
"""How often somebody who waits for another's tile looks whether to stop."""


class KeptTiles:
    """Results of tiles by their address, those used last; for any number of threads.

    Parameters
    ----------
    limit : int
        Bytes that are kept.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._tiles: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._claimed: set[Hashable] = set()
        self._changed = threading.Condition()

    @property
    def nbytes(self) -> int:
        """Bytes that are kept now."""
        with self._changed:
            return sum(values.nbytes for values in self._tiles.values())

    @contextmanager
    def claimed(self, keys: Sequence[Hashable]) -> Iterator[None]:
        """Let this thread alone compute some tiles, as long as the context lasts.

        All of them are claimed at once, so that no two threads wait for each other.

        Raises
        ------
        Cancelled
            While waiting, if whoever listens wants to stop.
        """
        with self._changed:
            while not self._claimed.isdisjoint(keys):
                self._changed.wait(LOOK_SECONDS)
                breathe()
            self._claimed.update(keys)
        try:
            yield
        finally:
            with self._changed:
                self._claimed.difference_update(keys)
                self._changed.notify_all()

    def get(self, key: Hashable) -> np.ndarray | None:
        """Return what is kept of a tile, or None."""
        with self._changed:
            if key in self._tiles:
                self._tiles.move_to_end(key)
            return self._tiles.get(key)

    def keep(self, key: Hashable, values: np.ndarray) -> None:
        """Keep a tile, and drop those not used for longest if it is too much."""
        values.setflags(write=False)
        with self._changed:
            self._tiles[key] = values
            total = sum(kept.nbytes for kept in self._tiles.values())
            while total > self.limit and len(self._tiles) > 1:
                total -= self._tiles.popitem(last=False)[1].nbytes

    def forget(self) -> None:
        """Drop all tiles, so that their memory can be used for something else."""
        with self._changed:
            self._tiles.clear()


KEPT = KeptTiles()
"""The tiles of this process."""
