"""Idle cores help with the pieces of a tile; nothing is computed twice, lost or left running."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from napari_superres.errors import Cancelled
from napari_superres.models import crew as crews
from napari_superres.models.crew import Crew, cores

if TYPE_CHECKING:
    from collections.abc import Callable


class Record:
    """What was computed, by how many threads, and how many at the same time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.done: list[int] = []
        self.threads: set[int] = set()
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def begin(self) -> Callable[[int], None]:
        """Return what computes a piece, and remember the thread."""
        self.threads.add(threading.get_ident())
        return self.compute

    def compute(self, piece: int) -> None:
        """Take some time, and remember the piece."""
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self.seconds)
        with self._lock:
            self._now -= 1
            self.done.append(piece)


@pytest.mark.parametrize(("cores", "helpers"), [(1, 0), (2, 1), (3, 7), (1, 2)])
@pytest.mark.parametrize("pieces", [0, 1, 2, 50])
def test_each_piece_is_computed_once(cores: int, helpers: int, pieces: int) -> None:
    """A piece that nobody computed would be whatever lay in memory before."""
    record = Record()
    Crew(cores, helpers).share(range(pieces), record.begin)
    assert sorted(record.done) == list(range(pieces))


def test_idle_threads_help() -> None:
    """Else a single tile, such as a preview, would use one core of many."""
    record = Record(seconds=0.02)
    Crew(3, 2).share(range(30), record.begin)
    assert len(record.threads) == 3


def test_many_tiles_together_use_no_more_than_the_cores() -> None:
    """Else each worker thread would start as many helpers as there are cores."""
    crew, record = Crew(2, 1), Record(seconds=0.002)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: crew.share(range(20), record.begin), range(6)))
    assert sorted(record.done) == sorted(list(range(20)) * 6)
    assert record.most <= 2


@pytest.mark.parametrize(("cores", "helpers", "tiles"), [(2, 1, 1), (8, 7, 2), (4, 0, 4)])
def test_tiles_wait_for_their_turn(cores: int, helpers: int, tiles: int) -> None:
    """Else a machine of 64 cores would hold the feature maps of 64 large tiles at once.

    Without helpers the callers themselves must fill the cores.
    """
    crew, record = Crew(cores, helpers), Record(seconds=0.02)

    def one(number: int) -> None:
        with crew.turn():
            record.compute(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(12)))
    assert record.most == tiles


def test_waiting_for_a_turn_can_be_given_up() -> None:
    """Else a cancelled job would end only after the tiles before it."""
    crew = Crew(2, 1)

    def enough() -> None:
        raise Cancelled("enough")

    with crew.turn(), pytest.raises(Cancelled), crew.turn(enough):
        pytest.fail("it was somebody else's turn")
    with crew.turn(enough):
        pass


@pytest.mark.parametrize("where", ["here", "helper", "after"])
def test_failure_stops_the_work_and_is_told(where: str) -> None:
    """A tile of which pieces failed must not reach a file, and a cancelled one must end soon."""
    crew, record = Crew(2, 1), Record(seconds=0.002)
    caller = threading.get_ident()

    def begin() -> Callable[[int], None]:
        compute = record.begin()

        def fragile(piece: int) -> None:
            here = threading.get_ident() == caller
            if piece > 10 and where == ("here" if here else "helper"):
                raise MemoryError(where)
            compute(piece)

        return fragile

    def after(taken: int) -> None:
        if taken > 10 and where == "after":
            raise Cancelled("enough")

    with pytest.raises((MemoryError, Cancelled)):
        crew.share(range(10_000), begin, after)
    assert len(record.done) < 1000
    count = len(record.done)
    time.sleep(0.02)
    assert len(record.done) == count
    crew.share(range(3), record.begin)  # and the next tile finds everything in order
    assert len(record.done) == count + 3


def test_progress_is_told_on_the_calling_thread() -> None:
    """Whoever listens installed its listener for its own thread."""
    told: list[tuple[int, int]] = []
    Crew(2, 1).share(
        range(20), Record(0.001).begin, lambda n: told.append((n, threading.get_ident()))
    )
    numbers = [n for n, _ in told]
    assert numbers == sorted(numbers)
    assert {thread for _, thread in told} == {threading.get_ident()}


def test_number_of_threads_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread is the caller's own."""
    monkeypatch.setattr(crews, "_crew", None)
    crews.set_threads(1)
    record = Record(0.001)
    crews.crew().share(range(20), record.begin)
    assert record.threads == {threading.get_ident()}


@pytest.mark.parametrize(("has", "computes"), [(1, 1), (2, 1), (4, 3)])
def test_a_core_is_left(monkeypatch: pytest.MonkeyPatch, has: int, computes: int) -> None:
    """A viewer keeps one core for itself."""
    monkeypatch.setattr(crews, "_crew", None)
    monkeypatch.setattr(crews, "cores", lambda: has)
    crews.leave_a_core()
    left = crews.crew()
    assert left.cores == computes
    record = Record(0.001)
    left.share(range(20), record.begin)
    assert len(record.threads) <= computes
    crews.leave_a_core()
    assert crews.crew() is left


def test_work_goes_on_alone_when_nobody_can_be_asked() -> None:
    """A tile that is computed while the program ends must not fail for want of helpers."""
    crew, record = Crew(2, 1), Record()
    assert crew._helpers is not None
    crew._helpers.shutdown()
    crew.share(range(5), record.begin)
    assert record.done == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("wish", "helpers"), [("1", 0), ("3", 2), ("", cores() - 1), ("4,2", cores() - 1)]
)
def test_cluster_decides_how_many_threads_share_a_tile(wish: str, helpers: int) -> None:
    """Workers of a cluster share a machine; each has OMP_NUM_THREADS=1 and several threads."""
    code = "from napari_superres.models.crew import crew; print(crew()._most)"
    environment = {**os.environ, "OMP_NUM_THREADS": wish}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert int(result.stdout) == helpers
