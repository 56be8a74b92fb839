"""A job from call to file: the same bytes whoever computes them, and a name only when complete."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
import sys
import threading
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest

import napari_superres as sr
from napari_superres.errors import (
    IncompleteError,
    InputError,
    OutputError,
    ResourceError,
    SettingError,
    UnreadableError,
)
from napari_superres.formats import zarr_array
from napari_superres.formats.decoded_cache import decoded
from napari_superres.formats.ome_zarr import open_image
from napari_superres.formats.ome_zarr_layout import layout_for
from napari_superres.formats.pyramid import coarser
from napari_superres.formats.zarr_array import ZarrArray
from napari_superres.image import Image
from napari_superres.job import Progress, run, verify, write
from napari_superres.job.destination import destination
from napari_superres.job.execution import Job
from tests.formats.zarr_files import make_image
from tests.job.conftest import part_of, shards_in, stack, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def drained(steps: Iterator[Progress]) -> list[Progress]:
    """Return all progress of a job."""
    return list(steps)


@pytest.mark.usefixtures("small_blocks")
def test_the_pyramid_of_blocks_equals_that_of_the_whole(tmp_path: Path) -> None:
    """Halved block by block, over two passes, levels must show no borders and no zeros."""
    image = stack()
    path = write(image, tmp_path / "a.ome.zarr", workers=3)
    expected = image.data.compute()
    stored = open_image(str(path))
    assert len(stored.levels) == 5
    assert stored.warnings == (), "the plane of zeros was written too"
    for level in (stored.data, *stored.levels):
        np.testing.assert_array_equal(level.compute(), expected)
        expected = coarser(expected)
    assert not part_of(path).exists()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_bytes_do_not_depend_on_the_number_of_threads(tmp_path: Path, version: Any) -> None:
    """A result made on a laptop equals that of a workstation, to the bit."""
    image = stack()
    one = write(image, tmp_path / "one.ome.zarr", workers=1, ome_zarr=version)
    four = write(image, tmp_path / "four.ome.zarr", workers=4, ome_zarr=version)
    assert tree(one) == tree(four)


def processes() -> Executor:
    """Return two workers in processes of their own, started as Windows and macOS start them."""
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


@pytest.mark.usefixtures("small_blocks")
def test_processes_write_the_same_bytes(tmp_path: Path) -> None:
    """Each GPU has a process of its own; their results must fit together."""
    image = stack((2, 150, 170))
    one = write(image, tmp_path / "one.ome.zarr", workers=1)
    with processes() as executor:
        many = write(image, tmp_path / "many.ome.zarr", executor=executor)
    assert tree(one) == tree(many)


@pytest.mark.usefixtures("small_blocks")
def test_a_cluster_computes_the_same(tmp_path: Path) -> None:
    """dask.distributed is the way to many machines; its executor is like any other."""
    distributed = pytest.importorskip("distributed")
    source = make_image(tmp_path / "in.ome.zarr", [np.asarray(stack().data)], chunks=(1, 50, 50))
    image = sr.upscale(open_image(str(source)), "nearest", scale=2)
    reference = tree(write(image, tmp_path / "one.ome.zarr", workers=1))
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        path = write(image, tmp_path / "many.ome.zarr", executor=client.get_executor())
    found = tree(path)
    assert found.keys() == reference.keys()
    assert found == reference


@pytest.mark.parametrize("name", ["a.ome.zarr", "a.ome.tif"])
def test_an_upscaled_image_is_written_as_it_computes(tmp_path: Path, name: str) -> None:
    """The file holds the very pixels that the lazy array shows, at the right place."""
    pixels = np.random.default_rng(0).integers(0, 4000, (2, 3, 40, 50)).astype(np.uint16)
    source = make_image(
        tmp_path / "in.ome.zarr", [pixels], "czyx", scales=[[1, 2, 0.4, 0.4]], chunks=(1, 1, 16, 16)
    )
    image = sr.upscale(sr.read(source), "lanczos", scale=4)
    path = sr.write(image, tmp_path / name)
    found = sr.read(path)
    assert found.axes == image.axes
    assert found.pixel_size[-2:] == (0.1, 0.1)
    assert found.history[-1]["model"] == "lanczos"
    np.testing.assert_array_equal(found.data.compute(), image.data.compute())
    assert not part_of(path).exists()
    if name.endswith("zarr"):
        level = sr.read(path, level=2)
        assert (level.pixel_size, level.translation) == ((1, 2, 0.4, 0.4), (0, 0, 0, 0))


def test_a_plane_becomes_a_png(tmp_path: Path) -> None:
    """For a slide or a poster; RGB as well."""
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    path = write(Image(da.from_array(pixels), "yxs"), tmp_path / "a.png")
    np.testing.assert_array_equal(sr.read(path).data.compute(), pixels)
    with pytest.raises(SettingError, match="one plane of 8 or 16 bits, not 3"):
        run(stack(), tmp_path / "b.png")


@pytest.mark.parametrize("name", ["a.ome.tif", "a.tif", "a.png", "a.ome.zarr"])
def test_colours_that_come_first_are_written_last(tmp_path: Path, name: str) -> None:
    """An OME-TIFF of them was written without a word, and could not be read."""
    pixels = np.random.default_rng(0).integers(0, 255, (3, 30, 40)).astype(np.uint8)
    found = sr.read(write(Image(da.from_array(pixels), "syx"), tmp_path / name))
    np.testing.assert_array_equal(found.data, np.moveaxis(pixels, 0, -1))


@pytest.mark.parametrize("what", [np.zeros((8, 8)), "cells.tif", ()])
def test_what_is_no_image_is_refused_in_words(what: Any, tmp_path: Path) -> None:
    """An array into `upscale` gives an array, and the next step is to write that."""
    with pytest.raises(InputError, match="written of an Image"):
        write(what, tmp_path / "a.tif")


@pytest.mark.usefixtures("small_blocks")
def test_progress_rises_to_the_end(tmp_path: Path) -> None:
    """A bar that jumps back is a bar that nobody believes."""
    steps = drained(run(stack(seconds=0.05), tmp_path / "a.ome.zarr", workers=2))
    assert (steps[0].done, steps[0].total) == (0, 30)
    assert (steps[-1].done, steps[-1].fraction) == (30, 1.0)
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert any(step.under_way > 0 for step in steps)
    assert {step.step for step in steps} == {"computing"}


def test_control_comes_back_while_a_block_takes_long(tmp_path: Path) -> None:
    """A network may take minutes a block; a window must be able to stop it at any moment."""
    steps = run(stack((1, 40, 40), seconds=1.5), tmp_path / "a.ome.zarr")
    assert len(drained(steps)) >= 4


@pytest.mark.usefixtures("small_blocks")
def test_closing_stops_promptly_and_keeps_what_is_done(tmp_path: Path) -> None:
    """Cancel means now, not after the block; and not all over again tomorrow."""
    path = tmp_path / "a.ome.zarr"
    before = set(threading.enumerate())
    steps = run(stack(seconds=3600, quick=6), path, workers=2)
    while next(steps).done < 3:
        pass
    steps.close()  # does not wait for a block, which takes an hour
    assert not any("superres" in thread.name for thread in set(threading.enumerate()) - before)
    assert not path.exists()
    resumed = drained(run(stack(), path))
    assert resumed[-1].kept >= 3
    reference = write(stack(), tmp_path / "b.ome.zarr")
    assert tree(path) == tree(reference) | {"zarr.json": tree(path)["zarr.json"]}


def test_cancelled_before_the_first_block_leaves_nothing(tmp_path: Path) -> None:
    """An empty folder of an unfinished job is litter."""
    steps = run(stack(seconds=5), tmp_path / "a.ome.zarr")
    next(steps)
    steps.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", ["a.ome.zarr", "a.ome.tif"])
def test_an_existing_result_is_replaced_only_by_a_complete_one(tmp_path: Path, name: str) -> None:
    """Yesterday's result must survive today's failure."""
    path = tmp_path / name
    write(stack(), path)
    before = tree(tmp_path)
    with pytest.raises(OutputError, match="exists already"):
        run(stack(), path)
    other = stack((4, 150, 170))
    poisoned = stack((4, 150, 170), poison=(2, 0, 0), error=UnreadableError("broken"))
    with pytest.raises(IncompleteError):
        write(poisoned, path, overwrite=True)
    assert before.items() <= tree(tmp_path).items()
    write(other, path, overwrite=True)
    np.testing.assert_array_equal(sr.read(path).data.compute(), other.data.compute())
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.ome.zarr", "a.ome.tif", "a.png"])
def test_a_folder_of_other_things_is_not_replaced(tmp_path: Path, name: str) -> None:
    """A whole folder of a user's files is deleted, because its name looks like that of an image."""
    path = tmp_path / name
    path.mkdir()
    (path / "notes.txt").write_text("a year's work")
    plane = Image(da.ones((8, 9), dtype="uint8"), "yx")
    with pytest.raises(OutputError, match="folder of something else"):
        write(plane, path, overwrite=True)
    (path / "notes.txt").unlink()  # an empty one is no loss
    write(plane, path, overwrite=True)
    np.testing.assert_array_equal(sr.read(path).data.compute(), plane.data.compute())


@pytest.mark.usefixtures("small_blocks")
def test_a_block_that_fails_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    """One bad chunk in a terabyte: the weekend is not lost, and the result is not called done."""
    path = tmp_path / "a.ome.zarr"
    with pytest.raises(IncompleteError, match="1 of 30 blocks") as caught:
        write(stack(poison=(2, 70, 10)), path)
    assert "z=2, y=64:128, x=0:64" in str(caught.value)
    assert "cursed" in str(caught.value)
    assert caught.value.exit_code == 3
    assert not path.exists()
    (last,) = drained(run(stack(), path))[-1:]
    assert last.kept == 26, "the second pass had not begun"
    np.testing.assert_array_equal(open_image(str(path)).data.compute(), stack().data.compute())


@pytest.mark.usefixtures("small_blocks")
def test_nothing_with_holes_gets_the_name(tmp_path: Path) -> None:
    """A pool that handed out no block at all gave an empty file the name of a result."""
    path, image = tmp_path / "a.ome.zarr", stack()
    job = Job(image, destination(path), layout_for(image))
    with ThreadPoolExecutor(2) as executor, pytest.raises(IncompleteError, match="30 of 30"):
        list(job.iterate(executor, -1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_blocks")
def test_what_fails_from_the_start_says_why(tmp_path: Path) -> None:
    """Thirty times the same sentence, and an exit code that says 'run again', would mislead."""
    image = stack(poison=(), error=UnreadableError("no page is readable"))
    with pytest.raises(UnreadableError, match="no page"):
        write(image, tmp_path / "a.ome.zarr")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_blocks")
def test_a_fault_of_the_moment_is_tried_again(tmp_path: Path) -> None:
    """Network file systems lose a read now and then."""
    seen = []

    def heal(block: np.ndarray) -> np.ndarray:
        seen.append(1)
        if len(seen) < 3:
            raise OSError("stale handle")
        return block

    image = Image(stack().data.map_blocks(heal, dtype="u2", name="healed"), "zyx")
    write(image, tmp_path / "a.ome.zarr", workers=1)
    np.testing.assert_array_equal(sr.read(tmp_path / "a.ome.zarr").data, stack().data)


def test_pixels_of_another_type_than_announced_are_refused(tmp_path: Path) -> None:
    """Silently cut to 16 bits they would wrap around."""
    liar = da.zeros((8, 8), dtype="u2").map_blocks(lambda b: b + 1e6, dtype="u2", name="liar")
    with pytest.raises(InputError, match="float64 instead of"):
        write(Image(liar, "yx"), tmp_path / "a.ome.zarr")


class TestRefusals:
    """Before anything is written, and with nothing on the disk changed."""

    def test_the_source_is_never_written_to(self, tmp_path: Path) -> None:
        """Dask writes zeros over its own input without an error."""
        source = make_image(tmp_path / "in" / "a.ome.zarr", [np.ones((8, 8), "u2")], "yx")
        (tmp_path / "link.ome.zarr").symlink_to(source)
        (tmp_path / "in.zarr").symlink_to(tmp_path / "in")
        image = open_image(str(source))
        before = tree(tmp_path)
        for path in (
            source,
            source / "b.ome.zarr",
            source / "0" / "b.zarr",
            tmp_path / "link.ome.zarr",
            tmp_path / "in.zarr",
            tmp_path / "in" / ".." / "in" / "a.ome.zarr",
        ):
            with pytest.raises(OutputError, match="source"):
                run(image, path, overwrite=True)
        assert tree(tmp_path) == before

    def test_the_source_is_known_by_another_name(self, tmp_path: Path) -> None:
        """A share that is mounted twice hides that a result goes into its own source."""
        source = make_image(tmp_path / "in" / "a.ome.zarr", [np.ones((8, 8), "u2")], "yx")
        alias = tmp_path / "alias"
        alias.mkdir()
        mount = ["unshare", "-rm", "sh", "-c", 'mount --bind "$0" "$1" && shift 1 && exec "$@"']
        mount += [str(source.parent), str(alias)]
        if not shutil.which("unshare") or subprocess.run([*mount, "true"], check=False).returncode:
            pytest.skip("nothing can be mounted here")
        code = "import sys, napari_superres as sr; sr.write(sr.read(sys.argv[1]), sys.argv[2])"
        before = tree(tmp_path)
        inside = str(alias / "a.ome.zarr" / "b.ome.zarr")
        done = subprocess.run(
            [*mount, sys.executable, "-c", code, str(source), inside],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "the source would be lost" in done.stderr
        assert tree(tmp_path) == before

    @pytest.mark.parametrize("name", ["a", "a.jpg", "a.zip", "a.ome"])
    def test_an_unknown_suffix(self, tmp_path: Path, name: str) -> None:
        """The user learns what can be written."""
        with pytest.raises(SettingError, match=r"ome\.zarr"):
            run(stack(), tmp_path / name)

    def test_no_workers(self, tmp_path: Path) -> None:
        """The wish would be forgotten in silence."""
        with pytest.raises(SettingError, match=r"workers=0 .* Use 1 or more"):
            run(sr.upscale(stack((1, 8, 8)), "nearest"), tmp_path / "a.ome.zarr", workers=0)
        with ThreadPoolExecutor(2) as executor, pytest.raises(SettingError, match="workers=-1"):
            run(stack(), tmp_path / "a.ome.zarr", executor=executor, workers=-1)
        with pytest.raises(SettingError, match="workers=-1"):
            verify(write(stack(), tmp_path / "a.ome.zarr"), workers=-1)

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        """A slip in a path must not make a new tree of folders."""
        with pytest.raises(OutputError, match="no folder"):
            run(stack(), tmp_path / "missing" / "a.ome.zarr")

    def test_an_address_that_takes_no_files(self) -> None:
        """A folder called https: would be made instead."""
        for url in ("https://example.org/a.ome.zarr", "s3://bucket/a.ome.tif"):
            with pytest.raises(SettingError, match="local folder"):
                run(stack(), url)

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        """Hours of computing must not end in 'permission denied'."""
        tmp_path.chmod(0o500)
        try:
            probe = tmp_path / "probe"
            try:
                probe.touch()
            except PermissionError:
                with pytest.raises(OutputError, match="permission denied"):
                    run(stack(), tmp_path / "a.ome.zarr")
            else:
                pytest.skip("this user may write anywhere")
        finally:
            tmp_path.chmod(0o700)

    def test_a_disk_that_is_too_small(self, tmp_path: Path) -> None:
        """Known before the weekend, not on Sunday."""
        image = Image(da.zeros((10**4, 10**6, 10**6), chunks=(1, 10**5, 10**5), dtype="u2"), "zyx")
        with pytest.raises(ResourceError, match=r"\d [kMGT]?B left") as caught:
            run(image, tmp_path / "a.ome.zarr")
        assert caught.value.exit_code == 6
        assert list(tmp_path.iterdir()) == []

    def test_types_that_the_format_does_not_have(self, tmp_path: Path) -> None:
        """Found out before the pixels are computed, not after."""
        image = Image(da.zeros((8, 8), dtype="i8"), "yx")
        with pytest.raises(InputError):
            run(image, tmp_path / "a.ome.tif")

    @pytest.mark.parametrize("name", ["thesis.txt", "images", "manifesto.md", "old photos"])
    def test_a_foreign_folder_in_the_way(self, tmp_path: Path, name: str) -> None:
        """Somebody's own folder of that name is not cleared, whatever lies in it."""
        stored = sr.read(write(stack(), tmp_path / "source.ome.zarr"))
        for path, image in ((tmp_path / "a.ome.zarr", stack()), (tmp_path / "b.ome.tif", stored)):
            path.write_text("an older result")
            folder = part_of(path)
            (folder / "old").mkdir(parents=True)
            (folder / name).write_text("years")
            for overwrite in (False, True):
                with pytest.raises(OutputError, match="in the way"):
                    write(image, path, overwrite=overwrite)
            assert (folder / name).read_text() == "years"
            assert sorted(p.name for p in folder.iterdir()) == sorted([name, "old"])

    def test_pixels_too_large_to_travel(self, tmp_path: Path) -> None:
        """Each task would carry them all through the network."""
        image = Image(da.from_array(np.zeros((3000, 3000), "u2"), chunks=3000), "yx")
        with processes() as executor, pytest.raises(ResourceError, match="MB"):
            write(image, tmp_path / "a.ome.zarr", executor=executor)


@pytest.mark.usefixtures("small_blocks")
def test_unfinished_work_is_listed_by_size_and_checksum(tmp_path: Path) -> None:
    """The list is what another run goes by; each block has its line."""
    path = tmp_path / "a.ome.zarr"
    with pytest.raises(IncompleteError):
        write(stack(poison=(2, 149, 169)), path)
    lines = (part_of(path) / "manifest.jsonl").read_text().splitlines()
    assert len([line for line in lines if '"f"' in line]) == 26
    assert len([line for line in lines if '"error"' in line]) == 1
    assert len(shards_in(path)) == 26 * 4


@pytest.mark.usefixtures("small_blocks")
def test_a_source_in_cubes_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Light-sheet volumes are stored so; plane by plane, each cube would be decoded many times."""
    pixels = np.asarray(stack((20, 150, 170)).data)
    source = make_image(tmp_path / "in.ome.zarr", [pixels], chunks=(10, 32, 32))
    reads: list[Any] = []
    read = ZarrArray._read
    monkeypatch.setattr(ZarrArray, "_read", lambda a, r: reads.append(r) or read(a, r))
    monkeypatch.setattr(zarr_array, "CUBE_EDGE", 32)
    # Room for the cubes under one block, and no more.
    monkeypatch.setattr(decoded, "capacity", 4 * 10 * 32 * 32 * 2)
    decoded.clear()
    path = write(open_image(str(source)), tmp_path / "a.ome.zarr", workers=1)
    assert len(reads) == 2 * 5 * 6
    monkeypatch.undo()
    np.testing.assert_array_equal(open_image(str(path)).data.compute(), pixels)
