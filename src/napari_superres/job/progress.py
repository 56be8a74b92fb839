"""What a running job tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Step = Literal["checking", "computing", "exporting"]


@dataclass(frozen=True)
class Progress:
    """How far a job is. A new one comes with each finished block, and about four times a second.

    Parameters
    ----------
    done : int
        Blocks that are finished, in this run or before; of a part of a job, its own.
    total : int
        Blocks in all; of a part of a job, its own.
    kept : int
        Blocks of `done` that an earlier run had finished: leave them out of a speed.
    failed : int
        Blocks that could not be computed.
    step : {"checking", "computing", "exporting"}
        Blocks of an earlier run are read again; blocks are computed; labels are taken along, or
        one file is made of the blocks.
    under_way : float
        Work done inside blocks that are not finished, in blocks. While checking or exporting: the
        share of that step that is behind us, from 0 to 1.
    words : str
        Where the block under way is, such as ``"plane 1/3, step 7/50"``; empty where blocks
        take no time worth words.
    elsewhere : int
        At the end of a part of a job: blocks of other parts that are not done. While there are any,
        the result has no name yet.
    """

    done: int
    total: int
    kept: int = 0
    failed: int = 0
    step: Step = "computing"
    under_way: float = 0.0
    elsewhere: int = 0
    words: str = ""

    @property
    def fraction(self) -> float:
        """Share of the blocks' work that is behind us, from 0 to 1."""
        inside = self.under_way if self.step == "computing" else 0.0
        return min(1.0, (self.done + inside) / self.total) if self.total else 1.0
