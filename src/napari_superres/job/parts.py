"""Parts of a job for queues without a scheduler of ours: the third of sixty-four, and so on."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_superres.errors import SettingError

if TYPE_CHECKING:
    from napari_superres.formats.ome_zarr_layout import Layout
    from napari_superres.image import Image

FINISH = "finish"
"""In place of ``i/n``: compute nothing, and finish the result if every part is there."""


@dataclass(frozen=True)
class Part:
    """A share of a job's blocks, which lie side by side.

    Parameters
    ----------
    number, count : int
        Which one, from 1, of how many. 0 of 0 is no block at all: such a part only finishes what
        the others have computed.
    """

    number: int
    count: int

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.number}-of-{self.count}" if self.count else FINISH

    def places(self, total: int, together: int = 1) -> range:
        """Return its blocks of `total`, counted in C order.

        Parameters
        ----------
        total : int
        together : int
            So many in a row have work in common and stay in one part; it divides `total`. Parts
            differ by that many at most, and some have none where there are more parts than rows.
        """
        if not self.count:
            return range(0)
        rows = total // together
        return range(
            rows * (self.number - 1) // self.count * together,
            rows * self.number // self.count * together,
        )

    def __str__(self) -> str:
        return f"part {self.number} of {self.count}" if self.count else "the end"


def in_common(image: Image, layout: Layout) -> int:
    """Return how many blocks in a row, in C order, are cut from things that are computed at once.

    Those of one plane, for a model that restores planes: in parts that reach into several blocks,
    and that one process keeps for the next block.
    """
    whole = image.plan is not None and image.plan.spec.unit == "plane"
    return math.prod(layout.levels[0].grid[-2:]) if whole else 1


def parse_part(text: str) -> Part:
    """Return ``"3/64"`` as the third of sixty-four, and ``"finish"`` as the end.

    Raises
    ------
    SettingError
        If it is neither.
    """
    if text == FINISH:
        return Part(0, 0)
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= count:
        raise SettingError(
            f"'{text}' is not a part of a job.",
            f"Write 1/64 for the first of sixty-four, up to 64/64, or {FINISH}.",
        )
    return Part(number, count)
