"""Several jobs at once, so that what they have in common is computed once."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from napari_superres.job.progress import Progress


def run_together(runs: Sequence[Iterator[Progress]]) -> Iterator[Progress]:
    """Iterate several jobs in turns, and yield their progress as that of one.

    A result and its spread come from the same samples, which are kept in memory for a while: two
    jobs side by side find them there, two in a row would compute them twice.

    Parameters
    ----------
    runs : sequence of iterator of Progress
        As `run` returns them; closed together.
    """
    with ExitStack() as stack:
        for steps in runs:
            stack.callback(cast("Generator[Progress, None, None]", steps).close)
        latest: dict[int, Progress] = {}
        left = dict(enumerate(runs))
        while left:
            for number, steps in list(left.items()):
                step = next(steps, None)
                if step is None:
                    del left[number]
                else:
                    latest[number] = step
                    yield _sum(step, list(latest.values()))


def _sum(step: Progress, all_: list[Progress]) -> Progress:
    """Return the progress of all jobs, in the words of the one that says most."""
    counts = ("done", "total", "kept", "failed", "under_way", "elsewhere")
    sums = {name: sum(getattr(p, name) for p in all_) for name in counts}
    # One that waits for what another computes only knows which plane it waits for.
    return replace(step, words=max((p.words for p in all_), key=len), **sums)
