"""The eight flips and rotations of a square, in a fixed order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari_superres.models.engine import Halo

if TYPE_CHECKING:
    import numpy as np


class Symmetry(NamedTuple):
    """Rows and columns exchanged, or not; then each axis turned round, or not."""

    transpose: bool
    flip_y: bool
    flip_x: bool

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return images (..., y, x) as this flip or rotation shows them."""
        return self._flipped(self._exchanged(values)).copy()

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Return images (..., y, x) as they were before `apply`."""
        return self._exchanged(self._flipped(values)).copy()

    def halo(self, halo: Halo) -> Halo:
        """Return where a tile's halo lies after `apply`."""
        top, bottom, left, right = halo
        if self.transpose:
            top, bottom, left, right = left, right, top, bottom
        if self.flip_y:
            top, bottom = bottom, top
        if self.flip_x:
            left, right = right, left
        return Halo(top, bottom, left, right)

    def _exchanged(self, values: np.ndarray) -> np.ndarray:
        return values.swapaxes(-1, -2) if self.transpose else values

    def _flipped(self, values: np.ndarray) -> np.ndarray:
        step_y, step_x = (-1 if flip else 1 for flip in (self.flip_y, self.flip_x))
        return values[..., ::step_y, ::step_x]


SYMMETRIES = tuple(
    Symmetry(transpose, flip_y, flip_x)
    for transpose in (False, True)
    for flip_y, flip_x in ((False, False), (True, True), (True, False), (False, True))
)
"""The image itself first, then half a turn, the two mirror images, and all these transposed; so the
first two and the first four are the ones that keep rows rows."""
