"""Work in the background that can be watched, and stopped within a tile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, Signal

from napari_superres.errors import Cancelled
from napari_superres.models.crew import leave_a_core
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
    title : str
        What it is about, where several pieces of work follow each other.
    """

    succeeded = Signal(object)
    failed = Signal(object)
    ended = Signal()

    def __init__(self, steps: Steps, title: str = "") -> None:
        super().__init__()
        self.meter = Meter()
        self.title = title
        self._steps: Steps | None = steps
        self._stop = threading.Event()
        self._result: Any = None
        self._error: Exception | None = None
        self._worker = create_worker(self._run, _start_thread=False)
        self._worker.finished.connect(self._end)

    def start(self) -> Work:
        """Begin, and return itself."""
        leave_a_core()
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
        assert self._steps is not None
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
        result, error = self._result, self._error
        # napari lets go of no worker, and so of nothing that its work still holds.
        self._steps = self._result = self._error = None
        if error is not None:
            self.failed.emit(error)
        else:
            self.succeeded.emit(result)
        self.ended.emit()


class Task(NamedTuple):
    """A piece of work that is still to be done.

    Parameters
    ----------
    steps : callable
        Does it; see `Steps`.
    show : callable
        Takes its result, shows it, and returns a sentence.
    title : str
        What it is about.
    """

    steps: Steps
    show: Callable[[Any], str]
    title: str = ""


class Queue(QObject):
    """Does one task after the other, and stops at the first that fails.

    Parameters
    ----------
    watch : callable
        Called with each `Work` when it begins.
    """

    succeeded = Signal(object, object)
    """A task and its result."""

    changed = Signal()
    """Something has begun, or all has ended."""

    def __init__(self, watch: Callable[[Work], None]) -> None:
        super().__init__()
        self._watch = watch
        self._tasks: list[Task] = []
        self._count = 0
        self._work: Work | None = None
        self._task: Task | None = None

    @property
    def work(self) -> Work | None:
        """What runs now."""
        return self._work

    @property
    def waiting(self) -> int:
        """How many tasks are to follow."""
        return len(self._tasks)

    def start(self, tasks: Sequence[Task]) -> Work | None:
        """Begin with the first of these tasks, and return what does it."""
        self._tasks, self._count = list(tasks), len(tasks)
        return self._next()

    def cancel(self) -> None:
        """Stop what runs, and forget what was to follow."""
        self._tasks = []
        if self._work is not None:
            self._work.cancel()

    def _next(self) -> Work | None:
        if not self._tasks:
            return None
        self._task = self._tasks.pop(0)
        place = self._count - len(self._tasks)
        title = f"{place}/{self._count} {self._task.title}" if self._count > 1 else ""
        self._work = work = Work(self._task.steps, title)
        self._watch(work)
        # Bound methods: Qt forgets them when we are gone before the work is.
        work.succeeded.connect(self._succeeded)
        work.failed.connect(self._failed)
        work.ended.connect(self._ended)
        work.start()
        self.changed.emit()
        return work

    def _succeeded(self, result: Any) -> None:
        self.succeeded.emit(self._task, result)

    def _failed(self, error: Exception) -> None:
        self._tasks = []

    def _ended(self) -> None:
        self._work = self._task = None
        if self._next() is None:
            self.changed.emit()


def _drained(steps: Generator[Any, None, Any], check: Callable[[], None]) -> Any:
    while True:
        check()
        try:
            next(steps)
        except StopIteration as end:
            return end.value
