"""How long a plan takes on this machine, from one tile that is really computed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_superres.upscaled_array import UpscaledArray

if TYPE_CHECKING:
    from napari_superres.image import Image
    from napari_superres.plan import Plan


@dataclass(frozen=True)
class Speed:
    """What one tile took.

    Parameters
    ----------
    start : float
        Seconds to load the model and compute a first tile.
    tile : float
        Seconds for one tile after that, reading included.
    """

    start: float
    tile: float

    def seconds(self, plan: Plan, workers: int = 1) -> float:
        """Return the seconds that a plan takes with a number of workers, without writing."""
        return self.start + plan.tiles * self.tile / max(1, min(workers, plan.tiles))


def measure_speed(image: Image, plan: Plan) -> Speed:
    """Compute the tile in the middle of the middle plane twice, and return what it took.

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
    array = UpscaledArray(image.transposed(plan.axes).data, plan)
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
    for _ in range(2):
        begin = time.perf_counter()
        array[tuple(region)]
        seconds.append(time.perf_counter() - begin)
    return Speed(start=max(0.0, seconds[0] - seconds[1]), tile=seconds[1])
