"""What the panel does in the background, as generators for `Work`: plan, preview, compute, write.

Each yields now and then and returns its result; everything slow, and every import of a model's
framework, happens in here and so not on the main thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from napari_superres.errors import ResourceError
from napari_superres.plan import human_bytes
from napari_superres.plugin.compute import fill, pieces
from napari_superres.plugin.progressive import for_viewing
from napari_superres.plugin.tile_queue import threads_for
from napari_superres.progress import tick
from napari_superres.upscaled_array import UpscaledArray
from napari_superres.upscaling import plan_for, planned

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np

    from napari_superres.image import Image
    from napari_superres.models.catalog import ModelSpec
    from napari_superres.plan import Plan
    from napari_superres.plugin.meter import Meter
    from napari_superres.plugin.view import Visible

Settings = dict[str, Any]

MEMORY_SHARE = 0.6
"""Of the memory that is free now, a result in memory may take this share."""


class Pixels(NamedTuple):
    """A result that was computed.

    Parameters
    ----------
    image : Image
        The lazy result of the whole source, with plan and history.
    pixels : np.ndarray
        All of it or a part, axes as in `image`.
    """

    image: Image
    pixels: np.ndarray


def prepare(image: Image, settings: Settings, meter: Meter) -> Generator[object, None, Plan]:
    """Make the plan of an on-demand layer; the pixels are surveyed if the model needs it."""
    meter.step = "preparing"
    yield None
    return plan_for(image, **settings)


def preview(
    image: Image, settings: Settings, part: Visible, meter: Meter
) -> Generator[object, None, Pixels]:
    """Compute part of one plane: the same pixels that the whole result has there."""
    plan = yield from prepare(image, settings, meter)
    scale = plan.scale
    bounds = dict(zip(_plain(image.axes), zip(part.start, part.stop, strict=True), strict=True))
    region = tuple(
        slice(0, n) if a == "s" else _finer(a, bounds[a], scale)
        for a, n in zip(plan.axes, plan.output_shape, strict=True)
    )
    return (yield from _computed(image, plan, for_viewing(plan), region, meter))


def into_memory(image: Image, settings: Settings, meter: Meter) -> Generator[object, None, Pixels]:
    """Compute the whole result into memory.

    Raises
    ------
    ResourceError
        If the memory does not suffice.
    """
    plan = yield from prepare(image, settings, meter)
    free = psutil.virtual_memory().available
    if plan.output_bytes > MEMORY_SHARE * free:
        raise ResourceError(
            f"The result takes {human_bytes(plan.output_bytes)}, and {human_bytes(free)} of memory "
            "are free.",
            "Choose the output 'On demand' or 'OME-Zarr file'.",
        )
    region = tuple(slice(0, n) for n in plan.output_shape)
    return (yield from _computed(image, plan, plan, region, meter))


def to_file(
    image: Image, settings: Settings, path: str, meter: Meter
) -> Generator[object, None, Image]:
    """Write the whole result to a file, and return it as read from there."""
    from napari_superres.formats import read
    from napari_superres.job import run

    plan = yield from prepare(image, settings, meter)
    steps = run(planned(image, plan), path, workers=threads_for(plan.compute.device))
    meter.total, meter.where = plan.tiles, plan.compute.device
    try:
        for now in steps:
            meter.step = "" if now.step == "computing" else f"{now.step} the file"
            meter.note(now.fraction * plan.tiles)
            yield None
    finally:
        steps.close()  # type: ignore[attr-defined]  # a generator; closing it stops the job
    return read(path)


def fetch(spec: ModelSpec, meter: Meter) -> Generator[object, None, ModelSpec]:
    """Download what is missing of a model's weights; what came before a stop is kept."""
    from napari_superres.models.download import download

    meter.unit = "MB"
    meter.step = "asking for the file"
    yield None

    def listen(name: str, done: int, total: int) -> None:
        meter.step, meter.where, meter.total = "", name, round(total / 1e6)
        meter.note(done / 1e6)
        tick(done, total)

    download(spec, listen)
    return spec


def _computed(
    image: Image, plan: Plan, tiling: Plan, region: tuple[slice, ...], meter: Meter
) -> Generator[object, None, Pixels]:
    array = UpscaledArray(image.transposed(plan.axes).data, tiling)
    meter.total, meter.where = sum(1 for _ in pieces(tiling, region)), plan.compute.device
    meter.step = ""
    work = fill(array, region)
    try:
        while True:
            done = next(work)
            meter.note(done)
            yield done
    except StopIteration as end:
        pixels = end.value
    finally:
        work.close()
    order = [plan.axes.index(a) for a in image.axes]
    return Pixels(planned(image, plan), pixels.transpose(order))


def _plain(axes: str) -> str:
    return axes.replace("s", "")


def _finer(axis: str, bounds: tuple[int, int], scale: int) -> slice:
    factor = scale if axis in "yx" else 1
    return slice(bounds[0] * factor, bounds[1] * factor)
