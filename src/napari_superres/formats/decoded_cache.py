"""Decoded pieces of files, kept for the next reader. One cache a process, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    import numpy as np

CAPACITY = 256 * 1024**2
"""Bytes of decoded pixels that a process keeps: some rows of strips, or two large planes."""


class DecodedCache:
    """Arrays by key; the least recently used go first.

    A strip of a compressed TIFF, or a whole PNG, is decoded as one piece however small the wanted
    region is. Neighbouring regions come soon after one another, from several threads: each piece
    is decoded by the first that asks, and the others wait for it.

    Parameters
    ----------
    capacity : int
        Bytes. The array that came last is kept even if it is larger by itself: it was in memory
        already, and decoding it again for each small region would never end.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.size = 0
        self._kept: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._under_way: dict[Hashable, Future[np.ndarray]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array of `key`, from `decode` where it is not kept.

        Parameters
        ----------
        key : hashable
            Names the piece and the state of its file.
        decode : callable
            Called at most once at a time for a key. What it raises is raised to everybody who
            waits, and nothing is kept.

        Returns
        -------
        np.ndarray
            Shared between callers: not to be written to.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            running = self._under_way.get(key)
            if running is None:
                mine: Future[np.ndarray] = Future()
                self._under_way[key] = mine
        if running is not None:
            return running.result()
        try:
            array = decode()
        except BaseException as error:
            with self._lock:
                del self._under_way[key]
            mine.set_exception(error)
            raise
        array.setflags(write=False)
        with self._lock:
            del self._under_way[key]
            self._keep(key, array)
        mine.set_result(array)
        return array

    def clear(self) -> None:
        """Forget everything that is kept."""
        with self._lock:
            self._kept.clear()
            self.size = 0

    def _keep(self, key: Hashable, array: np.ndarray) -> None:
        self._kept[key] = array
        self.size += array.nbytes
        while self.size > self.capacity and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self.size -= oldest.nbytes


decoded = DecodedCache()
"""The cache of this process."""
