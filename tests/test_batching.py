"""Many images: what is finished stays, what fails is listed, and nothing stops the others."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
import tifffile

import napari_superres as sr
from napari_superres.batching import batch, choose_series, find_images, run_batch
from napari_superres.cli import _run
from napari_superres.cli.batch import batch as batch_command
from napari_superres.cli.upscale import upscale as upscale_command
from napari_superres.errors import InputError, OutputError, UnknownModelError
from napari_superres.formats import tiff, vendor
from tests.formats.tiff_files import write_multi_file_ome, write_ome, write_positions
from tests.formats.zarr_files import make_image, ramp
from tests.job.conftest import part_of, tree


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder as people have them: images, rubbish, something half-written, a subfolder."""
    root = tmp_path / "in"
    (root / "day 2").mkdir(parents=True)
    for i, name in enumerate(("a.ome.tif", "day 2/c.ome.tif")):
        pixels = np.full((2, 30, 34), 100 * (i + 1), np.uint16)
        metadata = {"axes": "ZYX", "PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "µm"}
        tifffile.imwrite(root / name, pixels, metadata=metadata, photometric="minisblack")
    make_image(root / "b.ome.zarr", [ramp((2, 20, 24))], "zyx")
    (root / "broken.tif").write_bytes(b"II*\0" + b"\xff" * 6)
    tifffile.imwrite(root / "unnamed.tif", ramp((5, 20, 24)), metadata=None)
    (root / "notes.txt").write_text("Monday: fed the cells")
    (root / ".hidden.tif").write_bytes(b"")
    (root / "z.ome.zarr.part").mkdir()
    return root


def test_a_folder_goes_through_and_what_fails_is_listed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One broken file among a thousand, on a Friday evening."""
    results = folder.with_name("out")
    assert _run(["batch", str(folder), str(results), "-m", "lanczos"]) == 3
    told = capsys.readouterr().err
    assert "2 done, 2 failed" in told
    assert f"Failed: {folder / 'broken.tif'}: " in told
    assert f"Failed: {folder / 'unnamed.tif'}: " in told
    assert "Say it with --axes" in told, "the reason says what to do"
    assert "2 of 4 images failed" in told
    assert sorted(p.name for p in results.iterdir()) == ["a_x2.ome.zarr", "b_x2.ome.zarr"]
    expected = sr.upscale(sr.read(folder / "a.ome.tif"), "lanczos", scale=2)
    found = sr.read(results / "a_x2.ome.zarr")
    np.testing.assert_array_equal(found.data, expected.data)
    assert found.pixel_size[-1] == pytest.approx(0.1)


def test_the_same_again_keeps_what_is_there_and_does_the_rest(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Monday: the same line from the shell's history, and the weekend is not computed again."""
    results = folder.with_name("out")
    arguments = ["batch", "-r", str(folder), str(results), "-m", "lanczos", "--json", "-q"]
    assert _run(arguments) == 3
    first = json.loads(capsys.readouterr().out)
    assert first["count"] == {"done": 3, "kept": 0, "left out": 0, "failed": 2}
    assert (results / "day 2" / "c_x2.ome.zarr").is_dir(), "folders inside keep their names"
    before = {path: path.stat().st_mtime_ns for path in results.rglob("zarr.json")}
    # One was interrupted, one repaired meanwhile.
    shutil.rmtree(results / "b_x2.ome.zarr")
    steps = sr.run(
        sr.upscale(sr.read(folder / "b.ome.zarr"), "lanczos"), results / "b_x2.ome.zarr", workers=1
    )
    while next(steps).done < 1:
        pass
    steps.close()
    (folder / "broken.tif").unlink()
    assert _run(arguments) == 3
    second = json.loads(capsys.readouterr().out)
    assert second["count"] == {"done": 1, "kept": 2, "left out": 0, "failed": 1}
    states = {Path(one["source"]).name: one["state"] for one in second["images"]}
    assert states["b.ome.zarr"] == "done"
    kept = [path for path in before if "b_x2" not in str(path)]
    assert all(path.stat().st_mtime_ns == before[path] for path in kept), "nothing was written"


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_a_result_of_other_settings_is_no_result(
    folder: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a folder by one model and half by another, and nobody knows which."""
    results = folder.with_name("out")
    source = str(folder / "a.ome.tif")
    arguments = ["batch", source, str(results), "--suffix", suffix, "-m", "lanczos"]
    assert _run([*arguments, "-q"]) == 0
    path = results / f"a_x2{suffix}"
    assert _run(arguments) == 0
    assert "1 kept from earlier" in capsys.readouterr().err
    for change, word in (
        (["-m", "bicubic"], "model"),
        (["--planes", "z=1"], "part"),
        (["--region", "0:10,0:10"], "part"),
        (["--dtype", "float32"], "dtype"),
    ):
        assert _run([*arguments, *change]) == 3
        told = capsys.readouterr().err
        assert f"'{path}' was made with other settings" in told
        assert word in told
    if suffix == ".ome.zarr":
        assert _run([*arguments, "--ome-zarr", "0.4"]) == 3
        assert 'ome_zarr was "0.5"' in capsys.readouterr().err
    # The source itself is another one by now.
    tifffile.imwrite(source, np.zeros((2, 30, 34), np.uint16), metadata={"axes": "ZYX"})
    assert _run(arguments) == 3
    assert "source.mtime_ns was" in capsys.readouterr().err
    assert _run([*arguments, "--overwrite"]) == 0
    assert int(sr.read(path).data.max()) == 0


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_results_that_their_format_holds_otherwise_are_known_again(
    tmp_path: Path, suffix: str
) -> None:
    """A TIFF stores a mask as numbers and leaves out an axis of one plane: both are still ours."""
    stack, mask = tmp_path / "stack.ome.zarr", tmp_path / "mask.ome.zarr"
    make_image(stack, [ramp((2, 20, 24))], "zyx")
    make_image(mask, [ramp((2, 20, 24)) % 2 == 0], "zyx")
    for state in ("done", "kept"):
        items = batch([stack, mask], tmp_path / "out", "nearest", suffix=suffix, planes={"z": 1})
        assert [item.state for item in items] == [state, state], items


def test_what_stands_in_the_way_is_left_alone(folder: Path) -> None:
    """Somebody's own file of that name is not replaced without a word."""
    results = folder.with_name("out")
    results.mkdir()
    shutil.copytree(folder / "b.ome.zarr", results / "a_x2.ome.zarr")
    (results / "b_x2.ome.zarr").write_text("mine")
    before = tree(results)
    items = batch([folder / "a.ome.tif", folder / "b.ome.zarr"], results, "nearest")
    assert [item.state for item in items] == ["failed", "failed"]
    assert "does not say that it was made" in items[0].reason
    assert "cannot be read" in items[1].reason
    assert tree(results) == before


def test_two_images_of_one_name_do_not_share_a_result(tmp_path: Path) -> None:
    """The second would replace the first, or be taken for it."""
    for name in ("a.tif", "a.png"):
        tifffile.imwrite(tmp_path / "x.tif", ramp((20, 24), "u1"))
        shutil.copy(tmp_path / "x.tif", tmp_path / name.replace(".png", ".tiff"))
    items = batch([tmp_path / "a.tif", tmp_path / "a.tiff"], tmp_path / "out", "nearest")
    assert [item.state for item in items] == ["done", "failed"]
    assert "name of that of" in items[1].reason


def test_a_data_set_of_many_files_is_one_image(tmp_path: Path) -> None:
    """Three files of one OME data set are one stack, not three equal ones."""
    data = tmp_path / "in"
    data.mkdir()
    write_multi_file_ome(data)
    items = batch(data, tmp_path / "out", "nearest")
    assert [item.state for item in items] == ["done", "left out", "left out"]
    assert "belongs to the data set" in items[1].reason
    assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.parametrize("kind", ["contiguous stack", "deflate"])
def test_each_file_of_a_data_set_with_positions_is_made_of_its_own_pixels(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first position is written under the name of every other one."""
    data = tmp_path / "in"
    data.mkdir()
    stacks = write_positions(data, kind)
    items = batch(data, tmp_path / "out", "nearest")
    assert [(item.state, item.notes) for item in items] == [("done", ())] * 3, items
    assert _run(["batch", str(data), str(tmp_path / "cli"), "-m", "nearest", "-q"]) == 0
    for i, pixels in enumerate(stacks):
        expected = pixels.repeat(2, 1).repeat(2, 2)
        for folder in ("out", "cli"):
            found = sr.read(tmp_path / folder / f"pos{i}_x2.ome.zarr")
            np.testing.assert_array_equal(found.data, expected)
    # Who names one gets it, from whichever file; the others would be the same once more.
    arguments = ["batch", str(data), str(tmp_path / "named"), "-m", "nearest", "--series", "1"]
    assert _run(arguments) == 0
    assert "1 done, 2 left out" in capsys.readouterr().err


def test_files_that_point_to_a_description_are_positions_too(tmp_path: Path) -> None:
    """The file that describes the others is left out, as if they had been made of it."""
    stacks = write_positions(tmp_path, "deflate")
    pointer = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<BinaryOnly MetadataFile="pos2.ome.tif" UUID="urn:uuid:0"/></OME>'
    )
    for i in (0, 1):
        write_ome(tmp_path / f"pos{i}.ome.tif", stacks[i], pointer)
    items = batch(tmp_path, tmp_path / "out", "nearest")
    assert [item.state for item in items] == ["done"] * 3, items
    for item, pixels in zip(items, stacks, strict=True):
        found = sr.read(item.output).data
        np.testing.assert_array_equal(found, pixels.repeat(2, 1).repeat(2, 2))


def test_series_that_a_batch_leaves_out_are_told(tmp_path: Path) -> None:
    """Nine of ten positions in one file are missing, and nobody has said so."""
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tif:
        for shape in ((3, 20, 24), (2, 20, 30)):
            tif.write(ramp(shape), photometric="minisblack", metadata={"axes": "ZYX"})
    (item,) = batch(tmp_path / "a.ome.tif", tmp_path / "out", "nearest")
    assert item.state == "done"
    assert "series 1 of this file are left out" in item.notes[0]
    (item,) = batch(tmp_path / "a.ome.tif", tmp_path / "second", "nearest", series=1)
    assert (item.notes, sr.read(item.output).shape) == ((), (2, 40, 60))


def test_a_file_of_a_data_set_that_holds_no_series_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels of another file are written under its name."""
    tifffile.imwrite(tmp_path / "a.tif", ramp((20, 24)))
    monkeypatch.setattr(tiff, "series_in", lambda path: (2, ()))
    (item,) = batch(tmp_path / "a.tif", tmp_path / "out", "nearest")
    assert item.state == "failed"
    assert "holds none of them" in item.reason
    (item,) = batch(tmp_path / "a.tif", tmp_path / "out", "nearest", series=0)
    assert item.state == "done", "who names one gets it"
    # In a data set of several files with several positions each.
    monkeypatch.setattr(tiff, "series_in", lambda path: (8, (4, 5)))
    chosen, (note,) = choose_series(str(tmp_path / "a.tif"))
    assert (chosen, "series 5 of this file are left out" in note) == (4, True)


def test_scenes_that_a_batch_leaves_out_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same of a vendor's file; its optional reader is replaced."""
    (tmp_path / "a.lif").write_bytes(b"scenes")
    reader = SimpleNamespace(scenes=("first", "second", "third"))
    monkeypatch.setattr(vendor, "_reader", lambda path, suffix: reader)
    chosen, (note,) = choose_series(str(tmp_path / "a.lif"))
    assert (chosen, "series 1, 2 of this file are left out" in note) == (0, True)


def test_what_is_wrong_for_all_stops_at_once(folder: Path) -> None:
    """A thousand times 'no such model' helps nobody."""
    with pytest.raises(UnknownModelError):
        batch(folder, folder.with_name("out"), "lanczosch")
    assert _run(["batch", str(folder), str(folder.with_name("out")), "-m", "lanczosch"]) == 5
    with pytest.raises(OutputError, match="take the results for sources"):
        find_images([folder], folder)
    empty = folder / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no image in"):
        find_images([empty], folder.with_name("out"))
    assert not folder.with_name("out").exists()


def test_a_folder_that_cannot_be_made_is_refused_once(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slip in OUTDIR was a traceback for each image, and 'this is a bug of ours'."""
    taken = folder / "notes.txt"
    for results in (taken, taken / "out"):
        assert _run(["batch", str(folder), str(results), "-m", "nearest"]) == 4
        told = capsys.readouterr().err
        assert f"'{taken}' is no folder" in told
        assert "Traceback" not in told
    (folder.parent / "out").mkdir()
    (folder.parent / "out" / "day 2").write_text("mine")
    items = batch(folder, folder.parent / "out", "nearest", recursive=True)
    (item,) = [item for item in items if item.source.endswith("c.ome.tif")]
    assert "could not be written" in item.reason
    # No permission binds whoever runs the tests in a container.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="cannot be made"):
        batch(folder, folder.parent / "new", "nearest")


def test_results_inside_the_sources_are_not_sources(folder: Path) -> None:
    """``superres batch -r . results`` is what people type."""
    results = folder / "results"
    first = batch(folder, results, "nearest", recursive=True)
    second = batch(folder, results, "nearest", recursive=True)
    assert len(first) == len(second) == 5
    assert sum(item.state == "kept" for item in second) == 3


def test_a_link_to_a_folder_that_was_searched_is_not_followed(folder: Path) -> None:
    """A link '..' in a folder made forty copies of each image, in folders inside folders."""
    results = folder.with_name("out")
    found = find_images([folder], results, recursive=True)
    (folder / "day 2" / "up").symlink_to(folder, target_is_directory=True)
    assert find_images([folder], results, recursive=True) == found


def test_a_folder_that_nobody_may_list_is_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk's ``lost+found`` ends the whole batch in a traceback."""
    results = folder.with_name("out")
    found = find_images([folder], results, recursive=True)
    closed = folder / "lost+found"
    closed.mkdir()
    listed = os.listdir  # no permission binds whoever runs the tests in a container

    def refuse(path: str | os.PathLike[str] = ".") -> list[str]:
        if os.fspath(path) == str(closed):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert find_images([folder], results, recursive=True) == found
    assert _run(["batch", str(closed), str(results)]) == 4
    assert f"'{closed}' cannot be listed: Permission denied." in capsys.readouterr().err


def test_closing_stops_and_keeps(folder: Path) -> None:
    """Ctrl-C in the middle of the second image."""
    images = find_images([folder / "a.ome.tif", folder / "b.ome.zarr"], folder.with_name("out"))

    def make(source: str) -> object:
        from napari_superres.batching import Made

        image = sr.read(source)
        return Made(image, sr.upscale(image, "nearest"), {})

    steps = run_batch(images, folder.with_name("out"), make, workers=1)  # type: ignore[arg-type]
    for step in steps:
        if step.number == 2 and step.progress is not None and step.progress.done == 1:
            break
    steps.close()  # type: ignore[attr-defined]
    assert (folder.with_name("out") / "a_x2.ome.zarr").exists()
    second = folder.with_name("out") / "b_x2.ome.zarr"
    assert part_of(second).exists()
    assert not second.exists()


def test_the_spread_and_the_labels_come_along(folder: Path) -> None:
    """What one image can have, many can."""
    results = folder.with_name("out")
    arguments = ["batch", str(folder / "a.ome.tif"), str(results), "-m", "microscopy-x2"]
    assert _run([*arguments, "--uncertainty", "-q"]) == 0
    names = ["a_x2.ome.zarr", "a_x2_spread.ome.zarr"]
    assert sorted(p.name for p in results.iterdir()) == names
    shutil.rmtree(results / names[1])
    assert _run([*arguments, "--uncertainty", "-q"]) == 0
    assert sorted(p.name for p in results.iterdir()) == names, "only what is missing is made"
    sampled = folder.with_name("sampled")
    for state in ("done", "kept"):
        items = batch(folder / "a.ome.tif", sampled, "microscopy-x2", samples=2)
        assert [item.state for item in items] == [state]
    assert sorted(p.name for p in sampled.iterdir()) == names


def test_every_option_of_upscale_is_one_of_batch() -> None:
    """Nobody should have to write a loop for the want of an option."""

    def options(command: click.Command) -> set[str | None]:
        return {p.name for p in command.params if isinstance(p, click.Option)}

    alone = {"dry_run", "part"}  # of one result, and of one file
    assert options(upscale_command) - alone <= options(batch_command)
