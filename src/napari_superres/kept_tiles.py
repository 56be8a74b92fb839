"""Tiles that were expensive to compute or that others need too, kept for a while.

Restoring a plane takes minutes; a viewer asks for it piece by piece, its result and its spread are
written by two jobs, and parts of a very large plane, as all tiles that hand over to one another,
are needed by all blocks that they touch. So what was computed last is kept in memory, what took
minutes moves to a scratch folder when memory is full, and nobody computes what somebody else is
just computing.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.progress import breathe

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

_log = logging.getLogger(__name__)

LIMIT = 2**30
"""Bytes that are kept in memory; the tile that was kept last may alone be larger."""

ROOM = 2**36
"""Bytes that are kept in the scratch folder, and at most half of what is free there."""

LOOK_SECONDS = 0.25
"""How often somebody who waits for another's tile looks whether to stop."""


def digest(pixels: np.ndarray) -> bytes:
    """Return what tells the pixels of a tile, (samples, y, x), from all others.

    Row by row, so that a part of a larger array is not copied.
    """
    seen = hashlib.blake2b(digest_size=16)
    for plane in pixels:
        for row in plane:
            seen.update(np.ascontiguousarray(row))
    return seen.digest()


class KeptTiles:
    """Results of tiles by what they saw and where, those used last; for any number of threads.

    Parameters
    ----------
    limit : int
        Bytes that are kept in memory.
    room : int
        Bytes that are kept in the scratch folder, which lies where the system keeps temporary files
        and goes when the program ends.
    """

    def __init__(self, limit: int = LIMIT, room: int = ROOM) -> None:
        self.limit = limit
        self.room = room
        self._tiles: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._held = 0
        self._files: OrderedDict[Hashable, Path] = OrderedDict()
        self._costly: set[Hashable] = set()
        self._folder: Path | None = None
        self._cleaning: weakref.finalize[..., KeptTiles] | None = None
        self._names = itertools.count()
        self._claimed: set[Hashable] = set()
        self._changed = threading.Condition()

    @property
    def nbytes(self) -> int:
        """Bytes that are kept in memory now."""
        return self._held

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
            for kept in (self._tiles, self._files):
                if key in kept:
                    kept.move_to_end(key)
            if key in self._files:
                return self._from_disk(key)
            return self._tiles.get(key)

    def keep(self, key: Hashable, values: np.ndarray, *, costly: bool = False) -> None:
        """Keep a tile, and let go of those not used for longest if it is too much.

        Parameters
        ----------
        key : hashable
        values : np.ndarray
            Not to be changed any more.
        costly : bool
            Whether it took so long that it is worth room on the disk.
        """
        if getattr(values.base, "nbytes", 0) > values.nbytes:
            values = values.copy()  # a part would keep the whole in memory
        values.setflags(write=False)
        with self._changed:
            if key in self._tiles:
                self._held -= self._tiles.pop(key).nbytes
            self._tiles[key] = values
            self._held += values.nbytes
            if costly:
                self._costly.add(key)
            while self._held > self.limit and len(self._tiles) > 1:
                oldest, kept = self._tiles.popitem(last=False)
                self._held -= kept.nbytes
                if oldest in self._costly:
                    self._costly.remove(oldest)
                    self._move_out(oldest, kept)

    def forget(self) -> None:
        """Drop all tiles, so that their room can be used for something else."""
        with self._changed:
            self._tiles.clear()
            self._held = 0
            self._costly.clear()
            self._files.clear()
            if self._cleaning is not None:
                self._cleaning()
            self._folder = self._cleaning = None

    def _scratch(self) -> Path:
        if self._folder is None or not self._folder.exists():
            self._folder = Path(tempfile.mkdtemp(prefix="superres-"))
            self._cleaning = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def _from_disk(self, key: Hashable) -> np.ndarray | None:
        """Return a tile of the scratch folder; None if somebody tidied up there."""
        try:
            return np.asarray(np.load(self._files[key]))
        except (OSError, ValueError) as error:
            _log.warning("A restored part that was kept is gone (%s).", error)
            del self._files[key]
            return None

    def _move_out(self, key: Hashable, values: np.ndarray) -> None:
        """Write a tile to the scratch folder; where there is no room it is computed again."""
        try:
            folder = self._scratch()
            for gone in [key for key, path in self._files.items() if not path.exists()]:
                del self._files[gone]
            sizes = {key: path.stat().st_size for key, path in self._files.items()}
            used = sum(sizes.values())
            most = min(self.room, (used + shutil.disk_usage(folder).free) // 2)
            while self._files and used + values.nbytes > most:
                oldest, path = self._files.popitem(last=False)
                path.unlink()
                used -= sizes[oldest]
            if values.nbytes <= most:
                path = folder / f"{next(self._names)}.npy"
                np.save(path, values)
                self._files[key] = path
        except OSError as error:
            _log.warning("A restored part cannot be kept on the disk (%s).", error)


KEPT = KeptTiles()
"""The tiles of this process."""
