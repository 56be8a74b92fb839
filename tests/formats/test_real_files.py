"""Real microscope files open with the axes, the type and the pixel size that they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import tifffile

from napari_superres.errors import AxesError
from napari_superres.formats import read
from napari_superres.image import Channel

if TYPE_CHECKING:
    from pathlib import Path

UM = "micrometer"


class Known(NamedTuple):
    """What is known of a file from its makers, and not from our reader."""

    file: str
    axes: str
    shape: tuple[int, ...]
    dtype: str
    pixel_size: tuple[float, ...] = ()
    units: tuple[str | None, ...] = ()


KNOWN = [
    Known("xyzc_confocal_widefield_pair.tif", "zcyx", (45, 2, 130, 133), "uint16",
          (0.4994, 1, 0.5119, 0.5119), (UM, None, UM, UM)),
    Known("xyzc_spots.tif", "zcyx", (17, 2, 88, 89), "uint16",
          (0.4, 1, 0.0941, 0.0941), (UM, None, UM, UM)),
    Known("xyt_golgi_float32.tif", "tyx", (30, 137, 147), "float32",
          (59.86, 0.3514, 0.3514), ("second", UM, UM)),
    Known("xyz_nuclear_envelope_8bit.tif", "zyx", (14, 224, 305), "uint8",
          (1, 0.2417, 0.2417), (UM, UM, UM)),
    Known("xyc_membranes_nuclei_hot_pixel.tif", "cyx", (2, 354, 475), "uint16"),
    Known("xyt_polyp_8bit.tif", "tyx", (3, 313, 313), "uint8"),
    Known("xy_rgb_cells.tif", "yxs", (257, 280, 3), "uint8"),
    Known("xy_16bit_offset_32768.tif", "yx", (253, 269), "uint16", (0.2, 0.2), (UM, UM)),
    Known("xyc_embryo_transmission.tif", "cyx", (2, 341, 341), "uint16",
          (1, 0.39, 0.39), (None, UM, UM)),
    Known("hela-cells.tif", "cyx", (3, 512, 672), "uint16",
          (1, 0.0515, 0.0515), (None, UM, UM)),
    Known("beads_psf_stack.tif", "zyx", (41, 150, 150), "uint8",
          (0.125, 0.0225, 0.0225), (UM, UM, UM)),
    Known("argolight_lines_stack.tif", "zyx", (21, 150, 150), "uint8",
          (0.125, 0.022, 0.022), (UM, UM, UM)),
    Known("multi-channel_int8.ome.tif", "cyx", (3, 167, 439), "int8"),
    Known("three_channel.ome.tif", "yxs", (513, 639, 3), "uint8", (1, 1, 1), (UM, UM, None)),
    Known("phase_contrast_yeast.tif", "yx", (1164, 1280), "uint8"),
    Known("nuclei_dsb2018.tif", "yx", (512, 512), "uint16"),
    Known("pyramid.ome.tif", "yx", (768, 768), "uint16", (0.1132, 0.1132), (UM, UM)),
    Known("histology_ihc_rgb.png", "yxs", (512, 512, 3), "uint8"),
]  # fmt: skip


@pytest.mark.parametrize("known", KNOWN, ids=lambda k: k.file)
def test_a_real_file_opens_as_what_it_is(known: Known, shared: Path) -> None:
    """Somebody's stack is upscaled along the wrong axes, or a scale bar is wrong."""
    image = read(shared / "real" / known.file)
    n = len(known.axes)
    assert (image.axes, image.shape, image.dtype.name) == known[1:4]
    assert image.pixel_size == pytest.approx(known.pixel_size or (1.0,) * n, rel=2e-3)
    assert image.units == (known.units or (None,) * n)
    assert image.translation == (0.0,) * n
    assert image.warnings == ()
    assert len(image.channels) == image.size("c")


@pytest.mark.parametrize(
    "known", [k for k in KNOWN if k.file.endswith(".tif")], ids=lambda k: k.file
)
def test_a_real_tiff_reads_pixel_for_pixel(known: Known, shared: Path) -> None:
    """A pixel of a measurement changes on the way."""
    path = shared / "real" / known.file
    expected = tifffile.imread(path)
    if known.file == "hela-cells.tif":
        expected = np.moveaxis(expected, -1, 0)
    if known.file == "three_channel.ome.tif":
        expected = np.moveaxis(expected, 0, -1)
    np.testing.assert_array_equal(read(path).data.compute(), expected)


def test_a_stack_without_axes_is_a_question(shared: Path) -> None:
    """A z-stack is taken for a time series, or the other way round."""
    path = shared / "real" / "embryo_nuclei_3d.tif"
    with pytest.raises(AxesError, match=r"31 x 61 x 57.*axes='zyx'") as caught:
        read(path)
    assert str(path.resolve()) in str(caught.value)
    image = read(path, axes="zyx")
    assert (image.axes, image.shape) == ("zyx", (31, 61, 57))
    np.testing.assert_array_equal(image.data.compute(), tifffile.imread(path))


def test_colours_and_display_ranges_of_imagej_arrive(shared: Path) -> None:
    """Channels come out in other colours and limits than they had in Fiji."""
    pair = read(shared / "real" / "xyzc_confocal_widefield_pair.tif")
    assert pair.channels == (
        Channel("", "FF00FF", (0.0, 65535.0)),
        Channel("", "00FF00", (624.0, 6281.91015625)),
    )
    # A composite without lookup tables has ImageJ's own colours.
    hela = read(shared / "real" / "hela-cells.tif")
    assert [c.color for c in hela.channels] == ["FF0000", "00FF00", "0000FF"]
    assert {c.window for c in hela.channels} == {(165.0, 2832.0)}


def test_levels_of_a_real_pyramid(shared: Path) -> None:
    """The viewer reads the finest level for an overview."""
    image = read(shared / "real" / "pyramid.ome.tif")
    assert [level.shape for level in image.levels] == [(384, 384), (192, 192)]
    coarse = read(shared / "real" / "pyramid.ome.tif", level=2)
    assert coarse.pixel_size == pytest.approx((4 * 0.1132, 4 * 0.1132))


def test_where_an_image_comes_from_is_noted(shared: Path) -> None:
    """A result does not say what it was made of."""
    path = shared / "real" / "pyramid.ome.tif"
    state = path.stat()
    assert read(path, level=1).source == {
        "path": str(path.resolve()),
        "series": 0,
        "level": 1,
        "size": state.st_size,
        "mtime_ns": state.st_mtime_ns,
    }
