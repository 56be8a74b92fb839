"""Killed, torn, flipped, full: whatever happens, running again ends at the same bytes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from napari_superres.errors import OutputError, ResourceError
from napari_superres.formats import ome_zarr_layout, ome_zarr_write, pyramid
from napari_superres.formats.ome_zarr import open_image
from napari_superres.image import Image
from napari_superres.job import run, write
from napari_superres.job.lock import STALE_SECONDS
from tests.job.conftest import part_of, shards_in, stack, tree

pytestmark = pytest.mark.usefixtures("small_blocks")


def interrupted(path: Path, blocks: int, image: Image | None = None, **options: Any) -> Path:
    """Run a job until so many blocks are done, stop it, and return its folder."""
    steps = run(image or stack(), path, workers=1, **options)
    while next(steps).done < blocks:
        pass
    steps.close()
    return part_of(path)


@pytest.fixture
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hash every file of a result that was never interrupted."""
    return tree(write(stack(), tmp_path_factory.mktemp("reference") / "a.ome.zarr"))


def finished(path: Path, reference: dict[str, str], **options: Any) -> int:
    """Finish a job, check its bytes, and return how many blocks it had kept."""
    steps = list(run(stack(), path, **options))
    assert tree(path) == reference
    assert not part_of(path).exists()
    return steps[-1].kept


@pytest.mark.parametrize("damage", ["nothing", "empty", "cut", "flipped", "gone", "older"])
def test_what_was_done_is_kept_and_what_is_damaged_done_again(
    tmp_path: Path, reference: dict[str, str], damage: str
) -> None:
    """After a power failure a file may be empty, shorter or wrong, whatever the list says."""
    path = tmp_path / "a.ome.zarr"
    interrupted(path, 6)
    shard = shards_in(path)[1]
    data = bytearray(shard.read_bytes())
    if damage == "empty":
        shard.write_bytes(b"")
    elif damage == "cut":
        shard.write_bytes(data[:-3])
    elif damage == "flipped":
        data[7] ^= 16
        shard.write_bytes(data)
    elif damage == "gone":
        shard.unlink()
    elif damage == "older":
        shard.write_bytes(shards_in(path)[2].read_bytes())
    kept = finished(path, reference)
    assert kept == (6 if damage == "nothing" else 5)


def test_the_list_may_be_cut_at_any_byte(tmp_path: Path, reference: dict[str, str]) -> None:
    """A crash while a line is written leaves half of it."""
    path = tmp_path / "a.ome.zarr"
    part = interrupted(path, 5)
    saved = tmp_path / "saved"
    shutil.copytree(part, saved)
    size = (part / "manifest.jsonl").stat().st_size
    for length in (0, 1, 20, size // 2, size - 30, size - 1, size):
        shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(saved, part)
        os.truncate(part / "manifest.jsonl", length)
        assert finished(path, reference) <= 5


def test_a_lost_list_means_to_start_again(tmp_path: Path, reference: dict[str, str]) -> None:
    """Without it nobody knows which file is whole."""
    path = tmp_path / "a.ome.zarr"
    (interrupted(path, 5) / "manifest.jsonl").unlink()
    assert finished(path, reference) == 0


def test_rubbish_in_the_list_counts_for_nothing(tmp_path: Path, reference: dict[str, str]) -> None:
    """A line from another world must not mark a block as done."""
    path = tmp_path / "a.ome.zarr"
    with (interrupted(path, 5) / "manifest.jsonl").open("a") as file:
        for line in ('{"p":0,"k":9999,"f":[]}', '{"p":9,"k":0,"f":[[1,1]]}', "[1]", "null", "\0\0"):
            file.write(line + "\n")
        file.write(
            '{"p":"x","k":0,"f":[[1,2]]}\n{"p":0,"k":29,"f":[[1,1],[1,1],[1,1],[1,1]]}\n{"p":'
        )
    assert finished(path, reference) == 5


@pytest.mark.parametrize("content", ["{}\n", "hello\n", '{"job": "napari-superres job 99"}\n'])
def test_a_foreign_list_is_refused(tmp_path: Path, content: str) -> None:
    """A list of another version could be misunderstood."""
    path = tmp_path / "a.ome.zarr"
    (interrupted(path, 5) / "manifest.jsonl").write_text(content)
    with pytest.raises(OutputError, match="not a list of blocks"):
        write(stack(), path)


def test_other_settings_are_refused_and_named(tmp_path: Path, reference: dict[str, str]) -> None:
    """Blocks of two models in one picture would be worse than no picture."""
    path = tmp_path / "a.ome.zarr"
    interrupted(path, 3)
    before = tree(tmp_path)
    with pytest.raises(OutputError, match=r"layout\.ome_zarr was \"0\.5\", is \"0\.4\""):
        write(stack(), path, ome_zarr="0.4")
    with pytest.raises(OutputError, match=r"layout\.shape was \[3, 150, 170\], is \[4, 150, 170\]"):
        write(stack((4, 150, 170)), path)
    other = Image(stack().data + np.uint16(1), "zyx")
    with pytest.raises(OutputError, match="pixels was"):
        write(other, path)
    assert tree(tmp_path) == before
    assert finished(path, reference) == 3


def test_overwrite_starts_anew_with_other_settings(tmp_path: Path) -> None:
    """The way out of an unfinished job that nobody wants any more."""
    path = tmp_path / "a.ome.zarr"
    interrupted(path, 3)
    other = stack((4, 150, 170))
    write(other, path, overwrite=True)
    np.testing.assert_array_equal(open_image(str(path)).data.compute(), other.data.compute())


def test_a_full_disk_ends_the_run_and_loses_nothing(
    tmp_path: Path, reference: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Make space, run again."""
    path = tmp_path / "a.ome.zarr"
    place = ome_zarr_write.place_file
    written = []

    def full(parts: Any, name: Path, scratch: Path) -> None:
        written.append(name)
        if len([w for w in written if w.suffix != ".json"]) > 25:
            (scratch / "half").write_bytes(parts[0][:9])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        place(parts, name, scratch)

    with monkeypatch.context() as patch:
        patch.setattr(ome_zarr_write, "place_file", full)
        with pytest.raises(ResourceError, match="disk is full") as caught:
            write(stack(), path, workers=2)
    assert caught.value.exit_code == 6
    assert not path.exists()
    assert finished(path, reference) >= 5


LONG_JOB = """
    import signal
    import sys
    from pathlib import Path
    from napari_superres.formats import ome_zarr_layout, pyramid
    from napari_superres.job import write
    from tests.job.conftest import stack
    if __name__ == "__main__":
        # A shell takes it away from what it starts in the background, tests included.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        ome_zarr_layout.BLOCK, ome_zarr_layout.CHUNK, pyramid.SMALLEST_SIDE = 64, 16, 8
        write(stack(seconds=float(sys.argv[2])), Path(sys.argv[1]), workers=2)
"""


def started(path: Path, seconds: float, folder: Path) -> subprocess.Popen[bytes]:
    """Start a job in a process of its own."""
    script = folder / "long_job.py"
    script.write_text(textwrap.dedent(LONG_JOB))
    here = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([here, *sys.path])}
    return subprocess.Popen(
        [sys.executable, str(script), str(path), str(seconds)], env=environment, cwd=here
    )


def lines_of(part: Path) -> int:
    """Return how many lines the list of an unfinished result has."""
    try:
        return (part / "manifest.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def killed(path: Path, blocks: int, folder: Path, seconds: float = 0.05) -> None:
    """Start a job and kill it, without any chance to tidy up, after so many more blocks."""
    wanted = lines_of(part_of(path)) + blocks
    process = started(path, seconds, folder)
    try:
        deadline = time.monotonic() + 60
        while lines_of(part_of(path)) < max(wanted, 1 + blocks) and process.poll() is None:
            assert time.monotonic() < deadline
            assert not path.exists(), "never before it is complete"
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()


def test_killed_and_killed_again_it_ends_at_the_same_bytes(
    tmp_path: Path, reference: dict[str, str]
) -> None:
    """Queues preempt, machines reboot: kill -9 twice, then let it finish."""
    path = tmp_path / "a.ome.zarr"
    for blocks in (2, 5):
        killed(path, blocks, tmp_path)
        assert not path.exists()
        assert part_of(path).exists()
    assert finished(path, reference) >= 6


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_second_writer_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    """Two runs of one command, on one machine: the second says so and changes nothing."""
    path = tmp_path / "a.ome.zarr"
    process = started(path, 1.0, tmp_path)
    try:
        while lines_of(part_of(path)) < 2:
            assert process.poll() is None
            time.sleep(0.01)
        with pytest.raises(OutputError, match=f"process {process.pid}"):
            write(stack(), path)
        with pytest.raises(OutputError, match="being written already"):
            write(stack(), path, overwrite=True)
        process.send_signal(signal.SIGINT)
        process.wait(10)
    finally:
        process.kill()
        process.wait()
    write(stack(), path)


def test_the_same_process_cannot_write_twice(tmp_path: Path) -> None:
    """Two windows of one program."""
    path = tmp_path / "a.ome.zarr"
    steps = run(stack(), path)
    next(steps)
    with pytest.raises(OutputError, match="being written already"):
        write(stack(), path)
    assert [step.done for step in steps][-1] == 30


def test_a_lock_of_another_machine_counts_as_long_as_it_is_refreshed(tmp_path: Path) -> None:
    """Network file systems do not show each other's locks, only each other's files."""
    path = tmp_path / "a.ome.zarr"
    lock = interrupted(path, 3) / "lock"
    lock.write_text(json.dumps({"token": "x", "host": "node7", "process": 42, "since": "noon"}))
    with pytest.raises(OutputError, match="process 42 on node7 since noon"):
        write(stack(), path)
    old = time.time() - STALE_SECONDS - 5
    os.utime(lock, (old, old))
    write(stack(), path)


def test_a_job_that_was_taken_over_stops(tmp_path: Path) -> None:
    """A machine that slept wakes up, and another one has gone on meanwhile."""
    path = tmp_path / "a.ome.zarr"
    steps = run(stack(), path, workers=1)
    next(steps)
    (part_of(path) / "lock").write_text(json.dumps({"token": "x", "host": "node7"}))
    with pytest.raises(OutputError, match="taken over"):
        list(steps)
    assert not path.exists()


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_a_crash_while_the_result_gets_its_name(
    tmp_path: Path, reference: dict[str, str], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """An older result is either still there or replaced, after the next run at the latest."""
    path = tmp_path / "a.ome.zarr"
    write(stack((1, 80, 80)), path)
    older = tree(path)
    rename = os.rename

    class CrashError(BaseException):
        """As sudden as a power cut."""

    def crash(source: Path, target: Path) -> None:
        if moment == "before" and Path(target).name == "old":
            raise CrashError
        if moment == "between" and Path(target) == path:
            raise CrashError
        rename(source, target)
        if moment == "after" and Path(target) == path:
            raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", crash)
        with pytest.raises(CrashError):
            write(stack(), path, overwrite=True)
    if moment == "after":
        with pytest.raises(OutputError, match="exists already"):
            run(stack(), path)
        assert tree(path) == reference
        assert not part_of(path).exists()
        return
    with pytest.raises(OutputError, match="exists already"):
        run(stack(), path)
    assert tree(path) == older
    assert finished(path, reference, overwrite=True) == 30


def snapshot(folder: Path, copy: Path) -> None:
    """Copy a folder in which others are at work; what vanishes meanwhile is not in the copy."""
    for parent, _, names in os.walk(folder):
        there = copy / Path(parent).relative_to(folder)
        there.mkdir(parents=True, exist_ok=True)
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                shutil.copy2(Path(parent, name), there / name)


class Story(RuleBasedStateMachine):
    """Any sequence of misfortunes, and then a run to the end."""

    def __init__(self) -> None:
        super().__init__()
        self.saved = (ome_zarr_layout.BLOCK, ome_zarr_layout.CHUNK, pyramid.SMALLEST_SIDE)
        ome_zarr_layout.BLOCK, ome_zarr_layout.CHUNK, pyramid.SMALLEST_SIDE = 64, 16, 8
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "a.ome.zarr"
        self.part = part_of(self.path)
        self.image = stack((2, 150, 170))

    @rule(blocks=st.integers(1, 15), workers=st.integers(1, 3))
    def run_and_die(self, blocks: int, workers: int) -> None:
        """Compute some blocks, and keep what a dead process would leave: the lock, half files."""
        if self.path.exists():
            return
        steps = run(self.image, self.path, workers=workers)
        dead = self.folder / "dead"
        try:
            for step in steps:
                if step.done - step.kept >= blocks:
                    break
            if self.part.exists():
                snapshot(self.part, dead)
        finally:
            steps.close()
        if dead.exists():
            shutil.rmtree(self.part, ignore_errors=True)
            shutil.rmtree(self.path, ignore_errors=True)
            dead.rename(self.part)
            (self.part / "scratch").mkdir(exist_ok=True)
            (self.part / "scratch" / "half").write_bytes(b"half a file")

    @rule(
        which=st.floats(0, 0.999),
        where=st.floats(0, 0.999),
        bit=st.integers(0, 7),
        kind=st.sampled_from(["flip", "cut", "empty", "gone"]),
    )
    def corrupt_a_file(self, which: float, where: float, bit: int, kind: str) -> None:
        """Change a block behind the job's back."""
        shards = shards_in(self.path)
        if not shards:
            return
        shard = shards[int(which * len(shards))]
        content = bytearray(shard.read_bytes())
        at = int(where * len(content))
        if kind == "gone":
            shard.unlink()
        elif kind == "empty" or not content:
            shard.write_bytes(b"")
        elif kind == "cut":
            shard.write_bytes(content[:at])
        else:
            content[at] ^= 1 << bit
            shard.write_bytes(content)

    @rule(where=st.floats(0, 1))
    def truncate_the_list(self, where: float) -> None:
        """Cut the list of blocks anywhere."""
        if not (self.part / "manifest.jsonl").exists():
            return
        size = (self.part / "manifest.jsonl").stat().st_size
        os.truncate(self.part / "manifest.jsonl", int(where * size))

    @rule(writes=st.integers(0, 40))
    def fill_the_disk(self, writes: int) -> None:
        """Run until the disk is full, if there is so much left to write."""
        if self.path.exists():
            return
        place, left = ome_zarr_write.place_file, [writes]

        def full(*arguments: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "full")
            place(*arguments)

        ome_zarr_write.place_file = full
        try:
            write(self.image, self.path)
        except ResourceError:
            assert not self.path.exists()
        finally:
            ome_zarr_write.place_file = place

    @invariant()
    def nothing_unfinished_carries_the_name(self) -> None:
        """Compare what has the name, which is complete."""
        if self.path.exists():
            self.compare()

    def compare(self) -> None:
        """Compare every byte with a run without misfortunes."""
        clean = self.folder / "clean.ome.zarr"
        if not clean.exists():
            write(self.image, clean)
        assert tree(self.path) == tree(clean)

    def teardown(self) -> None:
        """Run to the end."""
        try:
            if not self.path.exists():
                write(self.image, self.path)
            self.compare()
        finally:
            ome_zarr_layout.BLOCK, ome_zarr_layout.CHUNK, pyramid.SMALLEST_SIDE = self.saved
            shutil.rmtree(self.folder)


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=6, stateful_step_count=6, deadline=None)


@pytest.mark.slow
@pytest.mark.timeout(3600)
class TestLongStory(Story.TestCase):  # type: ignore[misc, name-defined]
    """The same with many more examples."""

    settings = settings(max_examples=60, stateful_step_count=12, deadline=None)
