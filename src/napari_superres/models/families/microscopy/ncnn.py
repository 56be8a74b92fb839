"""The embedded network in ncnn, written straight from the tensors; see `ncnn_graph`.

It runs over a tile a few layers at a time, in pieces (see `ncnn_stages`): its feature maps stay in
the cache, and idle cores help.

ncnn's constants cannot depend on the noise. They need not: the network is positively homogeneous
in the image and the noise together, so ``f(x, noise) == noise * f(x / noise, 1)``, and two
networks suffice, one for noise 1 and one for noise 0. Noise that differs from pixel to pixel is
another input of a third, which takes a tenth to a fifth longer.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from napari_superres.models.crew import crew
from napari_superres.models.engine import Halo
from napari_superres.models.families.microscopy.layers import Layers, LocalNoise
from napari_superres.models.families.microscopy.tensors import BASE_RADIUS
from napari_superres.models.ncnn_graph import Graph
from napari_superres.models.ncnn_stages import Maps, Stage
from napari_superres.progress import tick

if TYPE_CHECKING:
    from napari_superres.models.families.microscopy.tensors import Trained

GROUP, SIDE = 8, 72
"""Convolutions in a stage, about, and source pixels along a piece's side: the fastest of 4 to all
and of 56 to 128, 1.4 times as fast as the whole tile at once on one core."""


_Told = Literal["nothing", "number", "map"]


class NcnnNetwork:
    """The network under ncnn. Safe to call from several threads.

    Parameters
    ----------
    trained : Trained
        The weights.
    uncertainty : bool
        Whether the predicted error is computed too.
    """

    def __init__(self, trained: Trained, *, uncertainty: bool) -> None:
        self._radius = trained.radius
        told: tuple[_Told, ...] = ("nothing",) if trained.kind == "linear" else get_args(_Told)
        self._stages = {
            one: _stages(Layers(trained, one == "number", uncertainty), one) for one in told
        }

    def __call__(self, plane: np.ndarray, noise: np.ndarray | float) -> np.ndarray:
        """Return the result of one padded tile.

        Parameters
        ----------
        plane : np.ndarray, shape (y, x), float32
            `radius` pixels of context at each side.
        noise : float or np.ndarray, shape (y, x), float32
            Standard deviation of the noise to be removed, everywhere or around each pixel.

        Returns
        -------
        np.ndarray, shape (k, s*(y - 2*radius), s*(x - 2*radius)), float32

        Raises
        ------
        ResourceError
            If there is not enough memory.
        Cancelled
            If whoever listens to ticks wants the work to stop.
        """
        told = self._told(noise)
        stages, unit = self._stages[told], np.float32(noise if told == "number" else 1)
        need = self._radius
        halo = Halo(need, need, need, need)
        maps = tile = Maps((plane / unit)[None], halo)
        level = (Maps(np.asarray(noise)[None], halo),) if told == "map" else ()
        with crew().turn(lambda: tick(0, 1)):
            for number, stage in enumerate(stages):
                need -= stage.radius
                inputs = (maps, tile)[: len(stage.contexts) - len(level)]
                maps = stage(*inputs, *level, need=need, steps=(number, len(stages)))
        return maps.values * unit

    def _told(self, noise: np.ndarray | float) -> _Told:
        if "number" not in self._stages:
            return "nothing"
        if np.ndim(noise):
            return "map"
        return "number" if noise > 0 else "nothing"


def _stages(layers: Layers, told: _Told) -> list[Stage]:
    """Return the network in stages."""
    trained = layers.trained
    scale, radius = trained.scale, BASE_RADIUS
    if trained.kind == "linear":
        build = partial(_linear, layers)
        return [Stage(build, 1, radius, contexts=(radius,), scale=scale, side=SIDE)]
    # The last stage has two pairs or more, and so all the context that interpolation needs.
    count = max(1, min(round((2 * trained.pairs + 2) / GROUP), trained.pairs // 2))
    groups = [group.tolist() for group in np.array_split(np.arange(trained.pairs), count)]
    stages = []
    for number, pairs in enumerate(groups):
        first, last = number == 0, number == count - 1
        radius = 2 * first + 2 * len(pairs) + last
        contexts = [radius, *[BASE_RADIUS] * (last and not first), *[radius] * (told == "map")]
        stages.append(
            Stage(
                partial(_part, layers, told, pairs, first, last),
                channels=1 + layers.uncertainty if last else trained.channels,
                radius=radius,
                contexts=tuple(contexts),
                scale=scale if last else 1,
                side=SIDE,
            )
        )
    return stages


def _linear(layers: Layers, padded: bool) -> Graph:
    assert not padded, "tiles come with all their context"
    graph = Graph()
    graph.output(layers.linear(graph, graph.input()))
    return graph


def _part(
    layers: Layers, told: _Told, pairs: list[int], first: bool, last: bool, padded: bool
) -> Graph:
    """Return some residual pairs, after the first convolution or before the heads, or both."""
    assert not padded, "tiles come with all their context"
    graph = Graph()
    maps = graph.input()
    source = graph.input() if last and not first else maps
    if told == "map":
        layers = replace(layers, noise=LocalNoise(graph.input()))
    if first:
        maps = layers.first(graph, source)
    maps = layers.features(graph, maps, pairs)
    if last:
        spare = layers.trained.radius - BASE_RADIUS
        maps = layers.heads(graph, maps, graph.crop(source, spare) if first else source)
    graph.output(maps)
    return graph
