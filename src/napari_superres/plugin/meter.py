"""One honest line about progress: what is done, how fast, how long it still takes."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

RECENT = 30.0
"""Speed is measured over the last so many seconds, or the last `ENOUGH` notes if that is longer."""

ENOUGH = 3
"""No speed is told from fewer notes: the first tile holds the loading of the model."""


class Meter:
    """Counts the tiles of a piece of work, or other units; safe to use from any thread.

    Parameters
    ----------
    total : int
        How many tiles there are; 0 as long as that is not known.
    where : str
        Named at the end of the line, such as ``"cpu"``.
    clock : callable
        Seconds, rising.
    """

    def __init__(
        self, total: int = 0, where: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total = total
        self.where = where
        self.unit = "tile"
        self.step = ""
        self._clock = clock
        self._done = 0.0
        self._inside: dict[int, float] = {}
        self._notes: deque[tuple[float, float]] = deque()
        self._lock = threading.Lock()

    def note(self, done: float) -> None:
        """Say how many tiles are done; parts of tiles count as parts."""
        with self._lock:
            self._done = done
            now = self._clock()
            if done > 0:
                self._notes.append((now, done))
            while len(self._notes) > ENOUGH and self._notes[0][0] < now - RECENT:
                self._notes.popleft()

    def tick(self, done: int, total: int) -> None:
        """Say that `done` of `total` steps of the tile that this thread computes are done."""
        with self._lock:
            share = done / total if done < total else 0.0
            self._inside[threading.get_ident()] = share

    @property
    def done(self) -> float:
        """How many tiles are done, those under way in parts."""
        with self._lock:
            return min(float(self.total), self._done + sum(self._inside.values()))

    @property
    def fraction(self) -> float:
        """Share of the work that is done, 0 to 1."""
        return self.done / self.total if self.total else 0.0

    @property
    def speed(self) -> float | None:
        """Tiles a second; None as long as it is not known."""
        with self._lock:
            if len(self._notes) < ENOUGH:
                return None
            (first, before), (last, after) = self._notes[0], self._notes[-1]
            # A tile that is overdue slows the speed down, and is not hidden.
            late = max(0.0, self._clock() - last - (last - first) / (len(self._notes) - 1))
            span = last - first + late
            return (after - before) / span if span > 0 and after > before else None

    def line(self) -> str:
        """Return for example ``"tile 46/121 · 1.9 tiles/s · 0:39 left · cpu"``."""
        done = self.done
        if self.step or not done:
            return _joined(self.step or "loading the model", self.where)
        things = self.unit in ("tile", "block")
        count = f"{int(done)}/{self.total}"
        parts = [f"{self.unit} {count}" if things else f"{count} {self.unit}"]
        speed = self.speed
        if speed:
            units = f"{self.unit}s" if things else self.unit
            parts.append(f"{speed:.2g} {units}/s" if speed < 10 else f"{speed:.0f} {units}/s")
            parts.append(f"{duration((self.total - done) / speed)} left")
        return _joined(*parts, self.where)


def duration(seconds: float) -> str:
    """Return seconds as ``"0:39"``, ``"12:05"`` or ``"3:04:00"``."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)
