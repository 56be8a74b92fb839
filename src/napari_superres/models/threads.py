"""How many threads torch uses on a CPU."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_changing = threading.Lock()


@contextmanager
def one_thread_in_workers() -> Iterator[None]:
    """Compute on the calling thread alone, if that is not the program's main thread.

    Tiles are computed by several worker threads at once; if torch split each convolution over all
    cores as well, they would wait for one another. On the main thread torch's own setting holds.

    torch keeps the number of threads twice: for each thread that has used it (OpenMP's own number),
    and for threads to come. ``torch.set_num_threads`` sets both, so the second is put back from a
    thread made for that. After the context the calling thread has its old number again. A thread
    that uses torch for the first time during those microseconds starts with one thread of its own.
    """
    if threading.current_thread() is threading.main_thread():
        yield
        return
    with _changing:
        before = torch.get_num_threads()
        if before > 1:
            torch.set_num_threads(1)
            _elsewhere(before)
    try:
        yield
    finally:
        if before > 1:
            with _changing:
                torch.set_num_threads(before)


@contextmanager
def fixed_threads(count: int) -> Iterator[None]:
    """Compute on `count` threads, whatever thread calls.

    For networks whose last bits depend on the number of threads, as those with attention do: then a
    plane has the same pixels whether a viewer or a worker asks for it. After the context the
    calling thread has its old number again.

    Parameters
    ----------
    count : int
        Such as ``torch.get_num_threads()`` when the model was loaded.
    """
    with _changing:
        before = torch.get_num_threads()
        if before != count:
            torch.set_num_threads(count)
            _elsewhere(before)
    try:
        yield
    finally:
        if before != count:
            with _changing:
                torch.set_num_threads(before)


def _elsewhere(threads: int) -> None:
    """Set torch's number of threads from another thread, and so not for this one."""
    other = threading.Thread(target=torch.set_num_threads, args=(threads,))
    other.start()
    other.join()
