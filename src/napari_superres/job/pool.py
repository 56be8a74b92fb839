"""Many tasks through few workers: a bounded number in flight, retries, progress, a prompt stop."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_superres.errors import Cancelled, SettingError
from napari_superres.progress import doing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

IN_FLIGHT = 4
"""Tasks handed to the executor for each worker: enough that none waits for the next one."""

THREADS_ON_GPU = 3
"""On a GPU one block is read while one is computed and one is written; the engine takes turns."""

COUNT_SECONDS = 5.0
"""How often the workers of a cluster are counted anew: they come and go."""

LOOK_SECONDS = 0.25
"""How often the caller gets control, to show progress or to stop."""


@dataclass(frozen=True)
class Outcome:
    """How one task ended.

    Parameters
    ----------
    task : object
        As it was given.
    attempt : int
        Which try it was, from 1.
    value : object
        What it returned, if it did.
    error : BaseException or None
        What it raised, if it did.
    """

    task: Any
    attempt: int
    value: Any = None
    error: BaseException | None = None


class Pool:
    """Workers for the length of one job; a context manager.

    Parameters
    ----------
    executor : Executor, optional
        Of any kind. None makes threads, which end with the context.
    workers : int, optional
        How many tasks run at a time; None asks the executor, or counts processors.
    """

    def __init__(self, executor: Executor | None, workers: int | None) -> None:
        self._own = executor is None
        self._fixed = workers
        self._counted = workers or _workers(executor)
        self._count_at = time.monotonic() + COUNT_SECONDS
        self.executor = executor or ThreadPoolExecutor(self._counted, "superres")
        self.shares_memory = isinstance(self.executor, ThreadPoolExecutor)
        self._stop = threading.Event()
        self._ticks: dict[int, float] = {}
        self._words: dict[int, str] = {}
        self._pending: dict[Future[Any], tuple[int, Outcome]] = {}

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        running = [future for future in self._pending if not future.cancel()]
        if self.shares_memory:
            # Nobody may still be writing when the lock is given up. Threads stop at their next
            # tick; workers elsewhere find the lock gone.
            wait(running)
        if self._own:
            self.executor.shutdown(wait=True, cancel_futures=True)

    @property
    def workers(self) -> int:
        """How many tasks run at a time."""
        if self._fixed is None and not self._own and time.monotonic() >= self._count_at:
            self._counted = _workers(self.executor)
            self._count_at = time.monotonic() + COUNT_SECONDS
        return self._counted

    @property
    def under_way(self) -> float:
        """Work done inside the tasks that run now, in tasks."""
        return sum(self._ticks.copy().values())

    @property
    def words(self) -> str:
        """Where the task that was begun first is, in words; empty if it does not say."""
        words = self._words.copy()
        return words[min(words)] if words else ""

    def listener(self, number: int) -> Callable[[int, int], None] | None:
        """Return what a task in this process reports to; None for tasks in others."""
        if not self.shares_memory:
            return None

        def listen(done: int, total: int) -> None:
            if self._stop.is_set():
                raise Cancelled("The job was stopped.")
            self._ticks[number] = done / max(total, 1)
            self._words[number] = doing()

        return listen

    def ended_meanwhile(self) -> list[Outcome]:
        """Return what has ended well since the last look, when nobody will look again."""
        futures = [f for f in self._pending if f.done() and not f.cancelled()]
        found = [(self._pending[future][1], future) for future in futures]
        return [
            Outcome(entry.task, entry.attempt, future.result())
            for entry, future in found
            if future.exception() is None
        ]

    def run(
        self,
        tasks: Iterable[Any],
        submit: Callable[[Executor, Any, int, int], Future[Any]],
        retry: Callable[[Outcome], bool],
    ) -> Iterator[list[Outcome]]:
        """Yield what has ended since the last look; an empty list if nothing has.

        Parameters
        ----------
        tasks : iterable
            Taken one by one as workers become free.
        submit : callable (executor, task, attempt, number) -> Future
            Hands a task to the executor. `number` is its own, for `listener`.
        retry : callable
            Whether a task that failed is tried again.
        """
        queue = iter(tasks)
        again: deque[Outcome] = deque()
        number = 0
        while True:
            while len(self._pending) < IN_FLIGHT * self.workers:
                entry = again.popleft() if again else _next(queue)
                if entry is None:
                    break
                number += 1
                future = submit(self.executor, entry.task, entry.attempt, number)
                self._pending[future] = number, entry
            if not self._pending:
                return
            done, _ = wait(self._pending, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
            ended = []
            for future in done:
                own, entry = self._pending.pop(future)
                self._ticks.pop(own, None)
                self._words.pop(own, None)
                if future.cancelled():
                    raise BrokenExecutor("the scheduler of the workers is gone")
                error = future.exception()
                value = future.result() if error is None else None
                outcome = Outcome(entry.task, entry.attempt, value, error)
                if error is not None and retry(outcome):
                    again.append(Outcome(entry.task, entry.attempt + 1))
                else:
                    ended.append(outcome)
            yield ended


def check_workers(workers: int | None) -> None:
    """Refuse what is no number of workers; None is that of the processors or of the executor.

    Raises
    ------
    SettingError
    """
    if workers is not None and workers < 1:
        raise SettingError(f"workers={workers} is not a number of workers.", "Use 1 or more.")


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _next(queue: Iterator[Any]) -> Outcome | None:
    for task in queue:
        return Outcome(task, 1)
    return None


def _workers(executor: Executor | None) -> int:
    known = getattr(executor, "_max_workers", None)
    client = getattr(executor, "_client", None)
    if client is not None:  # distributed: its threads, wherever they are
        known = sum(client.ncores().values())
    return known or processors()
