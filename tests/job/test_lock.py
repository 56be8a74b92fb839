"""Locks where the file system has none, as on some clusters."""

from __future__ import annotations

import errno
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from napari_superres.job import lock as lock_module
from napari_superres.job import write
from napari_superres.job.lock import STALE_SECONDS, BusyError, Lock, revoke
from tests.job.conftest import part_of, stack

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer like a Lustre that is mounted without ``flock``."""
    fcntl = pytest.importorskip("fcntl")

    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_a_second_one_is_refused_without_locks_of_the_file_system(
    tmp_path: Path, no_locks: None
) -> None:
    """Two jobs on one node would take the result from each other in turns."""
    path = tmp_path / "lock"
    with Lock(path, tmp_path) as first:
        with pytest.raises(BusyError, match="being written already"), Lock(path, tmp_path, 0.0):
            pass
        assert first.is_held()
    with Lock(path, tmp_path, 0.0) as next_one:
        assert next_one.is_held(), "given up is free"


def test_of_many_at_once_one_has_it_without_locks_of_the_file_system(
    tmp_path: Path, no_locks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tasks of an array begin in the same second, several of them on one node."""
    monkeypatch.setattr(lock_module, "LOOK_SECONDS", 1.0)  # our threads may be slow
    together, ended = threading.Barrier(6), threading.Barrier(6)

    def enter(number: int) -> bool:
        together.wait()
        with ExitStack() as stack:
            try:
                stack.enter_context(Lock(tmp_path / "lock", tmp_path, 0.0))
                return True
            except BusyError:
                return False
            finally:
                ended.wait()

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(enter, range(6))) <= 1


def test_what_was_abandoned_is_free_without_locks_of_the_file_system(
    tmp_path: Path, no_locks: None
) -> None:
    """The number of a dead process may be that of another program now."""
    path = tmp_path / "lock"
    with Lock(path, tmp_path):
        record = path.read_bytes()
    path.write_bytes(record)
    long_ago = path.stat().st_mtime - STALE_SECONDS - 1
    os.utime(path, (long_ago, long_ago))
    with Lock(path, tmp_path, 0.0) as lock:
        assert lock.is_held()


def test_a_lock_that_was_revoked_is_not_held_and_stays_where_it_is(tmp_path: Path) -> None:
    """On Windows the file of somebody at work cannot be deleted."""
    path = tmp_path / "lock"
    with Lock(path, tmp_path) as lock:
        revoke(path)
        assert not lock.is_held()
        assert path.exists()
    revoke(tmp_path / "never there")
    assert not (tmp_path / "never there").exists()
    with Lock(path, tmp_path, 0.0) as lock:
        assert lock.is_held()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_lock_does_not_outlive_its_job_in_forked_processes(tmp_path: Path) -> None:
    """The second image of a script is refused: 'being written already', by the script itself."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no processes are forked on this system")
    target = tmp_path / "a.ome.zarr"
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        for _ in range(2):
            write(stack((1, 60, 60)), target, executor=pool, overwrite=True)
            assert not part_of(target).exists()


@pytest.mark.parametrize("moment", ["taken", "given up"])
def test_a_full_disk_keeps_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The viewer would have to be closed before the result can be written again."""

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path, failed = tmp_path / "lock", Lock(tmp_path / "lock", tmp_path)
    with monkeypatch.context() as full:
        if moment == "given up":
            failed.__enter__()
        full.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space"):
            failed.__enter__() if moment == "taken" else failed.__exit__(None, None, None)
    with Lock(path, tmp_path, 0.0) as lock:
        assert lock.is_held()


def test_a_folder_that_goes_while_a_lock_is_taken_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last part of a job sweeps the folder in the moment when a late one comes."""
    folder = tmp_path / "a.part"
    times = [0]

    class Swept(type(folder)):  # type: ignore[misc]
        def open(self, *arguments: Any, **options: Any) -> Any:
            times[0] += 1
            if times[0] == 1:
                folder.rmdir()
            return super().open(*arguments, **options)

    with Lock(Swept(folder / "lock"), tmp_path) as lock:
        assert lock.is_held()
    assert times[0] > 1
