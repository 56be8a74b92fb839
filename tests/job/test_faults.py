"""Faults on the way from a file to a result, by the rows of ``docs/explanation/faults.md``."""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

import napari_superres as sr
from napari_superres.cli import _run
from napari_superres.errors import UnreadableError
from napari_superres.formats import zarr_store
from napari_superres.formats.remote import open_store
from napari_superres.job import run, write
from tests.formats.tiff_files import write_multi_file_ome
from tests.formats.web import serving
from tests.formats.zarr_files import make_image, ramp
from tests.job.conftest import part_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_superres.progress import Progress

TABLE = Path(__file__).parents[2] / "docs" / "explanation" / "faults.md"


def test_every_row_names_tests_that_exist() -> None:
    """A promise whose proof was renamed away is a promise again."""
    rows = [line for line in TABLE.read_text().splitlines() if re.match(r"\| \d+ ", line)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 33))
    root = TABLE.parents[2]
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, test in named:
            tree = ast.parse((root / file).read_text())
            functions = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
            assert test in functions, f"{file} has no {test}"


@pytest.mark.usefixtures("small_blocks")
def test_one_corrupt_tile_costs_its_blocks_and_no_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bad sector under a terabyte: exit code 3, the place by name, a rerun that does the rest.

    The source is repaired with the same size and time, as a copy from the archive has them.
    """
    path = tmp_path / "a.ome.tif"
    pixels = np.random.default_rng(0).integers(0, 4000, (3, 96, 96), dtype=np.uint16)
    tifffile.imwrite(path, pixels, tile=(32, 32), compression="zlib",
                     metadata={"axes": "ZYX"}, photometric="minisblack")  # fmt: skip
    good, state = path.read_bytes(), path.stat()
    with tifffile.TiffFile(path) as tif:
        offset, count = tif.pages[1].dataoffsets[8], tif.pages[1].databytecounts[8]
    with open(path, "rb+") as file:
        file.seek(offset)
        file.write(b"\xff\x00" * (count // 2))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    target = tmp_path / "a_x2.ome.zarr"
    assert _run(["upscale", str(path), "-m", "nearest", "--tile", "32", "-q"]) == 3
    told = capsys.readouterr().err
    assert "z=1" in told
    assert "cannot be decoded" in told
    assert not target.exists()
    path.write_bytes(good)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert _run(["upscale", str(path), "-m", "nearest", "--tile", "32", "-q"]) == 0
    np.testing.assert_array_equal(sr.read(target).data, pixels.repeat(2, 1).repeat(2, 2))


def test_missing_chunks_are_an_error_where_that_is_wished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Zarr reads them as zeros, and half a transfer looks like a dark specimen."""
    root = make_image(tmp_path / "in.ome.zarr", [ramp((2, 64, 64))], "zyx", chunks=(1, 32, 32))
    assert sr.read(root, missing="error").warnings == ()
    (root / "0" / "c" / "1" / "0" / "1").unlink()
    assert "1 of 8 chunks" in sr.read(root).warnings[0]
    with pytest.raises(UnreadableError, match=r"1 of 8 chunks .*1/0/1"):
        sr.read(root, missing="error")
    command = ["upscale", str(root), "-m", "nearest", "-q"]
    assert _run([*command, "--missing", "error"]) == 4
    assert "are not there" in capsys.readouterr().err
    assert _run(command) == 0


def claimed(tmp_path: Path, shape: list[int]) -> Path:
    """Return an array whose header claims a size."""
    root = make_image(tmp_path / "claim.ome.zarr", [ramp((1, 8, 8))], "zyx")
    document = root / "0" / "zarr.json"
    header = json.loads(document.read_text())
    header["shape"] = shape
    header["chunk_grid"]["configuration"]["chunk_shape"] = [1, 2048, 2048]
    document.write_text(json.dumps(header))
    return root


def test_a_claimed_size_is_refused_by_the_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A header of a few bytes may claim an exabyte; that costs neither memory nor a day."""
    root = claimed(tmp_path, [4, 10**9, 10**9])
    assert _run(["upscale", str(root), "-m", "nearest", "-q"]) == 6
    assert "GB" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["claim.ome.zarr"]


def test_a_block_that_is_empty_is_found_when_the_result_is_read(tmp_path: Path) -> None:
    """After a power cut a file may have its name and no bytes; zarr reads it as zeros."""
    pixels = ramp((2, 40, 50))
    source = make_image(tmp_path / "in.ome.zarr", [pixels], "zyx")
    path = Path(write(sr.upscale(sr.read(source), "nearest", scale=2), tmp_path / "a.ome.zarr"))
    (path / "0" / "c" / "1" / "0" / "0").write_bytes(b"")
    image = sr.read(path)
    np.testing.assert_array_equal(image.data[0], pixels[0].repeat(2, 0).repeat(2, 1))
    with pytest.raises(UnreadableError, match="empty file"):
        image.data[1].compute()
    assert _run(["verify", str(path)]) == 4


def rewritten(path: Path) -> None:
    """Write a TIFF anew, as an acquisition that goes on does."""
    tifffile.imwrite(path, np.zeros((5, 40, 50), np.uint16), metadata={"axes": "ZYX"})


def chunked_anew(path: Path) -> None:
    """Write a Zarr array's document anew."""
    document = path / "0" / "zarr.json"
    document.write_text(document.read_text() + "\n")


@pytest.mark.parametrize(("name", "change"), [("a.tif", rewritten), ("a.zarr", chunked_anew)])
def test_a_source_that_changes_meanwhile_is_refused(
    tmp_path: Path, name: str, change: Callable[[Path], None]
) -> None:
    """Half of the planes of yesterday, half of today's, and nothing to tell them apart."""
    path = tmp_path / name
    pixels = ramp((3, 40, 50))
    if name.endswith("tif"):
        tifffile.imwrite(path, pixels, metadata={"axes": "ZYX"}, compression="zlib",
                         photometric="minisblack")  # fmt: skip
    else:
        make_image(path, [pixels], "zyx")
    target = tmp_path / "out.ome.zarr"
    steps = run(sr.upscale(sr.read(path), "nearest", scale=2), target, workers=1)
    while next(steps).done < 1:
        pass
    change(path)
    with pytest.raises(sr.SuperresError, match="changed"):
        list(steps)
    assert not target.exists()
    assert part_of(target).exists()


def test_each_file_of_a_data_set_is_watched(tmp_path: Path) -> None:
    """One plane acquired anew, in a file that nobody opened by its name: old and new are mixed."""
    path, _ = write_multi_file_ome(tmp_path)
    target = tmp_path / "out.ome.zarr"

    def begin() -> Iterator[Progress]:
        return run(sr.upscale(sr.read(path), "nearest", scale=2), target, workers=1)

    steps = begin()
    while next(steps).done < 2:
        pass
    tifffile.imwrite(tmp_path / "plane1.ome.tif", ramp((20, 30)), metadata=None)  # already read
    with pytest.raises(UnreadableError, match="changed while it was read"):
        list(steps)
    with pytest.raises(sr.SuperresError, match=r"source\.states.*plane1"):
        list(begin())


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for milliseconds where users wait for seconds."""
    defaults = {**(open_store.__kwdefaults__ or {}), "first_wait": 0.01, "request_seconds": 5}
    monkeypatch.setattr(open_store, "__kwdefaults__", defaults)
    zarr_store._remote_store.cache_clear()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("mood", [503, "reset", "cut", "short", "long"])
def test_a_job_survives_a_web_server_that_stumbles(tmp_path: Path, mood: int | str) -> None:
    """Each file fails once: no answer, half of one, or one of the wrong length."""
    pixels = ramp((2, 64, 64))
    make_image(tmp_path / "in.ome.zarr", [pixels], "zyx", chunks=(1, 32, 32))
    with serving(tmp_path) as server:
        # A document that is short, and says so, looks whole; a chunk does not.
        chunks = mood == "short"
        server.mood = lambda path, before: (
            mood if before == 0 and ("/c/" in path or not chunks) else 200
        )
        image = sr.upscale(sr.read(f"{server.url}/in.ome.zarr"), "nearest", scale=2)
        path = write(image, tmp_path / "out.ome.zarr")
    np.testing.assert_array_equal(sr.read(path).data, pixels.repeat(2, 1).repeat(2, 2))


@pytest.mark.usefixtures("patient")
def test_a_source_behind_an_address_that_changes_is_refused(tmp_path: Path) -> None:
    """The server says so: another ETag."""
    pytest.importorskip("obstore")
    make_image(tmp_path / "in.ome.zarr", [ramp((2, 64, 64))], "zyx", chunks=(1, 32, 32))
    with serving(tmp_path) as server:
        image = sr.upscale(sr.read(f"{server.url}/in.ome.zarr"), "nearest", scale=2)
        steps = run(image, tmp_path / "out.ome.zarr", workers=1)
        while next(steps).done < 1:
            pass
        server.etag = '"2"'
        with pytest.raises(UnreadableError, match="changed while it was read"):
            list(steps)
        again = sr.upscale(sr.read(f"{server.url}/in.ome.zarr"), "nearest", scale=2)
        with pytest.raises(sr.SuperresError, match="other settings: source"):
            write(again, tmp_path / "out.ome.zarr")
