"""What is copied makes the very same pixels again."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

import napari_superres as sr
from napari_superres.arrays import as_image
from napari_superres.cli import main
from napari_superres.errors import InputError
from napari_superres.repeating import as_command, as_python, default_output, keywords
from napari_superres.selection import select
from napari_superres.upscaling import plan_for
from tests.formats.zarr_files import make_collection

if TYPE_CHECKING:
    from pathlib import Path

    from napari_superres.image import Image


@pytest.fixture
def source(tmp_path: Path) -> Image:
    """Return two channels of a small stack, from a file."""
    rng = np.random.default_rng(3)
    stack = rng.gamma(3.0, 90.0, (2, 2, 60, 70)).astype(np.uint16)
    stack[1] //= 3
    path = tmp_path / "my cells.ome.tif"
    sr.write(as_image(stack, "czyx"), path)
    return sr.read(path)


SETTINGS: list[dict[str, Any]] = [
    {"model": "lanczos", "scale": 3},
    {"model": "microscopy-x2"},
    {"model": "microscopy-x4", "denoise": 0.4, "consistency": "pixel", "tile": 128},
    {"model": "microscopy-x4", "scale": 3, "dtype": "float32", "halo": 20},
    {"model": "nearest", "consistency": "pixel", "limits": (0, 5)},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_keywords_lead_to_the_same_plan(source: Image, settings: dict[str, Any]) -> None:
    """Numbers that were found in the image are written out; a new default changes nothing."""
    result = sr.upscale(source, **settings)
    (record,) = result.history
    assert plan_for(source, record["model"], **keywords(record)) == result.plan


@pytest.mark.parametrize(
    ("model", "tile"), [("realesrgan-x4plus", 300), ("realesr-general-x4v3", None)]
)
def test_keywords_hold_limits_of_each_channel(source: Image, model: str, tile: int | None) -> None:
    """Limits from another sample would change every pixel."""
    result = sr.upscale(source, model, tile=tile)
    (record,) = result.history
    found = keywords(record)
    assert found["limits"] == [tuple(pair) for pair in result.plan.limits]
    assert plan_for(source, model, **found) == result.plan


@pytest.mark.parametrize(
    ("path", "stored"),
    [
        ("https://me:secret@host.org:81/a b.zarr?sig=secret#x", "https://host.org:81/a b.zarr"),
        ("s3://bucket/a.zarr", "s3://bucket/a.zarr"),
        ("/data/a?b@c.tif", "/data/a?b@c.tif"),
    ],
)
def test_a_result_tells_no_password(source: Image, path: str, stored: str) -> None:
    """Results are passed on, and whoever has one could read what else lies there."""
    image = replace(source, source={**source.source, "path": path})
    history = sr.upscale(image, "bicubic", scale=2).history
    assert history[-1]["source"]["path"] == stored
    assert "secret" not in str(history)


def test_command_gives_the_same_pixels(source: Image, tmp_path: Path) -> None:
    """The point of copying a command."""
    result = sr.upscale(source, "microscopy-x2")
    command = as_command(result.history, str(tmp_path / "again.ome.zarr"))
    assert run(command) == 0
    again = sr.read(tmp_path / "again.ome.zarr")
    assert np.array_equal(again.data.compute(), result.data.compute())


def test_command_for_one_channel_gives_its_pixels(source: Image, tmp_path: Path) -> None:
    """A viewer has a layer for each channel; the file has both."""
    channel = select(source, channels=[1])
    result = sr.upscale(channel, "microscopy-x2")
    command = as_command(result.history, str(tmp_path / "again.ome.zarr"))
    assert "--channels=1" in command
    assert run(command) == 0
    again = sr.read(tmp_path / "again.ome.zarr")
    assert np.array_equal(again.data.compute(), result.data.compute())


@pytest.mark.parametrize("wish", [{"samples": 2}, {"uncertainty": True}], ids=str)
def test_a_result_and_its_spread_are_each_made_again(
    source: Image, tmp_path: Path, wish: dict[str, Any]
) -> None:
    """The copied program took the pair for an image and failed; a spread became a result."""
    result, spread = sr.upscale(source, "microscopy-x2", **wish)
    assert run(as_command(spread.history, str(tmp_path / "again.ome.zarr"))) == 0
    made = [sr.read(tmp_path / "again_spread.ome.zarr")]
    for number, image in enumerate((result, spread)):
        path = tmp_path / f"{number}.ome.zarr"
        exec(as_python(image.history, str(path)), {})
        made.append(sr.read(path))
    for again, image in zip(made, (spread, result, spread), strict=True):
        assert np.array_equal(again.data.compute(), image.data.compute())


PARTS: list[dict[str, Any]] = [
    {"channels": [1]},
    {"channels": [1, 0], "region": (slice(10, 50), slice(None, 60))},
    {"planes": {"z": -1}},
    {"planes": {"z": slice(None, None, 2)}, "region": (slice(5, 9), slice(8, 30))},
]


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_a_part_is_made_again_and_not_the_whole(
    source: Image, tmp_path: Path, part: dict[str, Any]
) -> None:
    """The crop of a figure: the copied command computed the whole file, for hours."""
    result = sr.upscale(source, "microscopy-x2", **part)
    assert run(as_command(result.history, str(tmp_path / "again.ome.zarr"))) == 0
    exec(as_python(result.history, str(tmp_path / "also.ome.zarr")), {})
    for name in ("again.ome.zarr", "also.ome.zarr"):
        again = sr.read(tmp_path / name)
        assert np.array_equal(again.data.compute(), result.data.compute())
        assert again.translation == pytest.approx(result.translation)


@pytest.mark.parametrize("part", PARTS[:3], ids=str)
def test_a_part_of_a_stored_result_is_made_again(
    source: Image, tmp_path: Path, part: dict[str, Any]
) -> None:
    """Of a result that was cut when it was converted, the copied command made all."""
    sr.write(sr.upscale(source, "nearest", scale=2), tmp_path / "whole.ome.zarr")
    fine = {"region": (slice(20, 100), slice(None, 120))} if "region" in part else {}
    result = select(sr.read(tmp_path / "whole.ome.zarr"), **{**part, **fine})
    expected = select(sr.upscale(source, "nearest", scale=2), **part)
    assert result.history[-1]["part"] == expected.history[-1]["part"]
    assert run(as_command(result.history, str(tmp_path / "again.ome.zarr"))) == 0
    again = sr.read(tmp_path / "again.ome.zarr")
    assert np.array_equal(again.data.compute(), result.data.compute())


def test_a_part_of_chosen_channels_counts_in_those(source: Image, tmp_path: Path) -> None:
    """The second of two layers in a viewer may be the first channel of their file."""
    layers = select(source, channels=[1, 0])
    result = sr.upscale(layers, "microscopy-x2", channels=[1])
    command = as_command(result.history, str(tmp_path / "again.ome.zarr"))
    assert "--channels=0" in command
    assert run(command) == 0
    again = sr.read(tmp_path / "again.ome.zarr")
    assert np.array_equal(again.data.compute(), result.data.compute())


def test_python_gives_the_same_pixels(source: Image, tmp_path: Path) -> None:
    """Two upscalings in a row, of one channel: what no single command can say."""
    channel = select(source, channels=[1])
    result = sr.upscale(sr.upscale(channel, "linear-x2"), "bicubic")
    with pytest.raises(InputError, match="not that of a single command"):
        as_command(result.history)
    program = as_python(result.history, str(tmp_path / "again.ome.zarr"))
    exec(program, {})
    again = sr.read(tmp_path / "again.ome.zarr")
    assert np.array_equal(again.data.compute(), result.data.compute())


@pytest.mark.parametrize("reading", [{"series": 1}, {"axes": "tyx"}])
def test_what_was_said_when_reading_is_said_again(reading: dict[str, Any], tmp_path: Path) -> None:
    """The result of another image of a collection, or an error where there was none."""
    if "series" in reading:
        path = tmp_path / "cells.zarr"
        make_collection(path, 2)
    else:
        path = tmp_path / "cells.tif"
        planes = np.arange(120, dtype=np.uint8).reshape(2, 6, 10)
        tifffile.imwrite(path, planes, photometric="minisblack", metadata=None)
    result = sr.upscale(sr.read(path, **reading), "nearest")
    assert run(as_command(result.history, str(tmp_path / "one.ome.zarr"))) == 0
    exec(as_python(result.history, str(tmp_path / "two.ome.zarr")), {})
    for name in ("one", "two"):
        again = sr.read(tmp_path / f"{name}.ome.zarr")
        assert np.array_equal(again.data.compute(), result.data.compute())


@pytest.mark.parametrize("letters", [{"rgb": True}, {"axes": "syx"}, {"axes": "zyx"}])
def test_how_the_axes_of_a_file_were_taken_is_said_again(
    letters: dict[str, Any], tmp_path: Path
) -> None:
    """Three channels of their own came out, where the result was one colour picture."""
    path = tmp_path / "slide.tif"
    values = np.random.default_rng(0).integers(0, 255, (3, 40, 50), np.uint8)
    tifffile.imwrite(path, values, metadata={"axes": "CYX"}, photometric="minisblack")
    result = sr.upscale(sr.read(path), "microscopy-x2", **letters)
    exec(as_python(result.history, str(tmp_path / "two.ome.zarr")), {})
    made = ["two"]
    if letters == {"axes": "zyx"}:
        with pytest.raises(InputError, match="not that of a single command"):
            as_command(result.history)
    else:
        assert run(as_command(result.history, str(tmp_path / "one.ome.zarr"))) == 0
        made.append("one")
    for name in made:
        again = sr.read(tmp_path / f"{name}.ome.zarr")
        assert sorted(again.axes) == sorted(result.axes)
        same = again.transposed(result.axes)
        assert np.array_equal(same.data.compute(), result.data.compute())
        assert sr.measure(again).source == "slide"


def test_result_lies_beside_its_source_unless_told(source: Image, tmp_path: Path) -> None:
    """Where people look for it first."""
    result = sr.upscale(source, "nearest")
    assert default_output(result.history) == str(tmp_path / "my cells_x2.ome.zarr")


def test_what_is_in_no_file_cannot_be_repeated_from_one() -> None:
    """The way out is said."""
    result = sr.upscale(as_image(np.zeros((9, 9), np.uint8)), "nearest")
    for text in (as_python, as_command):
        with pytest.raises(InputError, match="was not opened from a file"):
            text(result.history)


def run(command: str) -> int:
    """Run a command as a shell does, and return its exit code."""
    program, *arguments = shlex.split(command)
    assert program == "superres"
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--quiet"])
    return int(end.value.code or 0)
