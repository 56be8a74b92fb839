"""Idle cores help with the pieces of a tile.

An engine that cuts its tile into pieces computes them on the calling thread, and on threads of this
process that have nothing else to do. So a single tile uses the whole machine, and many tiles at
once use no more than that::

    def begin():                     # once in each thread that takes part
        scratch = Scratch()
        return lambda piece: compute(piece, scratch)

    share(pieces, begin)

A piece is computed by whoever comes first, so nothing about it may depend on the thread.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

FEW = 4
"""Up to so many cores one tile keeps all of them busy. With more, a second tile fills the gaps that
the first one leaves at the end of each stage, at the price of its feature maps."""

WAIT_SECONDS = 0.2
"""How often a tile that waits for its turn looks up."""


class Crew:
    """Threads that help each other.

    Parameters
    ----------
    cores : int
        Pieces that are computed at the same time.
    helpers : int
        Threads that help those that call `share`.
    """

    def __init__(self, cores: int, helpers: int) -> None:
        self.cores = cores
        self._running = threading.Semaphore(cores)
        # Without helpers each caller is alone, and there must be as many of them as cores.
        self.calls = (1 if cores <= FEW else 2) if helpers else cores
        self._calls = threading.Semaphore(self.calls)
        self._helpers = ThreadPoolExecutor(helpers, "superres-pieces") if helpers else None
        self._most = helpers

    @property
    def gain(self) -> int:
        """How many tiles at once take about as long as one alone.

        Helped, one tile keeps all cores busy, and a second one fills no more than gaps.
        """
        return self.calls if self._helpers is None else 1

    @contextmanager
    def turn(self, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Wait until another tile may be computed, and say when it is done.

        Parameters
        ----------
        waiting : callable
            Called now and then while waiting. What it raises ends the waiting.
        """
        while not self._calls.acquire(timeout=WAIT_SECONDS):
            waiting()
        try:
            yield
        finally:
            self._calls.release()

    def share(
        self,
        pieces: Sequence[T],
        begin: Callable[[], Callable[[T], None]],
        after: Callable[[int], None] = lambda taken: None,
    ) -> None:
        """Compute pieces here and on helping threads, and return when all are done.

        Parameters
        ----------
        pieces : sequence
        begin : callable
            Returns what computes a piece; called once in each thread that takes part.
        after : callable
            Called in this thread after each piece that it computed, with the number of pieces that
            were begun. What it raises stops the work.
        """
        queue = _Queue(len(pieces))

        def drain(after: Callable[[int], None]) -> None:
            try:
                compute = begin()
                while not queue.empty:
                    with self._running:
                        for number in queue.take():
                            compute(pieces[number])
                    after(queue.taken)
            except BaseException:
                queue.close()
                raise

        asked: list[Future[None]] = []
        if self._helpers is not None:
            # When the interpreter is about to end, nobody can be asked any more.
            with suppress(RuntimeError):
                for _ in range(min(self._most, len(pieces) - 1)):
                    asked.append(self._helpers.submit(drain, lambda taken: None))
        try:
            drain(after)
        finally:
            helping = [future for future in asked if not future.cancel()]
            wait(helping)
        for future in helping:
            future.result()


class _Queue:
    """Hands out each number below `length` once."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._lock = threading.Lock()
        self.taken = 0

    @property
    def empty(self) -> bool:
        return self.taken >= self._length

    def take(self) -> range:
        """Return the next number as a range of one, or an empty range."""
        with self._lock:
            start = self.taken
            self.taken = min(start + 1, self._length)
            return range(start, self.taken)

    def close(self) -> None:
        """Hand out nothing more."""
        with self._lock:
            self.taken = self._length


def cores() -> int:
    """Return how many cores this process may use."""
    own = getattr(os, "sched_getaffinity", None)  # a batch system or container may give us few
    return len(own(0)) if own else os.cpu_count() or 1


_crew: Crew | None = None
_making = threading.Lock()


def crew() -> Crew:
    """Return the threads of this process, as many as it has cores.

    Where ``OMP_NUM_THREADS`` is set, as a cluster's workers do, that many work on one tile.
    """
    global _crew
    with _making:
        if _crew is None:
            wish = os.environ.get("OMP_NUM_THREADS", "")
            threads = max(1, int(wish)) if wish.isdecimal() else cores()
            _crew = Crew(cores(), threads - 1)
        return _crew


def leave_a_core() -> None:
    """Compute pieces on all cores but one from now on.

    Without it a viewer that reads and draws while tiles are computed waits for its turn at every
    step, and stands still for tenths of a second.
    """
    if crew().cores > (threads := max(1, cores() - 1)):
        set_threads(threads)


def set_threads(threads: int) -> None:
    """Compute pieces on this many threads from now on.

    Parameters
    ----------
    threads : int
        1 or more.
    """
    global _crew
    with _making:
        _crew = Crew(threads, threads - 1)
