"""Background tasks: the most wanted first, the unwanted not at all."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from napari_superres.plugin.tile_queue import TileQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def queue() -> Iterator[TileQueue]:
    """Return a queue of one thread."""
    queue = TileQueue(1)
    yield queue
    queue.close()


class Gate:
    """A task that says when it runs, and waits until it may end."""

    def __init__(self) -> None:
        self.running, self.open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        """Run."""
        self.running.set()
        assert self.open.wait(5)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait a few seconds for a condition."""
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_tasks_run_in_the_order_of_their_owner_and_owners_take_turns(queue: TileQueue) -> None:
    """The middle of each layer's view comes before the rim of any."""
    gate, ran = Gate(), []
    queue.replace("gate", [("g", gate)])
    assert gate.running.wait(5)
    for owner in "ab":
        queue.replace(owner, [(i, lambda o=owner, i=i: ran.append(f"{o}{i}")) for i in range(3)])
    assert queue.count("a") == 3
    gate.open.set()
    wait_until(lambda: len(ran) == 6)
    assert ran == ["a0", "b0", "a1", "b1", "a2", "b2"]
    wait_until(lambda: queue.count("b") == 0)


def test_what_nobody_wants_any_more_is_not_run(queue: TileQueue) -> None:
    """Scrubbing through a stack must not queue up every plane."""
    gate, ran = Gate(), []
    queue.replace("gate", [("g", gate)])
    assert gate.running.wait(5)
    queue.replace("a", [("old", lambda: ran.append("old"))])
    queue.replace("a", [("new", lambda: ran.append("new"))])
    queue.replace("b", [("gone", lambda: ran.append("gone"))])
    queue.drop("b")
    gate.open.set()
    wait_until(lambda: queue.count("a") == 0)
    assert ran == ["new"]


def test_a_task_that_runs_is_not_run_again_at_the_same_time(queue: TileQueue) -> None:
    """Each refresh asks again for what is under way."""
    queue.workers = 2
    gate, again = Gate(), []
    queue.replace("a", [("x", gate)])
    assert gate.running.wait(5)
    queue.replace("a", [("x", lambda: again.append(1))])
    assert queue.count("a") == 1
    other = threading.Event()
    queue.replace("b", [("x", other.set)])  # the other worker is free
    assert other.wait(5)
    assert not again
    gate.open.set()
    wait_until(lambda: queue.count("a") == 0)
    # What ran may have been stopped before it was wanted again.
    assert again == [1]
    assert not queue._again


def test_what_was_wanted_again_and_then_not_is_not_run(queue: TileQueue) -> None:
    """The view has moved on a second time."""
    gate, ran = Gate(), []
    queue.replace("a", [("x", gate)])
    assert gate.running.wait(5)
    queue.replace("a", [("x", lambda: ran.append("x"))])
    queue.replace("a", [("y", lambda: ran.append("y"))])
    gate.open.set()
    wait_until(lambda: queue.count("a") == 0)
    assert ran == ["y"]


def test_closing_waits_for_what_runs_and_forgets_the_rest() -> None:
    """A thread inside a native library while the interpreter goes away crashes it."""
    queue, gate, ran = TileQueue(1), Gate(), []
    queue.replace("a", [("x", gate), ("y", lambda: ran.append(1))])
    assert gate.running.wait(5)
    threading.Timer(0.05, gate.open.set).start()
    queue.close()
    queue.replace("a", [("z", lambda: ran.append(2))])
    assert not ran
    assert not [
        t for t in threading.enumerate() if t.name == "superres-tiles" and t in queue._threads
    ]
