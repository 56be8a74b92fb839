"""Parts of a job: as in a job array, in any order, at the same time, killed and run again."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_superres as sr
from napari_superres.errors import IncompleteError, OutputError, SettingError
from napari_superres.formats.ome_zarr import open_image
from napari_superres.job import Progress, exporting, run, write
from napari_superres.job.parts import Part, parse_part
from tests.job.conftest import part_of, shards_in, snapshot, stack, tree

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.fixture
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hash every file of a result that one run made."""
    return tree(write(stack(), tmp_path_factory.mktemp("reference") / "a.ome.zarr"))


def ran(path: Path, part: str, **options: Any) -> Progress:
    """Run one part to its end, and return what it said last."""
    return list(run(stack(**options), path, part=part))[-1]


@given(count=st.integers(1, 40), total=st.integers(0, 200))
def test_every_block_is_in_one_part(count: int, total: int) -> None:
    """A block in none would be missing; one in two would be computed twice."""
    parts = [Part(number, count).places(total) for number in range(1, count + 1)]
    assert [place for part in parts for place in part] == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(count=st.integers(1, 40), rows=st.integers(0, 40), together=st.integers(1, 9))
def test_what_is_computed_together_is_in_one_part(count: int, rows: int, together: int) -> None:
    """Each of four machines would restore a whole plane for its quarter of it."""
    parts = [
        Part(number, count).places(rows * together, together) for number in range(1, count + 1)
    ]
    assert [place for part in parts for place in part] == list(range(rows * together))
    assert all(part.start % together == part.stop % together == 0 for part in parts)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "-1/3", "1/0", "1/3/5", ""])
def test_what_is_no_part_is_refused(tmp_path: Path, text: str) -> None:
    """An array that counts from 0 would leave out its last part."""
    with pytest.raises(SettingError, match="not a part of a job"):
        run(stack(), tmp_path / "a.ome.zarr", part=text)
    assert parse_part("3/64") == Part(3, 64)


def test_parts_in_any_order_make_the_same_bytes(tmp_path: Path, reference: dict[str, str]) -> None:
    """A queue starts them as it likes; the last one finishes, whichever that is."""
    path = tmp_path / "a.ome.zarr"
    assert [ran(path, part).elsewhere for part in ("3/4", "1/4", "4/4")] == [3, 2, 1]
    assert not path.exists()
    assert ran(path, "2/4").elsewhere == 0
    assert tree(path) == reference
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_parts_at_the_same_time_make_the_same_bytes(
    tmp_path: Path, reference: dict[str, str]
) -> None:
    """All nodes begin in the same second, and several may end in the same second."""
    path = tmp_path / "a.ome.zarr"
    with ThreadPoolExecutor(6) as nodes:
        ended = list(nodes.map(lambda number: ran(path, f"{number}/6"), range(1, 7)))
    assert min(step.elsewhere for step in ended) == 0
    assert tree(path) == reference
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_more_parts_than_blocks(tmp_path: Path) -> None:
    """A small file in a script that is made for large ones."""
    path, image = tmp_path / "a.ome.zarr", stack((1, 90, 100))
    for number in range(1, 10):
        write(image, path, part=f"{number}/9")
    assert tree(path) == tree(write(image, tmp_path / "whole.ome.zarr"))


def test_a_part_that_was_killed_goes_on(tmp_path: Path, reference: dict[str, str]) -> None:
    """A preempted task of an array is queued again, with the same number."""
    path = tmp_path / "a.ome.zarr"
    ran(path, "1/2")
    steps = run(stack(), path, part="2/2", workers=1)
    while next(steps).done < 4:
        pass
    dead = tmp_path / "dead"
    snapshot(part_of(path), dead)
    steps.close()
    shutil.rmtree(part_of(path))
    dead.rename(part_of(path))
    last = list(run(stack(), path, part="2/2"))[-1]
    assert last.kept >= 4
    assert tree(path) == reference


def test_what_another_number_of_parts_has_left_is_not_done_again(
    tmp_path: Path, reference: dict[str, str]
) -> None:
    """Fewer nodes are free on Sunday."""
    path = tmp_path / "a.ome.zarr"
    ran(path, "2/3")
    kept = [ran(path, part).kept for part in ("1/2", "2/2")]
    assert sum(kept) == 9
    assert tree(path) == reference


def test_one_run_can_do_the_rest(tmp_path: Path, reference: dict[str, str]) -> None:
    """The array has ended with holes; somebody finishes it by hand."""
    path = tmp_path / "a.ome.zarr"
    ran(path, "1/3")
    ran(path, "3/3")
    assert list(run(stack(), path))[-1].kept == 18
    assert tree(path) == reference


def test_a_block_that_fails_in_a_part_is_missed_at_the_end(
    tmp_path: Path, reference: dict[str, str]
) -> None:
    """Nothing calls itself done while a block is missing, and the code says 'incomplete'."""
    path = tmp_path / "a.ome.zarr"
    with pytest.raises(IncompleteError, match="1 of 14 blocks"):
        ran(path, "2/2", poison=(2, 70, 10))
    assert ran(path, "1/2").elsewhere == 1
    with pytest.raises(IncompleteError, match=r"1 of 27 blocks .* not done") as caught:
        ran(path, "finish")
    assert caught.value.exit_code == 3
    assert not path.exists()
    assert ran(path, "2/2").kept == 13
    assert tree(path) == reference


def test_the_end_can_be_run_by_itself(tmp_path: Path, reference: dict[str, str]) -> None:
    """When the last part died just before the end, nothing is left to compute."""
    path = tmp_path / "a.ome.zarr"
    ran(path, "1/2")
    steps = run(stack(), path, part="2/2")
    while next(steps).done < 14:
        pass
    steps.close()
    assert not path.exists()
    assert list(run(stack(), path, part="finish"))[-1].total == 0
    assert tree(path) == reference


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_files_of_other_parts_are_looked_at_before_the_end(
    tmp_path: Path, reference: dict[str, str], damage: str
) -> None:
    """The disk of the first day may have lost a file by the third."""
    path = tmp_path / "a.ome.zarr"
    ran(path, "1/2")
    shard = shards_in(path)[0]
    if damage == "cut":
        shard.write_bytes(shard.read_bytes()[:-1])
    else:
        shard.unlink()
    ran(path, "2/2")
    assert tree(path) == reference


def test_a_part_at_work_excludes_itself_and_whole_runs_but_no_other_part(
    tmp_path: Path, reference: dict[str, str]
) -> None:
    """The same task queued twice would waste a node; two whole runs would fight."""
    path = tmp_path / "a.ome.zarr"
    steps = run(stack(), path, part="1/2", workers=1)
    next(steps)
    for refused in (
        {"part": "1/2"},
        {},
        {"overwrite": True},
    ):
        with pytest.raises(OutputError, match="being written already"):
            write(stack(), path, **refused)
    assert ran(path, "2/2").elsewhere == 1
    assert list(steps)[-1].elsewhere == 0
    assert tree(path) == reference


def test_a_whole_run_at_work_excludes_parts(tmp_path: Path, reference: dict[str, str]) -> None:
    """They would compute the same blocks."""
    path = tmp_path / "a.ome.zarr"
    steps = run(stack(), path, workers=1)
    next(steps)
    with pytest.raises(OutputError, match="being written already"):
        ran(path, "1/2")
    list(steps)
    assert tree(path) == reference


def test_parts_with_other_settings_are_refused_and_overwrite_starts_anew(tmp_path: Path) -> None:
    """One node with an old environment must not spoil the result of sixty-three."""
    path = tmp_path / "a.ome.zarr"
    ran(path, "1/2")
    other = stack((4, 150, 170))
    with pytest.raises(OutputError, match=r"layout\.shape was \[3, 150, 170\]"):
        write(other, path, part="2/2")
    at_work = run(stack(), path, part="2/2", workers=1)
    next(at_work)
    with pytest.raises(OutputError, match="being written already"):
        write(other, path, part="1/2", overwrite=True)
    at_work.close()
    for part in ("1/2", "2/2"):
        write(other, path, part=part, overwrite=True)
    np.testing.assert_array_equal(open_image(str(path)).data.compute(), other.data.compute())


def test_a_part_never_replaces_a_result_unasked(tmp_path: Path) -> None:
    """A task that is queued again after all is done finds the result there."""
    path = tmp_path / "a.ome.zarr"
    ran(path, "1/1")
    before = tree(tmp_path)
    with pytest.raises(OutputError, match="exists already"):
        ran(path, "1/1")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["a.ome.zarr", "a.ome.tif"])
def test_what_is_over_is_over_for_every_part(tmp_path: Path, name: str) -> None:
    """The script of the how-to ends with 'finish', which the last part has done already."""
    path = tmp_path / name
    image = sr.upscale(stack((2, 60, 70)), "nearest")
    for part in ("1/2", "2/2"):
        write(image, path, part=part)
    before = path.stat().st_mtime_ns
    for part in ("finish", "1/2", "2/2"):
        (step,) = run(image, path, part=part)
        assert (step.done, step.kept, step.elsewhere) == (step.total, step.total, 0)
    assert path.stat().st_mtime_ns == before
    assert [p.name for p in tmp_path.iterdir()] == [name]
    with pytest.raises(OutputError, match="made with other settings: model"):
        run(sr.upscale(stack((2, 60, 70)), "bicubic"), path, part="finish")
    with pytest.raises(OutputError, match="exists already"):
        run(image, path)


def test_nobody_waits_for_a_part_that_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large TIFF is exported for an hour: the other nodes are given back meanwhile."""
    monkeypatch.setattr(exporting, "LOOK_SECONDS", 0.001)  # ours takes no quarter of a second
    path = tmp_path / "a.ome.tif"
    last = run(stack(), path, part="1/2", workers=1)
    while next(last).done < 13:
        pass
    ran(path, "2/2")
    while next(last).step != "exporting":
        pass
    assert json.loads((part_of(path) / "lock").read_text())["doing"] == "finishing"
    shutil.rmtree(part_of(path) / "lock.2-of-2", ignore_errors=True)
    with pytest.raises(OutputError, match="being written already"):
        ran(path, "2/2")
    assert list(last)[-1].elsewhere == 0
    assert path.exists()
