"""Worker processes: many machines, many GPUs, and their deaths."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from napari_superres.cli import _run
from napari_superres.errors import Cancelled, OutputError, SettingError
from napari_superres.formats.ome_zarr_layout import layout_for
from napari_superres.job import choose_workers
from napari_superres.job.destination import destination
from napari_superres.job.lock import Lock, revoke
from napari_superres.job.manifest import Block
from napari_superres.job.task import Work, _lock_watcher, compute, pack
from napari_superres.job.workers import Workers, environment
from tests.formats.zarr_files import make_image
from tests.job.conftest import part_of, stack, tree

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Return a small OME-Zarr whose x4 result has two blocks."""
    pixels = np.asarray(stack((2, 150, 170)).data)
    return make_image(tmp_path / "in.ome.zarr", [pixels], chunks=(1, 50, 50))


class TestChoice:
    """What the words on the command line mean."""

    def test_one_device_is_computed_here(self) -> None:
        """No process is started for what threads do better."""
        assert choose_workers("cuda:1") == ("cuda:1", Workers())

    def test_several_devices_are_one_process_each(self) -> None:
        """The plan is the same for all, so a job may go on with another number of them."""
        assert choose_workers("cuda:0, cuda:1") == ("cuda", Workers(devices=("cuda:0", "cuda:1")))
        assert choose_workers("cpu/torch,cpu/torch")[0] == "cpu/torch"

    def test_clusters(self) -> None:
        """Local processes, and jobs of a queue."""
        assert choose_workers(cluster="local:3")[1] == Workers(devices=("auto",) * 3)
        assert choose_workers("cpu", "local:2") == ("cpu", Workers(devices=("cpu",) * 2))
        assert choose_workers(cluster="slurm:16")[1] == Workers(queue="slurm", count=16)
        assert choose_workers(scheduler="tcp://a:1")[1] == Workers(scheduler="tcp://a:1")

    @pytest.mark.parametrize("engine", ["", "/torch"])
    def test_processes_on_one_gpu_plan_for_the_only_one_that_they_see(self, engine: str) -> None:
        """Every worker says that there is no cuda:1."""
        device = f"cuda:1{engine}"
        expected = f"cuda{engine}", Workers(devices=(device,) * 2)
        assert choose_workers(device, "local:2") == expected

    @pytest.mark.parametrize(
        "wish",
        [
            {"device": "cuda:0,cpu"},
            {"device": "cpu/ncnn,cpu/torch"},
            {"device": "mps,mps"},
            {"cluster": "local"},
            {"cluster": "local:0"},
            {"cluster": "nonsense:3"},
            {"cluster": "local:2", "scheduler": "tcp://a:1"},
            {"cluster": "local:2", "device": "cpu,cpu"},
        ],
    )
    def test_what_makes_no_sense(self, wish: dict[str, str]) -> None:
        """Mixed processors would give pixels that differ from block to block."""
        with pytest.raises(SettingError):
            choose_workers(**wish)

    def test_each_process_has_one_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two processes on one GPU, and none on the other, would be half as fast."""
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        assert environment("cuda:1") == {"CUDA_VISIBLE_DEVICES": "1"}
        assert environment("cpu") == environment("cuda") == {}
        # A queue has given us the GPUs 4 and 6 of the machine: ours are counted among them.
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
        assert environment("cuda:1/torch") == {"CUDA_VISIBLE_DEVICES": "6"}

    def test_a_queue_that_is_not_there(
        self,
        volume: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Jobs that cannot be submitted are waited for until somebody looks."""
        pytest.importorskip("dask_jobqueue")
        monkeypatch.setenv("PATH", str(tmp_path))
        words = ["upscale", str(volume), str(tmp_path / "a.ome.zarr"), "-m", "bicubic"]
        assert _run([*words, "--cluster", "slurm:2"]) == 2
        assert "no 'sbatch' on this machine" in capsys.readouterr().err

    def test_gpus_that_are_not_there(
        self, volume: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Before a process is started for each."""
        assert (
            _run(["upscale", str(volume), "-m", "microscopy-x2", "--device", "cuda:7,cuda:8"]) == 2
        )
        assert "not on this machine" in capsys.readouterr().err


def children() -> set[int]:
    """Return the processes that this one has started, and theirs."""
    found = psutil.Process().children(recursive=True)
    # Python's own helper for processes that are spawned stays as long as we do.
    return {child.pid for child in found if "resource_tracker" not in " ".join(child.cmdline())}


def test_a_worker_that_does_not_see_the_job_says_so(tmp_path: Path) -> None:
    """A cluster that writes to a bucket ends with 'interrupted', and nobody has done so."""
    image = stack((1, 60, 60))
    for name, hint in (("s3://bucket/a.ome.zarr", "NAPARI_SUPERRES_CACHE"), ("a.ome.zarr", "")):
        target = destination(name if hint else tmp_path / name)
        away = tmp_path / "another disk" / "lock"
        work = pack(Work(image, layout_for(image), target, away, f"token of {name}"))
        with pytest.raises(OutputError, match=f"not see '{re.escape(str(away))}'.*{hint}"):
            compute(work, Block(0, 0), 1, None)


@pytest.mark.parametrize("end", [revoke, Path.unlink])
def test_a_worker_whose_job_has_ended_stops(tmp_path: Path, end: Callable[[Path], None]) -> None:
    """A job that is over is no fault of the disks."""
    image, path = stack((1, 60, 60)), tmp_path / "lock"
    with Lock(path, tmp_path) as lock:
        target = destination(tmp_path / "a.ome.zarr")
        watch = _lock_watcher(Work(image, layout_for(image), target, path, lock.token))
        watch(0, 1)
        end(path)
        with pytest.raises(Cancelled, match="has ended"):
            _lock_watcher(Work(image, layout_for(image), target, path, lock.token))


def test_local_processes_and_a_scheduler_give_the_same_bytes(
    volume: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One command, wherever it computes; nobody is left behind, and -q is quiet."""
    distributed = pytest.importorskip("distributed")
    before = children()
    command = ["upscale", str(volume), "-s", "4", "-m", "lanczos", "-q"]
    assert _run([*command[:2], str(volume.with_name("a.ome.zarr")), *command[2:]]) == 0
    reference = tree(volume.with_name("a.ome.zarr"))
    reference.pop("zarr.json")  # says when it was made
    for name, where in (
        ("b", ["--cluster", "local:2"]),
        ("c", ["--device", "cpu,cpu"]),
    ):
        target = volume.with_name(f"{name}.ome.zarr")
        assert _run([*command[:2], str(target), *command[2:], *where]) == 0
        found = tree(target)
        found.pop("zarr.json")
        assert found == reference, where
    assert "INFO" not in capfd.readouterr().err
    with distributed.LocalCluster(1, dashboard_address=None) as cluster:
        target = volume.with_name("d.ome.zarr")
        address = ["--scheduler", cluster.scheduler_address]
        assert _run([*command[:2], str(target), *command[2:], *address]) == 0
    found = tree(target)
    found.pop("zarr.json")
    assert found == reference
    assert children() <= before


def test_processes_of_this_machine_say_nothing_when_all_is_well(volume: Path) -> None:
    """Sixty lines of a library's log, one a traceback, looked as if the job had failed."""
    pytest.importorskip("distributed")
    program = Path(sys.executable).with_name("superres")
    words = ["upscale", str(volume), "-m", "lanczos", "-q", "--cluster", "local:2"]
    with socket.socket() as other:  # somebody else's dask
        with suppress(OSError):
            other.bind(("127.0.0.1", 8787))
        run = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_a_scheduler_that_does_not_answer(
    volume: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slip in the address is said at once, with what to do."""
    monkeypatch.setattr("napari_superres.job.workers.PATIENCE", 1.0)
    arguments = ["--scheduler", "tcp://127.0.0.1:9"]
    assert _run(["upscale", str(volume), "-m", "lanczos", "-q", *arguments]) == 2
    assert "No dask scheduler answers" in capsys.readouterr().err


def test_a_plan_tells_what_it_needs_of_the_machine_and_refuses_what_it_has_not(
    volume: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the weekend, not on Sunday: workers, memory and disk."""
    words = ["plan", str(volume), "-m", "lanczos", "-s", "4"]
    assert _run([*words, "--workers", "3"]) == 0
    told = capsys.readouterr().out
    assert "3 at a time" in told
    assert "disk        at least" in told
    monkeypatch.setattr("napari_superres.resources.free_memory", lambda: 10**6)
    for command in (words, ["upscale", *words[1:]]):
        assert _run(command) == 6
        assert "of memory" in capsys.readouterr().err
    assert [path.name for path in volume.parent.iterdir()] == [volume.name]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nobody_is_left_behind_when_the_driver_is_stopped(
    tmp_path: Path, how: signal.Signals
) -> None:
    """Orphans would keep GPUs busy all night; and the rerun ends at the same bytes."""
    pixels = np.asarray(stack((4, 600, 700)).data)
    source = make_image(tmp_path / "in.ome.zarr", [pixels], chunks=(1, 200, 200))
    words = ["upscale", str(source), str(tmp_path / "a.ome.zarr"), "-m", "microscopy-x4", "-q"]
    program = Path(sys.executable).with_name("superres")
    with subprocess.Popen([program, *words, "--cluster", "local:2"]) as driver:
        manifest = part_of(tmp_path / "a.ome.zarr") / "manifest.jsonl"
        deadline = time.monotonic() + 200
        while not (manifest.exists() and manifest.read_bytes().count(b"\n") >= 2):
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        workers = psutil.Process(driver.pid).children(recursive=True)
        assert len(workers) >= 2
        driver.send_signal(how)
        assert driver.wait(60) == (130 if how == signal.SIGINT else -how)
    gone, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
    assert len(gone) == len(workers)
    assert not (tmp_path / "a.ome.zarr").exists()
    assert _run(words) == 0
    reference = tmp_path / "b.ome.zarr"
    assert _run([*words[:2], str(reference), *words[3:]]) == 0
    found, expected = tree(tmp_path / "a.ome.zarr"), tree(reference)
    assert found | {"zarr.json": ""} == expected | {"zarr.json": ""}
