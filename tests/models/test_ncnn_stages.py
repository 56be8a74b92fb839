"""A network that runs in stages and pieces gives what it gives at once."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_superres.errors import Cancelled
from napari_superres.models.engine import Halo
from napari_superres.models.ncnn_engine import Network
from napari_superres.models.ncnn_graph import Graph
from napari_superres.models.ncnn_stages import Maps, Stage
from napari_superres.progress import on_tick

if TYPE_CHECKING:
    from collections.abc import Sequence

LAYERS = 5
FEATURES = 8
SCALE = 2
NO_HALO = Halo(0, 0, 0, 0)


def weights() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return layers from 1 sample to some features and back to the samples of a pixel shuffle."""
    rng = np.random.default_rng(0)
    widths = [1, *([FEATURES] * (LAYERS - 1)), SCALE**2]
    return [
        (
            rng.standard_normal((after, before, 3, 3)).astype(np.float32) / np.sqrt(9 * before),
            rng.standard_normal(after).astype(np.float32),
        )
        for before, after in itertools.pairwise(widths)
    ]


WEIGHTS = weights()


def graph(layers: Sequence[int], padded: bool) -> Graph:
    """Return some of the layers; the last adds the input, so that stages have two inputs."""
    made = Graph()
    blob = made.input()
    for layer in layers:
        weight, bias = WEIGHTS[layer]
        blob = made.convolution(blob, weight, bias, pad=int(padded), slope=0.2)
    if LAYERS - 1 in layers:
        blob = made.add(made.pixel_shuffle(blob, SCALE), made.nearest(made.input(), SCALE))
    made.output(blob)
    return made


def in_stages(tile: Maps, cuts: Sequence[int], side: int) -> np.ndarray:
    """Return the result of the layers, a new stage at each cut, in pieces of about `side`."""
    bounds = [0, *sorted(set(cuts)), LAYERS]
    need = LAYERS
    maps = tile
    for first, stop in itertools.pairwise(bounds):
        layers = range(first, stop)
        last = stop == LAYERS
        stage = Stage(
            partial(graph, layers),
            channels=1 if last else FEATURES,
            radius=len(layers),
            contexts=(len(layers), 0) if last else (len(layers),),
            scale=SCALE if last else 1,
            side=side,
        )
        need -= len(layers)
        maps = stage(*((maps, tile) if last else (maps,)), need=need)
    assert maps.halo == NO_HALO
    return maps.values


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    halo=st.tuples(*[st.integers(0, 9)] * 4),
    cuts=st.sets(st.integers(1, LAYERS - 1)),
    side=st.integers(1, 30),
)
def test_any_stages_and_pieces_give_the_untiled_result(
    size: tuple[int, int], halo: tuple[int, int, int, int], cuts: set[int], side: int
) -> None:
    """Else there would be seams inside a tile, where no setting of the user's could remove them."""
    top, bottom, left, right = halo
    values = np.random.default_rng(1).random(
        (1, size[0] + top + bottom, size[1] + left + right), dtype=np.float32
    )
    whole = Network(graph(range(LAYERS), padded=True))(values, values)
    expected = whole[
        :,
        SCALE * top : whole.shape[1] - SCALE * bottom,
        SCALE * left : whole.shape[2] - SCALE * right,
    ]
    result = in_stages(Maps(values, Halo(*halo)), sorted(cuts), side)
    # Winograd's algorithm rounds differently at other positions.
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


def test_stages_can_be_stopped() -> None:
    """A large tile takes a minute; nobody waits so long after pressing cancel."""
    values = np.zeros((1, 200, 200), np.float32)
    seen: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) == 3:
            raise Cancelled("enough")

    stage = Stage(partial(graph, range(2)), channels=FEATURES, radius=2, side=10)
    with on_tick(stop), pytest.raises(Cancelled):
        stage(Maps(values, NO_HALO), need=0, steps=(1, 4))
    assert len(seen) == 3
    assert all(400 < done <= 800 and total == 1600 for done, total in seen)
