"""A network over a large tile, a few layers at a time, in pieces that stay in the cache.

A convolution runs up to twice as fast on maps of 70 x 70 pixels as on maps of 500 x 500, which do
not fit into a processor's cache. But a small tile pays for its halo. So the network is cut into
stages of a few layers. The feature maps of the whole tile are kept between stages, and each stage
runs piece by piece, with no more context than its own few layers need::

    maps before     |.............................|
    piece of them        |r|    piece    |r|            r = radius of the stage
    maps after      |      |    piece    |        |

Like the whole image's, a tile's border is padded with zeros in each layer. Where the tile's halo is
at least the radius of the layers to come, it is given up layer by layer, so that nothing is
computed that is not needed. What remains is the result of the network on the whole tile, to the
last bits: Winograd's algorithm rounds differently at other positions.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_superres.models.crew import crew
from napari_superres.models.engine import Halo
from napari_superres.models.ncnn_engine import Network, Scratch
from napari_superres.progress import tick

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_superres.models.ncnn_graph import Graph


class Maps(NamedTuple):
    """Feature maps of a tile.

    Parameters
    ----------
    values : np.ndarray, shape (c, y, x), float32
    halo : Halo
        How many pixels at each side are context of what the tile keeps.
    """

    values: np.ndarray
    halo: Halo


class _Span(NamedTuple):
    """A piece along one axis, in pixels of the stage's first input."""

    start: int
    stop: int


@dataclass(eq=False)
class Stage:
    """A few layers of a network.

    Parameters
    ----------
    build : callable
        Returns the layers. ``build(False)`` gives valid convolutions: an input of y rows, context
        included, becomes ``scale * (y - 2 * radius)`` rows. ``build(True)`` pads each layer with
        zeros at all sides: y rows become ``scale * y``.
    channels : int
        Channels of the output.
    radius : int
        Context that an output pixel needs, in input pixels.
    contexts : tuple of int
        Context that ``build(False)`` wants of each input, in the graph's order; the first is
        `radius`, the others at most that. ``build(True)`` gets all inputs of one size.
    scale : int
        Scale factor of the stage.
    side : int
        About how many input pixels along each side of a piece, context not counted.
    """

    build: Callable[[bool], Graph]
    channels: int
    radius: int
    contexts: tuple[int, ...] = ()
    scale: int = 1
    side: int = 72
    _networks: dict[bool, Network] = field(default_factory=dict, repr=False)
    _loading: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        assert all(context <= self.radius for context in self.contexts), self.contexts

    def __call__(self, *inputs: Maps, need: int = 0, steps: tuple[int, int] = (0, 1)) -> Maps:
        """Run the layers over a tile.

        Parameters
        ----------
        *inputs : Maps
            The first one decides the size; the others have at least its context.
        need : int
            Radius of the layers that follow, in output pixels; 0 when `scale` is not 1.
        steps : (int, int)
            Which of how many stages this is, for `progress.tick`.

        Raises
        ------
        ResourceError
            If there is not enough memory.
        Cancelled
            If whoever listens to ticks wants the work to stop.
        """
        values, had = inputs[0]
        halo = Halo(*(min(side, need) for side in had))
        _, height, width = values.shape
        kept = (
            _Span(had.top - halo.top, height - (had.bottom - halo.bottom)),
            _Span(had.left - halo.left, width - (had.right - halo.right)),
        )
        shape = [self.scale * (span.stop - span.start) for span in kept]
        out = np.empty((self.channels, *shape), np.float32)
        rows, columns = (_cut(span, self.side) for span in kept)
        pieces = [(y, x) for y in rows for x in columns]

        def begin() -> Callable[[tuple[_Span, _Span]], None]:
            scratch = Scratch()
            return lambda piece: self._compute(piece, inputs, out, kept, scratch)

        step, total = steps
        crew().share(
            pieces, begin, lambda taken: tick(step * len(pieces) + taken, total * len(pieces))
        )
        return Maps(out, halo)

    def _compute(
        self,
        piece: tuple[_Span, _Span],
        inputs: Sequence[Maps],
        out: np.ndarray,
        kept: tuple[_Span, _Span],
        scratch: Scratch,
    ) -> None:
        first = inputs[0]
        lengths = first.values.shape[1:]
        at_border = any(
            span.start < self.radius or span.stop + self.radius > length
            for span, length in zip(piece, lengths, strict=True)
        )
        contexts = (self.radius,) * len(inputs) if at_border else (self.contexts or (self.radius,))
        cuts = []
        for maps, context in zip(inputs, contexts, strict=True):
            # Pixel 0 of the first input is this pixel of another one.
            zero = (maps.halo.top - first.halo.top, maps.halo.left - first.halo.left)
            y, x = (
                slice(max(span.start - context, 0) + z, min(span.stop + context, length) + z)
                for span, z, length in zip(piece, zero, lengths, strict=True)
            )
            cuts.append(maps.values[:, y, x])
        skip = [0, 0]
        if at_border:
            skip = [self.scale * min(span.start, self.radius) for span in piece]
        y, x = (
            slice(self.scale * (span.start - k.start), self.scale * (span.stop - k.start))
            for span, k in zip(piece, kept, strict=True)
        )
        self._network(at_border).paste(cuts, out[:, y, x], scratch, skip=(skip[0], skip[1]))

    def _network(self, at_border: bool) -> Network:
        with self._loading:
            if at_border not in self._networks:
                self._networks[at_border] = Network(self.build(at_border))
            return self._networks[at_border]


def _cut(span: _Span, side: int) -> list[_Span]:
    """Cut a span into equal pieces of about `side`."""
    length = span.stop - span.start
    count = max(1, round(length / side))
    cuts = [span.start + length * i // count for i in range(count + 1)]
    return [_Span(a, b) for a, b in itertools.pairwise(cuts)]
