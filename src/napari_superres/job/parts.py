"""Parts of a job for queues without a scheduler of ours: the third of sixty-four, and so on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from napari_superres.errors import SettingError

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

    def places(self, total: int) -> range:
        """Return its blocks of `total`, counted in C order. Parts differ by one block at most."""
        if not self.count:
            return range(0)
        return range(
            total * (self.number - 1) // self.count,
            total * self.number // self.count,
        )

    def __str__(self) -> str:
        return f"part {self.number} of {self.count}" if self.count else "the end"


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
