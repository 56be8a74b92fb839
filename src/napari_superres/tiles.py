"""Where tiles lie: arithmetic on integers, and the weights that mix them.

Along one axis of a plane, tile 1 of three with ``step=8, halo=3, feather=2``::

    source pixels   0       8      16    21
    cores           |---0---|---1---|--2-|
    kept by tile 1         <--------->          core and half a feather at each side
    seen by tile 1      <--------------->       kept and the halo; ends at the plane's border

The lattice is anchored to the plane's origin, so a tile is the same whatever region is asked for.
Tiles are clipped at the plane's border and pay no halo there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from napari_superres.errors import SettingError


class Span(NamedTuple):
    """Source pixels from `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of pixels."""
        return self.stop - self.start


@dataclass(frozen=True)
class Lattice:
    """The tiles along one axis.

    Parameters
    ----------
    length : int
        Source pixels along the axis.
    step : int
        Source pixels from one core to the next.
    halo : int
        Context that a tile sees at each side of what it keeps.
    feather : int
        Width over which neighbours hand over; 0 is a hard seam. At most `step`.

    Raises
    ------
    SettingError
        If a number is negative, `step` is not positive, or `feather` exceeds it.
    """

    length: int
    step: int
    halo: int = 0
    feather: int = 0

    def __post_init__(self) -> None:
        if self.length < 1 or self.step < 1 or self.halo < 0 or self.feather < 0:
            raise SettingError(
                f"A tile lattice of {self} has no meaning.", "Leave tile= and feather= out."
            )
        if self.feather > self.step:
            raise SettingError(
                f"feather={self.feather} is wider than the tile's core of {self.step} pixels.",
                "Use a larger tile or a smaller feather.",
            )

    @property
    def count(self) -> int:
        """Number of tiles."""
        return -(-self.length // self.step)

    def core(self, k: int) -> Span:
        """Return the pixels that belong to tile `k` alone when there is no feather."""
        return Span(k * self.step, min((k + 1) * self.step, self.length))

    def kept(self, k: int) -> Span:
        """Return the pixels at which tile `k` has a weight above zero."""
        core = self.core(k)
        before, after = self.feather // 2, self.feather - self.feather // 2
        start = core.start - before if k > 0 else 0
        stop = core.stop + after if k < self.count - 1 else self.length
        return Span(start, min(stop, self.length))

    def seen(self, k: int, halo: int | None = None) -> Span:
        """Return the pixels that tile `k` looks at.

        Parameters
        ----------
        k : int
            Which tile.
        halo : int, optional
            Another halo than the lattice's.
        """
        halo = self.halo if halo is None else halo
        kept = self.kept(k)
        return Span(max(0, kept.start - halo), min(self.length, kept.stop + halo))

    def touching(self, start: int, stop: int) -> range:
        """Return the tiles that have a weight above zero somewhere in ``start:stop``."""
        after = self.feather - self.feather // 2
        before = self.feather // 2
        first = max(0, (start - after) // self.step)
        last = min(self.count - 1, (stop - 1 + before) // self.step)
        return range(first, last + 1)

    def weights(self, k: int) -> np.ndarray:
        """Return the seam weights of tile `k`, one for each source pixel of `kept(k)`.

        Returns
        -------
        np.ndarray, shape (kept(k).length,), float32
            Constant over a source pixel, so a blend of tiles that conserve light conserves it. The
            weights of all tiles sum to one at every pixel.
        """
        kept = self.kept(k)
        weights = np.ones(kept.length, np.float32)
        if self.feather:
            i = np.arange(kept.start, kept.stop)
            if k > 0:
                weights = np.minimum(weights, self._handed_over(i, k))
            if k < self.count - 1:
                weights = np.minimum(weights, 1 - self._handed_over(i, k + 1))
        return weights.astype(np.float32)

    def _handed_over(self, i: np.ndarray, k: int) -> np.ndarray:
        zone = k * self.step - self.feather // 2
        return np.clip((i - zone + 0.5) / self.feather, 0, 1).astype(np.float32)


def step_for(tile: int, halo: int, feather: int, multiple: int) -> int:
    """Return the core that a tile of the given length leaves.

    Parameters
    ----------
    tile : int
        What the model sees at once, halo and feather included, in source pixels.
    halo, feather : int
        In source pixels.
    multiple : int
        The core is a multiple of this.

    Raises
    ------
    SettingError
        If nothing is left; the message names the smallest tile that works.
    """
    step = (tile - 2 * halo - feather) // multiple * multiple
    if step < max(1, feather):
        smallest = 2 * halo + feather + max(multiple, -(-feather // multiple) * multiple)
        raise SettingError(
            f"tile={tile} leaves no core inside a halo of {halo} and a feather of {feather}.",
            f"Use tile={smallest} or more, or a smaller halo.",
        )
    return step


def block_for(step: int, scale: int, length: int, target: int = 2048, even: int = 8) -> int:
    """Return the edge of a block, in output pixels.

    Parameters
    ----------
    step : int
        Core of a tile, in source pixels; it divides the block.
    scale : int
        Scale factor.
    length : int
        Source pixels along the axis: a block need not be longer than the plane.
    target : int
        About how long a block should be, in output pixels.
    even : int
        The block is divisible by this, so that a pyramid's shards can halve with each level.
    """
    unit = step * scale
    smallest = unit * even // np.gcd(unit, even)
    wanted = min(target, length * scale)
    # The nearest multiple at or above the plane, or at or below the target, whichever is smaller.
    count = max(1, target // smallest)
    count = min(count, -(-wanted // smallest))
    return int(smallest * count)
