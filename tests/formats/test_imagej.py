"""What ImageJ writes beside the pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_superres.formats import imagej, read
from napari_superres.image import Channel
from tests.formats.tiff_files import picture

if TYPE_CHECKING:
    from pathlib import Path


def save(path: Path, shape: tuple[int, ...], metadata: dict[str, Any], **options: Any) -> Path:
    """Write a hyperstack as ImageJ does."""
    tifffile.imwrite(path, picture(shape, "uint16"), imagej=True, metadata=metadata, **options)
    return path


def test_calibration_arrives(tmp_path: Path) -> None:
    """A stack from Fiji has no pixel size, or its time step in pixels."""
    path = save(
        tmp_path / "a.tif",
        (2, 3, 2, 20, 30),
        {"axes": "TZCYX", "unit": "um", "spacing": 0.5, "finterval": 2.5},
        resolution=(10, 5),  # pixels per micrometer along x and y
    )
    image = read(path)
    assert image.pixel_size == pytest.approx((2.5, 0.5, 1.0, 0.2, 0.1))
    assert image.units == ("second", "micrometer", None, "micrometer", "micrometer")
    assert image.metadata["imagej"]["finterval"] == 2.5


def test_a_spacing_of_one_is_not_written(tmp_path: Path) -> None:
    """A stack from Fiji with steps of 1 micrometer has lost its unit along z."""
    stack = {"axes": "ZYX", "unit": "micron"}
    image = read(save(tmp_path / "a.tif", (3, 20, 30), stack, resolution=(4, 4)))
    assert image.pixel_size == pytest.approx((1.0, 0.25, 0.25))
    assert image.units == ("micrometer",) * 3
    series = {"axes": "TYX", "unit": "micron"}
    image = read(save(tmp_path / "b.tif", (3, 20, 30), series, resolution=(4, 4)))
    assert image.units == (None, "micrometer", "micrometer")


def test_pixels_are_no_unit(tmp_path: Path) -> None:
    """A scale bar counts 'pixels' as if they were micrometers."""
    path = save(tmp_path / "a.tif", (3, 20, 30), {"axes": "ZYX", "unit": "pixel", "spacing": 2})
    image = read(path)
    assert (image.pixel_size, image.units) == ((1.0, 1.0, 1.0), (None, None, None))


@pytest.mark.parametrize(
    ("unit", "per_unit", "pixel_size"),
    [
        ("CENTIMETER", 20_000, 0.5),  # micrometers
        ("INCH", 254_000, 0.1),
        ("INCH", 72, 1.0),  # a screen says nothing of the specimen
    ],
)
def test_the_unit_may_stand_in_a_tag_alone(
    unit: str, per_unit: float, pixel_size: float, tmp_path: Path
) -> None:
    """A stack that other programs wrote for ImageJ loses its scale bar."""
    path = save(
        tmp_path / "a.tif", (3, 20, 30), {"axes": "ZYX", "spacing": 0.3},
        resolution=(per_unit, per_unit), resolutionunit=unit,
    )  # fmt: skip
    image = read(path)
    # Nothing says what unit the spacing of 0.3 has.
    assert image.pixel_size == pytest.approx((1.0, pixel_size, pixel_size))
    assert image.units == (None, *((None,) if per_unit == 72 else ("micrometer",)) * 2)
    said = save(
        tmp_path / "b.tif", (3, 20, 30), {"axes": "ZYX", "spacing": 0.3, "unit": "um"},
        resolution=(per_unit, per_unit), resolutionunit=unit,
    )  # fmt: skip
    assert read(said).pixel_size == pytest.approx((0.3, 1 / per_unit, 1 / per_unit))


def test_the_table_of_eight_bit_pixels_is_a_colour(tmp_path: Path) -> None:
    """A green channel turns gray, and the colours of another table vanish without a word."""
    table = np.zeros((3, 256), np.uint16)
    table[1] = np.arange(256) * 257
    options: dict[str, Any] = {"imagej": True, "photometric": "palette"}
    pixels = picture((20, 30), "uint8")
    tifffile.imwrite(tmp_path / "green.tif", pixels, colormap=table, **options)
    image = read(tmp_path / "green.tif")
    assert (image.channels, image.warnings) == ((Channel(color="00FF00"),), ())
    tifffile.imwrite(tmp_path / "other.tif", pixels, colormap=np.flip(table, 1), **options)
    image = read(tmp_path / "other.tif")
    assert image.channels == (Channel(),)
    assert "colour table" in image.warnings[0]


def test_a_unit_of_its_own_for_z_counts() -> None:
    """ImageJ 1.53 lets every axis have its own unit."""
    sizes, units = imagej.calibration(
        {"unit": "micron", "zunit": "nm", "spacing": -200}, (1000 / 65, 1000 / 65)
    )
    assert sizes == pytest.approx({"x": 0.065, "y": 0.065, "z": 200})
    assert units == {"x": "micrometer", "y": "micrometer", "z": "nanometer"}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"unit": "micron"}, {}),  # no resolution tag
        ({"unit": "micron", "spacing": "nan"}, {}),
        ({"finterval": 0.0}, {}),
        ({"finterval": "broken"}, {}),
    ],
)
def test_calibration_that_makes_no_sense_is_left_out(
    found: dict[str, Any], expected: dict[str, float]
) -> None:
    """A division by zero, or a pixel size of zero, which no viewer survives."""
    assert imagej.calibration(found, (0.0, 0.0)) == (expected, {})


def test_lookup_tables_are_colours_where_they_are_ramps() -> None:
    """The 'fire' table of one channel makes the whole channel white, or red."""
    ramp = np.linspace(0, 255, 256).astype(np.uint8)
    green = np.stack([ramp * 0, ramp, ramp * 0])
    fire = np.stack([ramp, ramp[::-1], ramp])
    found = {"LUTs": [green, fire], "Ranges": (1.0, 9.0, 5.0, 5.0), "mode": "composite"}
    assert imagej.channels(found, 2) == (
        Channel("", "00FF00", (1.0, 9.0)),
        Channel("", None, None),  # a range of nothing is no display range
    )


def test_labels_name_channels_only_where_they_are_channels(tmp_path: Path) -> None:
    """Channels are called after the first z-slices."""
    labels = {"Labels": ["DAPI", "GFP"]}
    pair = read(save(tmp_path / "a.tif", (2, 20, 30), {"axes": "CYX", **labels}))
    assert [channel.name for channel in pair.channels] == ["DAPI", "GFP"]
    labels = {"Labels": ["1", "2", "3", "4"]}
    stack = read(save(tmp_path / "b.tif", (2, 2, 20, 30), {"axes": "ZCYX", **labels}))
    assert [channel.name for channel in stack.channels] == ["", ""]


def test_what_is_handed_on_is_json() -> None:
    """Metadata of ImageJ cannot be stored with a result."""
    found = {
        "Info": "text",
        "images": 3,
        "LUTs": [np.zeros((3, 256))],
        "Overlays": b"",
        "a": (1, 2),
    }
    assert imagej.as_json(found) == {"Info": "text", "images": 3, "a": [1, 2]}
