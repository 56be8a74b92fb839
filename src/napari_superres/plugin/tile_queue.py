"""Work that is done in the background, most wanted first, and forgotten when nobody wants it.

Knows nothing of images, napari or Qt.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Hashable, Sequence

from napari_superres.models.crew import cores, leave_a_core

Task = Callable[[], None]

IDLE_SECONDS = 5.0
"""A thread without work ends after this long."""

MOST_WORKERS = 8
"""More tiles at once than this fill memory faster than the screen."""


class TileQueue:
    """Threads that run tasks, the most wanted of each owner in turn.

    Parameters
    ----------
    workers : int
        Most tasks that run at the same time.
    """

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._waiting: dict[Hashable, dict[Hashable, Task]] = {}
        self._running: set[tuple[Hashable, Hashable]] = set()
        self._again: dict[Hashable, dict[Hashable, Task]] = {}
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._changed = threading.Condition()
        self._closed = False

    def replace(self, owner: Hashable, tasks: Sequence[tuple[Hashable, Task]]) -> None:
        """Forget what an owner waits for, and wait for `tasks` instead.

        Parameters
        ----------
        owner : hashable
            Owners take turns.
        tasks : sequence of (key, callable)
            Most wanted first. A task whose key is running waits for its end: what runs may be about
            to stop, because it was not wanted for a moment. A task must not raise.
        """
        with self._changed:
            if self._closed:
                return
            fresh = {key: task for key, task in tasks if (owner, key) not in self._running}
            again = {key: task for key, task in tasks if key not in fresh}
            # Whoever was served last waits longest: a new view goes behind the other owners.
            for kept, own in ((self._waiting, fresh), (self._again, again)):
                kept.pop(owner, None)
                if own:
                    kept[owner] = own
            wanted = min(self.workers - len(self._threads), len(fresh) - self._idle)
            for _ in range(wanted):
                thread = threading.Thread(target=self._serve, name="superres-tiles", daemon=True)
                self._threads.add(thread)
                thread.start()
            self._changed.notify(len(fresh))

    def drop(self, owner: Hashable) -> None:
        """Forget what an owner waits for; what runs is not stopped."""
        self.replace(owner, ())

    def count(self, owner: Hashable) -> int:
        """Return how many tasks of an owner wait or run."""
        with self._changed:
            running = sum(1 for other, _ in self._running if other == owner)
            return running + len(self._waiting.get(owner, ()))

    def close(self, timeout: float = 10.0) -> None:
        """Forget everything and let running tasks end, waiting at most `timeout` seconds each."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._again.clear()
            self._changed.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join(timeout)

    def _serve(self) -> None:
        while (taken := self._take()) is not None:
            owner, key, task = taken
            try:
                task()
            finally:
                self._end(owner, key)

    def _end(self, owner: Hashable, key: Hashable) -> None:
        with self._changed:
            self._running.discard((owner, key))
            again = self._again.get(owner, {})
            if key in again:
                self._waiting[owner] = {key: again.pop(key), **self._waiting.get(owner, {})}
            if not again:
                self._again.pop(owner, None)  # which would keep the owner alive

    def _take(self) -> tuple[Hashable, Hashable, Task] | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: bool(self._waiting) or self._closed, IDLE_SECONDS)
            self._idle -= 1
            if not self._waiting:
                self._threads.discard(threading.current_thread())
                return None
            owner, tasks = next(iter(self._waiting.items()))
            key = next(iter(tasks))
            task = tasks.pop(key)
            del self._waiting[owner]
            if tasks:
                self._waiting[owner] = tasks  # at the end: the others come first
            self._running.add((owner, key))
            return owner, key, task


_queues: dict[str, TileQueue] = {}
_making = threading.Lock()


def threads_for(device: str) -> int:
    """Return how many tiles a device computes at the same time while somebody uses the viewer.

    ``"cpu"`` has a thread for each core but one, which is left to the viewer; any other device has
    one, so that tiles do not compete for its memory.
    """
    return min(MOST_WORKERS, max(1, cores() - 1)) if device == "cpu" else 1


def queue_for(device: str) -> TileQueue:
    """Return the queue that all on-demand layers on a device share."""
    with _making:
        if device not in _queues:
            leave_a_core()
            _queues[device] = TileQueue(threads_for(device))
        return _queues[device]


@atexit.register
def _close_all() -> None:
    # A thread that is inside a native library while the interpreter goes away crashes it.
    for queue in _queues.values():
        queue.close()
