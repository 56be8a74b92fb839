"""The two laws, for any region, type, tile and number of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_superres as sr
from napari_superres.consistency import RADIUS, block_mean
from napari_superres.image import Image
from tests.strategies import pixels, regions

DTYPES = ["uint8", "int8", "uint16", "int16", "float32", "float64", "float16", ">u2"]
MODELS = ["nearest", "bicubic", "lanczos"]


READ: list[tuple[slice, slice]] = []


class Counting:
    """A source that remembers what was read of it."""

    shape, dtype, ndim = (4000, 4000), np.dtype("uint8"), 2

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        READ.append(key)
        return np.zeros([len(range(4000)[k]) for k in key], np.uint8)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw a stack and settings."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    stack = draw(pixels(shape, draw(st.sampled_from(DTYPES))))
    halo = draw(st.integers(0, 6))
    feather = draw(st.integers(0, 4))
    consistency = draw(st.sampled_from(["off", "pixel", "local"]))
    core = draw(st.integers(max(1, feather), 16))
    around = halo + RADIUS[consistency]
    return stack, {
        "model": draw(st.sampled_from(MODELS)),
        "scale": draw(st.integers(1, 4)),
        "axes": "zyx",
        "tile": core + feather + 2 * around,
        "halo": halo,
        "feather": feather,
        "consistency": consistency,
    }


@settings(deadline=None, max_examples=60)
@given(cases(), st.data())
def test_a_region_of_the_upscaled_image_is_the_upscaled_images_region(
    case: tuple[np.ndarray, dict[str, Any]], data: st.DataObject
) -> None:
    """Otherwise the preview shows pixels that the file will not hold."""
    stack, wishes = case
    lazy = sr.upscale(da.from_array(stack, chunks=(1, 13, 17)), **wishes)
    whole = lazy.compute(scheduler="synchronous")
    region = data.draw(regions(whole.shape))
    np.testing.assert_array_equal(lazy[region].compute(scheduler="threads"), whole[region])


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 9), st.integers(0, 3), st.sampled_from(["off", "pixel", "local"]))
def test_tiles_computed_together_are_those_computed_one_by_one(
    batch: int, halo: int, consistency: str
) -> None:
    """Tiles of one shape at opposite borders keep other parts of what they see."""
    stack = np.random.default_rng(0).normal(200, 50, (48, 48)).astype(np.float32)
    wishes: dict[str, Any] = {"halo": halo, "consistency": consistency}
    wishes["tile"] = 16 + 2 * (halo + RADIUS[consistency])
    one, many = (sr.upscale(stack, "bicubic", scale=2, **wishes, batch=n) for n in (1, batch))
    np.testing.assert_array_equal(one, many)


def test_a_region_under_feathered_tiles_adds_them_in_the_same_order() -> None:
    """Tiles at a border are computed with others alike, which a region may not hold."""
    stack = np.random.default_rng(0).normal(200, 50, (96, 96)).astype(np.float32)
    wishes: dict[str, Any] = {"halo": 0, "feather": 8, "tile": 52, "consistency": "local"}
    lazy = sr.upscale(da.from_array(stack), "linear-x2", **wishes)
    whole = lazy.compute()
    for y, x in np.ndindex(12, 12):
        region = slice(16 * y, 16 * y + 16), slice(16 * x, 16 * x + 16)
        np.testing.assert_array_equal(lazy[region].compute(), whole[region])


def test_a_list_of_planes_is_chosen_without_computing_the_others() -> None:
    """Dask hands lists through to the array."""
    stack = np.random.default_rng(0).integers(0, 255, (5, 20, 21), dtype=np.uint8)
    lazy = sr.upscale(da.from_array(stack), "bicubic", scale=2, axes="zyx")
    whole = lazy.compute()
    np.testing.assert_array_equal(lazy[[3, 0, 3]].compute(), whole[[3, 0, 3]])
    np.testing.assert_array_equal(lazy[1, 5, [7, 2, 30]].compute(), whole[1, 5, [7, 2, 30]])


@settings(deadline=None, max_examples=20)
@given(cases(), st.integers(1, 4))
def test_the_number_of_threads_changes_nothing(
    case: tuple[np.ndarray, dict[str, Any]], workers: int
) -> None:
    """Otherwise a result cannot be repeated on another machine."""
    stack, wishes = case
    lazy = sr.upscale(da.from_array(stack), **wishes)
    with ThreadPoolExecutor(workers) as pool:
        many = lazy.compute(scheduler="threads", pool=pool)
    np.testing.assert_array_equal(many, lazy.compute(scheduler="synchronous"))


@settings(deadline=None, max_examples=40)
@given(cases())
def test_pixel_consistency_conserves_light_through_tiles_seams_and_rounding(
    case: tuple[np.ndarray, dict[str, Any]],
) -> None:
    """Otherwise intensities measured on the result are not those of the source."""
    stack, wishes = case
    wishes["consistency"] = "pixel"
    wishes["tile"] = None
    wishes["halo"] = wishes["feather"] = None
    result = sr.upscale(stack, **wishes)
    native = stack.astype(stack.dtype.newbyteorder("="))
    means = block_mean(result.astype(np.float32), wishes["scale"])
    if result.dtype.kind in "iu":
        # Each of the values is rounded by at most one half.
        tolerance = 0.5 + 1e-3 * (1 + np.abs(native.astype(float)).max() / 1e4)
    else:
        tolerance = 2e-3 * max(1.0, float(np.abs(native).max()) * np.finfo(result.dtype).eps * 1e3)
    assert np.abs(means - native.astype(np.float32)).max() <= tolerance


@settings(deadline=None, max_examples=30)
@given(cases(), st.sampled_from(["bicubic", "lanczos"]))
def test_tiled_equals_untiled_when_the_halo_covers_the_radius(
    case: tuple[np.ndarray, dict[str, Any]], model: str
) -> None:
    """Otherwise a grid of seams shows where tiles meet."""
    stack, wishes = case
    wishes = {**wishes, "model": model, "halo": None, "feather": 0}
    around = 3 + RADIUS[wishes["consistency"]]
    tiled = sr.upscale(stack, **{**wishes, "tile": 2 * around + 7})
    untiled = sr.upscale(stack, **{**wishes, "tile": 2 * around + 40})
    np.testing.assert_array_equal(tiled, untiled)


@pytest.mark.parametrize("axes", ["yxs", "syx", "zyxs"])
def test_an_rgb_picture_is_one_picture_in_any_layout(axes: str) -> None:
    """Colours must not swap places because a file stores them planewise."""
    sizes = {"y": 9, "x": 11, "s": 3, "z": 2}
    picture = np.random.default_rng(0).integers(0, 256, [sizes[a] for a in axes], dtype=np.uint8)
    result = sr.upscale(picture, "bicubic", axes=axes, scale=2)
    moved = np.moveaxis(picture, axes.index("s"), 0)
    expected = np.stack(
        [sr.upscale(sample, "bicubic", axes=axes.replace("s", ""), scale=2) for sample in moved],
        axis=axes.index("s"),
    )
    np.testing.assert_array_equal(result, expected)


def test_alpha_is_interpolated_linearly_and_colours_are_not() -> None:
    """A transparent edge must not ring."""
    picture = np.zeros((6, 6, 4), np.uint8)
    picture[:, 3:] = 255
    result = sr.upscale(picture, "lanczos", axes="yxs", scale=4)
    assert result.shape == (24, 24, 4)
    alpha = result[12, :, 3].astype(int)
    assert (np.diff(alpha) >= 0).all()
    assert 0 < alpha[11] < 255


def test_nothing_is_read_or_computed_before_somebody_asks() -> None:
    """A terabyte must open at once."""

    class Unreadable:
        shape, dtype, ndim = (4, 100_000, 100_000), np.dtype("uint16"), 3

        def __getitem__(self, key: object) -> np.ndarray:
            raise AssertionError(f"somebody read {key}")

    source = da.from_array(Unreadable(), chunks=(1, 4096, 4096), meta=np.empty((0, 0, 0), "u2"))
    image = sr.upscale(Image(source, "zyx"), "lanczos", scale=4)
    assert image.shape == (4, 400_000, 400_000)
    with pytest.raises(AssertionError, match="somebody read"):
        image.data[0, :1, :1].compute()


def test_a_region_reads_only_the_source_under_it() -> None:
    """Looking at a corner must not read the plane."""
    READ.clear()
    source = da.from_array(Counting(), chunks=500, meta=np.empty((0, 0), "u1"))
    finer = sr.upscale(Image(source, "yx"), "lanczos", scale=4, tile=106)
    finer.data[1000:1100, 1000:1100].compute()
    # Output pixels 1000 to 1100 lie under one tile, which sees 100 source pixels and a halo of 3.
    assert sum(np.prod([k.stop - k.start for k in key]) for key in READ) == 106 * 106


def test_a_plane_of_more_than_two_to_the_31_pixels_works_lazily() -> None:
    """Indices must not wrap in whole-slide images."""
    source = da.zeros((70_000, 70_000), chunks=2048, dtype=np.uint8) + np.uint8(7)
    lazy = sr.upscale(source, "lanczos", scale=4)
    assert lazy.shape == (280_000, 280_000)
    np.testing.assert_array_equal(lazy[-3:, -2:].compute(), np.full((3, 2), 7))


def test_a_million_tiles_are_built_without_listing_them() -> None:
    """Graphs that grow with the image froze other tools; ours has one entry a block."""
    source = da.zeros((1000, 16_000, 16_000), chunks=(1, 4000, 4000), dtype=np.uint8)
    image = sr.upscale(Image(source, "zyx"), "lanczos", scale=2, tile=518)
    assert image.plan.tiles == 1000 * 32 * 32
    assert image.data.npartitions == 1000 * 16 * 16
