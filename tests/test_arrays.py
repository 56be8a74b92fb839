"""Type in, type out; and pixels that are not nice."""

from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from safetensors.numpy import save_file

import napari_superres as sr
from napari_superres.errors import AxesError, InputError, ResourceError, SettingError
from napari_superres.image import Channel, Image
from tests.models.conftest import COMPACT, random_tensors

if TYPE_CHECKING:
    from pathlib import Path


def test_each_type_comes_back_as_itself() -> None:
    """A script goes on with the type that it began with."""
    values = np.random.default_rng(0).integers(0, 1000, (12, 9), dtype=np.uint16)
    expected = sr.upscale(values, "bicubic", scale=2)
    assert isinstance(expected, np.ndarray)
    lazy = sr.upscale(da.from_array(values), "bicubic", scale=2)
    assert isinstance(lazy, da.Array)
    image = sr.upscale(Image(da.from_array(values), "yx"), "bicubic", scale=2)
    assert isinstance(image, Image)
    stored = zarr.array(values)
    from_zarr = sr.upscale(stored, "bicubic", scale=2)
    assert isinstance(from_zarr, da.Array)
    for result in (lazy, image.data, from_zarr):
        np.testing.assert_array_equal(result.compute(), expected)


def test_xarray_keeps_names_and_gets_coordinates_at_the_new_centres() -> None:
    """A plot of the result has the same millimetres along its axes."""
    x = xr.DataArray(
        np.zeros((2, 3, 4), np.float32),
        dims=("t", "y", "x"),
        coords={"t": [0.0, 5.0], "y": [10.0, 20.0, 30.0], "x": [1.0, 3.0, 5.0, 7.0], "who": "me"},
        name="cells",
        attrs={"made": "today"},
    )
    result = sr.upscale(x, "lanczos", scale=2)
    assert result.dims == ("t", "y", "x")
    assert result.name == "cells"
    assert result.attrs["made"] == "today"
    np.testing.assert_allclose(result.t, [0, 5])
    np.testing.assert_allclose(result.y, [7.5, 12.5, 17.5, 22.5, 27.5, 32.5])
    np.testing.assert_allclose(result.x[:2], [0.5, 1.5])
    assert str(result.who.values) == "me"


def test_a_part_of_an_xarray_has_the_coordinates_of_that_part() -> None:
    """Else a plot of it would show another place, or nothing at all."""
    names = ["DAPI", "GFP", "actin"]
    x = xr.DataArray(
        np.random.default_rng(0).random((3, 4, 6, 8)),
        dims=("c", "z", "y", "x"),
        coords={"c": names, "z": [0.0, 1, 2, 3], "y": 10.0 * np.arange(6), "x": np.arange(8)},
    )
    x = x.assign_coords(depth=("z", [9.0, 8, 7, 6]))
    whole = sr.upscale(x, "bicubic", scale=2)
    chosen = {"channels": ["actin", "DAPI"], "planes": {"z": slice(1, 4, 2)}}
    part = sr.upscale(x, "bicubic", scale=2, **chosen, region=np.s_[1:4, 2:8])
    expected = whole.isel(c=[2, 0], z=[1, 3], y=slice(2, 8), x=slice(4, 16))
    xr.testing.assert_equal(part, expected)
    with pytest.raises(InputError, match="several arrays"):
        sr.upscale(x.to_dataset(name="cells"), "bicubic", scale=2)


def test_above_two_dimensions_axes_are_asked_for_never_guessed() -> None:
    """Three planes of a stack are not red, green and blue."""
    with pytest.raises(AxesError, match="axes='zyx'"):
        sr.upscale(np.zeros((3, 8, 8)))


@pytest.mark.parametrize("dtype", [object, "U3", "datetime64[s]"])
def test_what_holds_no_numbers_is_refused(dtype: Any) -> None:
    """An error of dask's about chunks helps nobody who loaded the wrong column."""
    with pytest.raises(InputError, match="are not numbers"):
        sr.upscale(np.zeros((4, 4), dtype))


@pytest.mark.parametrize("shape", [(), (9,)])
def test_a_row_of_values_is_no_picture(shape: tuple[int, ...]) -> None:
    """The advice would be to name axes that cannot be named."""
    with pytest.raises(AxesError, match=r"holds no picture.*reshape\(height, width\)"):
        sr.upscale(np.zeros(shape, np.float32))


def test_a_result_in_memory_is_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that fits would fill the memory when its blocks are joined."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    values = np.random.default_rng(0).random((6000, 300), np.float32)
    sr.upscale(values[:9], "nearest", scale=4)  # imports count for nothing
    tracemalloc.start()
    result = sr.upscale(values, "nearest", scale=4)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    blocks = 2 * 2048 * 4 * 300 * 4  # of the twelve, two are computed at a time
    assert peak < result.nbytes + 3 * blocks < 2 * result.nbytes
    np.testing.assert_array_equal(result[::4, ::4], values)


def test_an_image_whose_channels_are_colours_becomes_one_picture() -> None:
    """Files describe red, green and blue as three channels, and --rgb failed on every one."""
    values = np.random.default_rng(0).integers(0, 255, (3, 12, 14), np.uint8)
    named = tuple(Channel(name) for name in ("R", "G", "B"))
    image = Image(da.from_array(values), "cyx", channels=named)
    result = sr.upscale(image, "lanczos", rgb=True)
    assert (result.axes, len(result.channels)) == ("syx", 1)
    np.testing.assert_array_equal(result.data, sr.upscale(values, "lanczos", axes="cyx", rgb=True))
    assert sr.upscale(image, "lanczos", axes="cyx").channels == named
    with pytest.raises(AxesError, match="no axis 'c' for the colours"):
        sr.upscale(values[0], "lanczos", rgb=True)


def test_what_has_no_pixels_is_refused_with_what_to_do() -> None:
    """A path or a list is an easy mistake."""
    with pytest.raises(InputError, match=r"upscale\(read\(path\)\)"):
        sr.upscale("cells.tif")
    with pytest.raises(InputError, match="A list has no pixels"):
        sr.upscale([[1, 2], [3, 4]])
    pixels = da.from_array(np.arange(64).reshape(8, 8), chunks=4)
    with pytest.raises(InputError, match="compute_chunk_sizes"):
        sr.upscale(pixels[pixels.sum(axis=1) > 50], "bicubic")


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2)])
@pytest.mark.parametrize("model", ["nearest", "bicubic", "lanczos"])
@pytest.mark.parametrize("consistency", ["off", "pixel", "local"])
def test_the_smallest_images_work(shape: tuple[int, int], model: str, consistency: str) -> None:
    """A crop of one pixel is an image too."""
    values = np.full(shape, 7, np.uint8)
    result = sr.upscale(values, model, scale=4, consistency=consistency)
    np.testing.assert_array_equal(result, np.full([4 * n for n in shape], 7))


def test_float16_overshoots_to_its_largest_value_and_not_to_infinity() -> None:
    """A bright speck in half precision would have infinite light around it."""
    values = np.zeros((9, 9), np.float16)
    values[3:6, 3:6] = 60000  # 65504 is the largest
    values[0, 0], values[8, 8] = np.inf, np.nan
    result = sr.upscale(values, "lanczos", scale=4)
    assert result.max(initial=0, where=np.isfinite(result)) == np.finfo(np.float16).max
    gaps = ~np.isfinite(result)
    assert gaps.sum() == 2 * 4 * 4
    assert np.isposinf(result[:4, :4]).all()
    assert np.isnan(result[-4:, -4:]).all()
    wide = sr.upscale(np.full((5, 5), 2**20, np.uint32), "lanczos", dtype="float16")
    assert np.isfinite(wide).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float16", "float32"])
def test_a_constant_image_stays_constant(dtype: str) -> None:
    """Nothing to see must not become something."""
    values = np.full((20, 20), 100, dtype)
    result = sr.upscale(values, "lanczos", scale=4)
    np.testing.assert_array_equal(result, np.full((80, 80), 100, dtype))


def test_gaps_stay_where_they_were_and_do_not_spread() -> None:
    """A dead detector line must not eat its neighbours."""
    values = np.random.default_rng(0).normal(100, 10, (40, 40))
    values[3:9, 4:20] = np.nan
    values[30, 30] = np.inf
    values[31, 31] = -np.inf
    result = sr.upscale(values, "lanczos", scale=2, consistency="local")
    expected = values.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(result), np.isinf(expected))
    finite = result[np.isfinite(result)]
    assert 40 < finite.min() < finite.max() < 160


def test_an_image_of_nothing_but_gaps_stays_one() -> None:
    """Masked planes at the end of a stack are common."""
    result = sr.upscale(np.full((5, 5), np.nan, np.float32), "lanczos", scale=2)
    assert np.isnan(result).all()


def test_a_pedestal_and_a_hot_pixel_survive() -> None:
    """Cameras add 32768; cosmic rays add 60000; neither may move the rest."""
    rng = np.random.default_rng(0)
    values = rng.integers(32768, 32868, (60, 60)).astype(np.uint16)
    values[30, 30] = 60_000
    result = sr.upscale(values, "lanczos", scale=4, consistency="pixel")
    assert abs(int(result[120:124, 120:124].mean()) - 60_000) <= 1
    far = result.copy()
    far[100:144, 100:144] = 32800
    assert 32_700 < far.min() < far.max() < 32_950


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "uint64", "float64"])
def test_nearest_repeats_any_pixel_exactly(dtype: str) -> None:
    """Label images hold identifiers."""
    values = np.array([[0, 1], [2**62 if dtype in ("int64", "uint64") else 1, 0]], dtype)
    result = sr.upscale(values, "nearest", scale=3)
    assert result.dtype == values.dtype
    np.testing.assert_array_equal(result, values.repeat(3, 0).repeat(3, 1))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_mask_becomes_numbers_where_they_are_asked_for(dtype: str) -> None:
    """Many programs read no truth values."""
    mask = np.array([[False, True], [True, False]])
    result = sr.upscale(mask, "nearest", scale=2, dtype=dtype)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, mask.repeat(2, 0).repeat(2, 1).astype(dtype))


@pytest.mark.parametrize("dtype", [">u2", ">f4", "<i2"])
def test_byte_order_is_normalised(dtype: str) -> None:
    """Files from old instruments are big-endian."""
    values = np.arange(64).reshape(8, 8).astype(dtype)
    result = sr.upscale(values, "bicubic", scale=2)
    assert result.dtype.isnative
    native = values.astype(values.dtype.newbyteorder("="))
    np.testing.assert_array_equal(result, sr.upscale(native, "bicubic", scale=2))


def test_integers_clip_instead_of_wrapping() -> None:
    """Ringing beside a saturated spot must not turn white into black."""
    values = np.zeros((16, 16), np.uint8)
    values[6:10, 6:10] = 255
    result = sr.upscale(values, "lanczos", scale=4).astype(int)
    assert result[30:34, 30:34].min() > 200
    assert result[:8, :8].max() < 30


def test_a_result_larger_than_memory_is_refused_before_it_is_begun() -> None:
    """A numpy result has to fit; the computer must not freeze to find out."""
    huge = np.broadcast_to(np.uint8(1), (400_000, 400_000))
    with pytest.raises(ResourceError, match="Give a dask array to stay lazy"):
        sr.upscale(huge, "lanczos", scale=4)


class TestSelections:
    """Channels, planes and a region are cut from the plan of the whole image."""

    @staticmethod
    def _image() -> Image:
        values = np.random.default_rng(0).integers(0, 1000, (3, 4, 20, 24), dtype=np.uint16)
        names = tuple(Channel(name) for name in ("DNA", "actin", "tubulin"))
        return Image(da.from_array(values), "czyx", pixel_size=(1, 2, 0.5, 0.5), channels=names)

    def test_a_region_shows_the_pixels_of_the_whole(self) -> None:
        """A preview and the file agree."""
        image = self._image()
        whole = sr.upscale(image, "lanczos", scale=2)
        part = sr.upscale(image, "lanczos", scale=2, region=(slice(5, 15), slice(8, 20)))
        assert part.shape == (3, 4, 20, 24)
        np.testing.assert_array_equal(part.data, whole.data[:, :, 10:30, 16:40])
        assert part.translation[2] == pytest.approx(whole.translation[2] + 10 * 0.25)

    def test_channels_by_name_and_index_in_any_order(self) -> None:
        """One channel of four is often enough."""
        image = self._image()
        whole = sr.upscale(image, "lanczos", scale=2)
        part = sr.upscale(image, "lanczos", scale=2, channels=["tubulin", 0])
        assert [channel.name for channel in part.channels] == ["tubulin", "DNA"]
        np.testing.assert_array_equal(part.data, whole.data.compute()[[2, 0]])

    def test_planes_keep_their_axis_and_their_depth(self) -> None:
        """A result of one plane still knows where it was."""
        part = sr.upscale(self._image(), "lanczos", scale=2, planes={"z": slice(1, 4, 2)})
        assert part.shape == (3, 2, 40, 48)
        assert part.translation[1] == 2
        assert part.pixel_size[1] == 4
        single = sr.upscale(self._image(), "lanczos", scale=2, planes={"z": -1})
        assert single.translation[1] == 6

    @pytest.mark.parametrize(
        ("wish", "message"),
        [
            ({"channels": ["GFP"]}, "0 channels named 'GFP'"),
            ({"channels": [3]}, "no index 3 along 'c'"),
            ({"planes": {"t": 0}}, "no planes along 't'"),
            ({"planes": {"z": [0, 1, 3]}}, "not evenly spaced"),
            ({"planes": {"z": slice(4, 4)}}, "Nothing of"),
            ({"region": (slice(0, 21), slice(0, 5))}, "region 0:21 along 'y'"),
        ],
    )
    def test_what_is_not_there_is_refused(self, wish: dict, message: str) -> None:
        """An empty file is no answer to a misspelt channel."""
        with pytest.raises(SettingError, match=message):
            sr.upscale(self._image(), "lanczos", scale=2, **wish)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("model", ["lanczos", "linear-x2", "with limits"])
def test_each_channel_of_colour_pictures_is_a_picture(
    model: str, dtype: str, tmp_path: Path
) -> None:
    """Several stains, each an RGB picture, failed, or were mapped by the limits of the first."""
    wishes: dict[str, Any] = {}
    if model == "with limits":
        model = str(tmp_path / "net.safetensors")
        save_file(random_tensors(COMPACT), model)
        wishes = {"device": "cpu/torch"}
    rng = np.random.default_rng(0)
    pictures = np.stack([rng.integers(0, high, (20, 24, 3)) for high in (100, 250)]).astype(dtype)
    result = sr.upscale(pictures, model, axes="cyxs", **wishes)
    for picture, finer in zip(pictures, result, strict=True):
        np.testing.assert_array_equal(finer, sr.upscale(picture, model, axes="yxs", **wishes))
