"""Noise that is a function of where it is, not of when it is drawn.

Random numbers of a diffusion model are cut out of one endless plane of noise for each purpose and
step::

        +--------+--------+--------+
        | (0, 0) | (0, 1) | (0, 2) |     blocks of 64 x 64, anchored to the plane's origin;
        +--------+--------+--------+     each has a generator of its own
        | (1, 0) |  +-----|---+    |
        +--------+--|-----+---|----+     a window sees the same numbers, whatever window
                    +---------+          was asked for before

So neither the order of the work, nor the number of workers, nor the size of what is asked for can
change a result.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

BLOCK = 64
"""Edge of a block; any other value gives other noise."""

SCHEME = 1
"""Version of the way from an address to numbers."""


@dataclass(frozen=True)
class PlaneNoise:
    """The noise of one plane of one sample.

    Parameters
    ----------
    seed : int
        Chosen by the user.
    sample : int
        Which of several results.
    plane : int
        Which plane of the whole image.
    """

    seed: int
    sample: int
    plane: int

    def window(
        self, purpose: str, step: int, channels: int, rows: slice, columns: slice
    ) -> np.ndarray:
        """Return standard normal noise of a part of the plane; drawn on the CPU.

        Parameters
        ----------
        purpose : str
            Such as ``"start"``: noises of different purposes are independent.
        step : int
            Of the sampler; noises of different steps are independent.
        channels : int
            Of what noise is added to.
        rows, columns : slice
            Part of the plane, with start and stop, from 0.

        Returns
        -------
        np.ndarray, shape (channels, rows, columns), float32
        """
        out = np.empty((channels, rows.stop - rows.start, columns.stop - columns.start), np.float32)
        for row in range(rows.start // BLOCK, -(-rows.stop // BLOCK)):
            for column in range(columns.start // BLOCK, -(-columns.stop // BLOCK)):
                block = self._block(purpose, step, channels, row, column)
                (y, own_y), (x, own_x) = (
                    _overlap(index, part) for index, part in ((row, rows), (column, columns))
                )
                out[:, y, x] = block[:, own_y, own_x]
        return out

    def _block(self, purpose: str, step: int, channels: int, row: int, column: int) -> np.ndarray:
        address = (SCHEME, self.seed, self.sample, self.plane, purpose, step, row, column)
        digest = hashlib.sha256(repr(address).encode()).digest()
        # Philox takes a key of 128 bits. torch's generator for the CPU uses only 32 bits of a seed,
        # so that among 100 000 blocks two would probably be equal.
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
        return generator.standard_normal((channels, BLOCK, BLOCK), np.float32)


def _overlap(index: int, part: slice) -> tuple[slice, slice]:
    """Return what a block and a window share, in the window and in the block."""
    first, last = max(index * BLOCK, part.start), min((index + 1) * BLOCK, part.stop)
    window = slice(first - part.start, last - part.start)
    return window, slice(first - index * BLOCK, last - index * BLOCK)
