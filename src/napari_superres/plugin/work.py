"""Work in the background that can be watched, and stopped within a tile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, Signal

from napari_superres.errors import Cancelled
from napari_superres.plugin.meter import Meter
from napari_superres.progress import on_tick

Steps = Callable[[Meter], Generator[Any, None, Any]]
"""Does the work, yields now and then, returns the result."""


class Work(QObject):
    """A piece of work on a thread of napari's.

    A generator does it; between its yields the core calls `tick`, so that `cancel` stops long steps
    too. Signals arrive on the main thread.

    Parameters
    ----------
    steps : callable
        Called with `meter` on the thread; returns a generator.
    """

    succeeded = Signal(object)
    failed = Signal(object)
    ended = Signal()

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self.meter = Meter()
        self._steps = steps
        self._stop = threading.Event()
        self._result: Any = None
        self._error: Exception | None = None
        self._worker = create_worker(self._run, _start_thread=False)
        self._worker.finished.connect(self._end)

    def start(self) -> Work:
        """Begin, and return itself."""
        self._worker.start()
        return self

    def cancel(self) -> None:
        """Ask the work to stop; `failed` comes with `Cancelled` when it has."""
        self._stop.set()

    @property
    def cancelling(self) -> bool:
        """True from `cancel` on."""
        return self._stop.is_set()

    def _run(self) -> None:
        try:
            with on_tick(self._tick), closing(self._steps(self.meter)) as steps:
                self._result = _drained(steps, self._check)
        except Exception as error:  # the end of a thread: told on the main thread
            self._error = error

    def _tick(self, done: int, total: int) -> None:
        self._check()
        self.meter.tick(done, total)

    def _check(self) -> None:
        # napari asks its workers to quit when the application ends.
        if self._stop.is_set() or self._worker.abort_requested:
            raise Cancelled("Cancelled.")

    def _end(self) -> None:
        if self._error is not None:
            self.failed.emit(self._error)
        else:
            self.succeeded.emit(self._result)
        self.ended.emit()


def _drained(steps: Generator[Any, None, Any], check: Callable[[], None]) -> Any:
    while True:
        check()
        try:
            next(steps)
        except StopIteration as end:
            return end.value
