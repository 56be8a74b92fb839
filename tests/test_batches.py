"""How many tiles a GPU computes, and how many of them anybody needs."""

from __future__ import annotations

import itertools
from dataclasses import replace

import dask.array as da
import pytest

from napari_superres.image import Image
from napari_superres.models.catalog import MODELS
from napari_superres.models.engine import choose_compute
from napari_superres.planning import make_plan
from napari_superres.tile_results import place_tile
from napari_superres.upscaled_array import _batches

TILED = [name for name, spec in MODELS.items() if spec.unit == "tile" and name != "nearest"]


@pytest.mark.parametrize("name", TILED)
def test_a_gpu_computes_each_tile_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of one tile was filled up to a batch: eight times the work, and the memory."""
    monkeypatch.setattr("napari_superres.models.engine._torch_device", lambda wish: "cuda:0")
    spec = MODELS[name]
    image = Image(da.zeros((8192, 8192), dtype="uint16", chunks=1024), "yx")
    denoise = None if spec.denoise is None else 0.0
    compute = choose_compute(spec)
    plan = make_plan(image, spec, limits=(0, 1), denoise=denoise, compute=compute)
    lattices = plan.lattices()
    spans = zip(plan.output_shape, plan.block, strict=True)
    corners = itertools.product(*(range(0, length, edge) for length, edge in spans))
    calls = 0
    for corner in corners:
        touched = [
            axis.touching(start // plan.scale, (start + edge) // plan.scale)
            for axis, start, edge in zip(lattices, corner, plan.block, strict=True)
        ]
        tiles = [place_tile(plan, row, column) for row, column in itertools.product(*touched)]
        calls += len(_batches(tiles, compute.batch))
    assert calls * compute.batch <= 1.3 * plan.tiles
    assert plan.task_bytes == replace(plan, compute=replace(compute, batch=1)).task_bytes
