"""Verification reads everything; status reads nothing but the job's own files."""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_superres.cli import _run
from napari_superres.errors import IncompleteError, OutputError, UnreadableError
from napari_superres.job import Verified, run, status, verify, write
from tests.job.conftest import part_of, stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("small_blocks")


def verdict(path: Path) -> Verified:
    """Read a result again and return what was said last."""
    return list(verify(path, workers=2))[-1]


def files_of(path: Path) -> list[Path]:
    """Return all files of a result."""
    return sorted(p for p in path.rglob("*") if p.is_file())


def test_a_sound_result_is_sound(tmp_path: Path) -> None:
    """Nobody believes an alarm that rings each day."""
    path = write(stack(), tmp_path / "a.ome.zarr")
    found = verdict(path)
    assert (found.faults, found.notes) == ((), ())
    # 27 shards at each of the four levels of the first pass, 3 at the two of the second.
    assert found.done == found.total == 4 * 27 + 2 * 3


def test_two_hundred_of_two_hundred_flipped_bits_are_found(tmp_path: Path) -> None:
    """Disks and copies flip bits; the codec alone lets 195 of 200 through."""
    path = write(stack((1, 70, 40)), tmp_path / "a.ome.zarr")
    files = files_of(path)
    ends = np.cumsum([file.stat().st_size for file in files])
    dice = np.random.default_rng(0)
    for number in range(200):
        # Half of them anywhere, in proportion to size; half in each file in turn, the small ones
        # with metadata among them.
        at = int(dice.integers(ends[-1]))
        which = int(np.searchsorted(ends, at, "right")) if number % 2 else number // 2 % len(files)
        content = bytearray(files[which].read_bytes())
        at = int(dice.integers(len(content)))
        content[at] ^= 1 << int(dice.integers(8))
        kept = files[which].read_bytes()
        files[which].write_bytes(content)
        assert is_found(path), f"byte {at} of {files[which].relative_to(path)}"
        files[which].write_bytes(kept)
    assert not is_found(path)


def is_found(path: Path) -> bool:
    """Return whether a result is found to be damaged."""
    try:
        return bool(verdict(path).faults)
    except UnreadableError:
        return True


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "of another plane"])
def test_a_file_that_is_not_whole_is_named(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Zarr itself reads missing and empty files as zeros, without a word."""
    path = write(stack(), tmp_path / "a.ome.zarr")
    shard = path / "2" / "c" / "1" / "0" / "1"
    if damage == "gone":
        shard.unlink()
    elif damage == "empty":
        shard.write_bytes(b"")
    elif damage == "cut":
        shard.write_bytes(shard.read_bytes()[:-5])
    else:
        (path / "2" / "zarr.json").write_bytes((path / "1" / "zarr.json").read_bytes())
        shard = path / "2" / "zarr.json"
    assert _run(["verify", str(path)]) == 4
    told = capsys.readouterr()
    assert str(shard) in told.out
    assert "damaged" in told.err


def test_other_files_are_read_as_far_as_they_allow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what they do not allow is said: no false sense of safety."""
    old = write(stack(), tmp_path / "old.ome.zarr", ome_zarr="0.4")
    assert _run(["verify", str(old)]) == 0
    assert "no checksums of pixels" in capsys.readouterr().err
    next(old.rglob("0/0/0/0")).unlink()
    assert _run(["verify", str(old), "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["sound"] is False
    tiff = write(stack((2, 600, 600)), tmp_path / "a.ome.tif")
    assert _run(["verify", str(tiff)]) == 0
    content = bytearray(tiff.read_bytes())
    content[2000] ^= 4  # in the first tile; the plane of zeros has flips without consequence
    tiff.write_bytes(content)
    assert _run(["verify", str(tiff)]) == 4
    plain = tmp_path / "plain.btf"
    tifffile.imwrite(plain, np.ones((64, 64), np.uint16), photometric="minisblack")
    capsys.readouterr()
    assert _run(["verify", str(plain)]) == 0
    assert "Others and the tags have none" in capsys.readouterr().err


def test_what_is_not_finished_is_not_verified(tmp_path: Path) -> None:
    """Sound so far is not sound."""
    path = tmp_path / "a.ome.zarr"
    stopped(path, 5)
    with pytest.raises(IncompleteError, match="superres status"):
        verify(path)


def stopped(path: Path, blocks: int, **options: Any) -> None:
    """Run a job until so many blocks are done."""
    steps = run(stack(**options), path, workers=1)
    while next(steps).done < blocks:
        pass
    steps.close()


def test_status_follows_a_job_from_begin_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the desk one sees how far the weekend's job is."""
    path = tmp_path / "a.ome.zarr"
    with pytest.raises(OutputError, match="nobody has begun"):
        status(path)
    steps = run(stack(), path, workers=1)
    while next(steps).done < 10:
        pass
    found = status(path)
    assert (found.state, found.done, found.total) == ("running", 10, 30)
    assert found.nbytes > 1000
    assert [(own.process, own.host) for own in found.holders] == [
        (os.getpid(), socket.gethostname())
    ]
    assert _run(["status", str(path)]) == 0
    assert "10 of 30 (33%)" in capsys.readouterr().out
    steps.close()
    assert status(path).state == "stopped"
    assert _run(["status", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["state"], report["done"], report["holders"]) == ("stopped", 10, [])
    write(stack(), path)
    assert status(path).state == "finished"


def test_status_of_a_job_that_ends_while_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks in a loop gets a traceback at the end: the list was swept away."""
    path = tmp_path / "a.ome.zarr"
    stopped(path, 5)
    module = sys.modules[status.__module__]  # the package's name for it is the function's
    read = module.read_entries

    def end(place: Path) -> Iterator[dict[str, Any]]:
        write(stack(), path)
        return read(place)

    monkeypatch.setattr(module, "read_entries", end)
    assert status(path).state == "finished"


def test_status_lists_what_failed_until_it_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The list of failed blocks, without a search in log files."""
    path = tmp_path / "a.ome.zarr"
    with pytest.raises(IncompleteError):
        write(stack(poison=(2, 70, 10)), path)
    assert status(path).failed == ("z=2, y=64:128, x=0:64: this pixel is cursed",)
    assert _run(["status", str(path)]) == 0
    assert "failed      z=2" in capsys.readouterr().out
    stopped(path, 28)
    assert status(path).failed == ()


def test_status_adds_up_the_parts(tmp_path: Path) -> None:
    """Sixty-four logs tell nothing; one line does."""
    path = tmp_path / "a.ome.zarr"
    list(run(stack(), path, part="2/3"))
    steps = run(stack(), path, part="1/3", workers=1)
    while next(steps).done < 4:
        pass
    found = status(path)
    assert (found.done, found.total, len(found.holders)) == (13, 30, 1)
    steps.close()


def test_time_left_is_that_of_the_newest_blocks(tmp_path: Path) -> None:
    """A job that was stopped overnight does not get slower by it."""
    path = tmp_path / "a.ome.zarr"
    steps = run(stack(), path, workers=1)
    while next(steps).done < 10:
        pass
    manifest = part_of(path) / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for number, line in enumerate(lines[1:]):
        line["t"] = 1000 + 5 * number
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert status(path).seconds_left == 20 * 5
    steps.close()
