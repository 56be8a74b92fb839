"""kill -9 at seeded moments, over drivers, parts and workers: nothing wrong, nothing early.

The driver is forked from this process, which has all libraries loaded: a hundred lives in minutes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import psutil
import pytest

from napari_superres.job import run, write
from napari_superres.job.workers import COME_BACK
from tests.job.conftest import part_of, stack, tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.usefixtures("small_blocks"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has neither fork nor kill -9"),
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
]


@pytest.fixture
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hash every file of a result that was never interrupted."""
    return tree(write(stack(), tmp_path_factory.mktemp("reference") / "a.ome.zarr"))


def forked(work: Callable[[], Any]) -> int:
    """Do some work in a process of its own, and return its number."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    code = 1
    with contextlib.suppress(BaseException):
        work()
        code = 0
    os._exit(code)


def killed(process: int, path: Path, lines: int, seconds: float) -> bool:
    """Kill a process some time after so many more lines; return whether it was still at work."""
    wanted = lines_of(path) + lines
    while lines_of(path) < wanted:
        if os.waitpid(process, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


def lines_of(path: Path) -> int:
    """Return how many lines the lists of an unfinished result have."""
    count = 0
    for name in part_of(path).glob("manifest*.jsonl"):
        with contextlib.suppress(FileNotFoundError):
            count += name.read_bytes().count(b"\n")
    return count


def kill_drivers(folder: Path, reference: dict[str, str], kills: int, seed: int) -> int:
    """Kill so many drivers, finish what is unfinished each time it may be; return the results."""
    dice = np.random.default_rng(seed)
    path = folder / "a.ome.zarr"
    results = done = 0
    while done < kills:
        # One run in three is that of a part; now and then an older result is replaced.
        part = [None, None, "1/2"][int(dice.integers(3))]
        lines, seconds = int(dice.integers(0, 9)), float(dice.exponential(0.01))
        workers = int(dice.integers(1, 4))

        def work(part: str | None = part, workers: int = workers) -> None:
            write(stack(seconds=0.01), path, workers=workers, overwrite=True, part=part)

        before = path.exists()
        done += killed(forked(work), path, lines, seconds)
        if path.exists() and not part_of(path).exists():
            assert tree(path) == reference
            results += not before
            if dice.integers(2):
                shutil.rmtree(path)
        elif path.exists():
            # Either the older result, or the new one that was about to be swept up after.
            assert tree(path) == reference
    # What a kill left lying beside a finished result is swept up by whoever writes there next.
    write(stack(), path, overwrite=path.exists())
    assert tree(path) == reference
    assert not part_of(path).exists()
    return results


def test_ten_killed_drivers(tmp_path: Path, reference: dict[str, str]) -> None:
    """A short version of the next one, for every day."""
    kill_drivers(tmp_path, reference, kills=10, seed=7)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_and_twenty_killed_drivers(tmp_path: Path, reference: dict[str, str]) -> None:
    """A queue may preempt a job at any moment: the very first, the very last, and all between."""
    assert kill_drivers(tmp_path, reference, kills=120, seed=0) >= 5


def kill_workers(folder: Path, reference: dict[str, str], kills: int, seed: int) -> None:
    """Kill workers of a cluster while a job runs, which never notices but for the time."""
    distributed = pytest.importorskip("distributed")
    dice = np.random.default_rng(seed)
    done = 0
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": COME_BACK}),
        distributed.LocalCluster(
            2, threads_per_worker=1, dashboard_address=None, memory_limit=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        while done < kills:
            path = folder / f"{done}.ome.zarr"
            steps = run(stack(seconds=0.1), path, executor=client.get_executor())
            at = set(dice.choice(25, size=min(4, kills - done), replace=False))
            for step in steps:
                assert not path.exists() or step.done == step.total
                if step.done in at:
                    at.remove(step.done)
                    time.sleep(float(dice.uniform(0, 0.1)))
                    nannies = list(cluster.workers.values())
                    process = nannies[int(dice.integers(2))].process
                    if process is not None and process.pid is not None:
                        with contextlib.suppress(psutil.NoSuchProcess):
                            psutil.Process(process.pid).kill()
                            done += 1
            assert tree(path) == reference


def test_two_killed_workers(tmp_path: Path, reference: dict[str, str]) -> None:
    """A worker that dies takes its block along; another one computes it again."""
    kill_workers(tmp_path, reference, kills=2, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thirty_killed_workers(tmp_path: Path, reference: dict[str, str]) -> None:
    """The long version."""
    kill_workers(tmp_path, reference, kills=30, seed=1)
