"""Converted: the same pixels in another format, with everything that is known of them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import zarr
from lxml import etree

import napari_superres as sr
from napari_superres.cli import _run
from napari_superres.errors import InputError, OutputError, UnreadableError
from napari_superres.job import exporting, run
from napari_superres.job.exporting import is_streamable
from tests.formats import bio_formats
from tests.formats.zarr_files import make_image
from tests.job.conftest import part_of
from tests.job.test_labels import CELLS, labelled  # noqa: F401, a fixture

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["DNA", "actin"]


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """Return a x4 result as OME-Zarr, made of an OME-TIFF whose microscope is described."""
    pixels = np.random.default_rng(0).integers(100, 4000, (2, 3, 90, 170), dtype=np.uint16)
    xml = {
        "axes": "CZYX",
        "PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.2, "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 1.0, "PhysicalSizeZUnit": "µm",
        "Channel": {"Name": NAMES, "EmissionWavelength": [461, 518]},
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "in.ome.tif", pixels, metadata=xml, photometric="minisblack")
    target = tmp_path / "x4.ome.zarr"
    source = ["upscale", str(tmp_path / "in.ome.tif"), str(target)]
    assert _run([*source, "-m", "lanczos", "-s", "4", "-q"]) == 0
    return target


def test_an_ome_tiff_is_a_stream_of_what_is_stored(
    result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fiji, QuPath and a collaborator's script read OME-TIFF; no pixel may change on the way."""
    image = sr.read(result)
    assert is_streamable(image)
    target = result.with_name("x4.ome.tif")
    monkeypatch.setattr(exporting, "LOOK_SECONDS", 0.001)  # ours takes no quarter of a second
    seen = []
    for step in run(image, target):
        seen.append(step.step)
        assert not (part_of(target) / "image.zarr").exists(), "no second copy on the disk"
    assert "exporting" in seen
    found = sr.read(target)
    np.testing.assert_array_equal(found.data.compute(), image.data.compute())
    assert [level.shape for level in found.levels] == [level.shape for level in image.levels]
    for ours, theirs in zip(found.levels, image.levels, strict=True):
        np.testing.assert_array_equal(ours.compute(), theirs.compute())
    assert found.history == image.history
    assert found.units == image.units
    assert found.pixel_size == pytest.approx(image.pixel_size, rel=1e-12)
    assert found.translation == pytest.approx(image.translation, rel=1e-12)
    assert [channel.name for channel in found.channels] == NAMES
    with tifffile.TiffFile(target) as tif:
        assert 'EmissionWavelength="461' in tif.ome_metadata
        assert tif.pages[0].is_tiled
    assert not part_of(target).exists()


def test_bio_formats_and_the_schema_accept_it(result: Path) -> None:
    """What our own reader makes of it proves little."""
    target = result.with_name("x4.ome.tif")
    assert _run(["convert", str(result), str(target), "-q"]) == 0
    said = bio_formats.run("ImageInfo", "-nopix", "-noflat", "-no-upgrade", "-omexml", str(target))
    for line in ("No validation errors found.", "Series count = 1", "Resolutions = 3"):
        assert line in said
    plane = result.with_name("plane.tif")
    where = ["-series", "0", "-channel", "1", "-z", "2"]
    bio_formats.run("ImageConverter", *where, str(target), str(plane))
    np.testing.assert_array_equal(tifffile.imread(plane), sr.read(result).data[1, 2].compute())
    schema = etree.XMLSchema(etree.fromstring(bio_formats.schema_text()))
    with tifffile.TiffFile(target) as tif:
        schema.assertValid(etree.fromstring(tif.ome_metadata.encode()))


def test_zarr_of_the_other_version_and_back(result: Path) -> None:
    """Older viewers want 0.4; whoever gets it back must find nothing lost."""
    image = sr.read(result)
    older, newer = result.with_name("older.ome.zarr"), result.with_name("newer.ome.zarr")
    assert _run(["convert", str(result), str(older), "--ome-zarr", "0.4", "-q"]) == 0
    assert (older / ".zattrs").exists()
    assert _run(["convert", str(older), str(newer), "-q"]) == 0
    for path in (older, newer):
        found = sr.read(path)
        np.testing.assert_array_equal(found.data.compute(), image.data.compute())
        for key in ("axes", "pixel_size", "units", "translation", "channels", "name", "history"):
            assert getattr(found, key) == getattr(image, key), key
        assert found.metadata["ome_xml"] == image.metadata["ome_xml"]
        assert len(found.levels) == len(image.levels)


def test_a_tiff_becomes_zarr_and_a_plane_a_picture(result: Path) -> None:
    """A slide scanner's file for a viewer on the web; a slice for a slide."""
    source = result.with_name("in.ome.tif")
    target = result.with_name("in.ome.zarr")
    part = ["--channels", "actin", "--planes", "z=1", "--region", "10:50,20:80"]
    assert _run(["convert", str(source), str(target), "-q", *part]) == 0
    found = sr.read(target)
    np.testing.assert_array_equal(found.data[0, 0], sr.read(source).data[1, 1, 10:50, 20:80])
    assert found.channels[0].name == "actin"
    assert found.translation == pytest.approx((0, 1.0, 2.0, 4.0))
    assert _run(["convert", str(result), str(result.with_name("a.png")), "-q", *part]) == 0
    expected = sr.read(result).data[1, 1, 10:50, 20:80]
    np.testing.assert_array_equal(sr.read(result.with_name("a.png")).data, expected)


def test_labels_come_along_or_are_named(
    labelled: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As with upscale."""
    target = labelled.with_name("copy.ome.zarr")
    assert _run(["convert", str(labelled), str(target)]) == 0
    assert "left out: 'cells', 'regions'" in capsys.readouterr().err
    arguments = ["convert", str(labelled), str(target), "--overwrite", "--labels", "--json"]
    assert _run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == []
    np.testing.assert_array_equal(sr.read(target / "labels" / "cells").data, CELLS)
    assert _run(["convert", str(labelled), str(labelled.with_name("a.ome.tif")), "--labels"]) == 2


def test_nothing_half_written_has_the_name(result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TIFF that was cut off looks like a shorter stack."""
    image = sr.read(result)
    target = result.with_name("x4.ome.tif")
    monkeypatch.setattr(exporting, "LOOK_SECONDS", 0.001)  # ours takes no quarter of a second
    steps = run(image, target)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert not target.exists()
    assert not part_of(target).exists()
    target.write_text("older")
    with pytest.raises(OutputError, match="exists already"):
        run(image, target)
    shard = next(p for p in (result / "0" / "c").rglob("*") if p.is_file())
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(InputError, match="is damaged"):
        list(run(image, target, overwrite=True))
    assert target.read_text() == "older", "and it is still there"


@pytest.mark.parametrize(("name", "planes"), [("a.ome.tif", 30), ("a.png", 1)])
def test_a_source_that_is_replaced_meanwhile_is_refused(
    tmp_path: Path, name: str, planes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the planes of yesterday, half of today's, and the file looks finished."""
    monkeypatch.setattr(exporting, "LOOK_SECONDS", 0.0)  # so small a one is soon done
    source, other = tmp_path / "in.ome.zarr", tmp_path / "other.ome.zarr"
    for path, value in ((source, 1), (other, 2)):
        make_image(path, [np.full((planes, 200, 200), value, np.uint16)], "zyx")
    image, target = sr.read(source), tmp_path / name
    assert is_streamable(image)
    steps = run(image, target)
    assert next(steps).step == "exporting"
    source.rename(tmp_path / "gone.ome.zarr")
    other.rename(source)
    with pytest.raises(UnreadableError, match="changed"):
        list(steps)
    assert not target.exists()
    assert not part_of(target).exists()


def test_an_image_without_a_pyramid_gets_one(tmp_path: Path) -> None:
    """A large plane without coarser levels opens slowly everywhere."""
    pixels = np.random.default_rng(0).integers(0, 255, (700, 600), dtype=np.uint8)
    source = make_image(tmp_path / "in.ome.zarr", [pixels], "yx")
    image = sr.read(source)
    assert not is_streamable(image)
    list(run(image, tmp_path / "a.ome.tif"))
    found = sr.read(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(found.data, pixels)
    assert [level.shape for level in found.levels] == [(350, 300), (175, 150)]


MEMORY = """
import sys
from napari_superres.cli import _run
from napari_superres.resources import peak_memory
code = _run(["convert", sys.argv[1], sys.argv[2], "-q", "--overwrite"])
print(code, peak_memory())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no limit was measured there")
def test_memory_does_not_grow_with_the_volume(tmp_path: Path) -> None:
    """A volume larger than the memory is exported on the same laptop."""
    peaks = []
    for planes in (8, 24):  # both more than are worked on at once
        source = tmp_path / f"{planes}.ome.zarr"
        make_volume(source, planes)
        told = subprocess.run(
            [sys.executable, "-c", MEMORY, str(source), str(tmp_path / "a.ome.tif")],
            check=True, capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
        assert told[0] == "0"
        peaks.append(int(told[1]))
    assert peaks[1] - peaks[0] < 48 * 1024**2  # 128 MiB more pixels; measured: 10


def make_volume(root: Path, planes: int) -> None:
    """Write planes of 8 MiB with their pyramid, quickly."""
    shapes = [(planes, 2048 >> n, 2048 >> n) for n in range(5)]
    make_image(root, [np.zeros((1, 1, 1), np.uint16)] * len(shapes), "zyx")
    noise = np.random.default_rng(0).integers(0, 4000, (2048, 2048), dtype=np.uint16)
    for number, shape in enumerate(shapes):
        array: Any = zarr.create_array(
            root / str(number), shape=shape, dtype="u2", chunks=(1, 512, 512), overwrite=True
        )
        for z in range(planes):
            array[z] = noise[: shape[1], : shape[2]]
