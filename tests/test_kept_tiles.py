"""What is kept of tiles is found again by whom it belongs to, and by nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

import napari_superres as sr
from napari_superres.arrays import as_image
from napari_superres.image import Image
from napari_superres.kept_tiles import KEPT, digest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    """Keep tests from finding one another's tiles."""
    KEPT.forget()


def cells(seed: int) -> np.ndarray:
    """Return a random image of 16 bits."""
    return np.random.default_rng(seed).integers(0, 1000, (24, 32)).astype(np.uint16)


def finer(x: Any) -> np.ndarray:
    """Return the mean of two views, of which tiles are kept."""
    result, _ = sr.upscale(x, "linear-x2", samples=2)
    return np.asarray(result.data if isinstance(result, Image) else result)


def test_an_array_that_was_changed_in_place_is_computed_anew(tmp_path: Path) -> None:
    """The result of what a Zarr array held before would be taken for that of its new pixels."""
    expected = finer(cells(1))
    stored = zarr.open(tmp_path / "cells.zarr", mode="w", shape=(24, 32), dtype="uint16")
    stored[:] = cells(0)
    finer(stored)
    stored[:] = cells(1)
    np.testing.assert_array_equal(finer(stored), expected)


def test_an_ome_zarr_that_was_written_anew_is_computed_anew(tmp_path: Path) -> None:
    """Even a file that was opened again would give the old result."""
    path = tmp_path / "cells.ome.zarr"
    sr.write(as_image(cells(0), "yx"), path)
    before = finer(sr.read(path))
    group = zarr.open(path, mode="r+")
    group[min(group.array_keys())][:] = cells(1)
    after = finer(sr.read(path))
    assert not np.array_equal(after, before)
    np.testing.assert_array_equal(after, finer(cells(1)))


def test_a_digest_is_of_the_pixels_and_not_of_where_they_lie() -> None:
    """A tile would never be found again, and restored once for each look at it."""
    colours = np.random.default_rng(0).random((6, 8, 3), np.float32)
    part = np.moveaxis(colours, -1, 0)[:, 2:5, 1:7]
    assert digest(part) == digest(part.copy())
    other = part.copy()
    other[1, 2, 3] += 1
    assert digest(other) != digest(part)
