"""Fill an array in memory with part of a result, piece by piece, on several threads."""

from __future__ import annotations

import itertools
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.plugin.tile_queue import threads_for
from napari_superres.progress import breathe

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_superres.plan import Plan
    from napari_superres.plugin.meter import Meter
    from napari_superres.upscaled_array import UpscaledArray

Region = tuple[slice, ...]


def fill(array: UpscaledArray, region: Region) -> Generator[int, None, np.ndarray]:
    """Compute a region of a result, and say after each piece how many are done.

    Leaving the generator, or raising in it, stops the work: pieces that wait are dropped, and those
    that run end at their next `tick`, because each runs in a copy of the caller's context.

    Parameters
    ----------
    array : UpscaledArray
        Axes as in its plan.
    region : tuple of slice
        One an axis, with bounds inside the array and without steps.

    Yields
    ------
    int
        How many pieces are done.

    Returns
    -------
    np.ndarray
        The pixels.

    Raises
    ------
    Cancelled
        If whoever listens to `tick` wants it.
    """
    out = np.empty([part.stop - part.start for part in region], array.dtype)
    todo = iter(pieces(array.plan, region))
    running: set[Future[None]] = set()
    done = 0
    workers = threads_for(array.plan.compute.device)
    with ThreadPoolExecutor(workers, thread_name_prefix="superres-memory") as pool:
        try:
            while True:
                # One more than can run: nobody waits for this thread, and a stop drops little.
                for piece in itertools.islice(todo, workers + 1 - len(running)):
                    running.add(
                        pool.submit(copy_context().run, _compute, array, region, piece, out)
                    )
                if not running:
                    return out
                ready, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ready:
                    future.result()
                done += len(ready)
                yield done
        finally:
            for future in running:
                future.cancel()


def filled(
    array: UpscaledArray, region: Region, meter: Meter
) -> Generator[object, None, np.ndarray]:
    """Compute a region of a result as `fill` does, and let a meter count."""
    meter.total = sum(1 for _ in pieces(array.plan, region))
    meter.where, meter.step = array.plan.compute.device, ""
    work = fill(array, region)
    try:
        while True:
            done = next(work)
            meter.note(done)
            yield done
    except StopIteration as end:
        return np.asarray(end.value)
    finally:
        work.close()


def pieces(plan: Plan, region: Region) -> Iterator[Region]:
    """Yield the parts of a region that are computed one by one: what a single tile keeps.

    Parameters
    ----------
    plan : Plan
    region : tuple of slice
        In output pixels, axes as in the plan.
    """
    n_lead = len(plan.plane_axes)
    planes = [range(part.start, part.stop) for part in region[:n_lead]]
    ys, xs = (
        _cuts(part, step * plan.scale)
        for part, step in zip(region[n_lead : n_lead + 2], plan.step, strict=True)
    )
    for plane in itertools.product(*planes):
        lead = tuple(slice(i, i + 1) for i in plane)
        for y, x in itertools.product(ys, xs):
            yield (*lead, y, x, *region[n_lead + 2 :])


def _cuts(part: slice, edge: int) -> list[slice]:
    firsts = [part.start, *range((part.start // edge + 1) * edge, part.stop, edge)]
    return [slice(a, b) for a, b in itertools.pairwise([*firsts, part.stop])]


def _compute(array: UpscaledArray, region: Region, piece: Region, out: np.ndarray) -> None:
    breathe()  # a piece that waited while the work was stopped is not begun
    there = tuple(
        slice(p.start - r.start, p.stop - r.start) for p, r in zip(piece, region, strict=True)
    )
    out[there] = array[piece]
