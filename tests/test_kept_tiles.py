"""What is kept of tiles is found again by whom it belongs to, and by nobody else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import zarr

import napari_superres as sr
from napari_superres import tile_results
from napari_superres.arrays import as_image
from napari_superres.estimate import measure_speed
from napari_superres.image import Image
from napari_superres.kept_tiles import KEPT, KeptTiles, digest
from napari_superres.models.engine import load_engine
from napari_superres.upscaling import plan_for, planned, spread

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


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return where the tiles lie that reach an engine, as they come."""
    found: list[Any] = []

    def spied(*arguments: Any) -> Any:
        engine = load_engine(*arguments)
        return lambda tiles, halo, at: (found.extend(at), engine(tiles, halo, at))[1]

    monkeypatch.setattr(tile_results, "load_engine", spied)
    return found


def feathered(model: str, **wishes: Any) -> tuple[Image, Any]:
    """Return an image and a plan of 9 blocks, each of 4 x 4 tiles that hand over."""
    pixels = np.random.default_rng(0).integers(0, 1000, (96, 96)).astype(np.uint16)
    image = Image(da.from_array(pixels, chunks=40), "yx")
    row = sr.MODELS[model]
    tile = 8 + 4 + 2 * row.halo
    plan = plan_for(image, model, tile=tile, feather=4, consistency="off", **wishes)
    assert plan.step == (8, 8)
    return image, replace(plan, block=(64, 64))


@pytest.mark.parametrize(
    ("model", "wishes"),
    [("linear-x2", {}), ("microscopy-fast-x2", {"denoise": 0.0, "uncertainty": True})],
)
def test_blocks_that_hand_over_share_their_tiles(
    model: str, wishes: dict[str, Any], seen: list[Any]
) -> None:
    """With a feather, a job took up to nine times as long as its plan said."""
    image, plan = feathered(model, **wishes)
    results = [planned(image, plan).data]
    results += [spread(image, plan).data] if plan.spread else []
    for lazy in results:
        lazy.compute(scheduler="threads", num_workers=4)
    assert len(seen) == plan.tiles * plan.passes
    kept = sum(values.size for values in KEPT._tiles.values())
    assert kept < 0.9 * len(results) * (2 * 96) ** 2 * (12 / 8) ** 2, "inner tiles are kept too"
    before = len(seen)
    measure_speed(image, plan)
    assert len(seen) == before + 2, "the neighbours of a tile would be measured with it"


def test_a_kept_part_does_not_hold_the_whole() -> None:
    """A limit of one gigabyte would hold several, since a crop keeps what it was cut from."""
    kept = KeptTiles(limit=100)
    whole = np.zeros(1000, np.uint8)
    kept.keep("part", whole[:10])
    kept.keep("part", whole[:10])
    part = kept.get("part")
    assert part is not None
    assert part.base is None
    assert kept.nbytes == 10
    kept.forget()
    assert kept.nbytes == 0
