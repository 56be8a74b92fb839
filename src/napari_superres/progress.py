"""Progress and cancellation inside a long block, without anyone being handed a callback."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class _Now(NamedTuple):
    """What the innermost `tick` said last."""

    done: int = 0
    total: int = 1
    words: str = ""


_START = _Now()
_listener: ContextVar[Callable[[int, int], None] | None] = ContextVar("listener", default=None)
_now: ContextVar[_Now] = ContextVar("now", default=_START)
_around: ContextVar[tuple[str, ...]] = ContextVar("around", default=())


def tick(done: int, total: int, words: str = "") -> None:
    """Say that `done` of `total` engine calls or steps of the current block are behind us.

    Parameters
    ----------
    done, total : int
        Counted from 0; `total` may be a lower bound.
    words : str
        What is being done, such as ``"step 3/50"``.

    Raises
    ------
    Cancelled
        If whoever listens wants the work to stop.
    """
    listener = _listener.get()
    if listener is not None:
        _now.set(_Now(done, total, words))
        listener(done, total)


def breathe() -> None:
    """Give whoever listens the occasion to stop the work, without news of it.

    Raises
    ------
    Cancelled
        If they want it.
    """
    tick(*_now.get())


def doing() -> str:
    """Return where the work is, in words, from the outermost part to the step; for listeners."""
    return ", ".join(filter(None, (*_around.get(), _now.get().words)))


@contextmanager
def inside(number: int, count: int, words: str = "") -> Iterator[None]:
    """Count each tick inside the context as one within part `number` of `count` equal ones.

    Parameters
    ----------
    number : int
        From 0.
    count : int
    words : str
        What the part is called, such as ``"sample 2/4"``.
    """
    outer = _listener.get()
    if outer is None:
        yield
        return

    def inner(done: int, total: int) -> None:
        outer(number * total + done, count * total)

    with _listening(inner, (*_around.get(), words)):
        yield


@contextmanager
def on_tick(listener: Callable[[int, int], None]) -> Iterator[None]:
    """Call `listener(done, total)` at each tick in this thread, as long as the context lasts.

    Parameters
    ----------
    listener : callable
        May raise `Cancelled` to stop the work at once, and ask `doing` where the work is.
    """
    with _listening(listener, ()):
        yield


@contextmanager
def _listening(listener: Callable[[int, int], None], around: tuple[str, ...]) -> Iterator[None]:
    tokens = _listener.set(listener), _now.set(_START), _around.set(around)
    try:
        yield
    finally:
        _listener.reset(tokens[0])
        _now.reset(tokens[1])
        _around.reset(tokens[2])
