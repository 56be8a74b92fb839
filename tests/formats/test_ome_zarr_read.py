"""Opening OME-Zarr and plain Zarr: axes, sizes, channels, levels, and not a pixel too many."""

from __future__ import annotations

import json
import pickle
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_superres.errors import AxesError, SettingError
from napari_superres.formats.ome_zarr import open_image
from napari_superres.formats.ome_zarr_metadata import parse_axis_names
from napari_superres.formats.zarr_array import ZarrArray
from napari_superres.formats.zarr_store import absolute_root, open_node
from napari_superres.image import Channel
from napari_superres.job import write
from tests.formats.zarr_files import make_collection, make_image, ramp
from tests.strategies import regions

if TYPE_CHECKING:
    from pathlib import Path


def test_a_real_file_opens_with_everything_it_says(shared: Path) -> None:
    """Wrong sizes or channel names make every measurement on the result wrong."""
    path = shared / "real" / "cardiomyocytes_mip.zarr"
    image = open_image(str(path))
    assert (image.axes, image.shape, image.dtype) == ("czyx", (3, 1, 540, 640), np.uint16)
    assert image.pixel_size == (1, 1, 1.3, 1.3)
    assert image.units == (None, "micrometer", "micrometer", "micrometer")
    assert image.channels == (
        Channel("DAPI", "00FFFF", (0, 700)),
        Channel("nanog", "FF00FF", (0, 200)),
        Channel("Lamin B1", "FFFF00", (0, 1500)),
    )
    assert [level.shape for level in image.levels] == [(3, 1, 270, 320)]
    assert image.warnings == ()
    assert image.source["path"] == str(path)
    expected = zarr.open_array(path / "0", mode="r")[...]
    np.testing.assert_array_equal(image.data.compute(), expected)
    coarser = open_image(str(path), level=1)
    assert coarser.pixel_size == (1, 1, 2.6, 2.6)
    assert coarser.levels == ()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_versions_open_alike(tmp_path: Path, version: str) -> None:
    """A facility has both, often in one folder."""
    pixels = ramp((2, 3, 40, 50))
    make_image(
        tmp_path / "a.ome.zarr", [pixels, pixels[..., ::2, ::2]], "czyx", version=version,
        scales=[[1, 2, 0.1, 0.1], [1, 2, 0.2, 0.2]],
    )  # fmt: skip
    image = open_image(str(tmp_path / "a.ome.zarr"))
    assert image.pixel_size == (1, 2, 0.1, 0.1)
    assert image.name == "a"
    np.testing.assert_array_equal(image.data.compute(), pixels)
    np.testing.assert_array_equal(image.levels[0].compute(), pixels[..., ::2, ::2])


def test_sharded_arrays_are_read_in_large_pieces(tmp_path: Path) -> None:
    """With dask chunks as small as a shard's inner ones a viewer stalls on thousands of tasks."""
    pixels = ramp((1, 2048, 1100))
    make_image(tmp_path / "s", [pixels], chunks=(1, 64, 64), shards=(1, 2048, 2048))
    image = open_image(str(tmp_path / "s"))
    assert image.data.chunks == ((1,), (1024, 1024), (1024, 76))
    np.testing.assert_array_equal(image.data.compute(), pixels)


def test_chunks_of_many_planes_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Light-sheet files have cubes as chunks: a z-stack must not decode each 16 times."""
    pixels = ramp((16, 64, 64))
    make_image(tmp_path / "cubes", [pixels], chunks=(16, 32, 32))
    image = open_image(str(tmp_path / "cubes"))
    reads = []
    read = ZarrArray._read
    monkeypatch.setattr(ZarrArray, "_read", lambda a, r: reads.append(r) or read(a, r))
    planes = [image.data[z].compute(scheduler="synchronous") for z in range(16)]
    np.testing.assert_array_equal(planes, pixels)
    assert len(reads) == 4


@pytest.mark.parametrize("shards", [None, (16, 64, 64)])
def test_pixels_that_were_written_anew_are_read_anew(
    tmp_path: Path, shards: tuple[int, ...] | None
) -> None:
    """Metadata stays as it is when pixels are corrected in place: the old ones are shown on."""
    pixels = ramp((16, 64, 64))
    root = make_image(tmp_path / "cubes", [pixels], chunks=(16, 32, 32), shards=shards)
    np.testing.assert_array_equal(open_image(str(root)).data[3].compute(), pixels[3])
    zarr.open_array(root / "0")[:, 40:] = 7
    image = open_image(str(root))
    np.testing.assert_array_equal(image.data[3, :32].compute(), pixels[3, :32])
    assert np.all(image.data[3, 40:].compute() == 7)
    if shards is None:
        (root / "0" / "c" / "0" / "1" / "1").unlink()
        assert np.all(open_image(str(root)).data[3, 40:, 40:].compute() == 0)


def test_a_chunk_as_large_as_a_slide_is_not_a_dask_chunk(tmp_path: Path) -> None:
    """One pixel on the screen would decode and copy the whole slide."""
    make_image(tmp_path / "one", [np.ones((1, 3000, 2500), np.uint8)], chunks=(1, 3000, 2500))
    assert open_image(str(tmp_path / "one")).data.chunksize == (1, 1024, 1024)


@settings(deadline=None)
@given(data=st.data())
def test_any_region_equals_numpys(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    """Steps, negative steps and integers reach the array from dask and from users."""
    shape = (3, 17, 23)
    root = tmp_path_factory.getbasetemp() / "regions"
    if not root.exists():
        make_image(root, [ramp(shape)], chunks=(2, 5, 8))
    node = open_node(absolute_root(root), "0")
    assert node is not None
    region = data.draw(regions(shape))
    np.testing.assert_array_equal(ZarrArray(node)[region], ramp(shape)[region])


def test_nothing_is_read_at_open(tmp_path: Path) -> None:
    """Opening a terabyte must take a moment: here every chunk is rubbish, and opening succeeds."""
    root = make_image(tmp_path / "a", [ramp((4, 64, 64))], chunks=(1, 32, 32))
    for chunk in (root / "0" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"rubbish")
    assert open_image(str(root)).shape == (4, 64, 64)


def test_an_image_travels_to_other_processes(tmp_path: Path) -> None:
    """Cluster workers get the image by pickle, and open the file by themselves."""
    root = make_image(tmp_path / "a", [ramp((2, 20, 30))])
    image = pickle.loads(pickle.dumps(open_image(str(root))))
    np.testing.assert_array_equal(image.data.compute(), ramp((2, 20, 30)))


def test_equal_files_have_equal_names_and_changed_ones_do_not(tmp_path: Path) -> None:
    """A job is resumed only if its pixels are called the same again."""
    root = make_image(tmp_path / "a", [ramp((2, 20, 30))])
    first = open_image(str(root))
    assert open_image(str(root)).data.name == first.data.name
    make_image(root, [ramp((2, 20, 30))[:, ::-1]])
    again = open_image(str(root))
    assert (again.data.name, again.source) != (first.data.name, first.source)


def test_both_transformations_are_applied_in_order(tmp_path: Path) -> None:
    """The multiscale's own transformation comes after the dataset's."""
    root = make_image(
        tmp_path / "a", [ramp((8, 10))], "yx", scales=[[0.5, 0.25]], translations=[[1.0, 2.0]],
        outer=[
            {"type": "scale", "scale": [2, 4]},
            {"type": "translation", "translation": [10, 20]},
        ],
    )  # fmt: skip
    image = open_image(str(root))
    assert image.pixel_size == (1.0, 1.0)
    assert image.translation == (12.0, 28.0)


@pytest.mark.parametrize(
    ("spelling", "unit"), [("um", "micrometer"), ("µm", "micrometer"), ("nanometer", "nanometer")]
)
def test_units_get_their_full_names(tmp_path: Path, spelling: str, unit: str) -> None:
    """No validator minds abbreviations, so files have them."""
    image = open_image(str(make_image(tmp_path / "a", [ramp((8, 10))], "yx", unit=spelling)))
    assert image.units == (unit, unit)
    assert image.warnings == ()


def test_an_unknown_unit_is_kept_and_said(tmp_path: Path) -> None:
    """A guess would change lengths in silence."""
    image = open_image(str(make_image(tmp_path / "a", [ramp((8, 10))], "yx", unit="cubit")))
    assert image.units == ("cubit", "cubit")
    assert "cubit" in image.warnings[0]


def test_old_versions_without_named_axes(tmp_path: Path) -> None:
    """Versions 0.1 and 0.2 are always tczyx; 0.3 has a list of names and no sizes."""
    root = make_image(tmp_path / "old", [ramp((1, 2, 3, 8, 10))], "tczyx", version="0.4")
    path = root / ".zattrs"
    attributes = json.loads(path.read_text())
    multiscale = attributes["multiscales"][0]
    del multiscale["datasets"][0]["coordinateTransformations"]
    for version, axes in (("0.1", None), ("0.3", ["t", "c", "z", "y", "x"])):
        multiscale["version"] = version
        multiscale["axes"] = axes
        path.write_text(json.dumps(attributes))
        image = open_image(str(root))
        assert image.axes == "tczyx"
        assert image.pixel_size == (1,) * 5


@pytest.mark.parametrize("said", [None, [{"name": "z"}, {"name": "y"}, {"name": "y"}]])
def test_axes_that_a_file_does_not_tell_can_be_given(tmp_path: Path, said: Any) -> None:
    """The error says what to do, and doing it changes nothing."""
    root = make_image(tmp_path / "a", [ramp((3, 8, 10))], version="0.4")
    path = root / ".zattrs"
    attributes = json.loads(path.read_text())
    attributes["multiscales"][0]["axes"] = said
    path.write_text(json.dumps(attributes))
    with pytest.raises(AxesError, match="axes='zyx'"):
        open_image(str(root))
    image = open_image(str(root), axes="tyx")
    assert (image.axes, image.shape) == ("tyx", (3, 8, 10))
    with pytest.raises(AxesError, match="names 2 axes"):
        open_image(str(root), axes="yx")


@pytest.mark.parametrize("dtype", [">u2", "<i4", "i1", "f2", "f8", "bool", "u8"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_types_arrive_in_the_machines_byte_order(tmp_path: Path, dtype: str, version: str) -> None:
    """Torch and numba refuse foreign byte orders, and deep inside a run."""
    pixels = ramp((6, 7), dtype)
    image = open_image(str(make_image(tmp_path / "a", [pixels], "yx", version=version)))
    assert image.dtype == np.dtype(dtype).newbyteorder("=")
    assert image.data.compute().dtype == image.dtype
    assert image.is_labels == (dtype == "bool")
    np.testing.assert_array_equal(image.data.compute(), pixels)


def test_y_and_x_stand_last_whatever_the_file_does(tmp_path: Path) -> None:
    """Everything behind the reader counts on it."""
    pixels = ramp((8, 10, 2))
    zarr.create_array(tmp_path / "yxc", data=pixels, dimension_names=["y", "x", "channel"])
    image = open_image(str(tmp_path / "yxc"))
    assert image.axes == "cyx"
    np.testing.assert_array_equal(image.data.compute(), np.moveaxis(pixels, -1, 0))


class TestPlainArrays:
    """Arrays without OME metadata are used by half the world."""

    def test_two_dimensions_need_no_names(self, tmp_path: Path) -> None:
        """A single plane has no other reading."""
        zarr.create_array(tmp_path / "a", data=ramp((8, 10)))
        assert open_image(str(tmp_path / "a")).axes == "yx"

    @pytest.mark.parametrize("zarr_format", [2, 3])
    def test_more_dimensions_are_not_guessed(self, tmp_path: Path, zarr_format: Any) -> None:
        """Time taken for depth, or channels for planes, gives a wrong result without an error."""
        zarr.create_array(tmp_path / "a", data=ramp((3, 8, 10)), zarr_format=zarr_format)
        with pytest.raises(AxesError, match=r"3 x 8 x 10.*axes='zyx'"):
            open_image(str(tmp_path / "a"))
        assert open_image(str(tmp_path / "a"), axes="tyx").axes == "tyx"
        with pytest.raises(AxesError):
            open_image(str(tmp_path / "a"), axes="yx")

    def test_names_in_the_file_are_used(self, tmp_path: Path) -> None:
        """Version 3 has dimension names, xarray an attribute."""
        names = ["time", "y", "x"]
        zarr.create_array(tmp_path / "a", data=ramp((3, 8, 10)), dimension_names=names)
        array = zarr.create_array(tmp_path / "b", data=ramp((3, 8, 10)), zarr_format=2)
        array.update_attributes({"_ARRAY_DIMENSIONS": names})
        assert open_image(str(tmp_path / "a")).axes == "tyx"
        assert open_image(str(tmp_path / "b")).axes == "tyx"

    def test_it_has_one_series_and_one_level(self, tmp_path: Path) -> None:
        """A wish that is not heard looks like a wish fulfilled."""
        zarr.create_array(tmp_path / "a", data=ramp((8, 10)))
        with pytest.raises(SettingError, match="single array"):
            open_image(str(tmp_path / "a"), level=1)


def test_axis_names_become_different_letters() -> None:
    """Axes such as angle and phase have no letter of ours, and still need one each."""
    assert parse_axis_names(["angle", "phase", "Time", "Z", "y", "x"]) == "aptzyx"
    assert parse_axis_names(["a", "angle", "y", "x"]) == "anyx"


def test_axes_can_be_renamed(tmp_path: Path) -> None:
    """Files say z for what is time; the user knows better."""
    root = make_image(tmp_path / "a", [ramp((3, 8, 10))], "zyx")
    assert open_image(str(root), axes="tyx").axes == "tyx"


def test_series_of_a_collection(tmp_path: Path) -> None:
    """bioformats2raw makes one group for each image, in a listed or a counted order."""
    group = make_collection(tmp_path / "c", 2)
    assert open_image(str(tmp_path / "c"), series=1).data[0, 0].compute() == 2
    with pytest.raises(SettingError, match="no series 2"):
        open_image(str(tmp_path / "c"), series=2)
    group.require_group("OME").update_attributes({"ome": {"series": ["1", "0"]}})
    assert open_image(str(tmp_path / "c"), series=1).data[0, 0].compute() == 1
    with pytest.raises(SettingError, match="no series 2"):
        open_image(str(tmp_path / "c"), series=2)


def test_ome_xml_of_a_collection_is_carried_along(tmp_path: Path) -> None:
    """The objective and the date are in it, and belong into the result."""
    make_image(tmp_path / "c" / "0", [ramp((8, 10))], "yx")
    zarr.open_group(tmp_path / "c", mode="a", zarr_format=3).update_attributes(
        {"ome": {"bioformats2raw.layout": 3}}
    )
    (tmp_path / "c" / "OME").mkdir()
    (tmp_path / "c" / "OME" / "METADATA.ome.xml").write_text("<OME/>")
    assert open_image(str(tmp_path / "c")).metadata["ome_xml"] == "<OME/>"


def test_levels_can_be_chosen(tmp_path: Path) -> None:
    """Level 1 comes with its own pixel size and position."""
    pixels = ramp((16, 20))
    root = make_image(
        tmp_path / "a", [pixels, pixels[::2, ::2]], "yx", scales=[[1, 1], [2, 2]],
        translations=[[0, 0], [0.5, 0.5]],
    )  # fmt: skip
    image = open_image(str(root), level=1)
    assert (image.shape, image.pixel_size, image.translation) == ((8, 10), (2, 2), (0.5, 0.5))
    for level in (2, -1):
        with pytest.raises(SettingError, match="It has 2, from 0"):
            open_image(str(root), level=level)


def test_label_images_are_known_as_such(tmp_path: Path) -> None:
    """A network on cell numbers would make cells that do not exist."""
    by_metadata = make_image(tmp_path / "m", [ramp((8, 10), "u4")], "yx", extra={"image-label": {}})
    by_place = make_image(tmp_path / "image" / "labels" / "cells", [ramp((8, 10), "u4")], "yx")
    image = make_image(tmp_path / "i", [ramp((8, 10), "u4")], "yx")
    assert open_image(str(by_metadata)).is_labels
    assert open_image(str(by_place)).is_labels
    assert not open_image(str(image)).is_labels


def test_channels_that_do_not_fit_are_said(tmp_path: Path) -> None:
    """No validator counts them; colours would land on the wrong channel, or a viewer would fail."""
    described = {"label": "one", "color": "#ff0000", "window": {"min": 0, "max": 9}}
    root = make_image(tmp_path / "a", [ramp((2, 8, 10))], "cyx", omero={"channels": [described]})
    image = open_image(str(root))
    assert image.channels == (Channel("one", "FF0000", (0, 9)), Channel())
    assert "2 channels, but its metadata describes 1" in image.warnings[0]


@pytest.mark.parametrize("pair", [(0, 0), (9, 5)])
def test_a_window_in_which_nothing_lies_is_none(pair: tuple[int, int], tmp_path: Path) -> None:
    """A result says that zero is black and white, and napari does not open it."""
    window = {"start": pair[0], "end": pair[1], "min": 0, "max": 65535}
    described = {"label": "empty", "color": "00FF00", "window": window}
    root = make_image(tmp_path / "a", [ramp((8, 10))], "yx", omero={"channels": [described]})
    assert open_image(str(root)).channels == (Channel("empty", "00FF00"),)
    write(open_image(str(root)), tmp_path / "b.ome.zarr")
    low, high = open_image(str(tmp_path / "b.ome.zarr")).channels[0].window or (0, 0)
    assert (low, high) == (1, 80)


def test_consolidated_metadata_is_not_believed(tmp_path: Path) -> None:
    """A stale copy of it shows a shape of the past, and so half an image."""
    root = make_image(tmp_path / "a", [ramp((8, 10))], "yx", version="0.4")
    zarr.consolidate_metadata(root, zarr_format=2)
    shutil.rmtree(root / "0")
    zarr.create_array(root / "0", data=ramp((16, 20)), zarr_format=2)
    assert open_image(str(root)).shape == (16, 20)


def test_a_plane_beyond_two_to_the_31_pixels(tmp_path: Path) -> None:
    """Slide scanners make them; 32-bit arithmetic anywhere would read the wrong corner."""
    array = zarr.create_array(
        tmp_path / "big", shape=(70_000, 70_000), chunks=(2000, 2000), dtype="u1"
    )
    array[69_999, 69_998:] = (7, 9)
    image = open_image(str(tmp_path / "big"))
    assert image.data[-1, -3:].compute().tolist() == [0, 7, 9]
    assert "1224 of 1225 chunks" in image.warnings[0]


def test_an_odd_chunk_grid_counts_its_missing_chunks(tmp_path: Path) -> None:
    """A copy that was cut off has holes, which zarr fills without a word."""
    root = make_image(tmp_path / "a", [ramp((2, 50, 70))], chunks=(1, 16, 16))
    assert open_image(str(root)).warnings == ()
    (root / "0" / "c" / "1" / "3" / "4").unlink()
    image = open_image(str(root))
    assert "1 of 40 chunks" in image.warnings[0]
    assert "c/1/3/4" in image.warnings[0]
    assert image.data[1, 48:, 64:].compute().max() == 0
