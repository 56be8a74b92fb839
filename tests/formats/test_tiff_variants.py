"""Every kind of TIFF reads pixel for pixel, in any region, from several threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_superres.errors import UnreadableError
from napari_superres.formats import read
from tests.formats.tiff_files import (
    POSITIONS,
    VARIANTS,
    Variant,
    as_image_order,
    cut,
    ome_text,
    picture,
    write_multi_file_ome,
    write_ome,
    write_positions,
    write_pyramid,
)
from tests.strategies import regions

if TYPE_CHECKING:
    from pathlib import Path

    import dask.array as da


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_every_variant_reads_pixel_for_pixel_with_threads(variant: Variant, tmp_path: Path) -> None:
    """A pixel of somebody's measurement changes between the file and the model."""
    path, pixels = variant.make(tmp_path)
    image = read(path, axes=variant.axes if variant.asked else None)
    assert image.axes == variant.axes
    got = image.data.compute(scheduler="threads", num_workers=4)
    np.testing.assert_array_equal(got, as_image_order(pixels, variant))
    assert got.dtype == np.dtype(variant.dtype)
    assert got.dtype.isnative
    assert image.is_labels == (variant.dtype == "bool")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[da.Array, np.ndarray]]:
    """Return the lazy array of every variant, and its pixels."""
    folder = tmp_path_factory.mktemp("variants")
    found = []
    for variant in VARIANTS:
        path, pixels = variant.make(folder)
        image = read(path, axes=variant.axes if variant.asked else None)
        found.append((image.data, as_image_order(pixels, variant)))
    return found


@settings(max_examples=150, deadline=None)
@given(data=st.data(), number=st.integers(0, len(VARIANTS) - 1))
def test_a_region_is_the_region_of_the_whole(
    opened: list[tuple[da.Array, np.ndarray]], data: st.DataObject, number: int
) -> None:
    """A crop in the viewer shows other pixels than the file has there."""
    lazy, pixels = opened[number]
    region = data.draw(regions(pixels.shape))
    np.testing.assert_array_equal(lazy[region].compute(), pixels[region])


@settings(max_examples=50, deadline=None)
@given(data=st.data(), number=st.integers(0, len(VARIANTS) - 1))
def test_a_choice_of_planes_is_that_choice_of_the_whole(
    opened: list[tuple[da.Array, np.ndarray]], data: st.DataObject, number: int
) -> None:
    """Channels that were asked for by number come in another order."""
    lazy, pixels = opened[number]
    axis = data.draw(st.integers(0, pixels.ndim - 1))
    chosen = data.draw(
        st.lists(st.integers(-pixels.shape[axis], pixels.shape[axis] - 1), min_size=1, max_size=4)
    )
    index = (*(slice(None),) * axis, chosen)
    np.testing.assert_array_equal(lazy[index].compute(), pixels[index])


def test_a_pyramid_in_subifds_becomes_levels(tmp_path: Path) -> None:
    """A viewer has to compute the overview of a large image from its finest level."""
    levels = write_pyramid(tmp_path / "a.ome.tif")
    image = read(tmp_path / "a.ome.tif")
    assert [level.shape for level in image.levels] == [level.shape for level in levels[1:]]
    for lazy, pixels in zip((image.data, *image.levels), levels, strict=True):
        np.testing.assert_array_equal(lazy.compute(), pixels)


def test_a_coarser_level_lies_over_the_finest(tmp_path: Path) -> None:
    """An image opened at level 1 is drawn half a pixel beside itself."""
    write_pyramid(tmp_path / "a.ome.tif")
    image = read(tmp_path / "a.ome.tif", level=1)
    assert image.shape == (2, 128, 100)
    assert image.pixel_size == (1.0, 0.4, 0.2)
    assert image.translation == (0.0, 0.1, 0.05)  # half of the difference of the pixel sizes
    assert len(image.levels) == 1


@pytest.mark.parametrize(
    ("coarse", "ratio"), [((65, 33), (2, 2)), ((64, 16), (2, 4)), ((32, 26), (4, 2.5)),
                          ((60, 64), (129 / 60, 65 / 64))]
)  # fmt: skip
def test_levels_of_odd_sizes_have_whole_ratios(
    coarse: tuple[int, int], ratio: tuple[float, float], tmp_path: Path
) -> None:
    """Lengths that are measured on a coarser level are off by a percent."""
    fine = picture((129, 65), "uint8")
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tif:
        tif.write(fine, subifds=1, metadata={"axes": "YX"})
        tif.write(fine[: coarse[0], : coarse[1]], subfiletype=1)
    image = read(tmp_path / "a.ome.tif", level=1)
    assert image.pixel_size == ratio
    assert image.translation == tuple((r - 1) / 2 for r in ratio)


def test_several_series_are_chosen_by_number(tmp_path: Path) -> None:
    """The second position of an experiment cannot be opened."""
    first, second = picture((3, 40, 50), "uint16"), picture((2, 30, 20), "uint8")
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tif:
        for pixels, axes in ((first, "ZYX"), (second, "CYX")):
            tif.write(pixels, photometric="minisblack", metadata={"axes": axes, "Name": axes})
    path = tmp_path / "a.ome.tif"
    np.testing.assert_array_equal(read(path).data.compute(), first)
    other = read(path, series=1)
    np.testing.assert_array_equal(other.data.compute(), second)
    assert (other.axes, other.name, other.source["series"]) == ("cyx", "a [CYX]", 1)


def test_an_ome_stack_over_several_files_is_one_image(tmp_path: Path) -> None:
    """A data set with one file a plane opens as one plane, or with planes of zeros."""
    path, pixels = write_multi_file_ome(tmp_path)
    image = read(path)
    assert image.axes == "zyx"
    np.testing.assert_array_equal(image.data.compute(), pixels)


@pytest.mark.parametrize("kind", POSITIONS)
def test_each_position_is_read_from_its_own_file(tmp_path: Path, kind: str) -> None:
    """Every position of an experiment shows the pixels of the file that happened to be opened."""
    stacks = write_positions(tmp_path, kind)
    for opened in range(3):
        for series, pixels in enumerate(stacks):
            image = read(tmp_path / f"pos{opened}.ome.tif", series=series)
            np.testing.assert_array_equal(image.data.compute(), pixels.squeeze())
            told = " ".join(image.warnings)
            assert ("lies in another file" in told) == (opened != series)
            assert opened == series or f"'pos{series}.ome.tif'; this file holds series" in told


def test_a_pointer_leads_to_the_pixels_of_each_position(tmp_path: Path) -> None:
    """A file without a description of its own shows the pixels of the file that describes it."""
    stacks = write_positions(tmp_path, "contiguous stack")
    pointer = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<BinaryOnly MetadataFile="pos0.ome.tif" UUID="urn:uuid:0"/></OME>'
    )
    write_ome(tmp_path / "pos1.ome.tif", stacks[1], pointer)
    for series, pixels in enumerate(stacks):
        image = read(tmp_path / "pos1.ome.tif", series=series)
        np.testing.assert_array_equal(image.data.compute(), pixels)


def test_a_position_that_is_cut_off_in_another_file_is_refused(tmp_path: Path) -> None:
    """What is missing at its end is taken for there, because the opened file is long enough."""
    write_positions(tmp_path, "contiguous plane")
    cut(tmp_path / "pos1.ome.tif", 0.9)
    with pytest.raises(UnreadableError, match=r"pos1\.ome\.tif' is truncated"):
        read(tmp_path / "pos0.ome.tif", series=1)


def test_metadata_in_another_file_are_found(tmp_path: Path) -> None:
    """The second file of a multi-file data set cannot be opened by itself."""
    path, pixels = write_multi_file_ome(tmp_path)
    pointer = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<BinaryOnly MetadataFile="{path.name}" UUID="urn:uuid:0"/></OME>'
    )
    other = tmp_path / "plane1.ome.tif"
    tifffile.imwrite(other, pixels[1], description=pointer, metadata=None, ome=False)
    np.testing.assert_array_equal(read(other).data.compute(), pixels)


def test_metadata_in_a_text_beside_the_file_are_watched(tmp_path: Path) -> None:
    """A pixel size that was corrected in the companion file is not seen."""
    pixels = picture((2, 20, 30), "uint16")
    pointer = '<OME xmlns="{}"><BinaryOnly MetadataFile="a.companion.ome" UUID="urn:uuid:0"/></OME>'
    namespace = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    path = write_ome(tmp_path / "a.ome.tif", pixels, pointer.format(namespace))
    companion = tmp_path / "a.companion.ome"
    for size in ("0.5", "0.25"):
        sizes = f'SizeX="30" SizeY="20" SizeZ="2" PhysicalSizeX="{size}"'
        entries = "".join(
            f'<TiffData FirstZ="{i}" IFD="{i}"><UUID FileName="a.ome.tif">urn:uuid:0</UUID>'
            "</TiffData>" for i in range(2)
        )  # fmt: skip
        companion.write_text(ome_text(sizes, entries))
        image = read(path)
        assert image.pixel_size == (1.0, 1.0, float(size))
        assert str(companion) in image.source["files"]


def test_an_imagej_stack_beyond_four_gigabytes_has_one_directory(tmp_path: Path) -> None:
    """Large ImageJ stacks, which list their first plane only, open as that one plane."""
    pixels = picture((5, 30, 40), "uint16").astype(">u2")
    tifffile.imwrite(
        tmp_path / "one.tif", pixels[0], byteorder=">", metadata=None,
        description="ImageJ=1.54f\nimages=5\nslices=5\nunit=micron\nspacing=0.5\n",
    )  # fmt: skip
    with tifffile.TiffFile(tmp_path / "one.tif") as tif:
        assert tif.pages[0].dataoffsets[0] + pixels[0].nbytes == tif.filehandle.size
    with open(tmp_path / "one.tif", "ab") as file:
        file.write(pixels[1:].tobytes())
    image = read(tmp_path / "one.tif")
    assert image.axes == "zyx"
    np.testing.assert_array_equal(image.data.compute(), pixels)
