"""Damage anywhere in a header ends in pixels or in one of our errors, and never in another one."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_superres.errors import InputError
from napari_superres.formats import read
from tests.formats.tiff_files import VARIANTS, ome_text, picture, write_ome, write_pyramid

SAMPLE = ["ome-plain", "ome-zstd-tiled", "imagej-hyperstack", "shaped-named", "plain-jpeg-rgb"]


@functools.cache
def _originals() -> list[tuple[bytes, list[int]]]:
    """Return files, and where their bytes are that are not pixels."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [v.make(folder)[0] for v in VARIANTS if v.name in SAMPLE]
        write_pyramid(folder / "pyramid.ome.tif")
        xml = ome_text('SizeX="30" SizeY="20" SizeZ="3"', '<TiffData IFD="0" PlaneCount="3"/>')
        paths.append(write_ome(folder / "own.ome.tif", picture((3, 20, 30), "uint16"), xml))
        paths.append(folder / "pyramid.ome.tif")
        return [(path.read_bytes(), _headers(path)) for path in paths]


def _headers(path: Path) -> list[int]:
    is_pixel = np.zeros(path.stat().st_size, bool)
    with tifffile.TiffFile(path) as tif:
        for page in tif.pages:
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                is_pixel[offset : offset + count] = True
    return np.flatnonzero(~is_pixel).tolist()


@settings(max_examples=250, deadline=None)
@given(
    data=st.data(),
    number=st.integers(0, len(SAMPLE) + 1),
    values=st.lists(st.integers(0, 255), min_size=1, max_size=4),
)
def test_damage_in_a_header_is_told_in_our_words(
    data: st.DataObject, number: int, values: list[int]
) -> None:
    """A file from a failing disk crashes the viewer with an error from deep inside a library."""
    original, places = _originals()[number]
    damaged = bytearray(original)
    for value in values:
        damaged[data.draw(st.sampled_from(places))] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.tif"
        path.write_bytes(damaged)
        message = path.name
        try:
            image = read(path)
            if image.data.nbytes < 2**24:
                image.data.compute()
            image.data[tuple(slice(0, 3) for _ in image.shape)].compute()
        except InputError as error:
            message = str(error)
        assert path.name in message
