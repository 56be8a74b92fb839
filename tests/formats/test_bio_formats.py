"""Other people's programs read what we write: Bio-Formats, ome-types, the ImageJ conventions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_superres.formats.tiff_write import write_ome_tiff
from tests.formats import bio_formats
from tests.formats.test_tiff_write import halved, image_of
from tests.formats.tiff_files import picture

if TYPE_CHECKING:
    from pathlib import Path

CASES = [
    ("tczyx", (2, 2, 3, 40, 533), "uint16"),
    ("zcyx", (3, 2, 64, 65), "int16"),
    ("ctyx", (2, 3, 40, 50), "int8"),
    ("yx", (600, 700), "float32"),
    ("cyx", (2, 40, 50), "int32"),
    ("yxs", (60, 70, 3), "uint8"),
    ("yx", (2, 7), "uint8"),
]


@pytest.mark.parametrize(("axes", "shape", "dtype"), CASES, ids=lambda v: str(v))
def test_bio_formats_reads_the_same_pixels(
    axes: str, shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    """A result opens in napari and is noise, or has its axes swapped, in Fiji and QuPath."""
    array = picture(shape, dtype)
    path = tmp_path / "a.ome.tif"
    write_ome_tiff(halved(array, axes, 2), image_of(array, axes), path)
    # The last plane: a mistake in the order of axes shows there.
    options: list[str] = []
    for axis, option in (("t", "-timepoint"), ("c", "-channel"), ("z", "-z")):
        if axis in axes:
            options += [option, str(shape[axes.index(axis)] - 1)]
    expected = array[tuple(-1 if axis in "tcz" else slice(None) for axis in axes)]
    out = tmp_path / "plane.tif"
    bio_formats.run("ImageConverter", "-series", "0", *options, str(path), str(out))
    got = tifffile.imread(out)
    if "s" in axes and got.shape != expected.shape:
        got = np.moveaxis(got, 0, -1)
    np.testing.assert_array_equal(got.reshape(expected.shape), expected)


def test_bio_formats_finds_the_pyramid_and_no_mistake_in_the_metadata(tmp_path: Path) -> None:
    """Fiji lists the levels as separate images, or warns of broken metadata."""
    array = picture((2, 2, 3, 70, 533), "uint16")
    path = tmp_path / "a.ome.tif"
    write_ome_tiff(halved(array, "tczyx", 3), image_of(array, "tczyx"), path)
    said = bio_formats.run("ImageInfo", "-nopix", "-noflat", "-no-upgrade", "-omexml", str(path))
    for line in ("No validation errors found.", "Series count = 1", "Resolutions = 3"):
        assert line in said


def test_ome_types_reads_names_sizes_and_colours(tmp_path: Path) -> None:
    """Scripts that use ome-types see other sizes than we wrote."""
    from_tiff = pytest.importorskip("ome_types").from_tiff
    array = picture((2, 3, 2, 40, 50), "uint16")
    path = tmp_path / "a.ome.tif"
    write_ome_tiff(halved(array, "tczyx", 1)[:1], image_of(array, "tczyx"), path)
    pixels = from_tiff(path).images[0].pixels
    assert (pixels.size_t, pixels.size_c, pixels.size_z) == (2, 3, 2)
    assert (pixels.physical_size_y, pixels.physical_size_y_unit.value) == (0.1, "µm")
    assert (pixels.physical_size_x, pixels.physical_size_x_unit.value) == (0.2, "nm")
    assert (pixels.time_increment, pixels.time_increment_unit.value) == (2.5, "s")
    assert [channel.name for channel in pixels.channels] == ["channel 0", "channel 1", "channel 2"]
    assert pixels.channels[1].color.as_hex(format="long")[:7].lower() == "#01ff80"
