"""Real-ESRGAN networks in ncnn: the fastest engine on a CPU that is right to float32 accuracy.

Graphs are written straight from the tensors; see `ncnn_graph`. The networks run in stages over a
tile (see `ncnn_stages`), so their halo costs little, however deep they are: *compact* in groups of
about eight convolutions, *rrdb* in dense blocks of five, and its upsampler, which holds nearly all
of the memory that the network would need, in small pieces.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.models.crew import crew
from napari_superres.models.engine import Halo
from napari_superres.models.families.realesrgan.layers import DENSE_RADIUS, RESIDUAL, Layers
from napari_superres.models.ncnn_graph import Graph
from napari_superres.models.ncnn_stages import Maps, Stage
from napari_superres.progress import tick

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_superres.models.engine import Address
    from napari_superres.models.families.realesrgan.architecture import Architecture

GROUP = 8
"""Convolutions in a stage of a compact network, about: more of them need more context, fewer copy
their maps more often. 5 to 9 were equally fast within the measurement's error."""

COMPACT_SIDE, DENSE_SIDE, TAIL_SIDE = 72, 56, 20
"""Pieces of a stage, in source pixels: the fastest of 40 to 144 (12 to 48 for the upsampler) on a
core with 1 MB of second-level cache."""


def load_ncnn(architecture: Architecture, tensors: Mapping[str, np.ndarray]) -> NcnnEngine:
    """Return a network as an engine.

    Parameters
    ----------
    architecture : Architecture
    tensors : mapping of str to np.ndarray, float32
        By official names.
    """
    engine = CompactEngine if architecture.kind == "compact" else DenseEngine
    return engine(architecture, tensors)


class NcnnEngine:
    """A network of the Real-ESRGAN family in ncnn. See `Engine`.

    It has no state but its weights. A call computes on the calling thread and on idle ones.

    Parameters
    ----------
    architecture : Architecture
    tensors : mapping of str to np.ndarray, float32
    """

    def __init__(self, architecture: Architecture, tensors: Mapping[str, np.ndarray]) -> None:
        self.architecture = architecture
        self._tensors = dict(tensors)

    def _layers(self, padded: bool) -> Layers:
        return Layers(self.architecture, self._tensors, padded)

    def __call__(self, tiles: np.ndarray, halo: Halo, at: Sequence[Address]) -> np.ndarray:
        """Return finer tiles, the halo dropped.

        Parameters
        ----------
        tiles : np.ndarray, shape (n, c, y, x), float32
            In [0, 1]. For a network that folds pixels (x2plus) a tile begins at a multiple of
            ``architecture.multiple`` of the plane.
        halo : Halo
            Context at each side, in source pixels.
        at : sequence of Address
            Not used: nothing is random.

        Returns
        -------
        np.ndarray, shape (n, c, s*(y - top - bottom), s*(x - left - right)), float32
            Not clipped.

        Raises
        ------
        ResourceError
            If there is not enough memory.
        Cancelled
            If whoever listens to ticks wants the work to stop.
        """
        results = []
        for tile in tiles:
            with crew().turn(lambda: tick(0, 1)):
                results.append(self._run(Maps(tile, halo)))
        # A single one, as always on a CPU, is large and not copied.
        return results[0][None] if len(results) == 1 else np.stack(results)

    def _run(self, tile: Maps) -> np.ndarray:
        """Return the finer tile, shape (c, y, x), the halo dropped."""
        raise NotImplementedError


class CompactEngine(NcnnEngine):
    """SRVGGNetCompact: convolutions at the source's resolution, then a pixel shuffle."""

    def __init__(self, architecture: Architecture, tensors: Mapping[str, np.ndarray]) -> None:
        super().__init__(architecture, tensors)
        count = architecture.blocks + 2
        groups = np.array_split(np.arange(count), max(1, round(count / GROUP)))
        self._stages = [self._stage(group.tolist(), group[-1] == count - 1) for group in groups]

    def _run(self, tile: Maps) -> np.ndarray:
        need = self.architecture.radius
        maps = tile
        for number, stage in enumerate(self._stages):
            last = stage is self._stages[-1]
            inputs = (maps, tile) if last else (maps,)
            need -= stage.radius
            maps = stage(*inputs, need=need, steps=(number, len(self._stages)))
        return maps.values

    def _stage(self, layers: list[int], last: bool) -> Stage:
        a = self.architecture
        return Stage(
            build=partial(self._graph, layers, last),
            channels=a.samples if last else a.features,
            radius=len(layers),
            contexts=(len(layers), 0) if last else (len(layers),),
            scale=a.scale if last else 1,
            side=COMPACT_SIDE,
        )

    def _graph(self, numbers: list[int], last: bool, padded: bool) -> Graph:
        graph, layers = Graph(), self._layers(padded)
        maps = layers.compact(graph, graph.input(), numbers)
        graph.output(layers.compact_head(graph, maps, graph.input()) if last else maps)
        return graph


class DenseEngine(NcnnEngine):
    """RRDBNet: residual dense blocks at the features' resolution, then some doublings."""

    def __init__(self, architecture: Architecture, tensors: Mapping[str, np.ndarray]) -> None:
        super().__init__(architecture, tensors)
        a = architecture
        self._first = Stage(self._first_graph, a.features, 1)
        self._blocks = [
            [
                Stage(
                    partial(self._dense_graph, f"body.{block}.rdb{dense}", dense == 3),
                    a.features,
                    DENSE_RADIUS,
                    (DENSE_RADIUS, 0) if dense == 3 else (DENSE_RADIUS,),
                    side=DENSE_SIDE,
                )
                for dense in (1, 2, 3)
            ]
            for block in range(a.blocks)
        ]
        self._body = Stage(self._body_graph, a.features, 1, (1, 1))
        self._tail = Stage(
            self._tail_graph, a.samples, a.tail_radius, scale=2**a.ups, side=TAIL_SIDE
        )

    def _run(self, tile: Maps) -> np.ndarray:
        a = self.architecture
        height, width = self._kept(tile)
        top, left = (side % a.unshuffle * a.scale for side in (tile.halo.top, tile.halo.left))
        tile = _folded(tile, a.unshuffle)
        count = 3 * len(self._blocks) + 3
        need = a.tail_radius + a.body_radius - 1
        maps = self._first(tile, need=need, steps=(0, count))
        for number, (one, two, three) in enumerate(self._blocks):
            done = 1 + 3 * number
            need -= 3 * DENSE_RADIUS
            grown = one(maps, need=need + 2 * DENSE_RADIUS, steps=(done, count))
            grown = two(grown, need=need + DENSE_RADIUS, steps=(done + 1, count))
            maps = three(grown, maps, need=need, steps=(done + 2, count))
        maps = self._body(maps, tile, need=a.tail_radius, steps=(count - 2, count))
        fine = self._tail(maps, steps=(count - 1, count)).values
        # What a square of the fold holds beside the pixels that are kept is cut off here.
        return fine[:, top : top + height * a.scale, left : left + width * a.scale]

    @staticmethod
    def _kept(tile: Maps) -> tuple[int, int]:
        _, height, width = tile.values.shape
        top, bottom, left, right = tile.halo
        return height - top - bottom, width - left - right

    def _first_graph(self, padded: bool) -> Graph:
        graph = Graph()
        graph.output(self._layers(padded).convolve(graph, graph.input(), "conv_first"))
        return graph

    def _dense_graph(self, name: str, last: bool, padded: bool) -> Graph:
        """Return a residual dense block; the last of an RRDB adds the RRDB's input, too."""
        graph = Graph()
        out = self._layers(padded).dense(graph, graph.input(), name)
        if last:
            out = graph.scaled_sum([out, graph.input()], [RESIDUAL, 1.0])
        graph.output(out)
        return graph

    def _body_graph(self, padded: bool) -> Graph:
        """Return the convolution after the blocks, plus the first, which is computed again."""
        graph, layers = Graph(), self._layers(padded)
        maps = layers.convolve(graph, graph.input(), "conv_body")
        graph.output(graph.add(maps, layers.convolve(graph, graph.input(), "conv_first")))
        return graph

    def _tail_graph(self, padded: bool) -> Graph:
        graph = Graph()
        graph.output(self._layers(padded).tail(graph, graph.input()))
        return graph


def _folded(tile: Maps, fold: int) -> Maps:
    """Return a tile with each ``fold x fold`` square of pixels as samples of one pixel.

    Where its sides are no multiples, it is continued at the right and at the bottom by reflection.
    That is so at the plane's border alone, and what the official program does there. One pixel has
    no reflection and is repeated.
    """
    if fold == 1:
        return tile
    values = tile.values
    for axis in (1, 2):
        length = values.shape[axis]
        missing = -length % fold
        padding = [(0, missing if other == axis else 0) for other in range(3)]
        values = np.pad(values, padding, mode="reflect" if missing < length else "edge")
    c, height, width = values.shape
    values = values.reshape(c, height // fold, fold, width // fold, fold)
    values = values.transpose(0, 2, 4, 1, 3).reshape(c * fold**2, height // fold, width // fold)
    return Maps(np.ascontiguousarray(values), Halo(*(side // fold for side in tile.halo)))
