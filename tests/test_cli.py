"""The command line: one command, a finer file, and a clear word when it cannot be."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
import tifffile

import napari_superres as sr
from napari_superres.cli import _run, cli
from napari_superres.cli.console import progress_bar
from napari_superres.cli.upscale import duration
from napari_superres.cli.upscale import upscale as upscale_command
from napari_superres.cli.wording import as_options
from napari_superres.formats.suffixes import result_path
from napari_superres.job import Progress


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Return a small OME-TIFF with two channels and three planes."""
    path = tmp_path / "cells.ome.tif"
    values = np.random.default_rng(0).integers(100, 4000, (2, 3, 40, 50), dtype=np.uint16)
    metadata = {
        "axes": "CZYX",
        "PhysicalSizeX": 0.2,
        "PhysicalSizeY": 0.2,
        "PhysicalSizeZ": 1.0,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZUnit": "µm",
        "Channel": {"Name": ["DNA", "actin"]},
    }
    tifffile.imwrite(path, values, metadata=metadata, photometric="minisblack")
    return path


def test_advice_is_what_one_can_type_here(
    stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody who knows no Python is told to write overwrite=True, and finds nowhere to."""
    command = ["upscale", str(stack), str(tmp_path / "finer.ome.zarr"), "-m", "nearest", "-q"]
    assert _run(command) == 0
    assert _run(command) == 4
    assert "or allow it: --overwrite.\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("told", "typed"),
    [
        (
            "Say it with axes=, for example axes='zyx'.",
            "Say it with --axes, for example --axes zyx.",
        ),
        ("Use tile=39 or more.", "Use --tile 39 or more."),
        ("denoise=3.0 is no strength.", "--denoise 3.0 is no strength."),
        ("Use device='cpu/torch'.", "Use --device cpu/torch."),
        ("Give limits=(0, 1), or base=PATH.", "Give --limits 0:1, or base=PATH."),
        ("limits=(9.0, -1.5) are no pair.", "--limits 9.0:-1.5 are no pair."),
        ("Use tile=(64, 32), planes={'z': 3}.", "Use --tile 64,32, planes={'z': 3}."),
        ("'/data/scale=2/tile=3.tif' is empty.", "'/data/scale=2/tile=3.tif' is empty."),
    ],
)
def test_keywords_become_options_and_paths_stay(told: str, typed: str) -> None:
    """A path that was rewritten would name a file that is nowhere."""
    assert as_options(told, cli) == typed


def test_one_command_gives_a_finer_file_beside_the_source(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The main job."""
    assert _run(["upscale", str(stack), "-m", "lanczos"]) == 0
    result = sr.read(stack.with_name("cells_x2.ome.zarr"))
    assert (result.axes, result.shape) == ("czyx", (2, 3, 80, 100))
    assert result.pixel_size[-1] == pytest.approx(0.1)
    assert [channel.name for channel in result.channels] == ["DNA", "actin"]
    expected = sr.upscale(sr.read(stack), "lanczos", scale=2)
    np.testing.assert_array_equal(result.data, expected.data)
    out = capsys.readouterr()
    assert out.out == ""
    assert "Done in" in out.err


@pytest.mark.parametrize("name", ["finer.ome.tif", "finer.ome.zarr"])
def test_the_ending_decides_the_format_and_info_tells_how_it_was_made(
    stack: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A colleague can read off the file what was done to it."""
    target = stack.with_name(name)
    arguments = ["upscale", str(stack), str(target), "-s", "4", "-m", "bicubic", "-q"]
    assert _run(arguments) == 0
    assert capsys.readouterr().err == ""
    assert _run(["info", str(target)]) == 0
    told = capsys.readouterr().out
    assert "160 x 200" in told
    assert "upscaled 4-fold" in told
    assert "Cite: Keys R." in told
    assert _run(["info", str(target), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["history"][0]["model"] == "bicubic"
    assert facts["units"][-1] == "micrometer"


def test_json_is_the_only_thing_on_stdout(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another program reads it."""
    arguments = ["upscale", str(stack), "-m", "nearest", "--json", "--channels", "actin"]
    assert _run([*arguments, "--planes", "z=1", "--region", "0:10,5:25"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {"schema", "input", "output", "plan", "seconds", "warnings"}
    assert sr.read(report["output"]).shape == (1, 1, 20, 40)


def test_uncertainty_writes_the_spread_beside_the_result(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever asks how wrong a result may be gets a second image, in float32, over the first."""
    target = stack.with_name("finer.ome.tif")
    arguments = ["upscale", str(stack), str(target), "-m", "microscopy-x2", "--uncertainty"]
    assert _run([*arguments, "--planes", "z=1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["spread"] == str(stack.with_name("finer_spread.ome.tif"))
    result, spread = sr.read(target), sr.read(report["spread"])
    assert spread.dtype == np.float32
    assert (spread.shape, spread.pixel_size) == (result.shape, result.pixel_size)
    assert float(spread.data.mean()) > 0
    # Neither is computed when one of the two cannot be written.
    target.unlink()
    assert _run([*arguments, "--planes", "z=2", "-q"]) == 4
    assert not target.exists()


@pytest.mark.parametrize("wish", [["--uncertainty"], ["--samples", "2"]])
@pytest.mark.parametrize("part", [[], ["--part", "1/1"]])
def test_a_run_that_ended_between_result_and_spread_goes_on(
    stack: Path, wish: list[str], part: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed in the second of two files, the same command must not refuse the first for ever."""
    target, spread = stack.with_name("finer.ome.tif"), stack.with_name("finer_spread.ome.tif")
    arguments = ["upscale", str(stack), str(target), "-m", "microscopy-x2", *wish, *part, "-q"]
    assert _run([*arguments, "--planes", "z=1"]) == 0
    written = target.stat().st_mtime_ns
    spread.unlink()
    assert _run([*arguments, "--planes", "z=2"]) == 4
    assert "was made with other settings: part" in capsys.readouterr().err
    assert not spread.exists()
    assert _run([*arguments, "--planes", "z=1"]) == 0
    assert spread.exists()
    assert target.stat().st_mtime_ns == written


def test_channels_that_are_colours_are_one_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slide scanner's file may hold its colours as channels; --rgb says so."""
    path, target = tmp_path / "slide.ome.tif", tmp_path / "finer.ome.tif"
    values = np.random.default_rng(0).integers(0, 255, (3, 40, 50), np.uint8)
    arguments = ["upscale", str(path), str(target), "-m", "nearest", "--rgb", "-q"]
    tifffile.imwrite(path, values, metadata={"axes": "CYX"}, photometric="minisblack")
    assert _run(arguments) == 0
    np.testing.assert_array_equal(sr.read(target).data[::2, ::2], np.moveaxis(values, 0, 2))
    for source in ([], ["--source", str(path)]):
        capsys.readouterr()
        assert _run(["measure", str(target), "--json", *source]) == 0
        (measured,) = json.loads(capsys.readouterr().out)["channels"]
        assert measured["light"]["residual"] == 0
    tifffile.imwrite(path, values[0])
    assert _run([*arguments, "--overwrite"]) == 4
    assert "names no axis 'c' for the colours" in capsys.readouterr().err


def test_labels_are_repeated_and_never_mixed(stack: Path) -> None:
    """Cell 3 beside cell 9 must not give a cell 6."""
    labels = np.random.default_rng(1).integers(0, 9, (20, 30), dtype=np.uint16)
    path = stack.with_name("labels.tif")
    tifffile.imwrite(path, labels)
    assert _run(["upscale", str(path), "--labels", "-q"]) == 0
    result = sr.read(stack.with_name("labels_x2.ome.zarr"))
    np.testing.assert_array_equal(result.data, labels.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(result.levels[0], labels)
    assert _run(["upscale", str(path), "--labels", "-m", "lanczos", "--overwrite", "-q"]) == 4


def test_a_plan_and_a_dry_run_print_and_write_nothing(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it costs, before it costs it."""
    assert _run(["plan", str(stack), "-m", "lanczos", "-s", "4"]) == 0
    told = capsys.readouterr().out
    assert "160 x 200" in told
    assert "measured on one tile" in told
    assert _run(["upscale", str(stack), "-m", "lanczos", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tiles"] == 6
    assert [path.name for path in stack.parent.iterdir()] == ["cells.ome.tif"]


def test_a_plan_with_uncertainty_counts_the_second_file(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A spread in floats is twice as large as its 16-bit result, on the same disk."""
    disk = []
    for more in ([], ["--uncertainty"]):
        assert _run(["plan", str(stack), "-m", "microscopy-x2", "--json", *more]) == 0
        disk.append(json.loads(capsys.readouterr().out)["machine"]["disk"])
    assert disk[1] == pytest.approx(3 * disk[0], rel=0.01)


def test_every_keyword_of_upscale_has_an_option() -> None:
    """What Python can do, the command line can."""
    options = {p.name for p in upscale_command.params if isinstance(p, click.Option)}
    assert set(inspect.signature(sr.upscale).parameters) - {"x"} <= options


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["upscale"], 2, "Missing argument"),
        (["frobnicate"], 2, "No such command"),
        (["upscale", "{stack}", "-m", "lanczos", "--scale", "0"], 2, "not a whole number"),
        (["upscale", "{stack}", "-m", "lanczos", "--limits", "9"], 2, "LOW:HIGH"),
        (["upscale", "{stack}", "-m", "lanczos", "--region", "5"], 2, "y0:y1,x0:x1"),
        (["upscale", "{stack}", "-m", "lanczos", "--option", "x"], 2, "KEY=VALUE"),
        (["upscale", "{stack}", "-m", "lanczos", "--channels", "²"], 2, "channels named '²'"),
        (["upscale", "{stack}", "-m", "lanczos", "--channels=--5"], 2, "channels named '--5'"),
        (["upscale", "{stack}", "-m", "lanczos", "--limits", "²=0:1"], 2, "no channel '²'"),
        (["upscale", "{stack}", "-m", "lanczos", "--dtype", "float128"], 2, "float128"),
        (["upscale", "{stack}", "-m", "lanczos", "--axes", "czyy"], 4, "different lower-case"),
        (["upscale", "{folder}/missing.tif"], 4, "missing.tif"),
        (["upscale", "{folder}/broken.tif"], 4, "broken.tif"),
        (["upscale", "{stack}", "{stack}", "-m", "lanczos"], 4, "cells.ome.tif"),
        (["upscale", "{stack}", "{folder}/no/such/out.ome.zarr", "-m", "lanczos"], 4, "no"),
        (["upscale", "{stack}", "-m", "realesr"], 5, "no model named 'realesr'"),
        (["upscale", "{stack}", "-m", "realesrgan-x4plus"], 5, "models download"),
    ],
)
def test_refusals_are_one_sentence_with_the_promised_exit_code(
    stack: Path,
    arguments: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A script decides by the code, a person by the sentence; neither wants a traceback."""
    monkeypatch.setenv("NAPARI_SUPERRES_CACHE", str(tmp_path_factory.mktemp("cache")))
    (stack.parent / "broken.tif").write_bytes(b"II*\0" + b"\xff" * 6)
    before = stack.read_bytes()
    filled = [a.format(stack=stack, folder=stack.parent) for a in arguments]
    assert _run(filled) == code
    told = capsys.readouterr()
    assert message in told.err + told.out
    assert "Traceback" not in told.err
    assert stack.read_bytes() == before
    assert not list(stack.parent.glob("cells_x*"))


def test_an_interrupted_run_goes_on_where_it_was(stack: Path) -> None:
    """Ctrl-C is not a loss."""
    result = sr.upscale(sr.read(stack), "lanczos", scale=2)
    target = stack.with_name("out.ome.zarr")
    steps = sr.run(result, target)
    next(steps)
    steps.close()
    assert not target.exists()
    assert _run(["upscale", str(stack), str(target), "-m", "lanczos", "-q"]) == 0
    np.testing.assert_array_equal(sr.read(target).data, result.data)


def test_help_teaches_and_the_installed_program_runs() -> None:
    """The first thing that anybody types."""
    code = "from napari_superres.cli import main; main(['--help'])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for word in ("upscale", "plan", "info", "models", "doctor", "Exit codes", "not measured"):
        assert word in told.stdout


def test_names_that_the_console_cannot_show_end_nothing(stack: Path) -> None:
    """On Windows, `superres info cells.ome.tif > notes.txt` ends in a traceback at a Greek name."""
    path = stack.with_name("greek.ome.tif")
    metadata = {"axes": "CYX", "Channel": {"Name": ["α-tubulin", "DNA"]}}
    pixels = np.zeros((2, 20, 30), np.uint16)
    tifffile.imwrite(path, pixels, metadata=metadata, photometric="minisblack")
    code = "from napari_superres.cli import main; main()"
    command = [sys.executable, "-c", code, "info", str(path)]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    told = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert told.returncode == 0, told.stderr.decode("cp1252")
    assert b"\\u03b1-tubulin" in told.stdout


def test_doctor_tells_versions_and_devices(capsys: pytest.CaptureFixture[str]) -> None:
    """What a bug report begins with."""
    assert _run(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["packages"]["numpy"] == np.__version__
    assert "cpu" in facts["devices"]
    assert "lanczos" in facts["models"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a/cells.ome.tif", "a/cells_x4.ome.zarr"),
        ("a/cells.tiff", "a/cells_x4.ome.zarr"),
        ("cells.ome.zarr/", "cells_x4.ome.zarr"),
        ("cells.v2.png", "cells.v2_x4.ome.zarr"),
        ("https://host/data/cells.zarr", "cells_x4.ome.zarr"),
    ],
)
def test_the_output_has_the_inputs_name(source: str, expected: str) -> None:
    """Nobody should have to invent a name."""
    assert Path(result_path(source, 4)) == Path(expected)


def test_a_plan_for_a_folder_that_is_not_there_is_refused(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip in a name is no bug of ours."""
    target = stack.parent / "missing" / "a.ome.zarr"
    assert _run(["upscale", str(stack), str(target), "-m", "nearest", "--dry-run"]) == 4
    assert "There is no folder" in capsys.readouterr().err


def test_the_bar_says_what_is_done_how_fast_and_how_long_it_will_take(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar that stands at 100 % while a large file is exported looks like a crash."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    steps = [
        Progress(30, 100, kept=30, step="checking", under_way=0.5),
        Progress(30, 100, kept=30),
        Progress(60, 100, kept=30, under_way=0.5),
        Progress(70, 100, kept=30),
        Progress(100, 100, kept=30, step="exporting", under_way=0.25),
    ]
    expected = [
        r"checking .*50/100",
        r"blocks .*30/100",
        r"blocks .*60/100",
        r"blocks .*70/100 +[\d.e+]+ blocks/s +\d:\d\d:\d\d left +\d:\d\d:\d\d",
        r"exporting .*25/100",
    ]
    with progress_bar() as show:
        for step, words in zip(steps, expected, strict=True):
            show(step)
            told, end = "", time.monotonic() + 30
            while not re.search(words, told):  # it is drawn by a thread, ten times a second
                assert time.monotonic() < end, told
                time.sleep(0.02)
                told += re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", capsys.readouterr().err)
    capsys.readouterr()
    with progress_bar(quiet=True) as show:
        show(steps[0])
    assert capsys.readouterr().err == ""


def test_durations_are_said_as_people_say_them() -> None:
    """Nobody divides seconds by 3600."""
    assert duration(3.14159) == "3.14 s"
    assert duration(200) == "3 min 20 s"
    assert duration(7300) == "2 h 1 min"
