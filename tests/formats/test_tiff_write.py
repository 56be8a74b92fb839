"""OME-TIFF: what is written is read again, in this package and in tifffile."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_superres.errors import Cancelled, InputError, OutputError, ResourceError
from napari_superres.formats import read, tiff_write
from napari_superres.formats.tiff_write import write_ome_tiff
from napari_superres.image import Channel, Image
from tests.formats.records import RECORD
from tests.formats.tiff_files import picture
from tests.strategies import pixels

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {
    "t": (2.5, "second"),
    "z": (0.5, "micrometer"),
    "y": (0.1, "micrometer"),
    "x": (0.2, "nanometer"),
}


def image_of(array: np.ndarray, axes: str, **changes: Any) -> Image:
    """Return an image with everything that OME-TIFF can carry."""
    n_channels = array.shape[axes.index("c")] if "c" in axes else 1
    fields: dict[str, Any] = {
        "pixel_size": tuple(SIZES.get(a, (1.0, None))[0] for a in axes),
        "units": tuple(SIZES.get(a, (1.0, None))[1] for a in axes),
        "translation": tuple(-0.0375 if a in "yx" else 0.0 for a in axes),
        "channels": tuple(
            Channel(f"channel {i}", None if "s" in axes else f"{i:02X}FF80", (1.0, 200.0 + i))
            for i in range(n_channels)
        ),
        "name": "cells µ & <more>",
        "history": (RECORD,),
    }
    data = da.from_array(array, chunks=tuple(min(n, 64) for n in array.shape))
    return Image(data=data, axes=axes, **{**fields, **changes})


def halved(array: np.ndarray, axes: str, count: int) -> list[da.Array]:
    """Return a pyramid."""
    cut = tuple(slice(None, None, 2) if a in "yx" else slice(None) for a in axes)
    levels = [array]
    while len(levels) < count:
        levels.append(levels[-1][cut])
    return [da.from_array(level, chunks=50) for level in levels]


@st.composite
def stacks(draw: st.DrawFn) -> tuple[np.ndarray, str]:
    """Draw pixels of any type in any order of axes, of more than one position each."""
    lead = draw(st.permutations("tcz"))[: draw(st.integers(0, 3))]
    dtype = draw(
        st.sampled_from(
            ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
        )
    )
    shape = [draw(st.integers(2, 3)) for _ in lead]
    shape += [draw(st.integers(1, 40)), draw(st.integers(1, 40))]
    axes = "".join(lead) + "yx"
    if draw(st.booleans()):
        dtype, axes = "uint8", axes + "s"
        shape.append(draw(st.sampled_from([3, 4])))
    return draw(pixels(tuple(shape), dtype)), axes


@settings(max_examples=60, deadline=None)
@given(stack=stacks(), n_levels=st.integers(1, 3))
def test_what_is_written_is_read(
    stack: tuple[np.ndarray, str], n_levels: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A result changes its pixels, axes, sizes, place or history on the way to the disk."""
    array, axes = stack
    image = image_of(array, axes)
    path = tmp_path_factory.mktemp("ome") / "a.ome.tif"
    levels = halved(array, axes, n_levels)
    write_ome_tiff(levels, image, path)
    got = read(path)
    assert (got.axes, got.dtype) == (axes, array.dtype)
    assert got.pixel_size == image.pixel_size
    assert got.units == image.units
    assert got.translation == image.translation
    assert got.channels == image.channels
    assert got.history == image.history
    assert got.warnings == ()
    for lazy, level in zip((got.data, *got.levels), levels, strict=True):
        np.testing.assert_array_equal(lazy.compute(), level.compute())
    np.testing.assert_array_equal(tifffile.imread(path), array)


def test_everything_that_ome_cannot_say_is_kept(tmp_path: Path) -> None:
    """Pixel sizes without a unit, or with one of the user's own, are lost or become micrometers."""
    image = image_of(
        picture((4, 40, 50), "uint16"),
        "zyx",
        pixel_size=(2.0, 0.5, 0.25),
        units=(None, "cubit", "micrometer"),
    )
    write_ome_tiff([image.data], image, tmp_path / "a.ome.tif")
    got = read(tmp_path / "a.ome.tif")
    assert (got.pixel_size, got.units) == (image.pixel_size, image.units)
    assert "cubit" in got.warnings[0]
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        assert "PhysicalSizeZ" not in tif.ome_metadata


def test_a_plain_image_gets_no_annotation(tmp_path: Path) -> None:
    """Every export carries a remark that says nothing."""
    image = Image(data=da.zeros((20, 30), dtype="uint8"), axes="yx")
    write_ome_tiff([image.data], image, tmp_path / "a.ome.tif")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        assert "Annotation" not in tif.ome_metadata


def test_masks_stay_masks(tmp_path: Path) -> None:
    """Label images are smoothed when they are upscaled a second time."""
    image = Image(data=da.from_array(picture((20, 30), "bool")), axes="yx")
    write_ome_tiff([image.data], image, tmp_path / "a.ome.tif")
    got = read(tmp_path / "a.ome.tif")
    assert got.is_labels
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got.data.compute(), image.data.compute())


@pytest.mark.parametrize(
    ("shape", "axes", "dtype", "what"),
    [
        ((20, 30), "yx", "float16", "no pixel type for the float16"),
        ((20, 30), "yx", "int64", "no pixel type for the int64"),
        ((2, 20, 30), "ayx", "uint8", "no place for the axes"),
    ],
)
def test_what_ome_tiff_cannot_hold_is_refused(
    shape: tuple[int, ...], axes: str, dtype: str, what: str, tmp_path: Path
) -> None:
    """Half floats become something else, or an axis of angles becomes time."""
    image = Image(data=da.zeros(shape, dtype=dtype), axes=axes)
    with pytest.raises(InputError, match=what):
        write_ome_tiff([image.data], image, tmp_path / "a.ome.tif")
    assert not (tmp_path / "a.ome.tif").exists()


def test_levels_of_another_stack_are_refused(tmp_path: Path) -> None:
    """A pyramid of another image is written below this one."""
    image = Image(data=da.zeros((3, 20, 30), dtype="uint8"), axes="zyx")
    with pytest.raises(InputError, match="Levels differ in y and x alone"):
        write_ome_tiff([image.data, image.data[:2]], image, tmp_path / "a.ome.tif")


def test_progress_counts_to_the_end_and_may_stop(tmp_path: Path) -> None:
    """The bar stops at 98 percent, and cancelling waits for the whole file."""
    image = image_of(picture((2, 700, 600), "uint16"), "zyx")
    levels = halved(image.data.compute(), "zyx", 2)
    seen: list[tuple[int, int]] = []
    write_ome_tiff(levels, image, tmp_path / "a.ome.tif", tick=lambda *at: seen.append(at))
    total = 2 * (2 * 2) + 2 * (1 * 1)  # tiles of 512: 2 x 2 of each plane, 1 x 1 half as fine
    assert seen == [(i + 1, total) for i in range(total)]

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        write_ome_tiff(levels, image, tmp_path / "b.ome.tif", tick=stop)


def test_a_source_that_fails_is_named_and_not_the_output(tmp_path: Path) -> None:
    """A damaged source is reported as a full disk."""
    tifffile.imwrite(tmp_path / "in.tif", picture((64, 64), "uint16"), compression="zlib")
    image = read(tmp_path / "in.tif")
    (tmp_path / "in.tif").unlink()
    with pytest.raises(InputError, match=r"in\.tif"):
        write_ome_tiff([image.data], image, tmp_path / "a.ome.tif")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A wrong folder gives a traceback."""
    image = Image(data=da.zeros((20, 30), dtype="uint8"), axes="yx")
    with pytest.raises(OutputError, match=r"a\.ome\.tif' cannot be written"):
        write_ome_tiff([image.data], image, tmp_path / "no" / "a.ome.tif")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_told() -> None:
    """A full disk gives a traceback."""
    image = Image(data=da.zeros((2000, 3000), dtype="uint16"), axes="yx")
    with pytest.raises(ResourceError, match="no space left"):
        write_ome_tiff([image.data], image, "/dev/full")


def test_large_files_use_wide_offsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result beyond 4 GB cannot be read back."""
    image = Image(data=da.zeros((20, 30), dtype="uint8"), axes="yx")
    for limit, is_big in ((600, False), (599, True)):
        monkeypatch.setattr(tiff_write, "_CLASSIC", limit)
        write_ome_tiff([image.data], image, tmp_path / "a.ome.tif")
        with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
            assert tif.is_bigtiff == is_big
        assert read(tmp_path / "a.ome.tif").data.compute().sum() == 0


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two runs cannot be compared by their checksums."""
    image = image_of(picture((2, 100, 90), "uint16"), "cyx")
    for name in ("a.ome.tif", "b.ome.tif"):
        write_ome_tiff([image.data], image, tmp_path / name)
    assert (tmp_path / "a.ome.tif").read_bytes() == (tmp_path / "b.ome.tif").read_bytes()


def test_the_resolution_tags_agree_with_ome(tmp_path: Path) -> None:
    """Programs that know TIFF and not OME show no scale bar, or a wrong one."""
    image = image_of(
        picture((40, 50), "uint16"), "yx", pixel_size=(0.5, 0.25), units=("micrometer",) * 2
    )
    write_ome_tiff(halved(image.data.compute(), "yx", 2), image, tmp_path / "a.ome.tif")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        for page, ratio in ((tif.series[0].levels[0][0], 1), (tif.series[0].levels[1][0], 2)):
            assert page.tags["ResolutionUnit"].value == 3  # centimeter
            for tag, size in (("XResolution", 0.25), ("YResolution", 0.5)):
                top, bottom = page.tags[tag].value
                assert top / bottom == pytest.approx(1e4 / size / ratio)


MEMORY = """
import sys
import dask.array as da, numpy as np
from napari_superres.formats.tiff_write import write_ome_tiff
from napari_superres.image import Image
from napari_superres.resources import peak_memory
planes = int(sys.argv[1])
shape, chunks = (planes, 2048, 2048), (1, 512, 512)
data = da.random.default_rng(0).integers(0, 4000, shape, "uint16", chunks=chunks)
write_ome_tiff([data], Image(data=data, axes="zyx"), sys.argv[2])
print(peak_memory())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit was measured there")
def test_memory_does_not_grow_with_the_stack(tmp_path: Path) -> None:
    """A stack larger than the memory cannot be exported."""
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", MEMORY, str(planes), str(tmp_path / "a.ome.tif")],
                check=True, capture_output=True, text=True,
            ).stdout
        )
        for planes in (8, 24)  # both more than are worked on at once
    ]  # fmt: skip
    grown = peaks[1] - peaks[0]
    assert grown < 32 * 1024**2  # 128 MiB more pixels; measured: 7 to 12 MiB


def test_channels_of_a_source_that_says_less_keep_their_order(tmp_path: Path) -> None:
    """Names and colours move to other channels."""
    image = image_of(picture((3, 20, 30), "uint8"), "cyx")
    chosen = replace(
        image, data=image.data[[2, 0]], channels=(image.channels[2], image.channels[0])
    )
    write_ome_tiff([chosen.data], chosen, tmp_path / "a.ome.tif")
    assert read(tmp_path / "a.ome.tif").channels == chosen.channels
