"""Progress and cancellation inside a long block, without anyone being handed a callback."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_listener: ContextVar[Callable[[int, int], None] | None] = ContextVar("listener", default=None)


def tick(done: int, total: int) -> None:
    """Say that `done` of `total` engine calls or steps of the current block are behind us.

    Parameters
    ----------
    done, total : int
        Counted from 0; `total` may be a lower bound.

    Raises
    ------
    Cancelled
        If whoever listens wants the work to stop.
    """
    listener = _listener.get()
    if listener is not None:
        listener(done, total)


@contextmanager
def on_tick(listener: Callable[[int, int], None]) -> Iterator[None]:
    """Call `listener(done, total)` at each tick in this thread, as long as the context lasts.

    Parameters
    ----------
    listener : callable
        May raise `Cancelled` to stop the work at once.
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
