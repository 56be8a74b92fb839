"""Part of a result: the right pixels, at the right place, under the right names."""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

import napari_superres as sr
from napari_superres.errors import SettingError
from napari_superres.image import Channel, Image
from napari_superres.provenance import methods_text
from napari_superres.selection import select


def stack() -> Image:
    """Return three channels of four planes, with rendering settings that are more than names."""
    pixels = np.random.default_rng(0).integers(0, 4000, (3, 4, 20, 24), dtype=np.uint16)
    names = ("DNA", "actin", "tubulin")
    return Image(
        da.from_array(pixels),
        "czyx",
        pixel_size=(1.0, 2.0, 0.4, 0.4),
        units=(None, *("micrometer",) * 3),
        translation=(0.0, 5.0, 1.0, 2.0),
        channels=tuple(Channel(name, f"{i:02X}00FF") for i, name in enumerate(names)),
        metadata={"omero": {"channels": [{"label": n, "active": n != "DNA"} for n in names]}},
    )


def test_a_part_lies_where_it_was_cut_and_says_what_it_is() -> None:
    """A region that opens at the origin is compared with the wrong cells."""
    image = stack()
    whole = sr.upscale(image, "lanczos", scale=4)
    part = sr.upscale(
        image,
        "lanczos",
        scale=4,
        channels=["tubulin", 0],
        planes={"z": slice(1, 4, 2)},
        region=(slice(5, 15), slice(8, 20)),
    )
    np.testing.assert_array_equal(
        part.data.compute(), whole.data.compute()[[2, 0], 1:4:2, 20:60, 32:80]
    )
    # The first pixel's centre: that of source pixel 5 (8), and 3/8 of a source pixel before it.
    expected = (0.0, 5.0 + 2.0, 1.0 + 0.4 * (5 - 0.375), 2.0 + 0.4 * (8 - 0.375))
    assert part.translation == pytest.approx(expected, rel=1e-12)
    assert part.pixel_size == pytest.approx((1.0, 4.0, 0.1, 0.1), rel=1e-12)
    assert part.history[-1]["part"] == {
        "c": [2, 0],
        "z": [1, 4, 2],
        "y": [5, 15],
        "x": [8, 20],
    }
    assert "part" not in whole.history[-1]


def test_a_channel_may_be_named_by_its_wavelength() -> None:
    """On a command line nothing tells 488 from an index."""
    channels = tuple(Channel(name) for name in ("488", "2", "561"))
    image = replace(stack(), channels=channels)
    chosen = select(image, channels=[488, 2, -3])
    np.testing.assert_array_equal(chosen.data.compute(), image.data.compute()[[0, 2, 0]])
    with pytest.raises(SettingError, match="no index 405"):
        select(image, channels=[405])


@pytest.mark.parametrize("one", ["actin", 1])
def test_a_single_channel_needs_no_list(one: int | str) -> None:
    """Python would take a name for a list of its letters."""
    chosen = select(stack(), channels=one)
    assert [channel.name for channel in chosen.channels] == ["actin"]


def test_a_part_of_a_part_says_what_it_is_of_the_whole() -> None:
    """It is measured against the wrong planes, and made again as another part."""
    whole = sr.upscale(stack(), "lanczos", scale=2)
    part = select(whole, channels=[2, 1], planes={"z": slice(0, 4, 2)}, region=np.s_[4:18, 2:20])
    again = select(part, channels=[1], planes={"z": [1]}, region=np.s_[3:9, 5:10])
    made = again.history[-1]["part"]
    assert made == {"c": [1], "z": [2, 3, 1], "y": [7, 13], "x": [7, 12]}
    z, y, x = (slice(*made[axis]) for axis in "zyx")
    at_once = select(whole, channels=made["c"], planes={"z": z}, region=(y, x))
    np.testing.assert_array_equal(again.data.compute(), at_once.data.compute())
    assert again.translation == pytest.approx(at_once.translation)
    assert select(again, region=np.s_[0:1, 0:1]).history[-1]["part"]["z"] == [2, 3, 1]


def test_the_methods_paragraph_of_a_part_is_that_of_the_whole() -> None:
    """A dictionary of indices would stand in the paper, called a spread of intensities."""
    image, cut = stack(), (slice(5, 15), slice(8, 20))
    whole = sr.upscale(image, "lanczos", scale=4)
    part = sr.upscale(image, "lanczos", scale=4, channels=["tubulin"], region=cut)
    assert methods_text(part.history) == methods_text(whole.history)
    _, spread = sr.upscale(image, "linear-x2", samples=2, region=cut)
    assert "This image holds the augmentation spread, in the" in methods_text(spread.history)


def test_everything_that_describes_a_channel_goes_with_it() -> None:
    """A colour, or a wavelength, that stays behind is then said of another dye."""
    part = sr.upscale(stack(), "nearest", scale=2, channels=[1, 0])
    assert [channel.name for channel in part.channels] == ["actin", "DNA"]
    assert [channel.color for channel in part.channels] == ["0100FF", "0000FF"]
    shown = part.metadata["omero"]["channels"]
    assert shown == [{"label": "actin", "active": True}, {"label": "DNA", "active": False}]


def test_the_limits_of_a_part_are_those_of_the_whole() -> None:
    """A preview with its own contrast would promise other pixels than the file holds."""
    image = stack()
    whole = sr.upscale(image, "realesr-general-x4v3", limits=None, device="cpu")
    part = sr.upscale(
        image, "realesr-general-x4v3", channels=[1], region=(slice(0, 4), slice(0, 4))
    )
    assert part.plan.limits == whole.plan.limits
    assert part.plan.shape == image.shape
