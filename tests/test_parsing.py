"""Words on the command line become keywords, or a sentence that says how to write them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
import dask.array as da
import pytest

import napari_superres as sr
from napari_superres.cli import parsing
from napari_superres.image import Image


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parsing.whole_pair, "256", 256),
        (parsing.whole_pair, "256,128", (256, 128)),
        (parsing.channels, "0, DAPI,-1", [0, "DAPI", -1]),
        (parsing.planes, "z=0:10,t=3", {"z": slice(0, 10), "t": 3}),
        (parsing.planes, "z=:5", {"z": slice(None, 5)}),
        (parsing.region, "0:5,10:", (slice(0, 5), slice(10, None))),
        (parsing.denoise, "auto", "auto"),
        (parsing.denoise, "0.5", 0.5),
        (parsing.options, ("steps=8", "prompt=a=b"), {"steps": "8", "prompt": "a=b"}),
    ],
)
def test_what_is_written_is_what_is_meant(parse: Any, text: Any, value: Any) -> None:
    """One spelling for each keyword."""
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parsing.whole_pair, "a"),
        (parsing.whole_pair, "1,2,3"),
        (parsing.planes, "z"),
        (parsing.planes, "z=a"),
        (parsing.region, "1,2"),
        (parsing.denoise, "much"),
    ],
)
def test_what_cannot_be_read_is_refused(parse: Any, text: str) -> None:
    """A typo must not become a default."""
    with pytest.raises(click.BadParameter):
        parse(text)


def test_limits_are_given_for_all_channels_or_each() -> None:
    """A pair that belongs to the wrong channel darkens it."""
    names = (sr.Channel("DNA"), sr.Channel("actin"))
    image = Image(da.zeros((2, 8, 8)), "cyx", channels=names)
    assert parsing.limits((), image) is None
    assert parsing.limits(("0:4095",), image) == (0, 4095)
    assert parsing.limits(("actin=1:2", "0=3:4"), image) == [(3, 4), (1, 2)]
    numbers = replace(image, channels=(sr.Channel("1"), sr.Channel("561")))
    # As a copied command names them: by index, whatever the channels are called.
    assert parsing.limits(("0=3:4", "1=1:2"), numbers) == [(3, 4), (1, 2)]
    assert parsing.limits(("0=3:4", "561=1:2"), numbers) == [(3, 4), (1, 2)]
    for wrong in (("DNA=1:2",), ("GFP=1:2", "DNA=0:1"), ("1:2", "3:4")):
        with pytest.raises(click.BadParameter):
            parsing.limits(wrong, image)
