"""Whole results, of every command that writes some, through other people's readers and validators.

`test_ome_zarr_write` and `test_bio_formats` ask the same of single files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

import napari_superres as sr
from napari_superres.cli import _run
from napari_superres.formats.pyramid import coarser
from napari_superres.formats.units import full_name
from napari_superres.image import Channel, Image
from napari_superres.job import write
from tests.formats.zarr_files import make_image
from tests.job.test_labels import labelled  # noqa: F401, a fixture

UNITS = {"micrometer", "nanometer", "millimeter", "second", "millisecond"}


def check(path: Path, channels: int) -> None:
    """Refuse an OME-Zarr image that a validator, or a rule that none of them knows, objects to."""
    models = pytest.importorskip("ome_zarr_models")
    yaozarrs = pytest.importorskip("yaozarrs")
    ngff = pytest.importorskip("ngff_zarr")
    models.open_ome_zarr(zarr.open_group(path, mode="r"))
    yaozarrs.validate_zarr_store(str(path))
    ngff.from_ngff_zarr(str(path), validate=True)
    attributes: Any = dict(zarr.open_group(path, mode="r").attrs)
    ome = attributes.get("ome", attributes)
    (multiscale,) = ome["multiscales"]
    axes = {axis["name"]: axis for axis in multiscale["axes"]}
    assert {axis["unit"] for axis in axes.values() if "unit" in axis} <= UNITS
    assert "unit" not in axes.get("c", {})
    shape = zarr.open_array(path / multiscale["datasets"][0]["path"], mode="r").shape
    size = dict(zip(axes, shape, strict=True))
    assert size.get("c", 1) == channels
    if "image-label" not in ome:
        described = ome["omero"]["channels"]
        assert len(described) == channels
        assert all(set(c["window"]) == {"min", "max", "start", "end"} for c in described)


def test_the_outputs_of_all_commands_conform(
    labelled: Path,  # noqa: F811
) -> None:
    """A file that one viewer opens and the next refuses is found out by the collaborator."""
    folder = labelled.parent
    single = folder / "upscaled.ome.zarr"
    assert _run(["upscale", str(labelled), str(single), "-m", "nearest", "--labels", "-q"]) == 0
    assert _run(["batch", str(labelled), str(folder / "many"), "-m", "nearest", "-q"]) == 0
    older = folder / "older.ome.zarr"
    convert = ["convert", str(single), str(older), "--ome-zarr", "0.4", "--labels", "-q"]
    assert _run(convert) == 0
    part = folder / "part.ome.zarr"
    chosen = ["--channels", "1", "--planes", "z=1", "--region", "0:10,0:12"]
    assert _run(["upscale", str(labelled), str(part), "-m", "nearest", "-q", *chosen]) == 0
    for path in (single, folder / "many" / "in_x2.ome.zarr", older):
        check(path, 2)
    check(part, 1)
    for path in (single, older):
        check(path / "labels" / "cells", 1)
        check(path / "labels" / "regions", 1)


@pytest.mark.parametrize("version", ["0.5", pytest.param("0.4", marks=pytest.mark.slow)])
def test_every_reader_sees_the_same_pixels_of_an_upscaled_image(
    tmp_path: Path, version: Any
) -> None:
    """Levels and all, through ome-zarr-py, tensorstore, bioio and zarr itself."""
    bioio = pytest.importorskip("bioio")
    plugin = pytest.importorskip("bioio_ome_zarr")
    tensorstore = pytest.importorskip("tensorstore")
    reader, io = pytest.importorskip("ome_zarr.reader"), pytest.importorskip("ome_zarr.io")
    pixels = np.random.default_rng(0).integers(0, 4000, (2, 3, 70, 90), dtype=np.uint16)
    names = (Channel("DNA", "0000FF"), Channel("actin", "00FF00"))
    source = Image(
        da.from_array(pixels), "czyx", pixel_size=(1, 2, 0.4, 0.4), channels=names,
        units=(None, *("micrometer",) * 3),
    )  # fmt: skip
    path = Path(write(sr.upscale(source, "lanczos", scale=4), tmp_path / "a.ome.zarr",
                      ome_zarr=version))  # fmt: skip
    levels = [np.asarray(sr.read(path).data)]
    levels += [coarser(levels[0]), coarser(coarser(levels[0]))]
    (node,) = [n for n in reader.Reader(io.parse_url(str(path)))() if n.data]
    image = bioio.BioImage(path, reader=plugin.Reader)
    assert image.channel_names == ["DNA", "actin"]
    assert (image.physical_pixel_sizes.Y, image.physical_pixel_sizes.Z) == (0.1, 2)
    for number, expected in enumerate(levels):
        driver = {"driver": "zarr3" if version == "0.5" else "zarr"}
        store = {"driver": "file", "path": str(path / str(number))}
        stored = tensorstore.open({**driver, "kvstore": store}).result().read().result()
        np.testing.assert_array_equal(stored, expected)
        np.testing.assert_array_equal(node.data[number].compute(), expected)
        image.set_resolution_level(number)
        np.testing.assert_array_equal(image.get_image_data("CZYX"), expected)
        np.testing.assert_array_equal(zarr.open_array(path / str(number))[...], expected)


SPOTS = ((20.3, 31.8), (47.6, 18.2), (33.0, 60.5))
"""Where the centres of bright spots are, in source pixels along y and x."""


def spots() -> np.ndarray:
    """Return a picture of bright spots on a dark ground."""
    y, x = np.mgrid[:70, :90]
    lights = [np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * 1.6**2)) for cy, cx in SPOTS]
    return (100 + 9000 * np.sum(lights, axis=0)).astype(np.uint16)


def centroids(pixels: np.ndarray, size: float, place: tuple[float, float]) -> np.ndarray:
    """Return the centre of light of each spot, in physical units.

    Parameters
    ----------
    pixels : np.ndarray, shape (y, x)
    size : float
        Of a pixel.
    place : (float, float)
        Of the centre of the first one.
    """
    light = pixels.astype(float) - 100
    y, x = (place[i] + size * np.arange(n) for i, n in enumerate(light.shape))
    found = []
    for cy, cx in SPOTS:
        true = (3.0 + 0.4 * cy, 5.0 + 0.4 * cx)
        near = np.hypot(y[:, None] - true[0], x[None] - true[1]) < 0.4 * 7
        weight = np.where(near, light, 0)
        found.append([(weight.sum(1) @ y) / weight.sum(), (weight.sum(0) @ x) / weight.sum()])
    return np.array(found)


@pytest.mark.parametrize(
    ("model", "scale"),
    [
        ("lanczos", 2),
        ("microscopy-x4", 4),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("nearest", 4), ("bicubic", 4), ("microscopy-x2", 2))
        ),
    ],
)
def test_light_stays_where_it_was_in_other_peoples_readers(
    tmp_path: Path, model: str, scale: int
) -> None:
    """Half a pixel is the difference between two stains that touch and two that do not."""
    tensorstore = pytest.importorskip("tensorstore")
    ngff = pytest.importorskip("ngff_zarr")
    from_tiff = pytest.importorskip("ome_types").from_tiff
    source = make_image(
        tmp_path / "in.ome.zarr", [spots()], "yx", scales=[[0.4, 0.4]], translations=[[3.0, 5.0]]
    )
    expected = np.array([(3.0 + 0.4 * cy, 5.0 + 0.4 * cx) for cy, cx in SPOTS])
    np.testing.assert_allclose(centroids(spots(), 0.4, (3.0, 5.0)), expected, atol=0.4 * 0.01)
    target = tmp_path / "out.ome.zarr"
    wishes = ["-m", model, "-s", str(scale), "-q"]
    assert _run(["upscale", str(source), str(target), *wishes]) == 0
    for number, level in enumerate(ngff.from_ngff_zarr(str(target)).images):
        kvstore = {"driver": "file", "path": str(target / str(number))}
        pixels = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}).result().read().result()
        place = (level.translation["y"], level.translation["x"])
        error = centroids(pixels, level.scale["x"], place) - expected
        assert np.abs(error).max() < 0.05 * 0.4, f"level {number}"
    last = int(np.log2(scale))
    assert (level.scale, level.translation) == ({"y": 0.4, "x": 0.4}, {"y": 3.0, "x": 5.0})
    assert number == last, "the last level is the source's grid, to the last bit"
    # OME-TIFF has no place for the first pixel: the picture's corner is the origin.
    picture = tmp_path / "out.ome.tif"
    assert _run(["convert", str(target), str(picture), "-q"]) == 0
    size = from_tiff(picture).images[0].pixels.physical_size_x
    corner = np.array([3.0, 5.0]) - 0.4 / 2
    error = centroids(tifffile.imread(picture), size, tuple(corner + size / 2)) - expected
    assert np.abs(error).max() < 0.05 * 0.4


@pytest.mark.parametrize(
    ("size", "place"), [(0.1, 0.0), (0.108, 7.123), (1 / 3, -1e4), (0.0621, 7.123)]
)
def test_the_level_with_the_sources_pixels_has_the_sources_transform(
    tmp_path: Path, size: float, place: float
) -> None:
    """Overlays of the source and the result must not drift apart by rounding."""
    models = pytest.importorskip("ome_zarr_models")
    source = Image(
        da.zeros((40, 50), dtype="u1"), "yx", pixel_size=(size, size), translation=(place, place),
        units=("micrometer", "micrometer"),
    )  # fmt: skip
    path = write(sr.upscale(source, "nearest", scale=4), tmp_path / "a.ome.zarr")
    image = models.open_ome_zarr(zarr.open_group(Path(path), mode="r"))
    level = image.ome_attributes.multiscales[0].datasets[2]
    scale, translation = level.coordinateTransformations
    assert tuple(scale.scale) == (size, size)
    assert tuple(translation.translation) == (place, place)


def test_units_are_full_names_whatever_the_source_calls_them() -> None:
    """No validator checks it, and a viewer then shows a scale bar of the wrong length."""
    for name in ("µm", "um", "micron", "micrometer", "\\u00B5m"):
        assert full_name(name) == "micrometer"
