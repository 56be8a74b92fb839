"""How long a plan takes on this machine, from a little of it that is really computed."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.errors import Cancelled, WeightsError
from napari_superres.models.crew import crew
from napari_superres.models.engine import load_engine
from napari_superres.models.weights import find_weights
from napari_superres.progress import on_tick
from napari_superres.tile_results import TileWork, place_tile
from napari_superres.upscaled_array import UpscaledArray

if TYPE_CHECKING:
    from napari_superres.image import Image
    from napari_superres.plan import Plan

REACHED = 0.5
"""Share of the speed of matrix products that networks are assumed to reach: an assumption."""


@dataclass(frozen=True)
class Speed:
    """What one tile takes, or one part of a plane that is restored at once.

    Parameters
    ----------
    start : float
        Seconds to load the model and compute a first tile.
    tile : float
        Seconds for one tile and one sample after that, reading included.
    basis : str
        What was measured, or that it is an estimate, in words.
    """

    start: float
    tile: float
    basis: str = "measured on one tile"

    def seconds(self, plan: Plan, workers: int = 1) -> float:
        """Return the seconds that a plan takes with a number of workers, without writing."""
        at_once = max(1, min(workers, _most_at_once(plan)))
        return self.start + plan.tiles * plan.passes * self.tile / at_once


def _most_at_once(plan: Plan) -> int:
    """Return how many tiles are computed in the time that one takes alone."""
    # A plane keeps the whole device busy, and so does a tile on a graphics card.
    if plan.spec.unit == "plane" or plan.compute.device != "cpu":
        return 1
    # Workers take whole blocks, whose tiles come one after another.
    blocks = plan.planes * math.prod(
        -(-lattice.length * plan.scale // edge)
        for lattice, edge in zip(plan.lattices(), plan.block, strict=True)
    )
    return min(blocks, crew().gain) if plan.compute.engine == "ncnn" else blocks


def expected_speed(image: Image, plan: Plan) -> Speed:
    """Return what `measure_speed` measures or, without weights, an estimate that says so.

    Parameters
    ----------
    image, plan
        As for `measure_speed`.

    Raises
    ------
    WeightsError
        If weights are missing and the work is not known, as for a user's own network.
    """
    try:
        return measure_speed(image, plan)
    except WeightsError as error:
        if not plan.flop:
            raise
        from napari_superres.models.speed import product_speed

        speed = product_speed(plan.compute.device, plan.compute.precision)
        basis = (
            f"a rough estimate: {plan.flop / 1e15:.3g} PFLOP at {REACHED:.0%} of the "
            f"{speed / 1e12:.2g} TFLOP/s of matrix products here. {error.message}"
        )
        return Speed(0.0, plan.flop / (REACHED * speed) / (plan.tiles * plan.passes), basis)


def measure_speed(image: Image, plan: Plan) -> Speed:
    """Compute a little of a plan, and return what it took.

    That is the tile in the middle of the middle plane, twice; or, of a model that restores planes,
    encoding and two calls of the network.

    Parameters
    ----------
    image : Image
        The source that the plan was made for; its axes are put in the plan's order.
    plan : Plan

    Returns
    -------
    Speed

    Raises
    ------
    WeightsError
        If the model's weights are not on this computer.
    """
    image = image.transposed(plan.axes)
    # One sample, which is not kept: the second time it is computed again.
    once = replace(plan, samples=1, uncertainty=False)
    return _of_planes(image, once) if plan.spec.unit == "plane" else _of_tiles(image, once)


def _of_tiles(image: Image, plan: Plan) -> Speed:
    # A tile as large, which hands over to nobody: else its neighbours would be measured too.
    step = plan.step[0] + plan.feather, plan.step[1] + plan.feather
    plan = replace(plan, step=step, feather=0)
    array = UpscaledArray(image.data, plan)
    y, x = (lattice.core(lattice.count // 2) for lattice in plan.lattices())
    region = [
        {"y": slice(y.start * plan.scale, y.stop * plan.scale)}.get(
            axis, slice(x.start * plan.scale, x.stop * plan.scale)
        )
        if axis in "yx"
        else (slice(None) if axis == "s" else slice(n // 2, n // 2 + 1))
        for axis, n in zip(plan.axes, plan.shape, strict=True)
    ]
    seconds = []
    with ThreadPoolExecutor(1) as worker:  # where torch computes on one core, as in workers
        for _ in range(2):
            begin = time.perf_counter()
            worker.submit(array.__getitem__, tuple(region)).result()
            seconds.append(time.perf_counter() - begin)
    return Speed(start=max(0.0, seconds[0] - seconds[1]), tile=seconds[1])


def _of_planes(image: Image, plan: Plan) -> Speed:
    begin = time.perf_counter()
    load_engine(plan.spec, find_weights(plan.spec), plan.setting(0))
    start = time.perf_counter() - begin
    tile = place_tile(plan, 0, 0)
    index = tuple(
        {"y": slice(*tile.seen[0]), "x": slice(*tile.seen[1]), "s": slice(None)}.get(a, n // 2)
        for a, n in zip(plan.axes, plan.shape, strict=True)
    )
    values = np.asarray(image.data[index].compute(scheduler="synchronous"), np.float32)
    values = np.moveaxis(values, -1, 0) if plan.rgb else values[None]
    work = TileWork(plan, [tile], values[None], 0, 0)
    planned = plan.works()
    rate = _seconds_per_flop(work, planned[0].call, planned[0].flop)
    seconds = rate * sum(part.flop for part in planned) / len(planned)
    return Speed(start, seconds, "measured on one call of the network")


def _seconds_per_flop(work: TileWork, call: float, whole: float) -> float:
    """Restore a part until its third call begins; all of it, if it has fewer."""
    begun: dict[int, float] = {}

    def listen(done: int, total: int) -> None:
        begun.setdefault(done, time.perf_counter())
        if done == 2:
            raise Cancelled("Two calls are enough.")

    begin = time.perf_counter()
    try:
        with on_tick(listen):
            work.results()
    except Cancelled:
        return (begun[2] - begun[1]) / call
    return (time.perf_counter() - begin) / whole
