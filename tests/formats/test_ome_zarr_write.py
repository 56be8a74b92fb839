"""What a job writes as OME-Zarr: accepted by every validator, equal in every reader."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_superres.errors import SettingError
from napari_superres.formats.chunk_grid import chunks_under
from napari_superres.formats.ome_zarr import open_image
from napari_superres.formats.ome_zarr_layout import layout_for
from napari_superres.formats.pyramid import coarser
from napari_superres.formats.zarr_encode import encode_chunk, encode_shard
from napari_superres.image import Channel, Image
from napari_superres.job import write
from tests.formats.records import RECORD

if TYPE_CHECKING:
    from pathlib import Path

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "bool"]


def noise(shape: tuple[int, ...], dtype: Any = np.uint16) -> np.ndarray:
    """Return pixels like a camera's."""
    return (np.random.default_rng(1).random(shape) * 100).astype(dtype)


def stack(version_shape: tuple[int, ...] = (2, 2, 3, 600, 530)) -> Image:
    """Return a two-channel time series of stacks with everything that metadata can say."""
    axes = "tzcyx"
    return Image(
        da.from_array(noise(version_shape), chunks=(1, 2, 1, 333, 250)),
        axes,
        pixel_size=(5.0, 2.0, 1.0, 0.1, 0.1),
        units=("second", "micrometer", None, "micrometer", "micrometer"),
        translation=(0.0, 7.0, 0.0, 0.1, 0.3),
        channels=(Channel("DAPI", "0000FF", (5, 80)), Channel("GFP", "00FF00"), Channel("x")),
        name="cells",
        metadata={"ome_xml": "<OME/>", "odd": object(), "numbers": np.arange(3)},
        history=(RECORD,),
    )


def labels() -> Image:
    """Return a label image."""
    return Image(da.from_array(noise((300, 280), "u4")), "yx", is_labels=True, name="cells")


def rgb() -> Image:
    """Return a colour picture."""
    return Image(da.from_array(noise((300, 280, 3), "u1")), "yxs", name="slide")


@pytest.fixture(params=["0.5", "0.4"])
def version(request: pytest.FixtureRequest) -> Any:
    """Both versions that are written."""
    return request.param


@pytest.mark.parametrize("make", [stack, labels, rgb])
def test_three_validators_accept_it(tmp_path: Path, version: Any, make: Any) -> None:
    """Each of them knows rules that the others do not; a viewer may rely on any."""
    models = pytest.importorskip("ome_zarr_models")
    yaozarrs = pytest.importorskip("yaozarrs")
    ngff = pytest.importorskip("ngff_zarr")
    path = write(make(), tmp_path / "a.ome.zarr", ome_zarr=version)
    models.open_ome_zarr(zarr.open_group(path, mode="r"))
    yaozarrs.validate_zarr_store(str(path))
    ngff.from_ngff_zarr(str(path), validate=True)


def test_what_no_validator_checks(tmp_path: Path, version: Any) -> None:
    """Units by their full names, each channel described, windows with all four numbers."""
    path = write(stack(), tmp_path / "a.ome.zarr", ome_zarr=version)
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    ome: Any = attributes.get("ome", attributes)
    (multiscale,) = ome["multiscales"]
    assert [a["name"] for a in multiscale["axes"]] == list("tczyx")
    assert [a.get("unit") for a in multiscale["axes"]] == [
        "second", None, "micrometer", "micrometer", "micrometer",
    ]  # fmt: skip
    channels = ome["omero"]["channels"]
    assert [c["label"] for c in channels] == ["DAPI", "GFP", "x"]
    assert all(set(c["window"]) == {"min", "max", "start", "end"} for c in channels)
    assert channels[0]["window"] == {"min": 0, "max": 65535, "start": 5, "end": 80}
    assert 0 <= channels[1]["window"]["start"] < channels[1]["window"]["end"] <= 100
    assert all(len(c["color"]) == 6 for c in channels)


@pytest.mark.parametrize(("z", "shown"), [(slice(0, 3), 2), (slice(0, 9), 7), (slice(4, 5), 0)])
def test_the_plane_that_is_shown_first_is_there(tmp_path: Path, z: slice, shown: int) -> None:
    """A viewer opens a part of a stack at a plane beyond its end: an error, or nothing."""
    omero = {"rdefs": {"defaultZ": 7, "defaultT": 0, "projection": "normal"}}
    whole = Image(da.from_array(noise((9, 20, 30), "u2")), "zyx", metadata={"omero": omero})
    part = whole.cropped([z, slice(None), slice(None)])
    attributes: Any = zarr.open_group(write(part, tmp_path / "a.ome.zarr"), mode="r").attrs
    rdefs = attributes["ome"]["omero"]["rdefs"]
    assert rdefs == {
        "defaultZ": shown, "defaultT": 0, "projection": "normal", "model": "greyscale",
    }  # fmt: skip


def test_every_reader_sees_the_same_pixels(tmp_path: Path, version: Any) -> None:
    """A file that only its own program reads is no file."""
    tensorstore = pytest.importorskip("tensorstore")
    reader = pytest.importorskip("ome_zarr.reader")
    io = pytest.importorskip("ome_zarr.io")
    image = stack()
    path = write(image, tmp_path / "a.ome.zarr", ome_zarr=version)
    pixels = image.transposed("tczyx").data.compute()
    levels = [pixels, coarser(pixels), coarser(coarser(pixels))]
    (node,) = [n for n in reader.Reader(io.parse_url(str(path)))() if n.data]
    assert len(node.data) == len(levels)
    for number, expected in enumerate(levels):
        np.testing.assert_array_equal(node.data[number].compute(), expected)
        spec = {
            "driver": "zarr3" if version == "0.5" else "zarr",
            "kvstore": {"driver": "file", "path": str(path / str(number))},
        }
        np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), expected)
        np.testing.assert_array_equal(zarr.open_array(path / str(number))[...], expected)


def test_another_reader_finds_a_flipped_bit(tmp_path: Path) -> None:
    """The checksums are the specification's own, so other programs are warned as well."""
    tensorstore = pytest.importorskip("tensorstore")
    path = write(labels(), tmp_path / "a.ome.zarr")
    shard = path / "0" / "c" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 4
    shard.write_bytes(data)
    kvstore = {"driver": "file", "path": str(path / "0")}
    with pytest.raises(ValueError, match="Digest mismatch"):
        tensorstore.open({"driver": "zarr3", "kvstore": kvstore}).result().read().result()


def test_everything_comes_back(tmp_path: Path, version: Any) -> None:
    """Reading what was written gives the image again: sizes, channels, history, metadata."""
    image = stack()
    path = write(image, tmp_path / "a.ome.zarr", ome_zarr=version)
    found = open_image(str(path)).transposed(image.axes)
    for name in ("pixel_size", "units", "translation", "name", "history", "is_labels"):
        assert getattr(found, name) == getattr(image, name)
    assert [c.name for c in found.channels] == ["DAPI", "GFP", "x"]
    assert found.channels[0] == image.channels[0]
    assert found.metadata["ome_xml"] == "<OME/>"
    assert found.metadata["numbers"] == [0, 1, 2]
    assert "odd" not in found.metadata
    assert found.warnings == ()
    np.testing.assert_array_equal(found.data.compute(), image.data.compute())


def test_colour_pictures_and_labels_come_back_as_such(tmp_path: Path, version: Any) -> None:
    """A colour picture read as three channels would be upscaled channel by channel."""
    found = open_image(str(write(rgb(), tmp_path / "rgb.ome.zarr", ome_zarr=version)))
    assert (found.axes, found.rgb) == ("yxs", True)
    np.testing.assert_array_equal(found.data.compute(), noise((300, 280, 3), "u1"))
    np.testing.assert_array_equal(found.levels[0].compute()[0, 0].shape, (3,))
    found = open_image(str(write(labels(), tmp_path / "l.ome.zarr", ome_zarr=version)))
    assert found.is_labels
    np.testing.assert_array_equal(found.levels[0].compute(), noise((300, 280), "u4")[::2, ::2])


def test_level_two_of_a_fourfold_result_lies_on_the_source(tmp_path: Path) -> None:
    """Overlaid on its source, a coarse view of the result must not be shifted by half a pixel."""
    source = Image(
        da.zeros((160, 190), dtype="u1"), "yx", pixel_size=(1.3, 0.7), translation=(0.1, -3.21)
    )
    finer = source.rescaled(4, da.zeros((640, 760), dtype="u1"))
    assert finer.translation[0] == 0.1 - 1.3 * 3 / 8
    path = write(finer, tmp_path / "a.ome.zarr")
    level = open_image(str(path), level=2)
    assert level.pixel_size == source.pixel_size
    assert level.translation == source.translation
    assert level.shape == source.shape


@settings(max_examples=12, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    axes=st.sampled_from(["zyx", "cyx", "tyx", "yxc", "xzy"]),
    chunks=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    version=st.sampled_from(["0.5", "0.4"]),
)
def test_any_image_makes_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    dtype: str,
    shape: tuple[int, ...],
    axes: str,
    chunks: tuple[int, ...],
    version: Any,
) -> None:
    """Odd sizes, odd types, axes in any order, dask chunks that fit nothing."""
    pixels = noise(shape, dtype)
    image = Image(da.from_array(pixels, chunks=chunks), axes)
    path = write(image, tmp_path_factory.mktemp("trip") / "a.zarr", ome_zarr=version)
    found = open_image(str(path))
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found.transposed(axes).data.compute(), pixels)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    chunk=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    dtype=st.sampled_from(DTYPES),
)
def test_our_shards_are_zarrs_shards(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int],
    grid: tuple[int, int],
    chunk: tuple[int, int],
    dtype: str,
) -> None:
    """The encoder is ours; any reader's decoder must understand it, at the array's end too."""
    block = tuple(g * c for g, c in zip(grid, chunk, strict=True))
    root = tmp_path_factory.mktemp("shards")
    pixels = noise(shape, dtype)
    codecs = [zarr.codecs.BloscCodec(cname="zstd"), zarr.codecs.Crc32cCodec()]
    zarr.create_array(
        root, shape=shape, dtype=dtype, shards=block, chunks=chunk, compressors=codecs, fill_value=1
    )
    whole = tuple(slice(0, n) for n in shape)
    for at, inside in chunks_under(whole, block):
        place = root / "c" / str(at[0]) / str(at[1])
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"".join(encode_shard(pixels[inside], block, chunk)))
    np.testing.assert_array_equal(zarr.open_array(root, mode="r")[...], pixels)


def test_equal_pixels_give_equal_bytes() -> None:
    """Results are compared by their bytes, whichever thread made them."""
    from concurrent.futures import ThreadPoolExecutor

    pixels = noise((512, 512))
    with ThreadPoolExecutor(4) as threads:
        found = {*threads.map(lambda _: encode_chunk(pixels, (512, 512)), range(8))}
    assert found == {encode_chunk(pixels, (512, 512))}


@settings(max_examples=200, deadline=None)
@given(
    y=st.integers(1, 100_000),
    x=st.integers(1, 100_000),
    edge=st.integers(1, 600).map(lambda n: 8 * n),
)
def test_no_file_has_two_writers(y: int, x: int, edge: int) -> None:
    """Two tasks in one file lose each other's pixels: 59 % of them, when it was tried."""
    image = Image(da.zeros((y, x), chunks=8192, dtype="u1"), "yx")
    layout = _layout(image, edge)
    for number in layout.passes:
        grids = {layout.levels[level].grid for level in layout.owned(number)}
        assert len(grids) == 1
        for finer, level in zip(layout.owned(number), layout.owned(number)[1:], strict=False):
            last = tuple(n - 1 for n in next(iter(grids)))
            for coarse, fine in zip(
                layout.region(level, last), layout.region(finer, last), strict=True
            ):
                assert (coarse.start * 2, coarse.stop) == (fine.start, -(-fine.stop // 2))
    for level in layout.levels:
        assert all(b % c == 0 for b, c in zip(level.block, level.chunk, strict=True))
        assert all(c <= 2 * 512 or c == b for b, c in zip(level.block, level.chunk, strict=True))


def _layout(image: Image, edge: int) -> Any:
    """Return the layout of an image whose plan has blocks of that edge."""
    from types import SimpleNamespace

    return layout_for(
        Image(image.data, image.axes, plan=SimpleNamespace(block=(edge, edge), scale=4))
    )


def test_axes_without_a_place_are_refused() -> None:
    """OME-Zarr has one axis beside time and space."""
    image = Image(da.zeros((2, 3, 8, 8)), "acyx")
    with pytest.raises(SettingError, match="planes="):
        layout_for(image)
    with pytest.raises(SettingError, match=r"0\.3"):
        layout_for(Image(da.zeros((8, 8)), "yx"), "0.3")  # type: ignore[arg-type]


def test_the_result_names_its_program(tmp_path: Path) -> None:
    """Whoever finds the file in ten years must learn what was done to it."""
    path = write(stack(), tmp_path / "a.ome.zarr")
    text = json.loads((path / "zarr.json").read_text())
    metadata = text["attributes"]["ome"]["multiscales"][0]["metadata"]
    assert metadata["napari_superres"]["history"] == [RECORD]
    assert "Means of 2 x 2" in metadata["description"]
