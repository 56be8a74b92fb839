"""Which axis is which: from the file, from the user, never from a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_superres.errors import AxesError
from napari_superres.formats import read
from tests.formats.tiff_files import ome_text, picture, write_ome

if TYPE_CHECKING:
    from pathlib import Path


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """Write pixels with tifffile, and return the path."""
    tifffile.imwrite(path, pixels, **options)
    return path


@pytest.mark.parametrize("planes", [3, 4])
def test_sixteen_bit_planes_that_a_writer_called_rgb_are_a_question(
    planes: int, tmp_path: Path
) -> None:
    """Three z-slices, written by a program that was told nothing, become one colour picture."""
    pixels = picture((planes, 40, 50), "uint16")
    path = save(tmp_path / "a.tif", pixels, photometric="rgb", planarconfig="separate")
    with pytest.raises(AxesError, match="colours of a picture, which uint16 pixels hardly are"):
        read(path)
    for axes in ("zyx", "cyx", "tyx"):
        image = read(path, axes=axes)
        assert image.axes == axes
        np.testing.assert_array_equal(image.data.compute(), pixels)


def test_eight_bit_planar_rgb_is_a_picture_with_a_word_of_doubt(tmp_path: Path) -> None:
    """The same for 8 bits, which are colours more often than not."""
    pixels = picture((3, 40, 50), "uint8")
    path = save(tmp_path / "a.tif", pixels, photometric="rgb", planarconfig="separate")
    image = read(path)
    assert image.axes == "yxs"
    np.testing.assert_array_equal(image.data.compute(), np.moveaxis(pixels, 0, -1))
    assert any("give axes=" in warning for warning in image.warnings)
    assert read(path, axes="zyx").axes == "zyx"
    assert read(path, axes="syx").axes == "yxs"


def test_interleaved_samples_can_be_named_where_they_are_and_where_they_are_shown(
    tmp_path: Path,
) -> None:
    """A user reads 3 x 40 x 50 in the listing, says axes='cyx', and gets nonsense."""
    pixels = picture((40, 50, 3), "uint16")
    path = save(tmp_path / "a.tif", pixels, photometric="rgb")
    shown = np.moveaxis(pixels, -1, 0)
    for axes in ("cyx", "yxc"):
        image = read(path, axes=axes)
        assert image.axes == "cyx"
        np.testing.assert_array_equal(image.data.compute(), shown)
    image = read(path, axes="yxs")
    assert image.axes == "yxs"
    np.testing.assert_array_equal(image.data.compute(), pixels)


def test_two_samples_are_channels(tmp_path: Path) -> None:
    """Two channels that are stored side by side are refused as an RGB picture of two colours."""
    pixels = picture((40, 50, 2), "uint8")
    path = save(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    image = read(path)
    assert image.axes == "cyx"
    np.testing.assert_array_equal(image.data.compute(), np.moveaxis(pixels, -1, 0))


def test_channels_of_several_samples_become_channels_one_by_one(tmp_path: Path) -> None:
    """A 16-bit OME-TIFF with two cameras of three samples has an axis that nothing can handle."""
    pixels = picture((2, 40, 50, 3), "uint16")
    path = save(tmp_path / "a.ome.tif", pixels, photometric="rgb", metadata={"axes": "CYXS"})
    image = read(path)
    assert (image.axes, image.shape) == ("cyx", (6, 40, 50))
    expected = np.moveaxis(pixels, -1, 1).reshape(6, 40, 50)
    np.testing.assert_array_equal(image.data.compute(), expected)
    np.testing.assert_array_equal(image.data[4, 3:9, 5:7].compute(), expected[4, 3:9, 5:7])


def test_axes_replace_what_the_file_says(tmp_path: Path) -> None:
    """A program wrote z-slices as time points, and nothing can be done about it."""
    pixels = picture((4, 2, 40, 50), "uint16")
    path = save(tmp_path / "a.ome.tif", pixels, metadata={"axes": "TCYX"}, photometric="minisblack")
    assert read(path).axes == "tcyx"
    image = read(path, axes="zcyx")
    assert (image.axes, image.shape) == ("zcyx", (4, 2, 40, 50))


def test_y_and_x_stand_last_whatever_the_order_of_the_file(tmp_path: Path) -> None:
    """A stack whose pages are x-z sections is upscaled along z."""
    pixels = picture((40, 4, 50), "uint16")
    path = save(tmp_path / "a.tif", pixels, metadata={"axes": "YZX"})
    image = read(path)
    assert (image.axes, image.shape) == ("zyx", (4, 40, 50))
    np.testing.assert_array_equal(image.data.compute(), np.swapaxes(pixels, 0, 1))


@pytest.mark.parametrize("axes", ["yx", "tzyx", "zzx", "zab", "ZYX", "szx"])
def test_axes_that_do_not_fit_are_refused(axes: str, tmp_path: Path) -> None:
    """A typing error ends in an array of the wrong shape."""
    path = save(tmp_path / "a.tif", picture((5, 40, 50), "uint16"), photometric="minisblack")
    with pytest.raises(AxesError, match=r"axes=|Axis"):
        read(path, axes=axes)


@pytest.mark.parametrize("shape", [(2, 5, 40, 50), (2, 3, 5, 40, 50)])
def test_the_question_gives_an_example_for_each_number_of_axes(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    """The hint is for another file."""
    path = save(tmp_path / "a.tif", picture(shape, "uint16"), photometric="minisblack")
    with pytest.raises(AxesError) as caught:
        read(path)
    example = caught.value.hint.split("'")[1]
    assert len(example) == len(shape)
    assert read(path, axes=example).shape == shape


def test_a_palette_is_told(tmp_path: Path) -> None:
    """Indices of a colour table are upscaled as intensities, and nobody knows."""
    table = np.zeros((3, 256), np.uint16)
    path = save(
        tmp_path / "a.tif", picture((40, 50), "uint8"), photometric="palette", colormap=table
    )
    assert any("colour table" in warning for warning in read(path).warnings)


@pytest.mark.parametrize("imagej", [False, True])
def test_zero_that_is_white_is_told(imagej: bool, tmp_path: Path) -> None:
    """A result looks like the negative of its source, and nobody says why."""
    pixels = picture((40, 50), "uint8")
    image = read(save(tmp_path / "a.tif", pixels, photometric="miniswhite", imagej=imagej))
    assert any("zero is white" in warning for warning in image.warnings)
    np.testing.assert_array_equal(image.data.compute(), pixels)


def test_sixteen_bit_rgb_keeps_its_colours_as_channel_colours(tmp_path: Path) -> None:
    """What looked red before is gray afterwards."""
    path = save(tmp_path / "a.tif", picture((40, 50, 3), "uint16"), photometric="rgb")
    assert [c.color for c in read(path).channels] == ["FF0000", "00FF00", "0000FF"]


@pytest.mark.parametrize(
    ("density", "unit", "expected"),
    [
        ((72, 72), "INCH", None),  # what a paint program notes
        ((300, 300), "INCH", None),
        ((28.35, 28.35), "CENTIMETER", None),  # the same in centimeters
        ((10000, 20000), "CENTIMETER", (0.5, 1.0)),  # (y, x) in micrometers
        ((254000, 254000), "INCH", (0.1, 0.1)),
    ],
)
def test_the_density_of_a_printer_is_no_pixel_size(
    density: tuple[float, float], unit: str, expected: tuple[float, float] | None, tmp_path: Path
) -> None:
    """A picture from a paint program gets a scale bar of centimeters."""
    path = save(tmp_path / "a.tif", picture((40, 50), "uint8"), resolution=density,
                resolutionunit=unit)  # fmt: skip
    image = read(path)
    if expected is None:
        assert (image.pixel_size, image.units) == ((1.0, 1.0), (None, None))
    else:
        assert image.pixel_size == pytest.approx(expected)
        assert image.units == ("micrometer", "micrometer")


def test_everything_that_ome_says_arrives(tmp_path: Path) -> None:
    """Units, time steps, names or colours are lost between the microscope and the result."""
    channels = '<Channel ID="Channel:0:1" Name="GFP" Color="16711935" SamplesPerPixel="1"/>'
    xml = ome_text(
        'SizeX="30" SizeY="20" SizeC="2" SizeT="2" PhysicalSizeX="65" PhysicalSizeXUnit="nm" '
        'PhysicalSizeY="0.13" TimeIncrement="0.5" TimeIncrementUnit="min"',
        channels + '<TiffData IFD="0" PlaneCount="4"/>',
    ).replace('ID="Channel:0:0"', 'ID="Channel:0:0" Color="-16776961"')
    image = read(write_ome(tmp_path / "a.ome.tif", picture((4, 20, 30), "uint16"), xml))
    assert image.axes == "tcyx"
    assert image.pixel_size == (0.5, 1.0, 0.13, 65.0)
    assert image.units == ("minute", None, "micrometer", "nanometer")
    assert [(c.name, c.color) for c in image.channels] == [("", "FF0000"), ("GFP", "00FF00")]
    assert image.metadata["ome_xml"] == xml


def test_an_unknown_unit_is_kept_and_told(tmp_path: Path) -> None:
    """A scale bar reads 'micrometer' where the file says something else."""
    xml = ome_text(
        'SizeX="30" SizeY="20" PhysicalSizeX="3" PhysicalSizeXUnit="cubit" PhysicalSizeY="3" '
        'PhysicalSizeYUnit="pixel"',
        '<TiffData IFD="0" PlaneCount="1"/>',
    )
    image = read(write_ome(tmp_path / "a.ome.tif", picture((1, 20, 30), "uint16"), xml))
    assert image.units == (None, "cubit")
    assert image.pixel_size == (1.0, 3.0)
    assert any("'cubit'" in warning for warning in image.warnings)


def test_tiles_that_were_never_written_are_told(tmp_path: Path) -> None:
    """Holes in a sparse file pass as black specimen."""
    pixels = picture((96, 96), "uint16")
    path = save(tmp_path / "a.tif", pixels, tile=(32, 32), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tif:
        tag = tif.pages[0].tags["TileByteCounts"]
        tag.overwrite((*tag.value[:4], 0, *tag.value[5:]))
    image = read(path)
    pixels[32:64, 32:64] = 0
    np.testing.assert_array_equal(image.data.compute(), pixels)
    assert any("1 strips or tiles were never written" in warning for warning in image.warnings)
