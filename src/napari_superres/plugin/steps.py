"""What the panel does in the background, as generators for `Work`: plan, preview, compute, write.

Each yields now and then and returns its result; everything slow, and every import of a model's
framework, happens in here and so not on the main thread.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from napari_superres.errors import ResourceError
from napari_superres.models.base_model import base_record
from napari_superres.planning import canonical_axes, make_plan
from napari_superres.plugin.compute import filled
from napari_superres.plugin.layer_history import OF_CHANNELS
from napari_superres.plugin.layer_tuples import joined
from napari_superres.plugin.notify import tell_captions
from napari_superres.plugin.progressive import for_viewing
from napari_superres.plugin.tile_queue import threads_for
from napari_superres.progress import tick
from napari_superres.resources import human_bytes
from napari_superres.selection import select
from napari_superres.upscaled_array import UpscaledArray
from napari_superres.upscaling import plan_for, planned

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

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
        The lazy result of the whole source, with plan and history; of a preview, the history says
        which part it is.
    pixels : np.ndarray
        All of it or a part, axes as in `image`.
    seconds : float or None
        How long the whole would take, by the speed of this part; None if that was not measured.
    plain : np.ndarray or None
        Of a preview: the same part by plain interpolation.
    plain_model : str
        Which interpolation.
    """

    image: Image
    pixels: np.ndarray
    seconds: float | None = None
    plain: np.ndarray | None = None
    plain_model: str = ""


def prepare(image: Image, settings: Settings, meter: Meter) -> Generator[object, None, Plan]:
    """Make the plan of an on-demand layer; the pixels are surveyed if the model needs it."""
    meter.step = "preparing"
    yield None
    plan = plan_for(image, **settings)
    if dict(plan.options).get("captioner"):
        tell_captions()
    # The history holds a checksum of gigabytes, which is remembered: not on the main thread.
    base_record(plan.spec, plan.options)
    return plan


def preview(
    image: Image, settings: Settings, part: Visible, meter: Meter
) -> Generator[object, None, Pixels]:
    """Compute part of one plane: the same pixels that the whole result has there.

    The same part by plain interpolation comes with it, to compare.
    """
    plan = yield from prepare(image, settings, meter)
    bounds = dict(zip(_plain(image.axes), zip(part.start, part.stop, strict=True), strict=True))
    region = tuple(
        slice(0, n) if a == "s" else _finer(a, bounds[a], plan.scale)
        for a, n in zip(plan.axes, plan.output_shape, strict=True)
    )
    result = yield from _computed(image, plan, for_viewing(plan), region, meter)
    result = result._replace(image=_told_as(result.image, bounds))
    if image.is_labels or image.dtype == bool:
        return result
    name = "nearest" if plan.spec.name == "bicubic" else "bicubic"
    canonical = image.transposed(plan.axes)
    simple = make_plan(canonical, name, scale=plan.scale, dtype=plan.dtype)
    order = [plan.axes.index(a) for a in image.axes]
    pixels = UpscaledArray(canonical.data, simple)[region].transpose(order)
    return result._replace(plain=pixels, plain_model=name)


def into_memory(
    image: Image, settings: Settings, budget: int | None, meter: Meter
) -> Generator[object, None, Pixels]:
    """Compute the whole result into memory.

    Parameters
    ----------
    image : Image
    settings : dict
    budget : int, optional
        Bytes that may be used; None for what is free.
    meter : Meter

    Raises
    ------
    ResourceError
        If the memory does not suffice.
    """
    plan = yield from prepare(image, settings, meter)
    check_fits(plan, budget)
    region = tuple(slice(0, n) for n in plan.output_shape)
    return (yield from _computed(image, plan, plan, region, meter))


def check_fits(plan: Plan, budget: int | None = None) -> None:
    """Refuse a result that is too large for the memory.

    Raises
    ------
    ResourceError
        Which says how large it is.
    """
    free = psutil.virtual_memory().available
    if plan.output_bytes > (MEMORY_SHARE * free if budget is None else budget):
        there = f"{human_bytes(free)} of memory are free"
        if budget is not None:
            there = f"the memory budget is {human_bytes(budget)}"
        raise ResourceError(
            f"The result takes {human_bytes(plan.output_bytes)}, and {there}.",
            "Choose the output 'On demand' or 'OME-Zarr file'.",
        )


def to_file(
    images: Sequence[Image],
    settings: Sequence[Settings],
    path: str,
    budget: int | None,
    meter: Meter,
) -> Generator[object, None, tuple[Image, Plan]]:
    """Write whole results to a file, and return it as read from there, and how it was made.

    Parameters
    ----------
    images : sequence of Image
        Several become the channels of one image.
    settings : sequence of dict
        Theirs.
    path : str
    budget : int, optional
        Bytes of memory that may be used; None for what is free.
    meter : Meter

    Returns
    -------
    (Image, Plan)
        The plan is the first one's.

    Raises
    ------
    ResourceError
        If disk or memory do not suffice.
    OutputError
        If the file cannot be written.
    """
    from napari_superres.formats import read

    plans = []
    for image, wishes in zip(images, settings, strict=True):
        plans.append((yield from prepare(image, wishes, meter)))
    yield from write_to(together(images, plans), path, budget, meter, plans)
    return read(path), plans[0]


def together(images: Sequence[Image], plans: Sequence[Plan]) -> Image:
    """Return the lazy results of images as the channels of one, each as it would be alone.

    Parameters
    ----------
    images : sequence of Image
        The sources; one is no channel of several.
    plans : sequence of Plan
        Theirs, made with the same settings.
    """
    first, image = plans[0], joined(images)
    if len(images) == 1:
        return planned(image, first)
    # A plan keeps light in one way, which is another for clean channels than for noisy ones.
    apart: dict[str, Any] = dict.fromkeys(OF_CHANNELS)
    alike = len({replace(plan, **apart) for plan in plans}) == 1
    # Random numbers depend on a plane's place among all planes.
    if first.spec.random or not alike:
        return joined([planned(*both) for both in zip(images, plans, strict=True)])
    canonical = image.transposed(canonical_axes(image.axes))
    own: dict[str, Any] = {}
    for key in OF_CHANNELS:
        each = [getattr(plan, key) for plan in plans]
        own[key] = None if None in each else tuple(chain(*each))
    return planned(image, replace(first, axes=canonical.axes, shape=canonical.shape, **own))


def write_to(
    image: Image, path: str, budget: int | None, meter: Meter, plans: Sequence[Plan] = ()
) -> Generator[object, None, str]:
    """Write an image to a file, computing it if it is lazy, and return the path.

    Of channels that were planned apart there is no one plan: `plans` are theirs.
    """
    from napari_superres.job import run

    plan = image.plan
    each = (plan,) if plan else plans
    workers = min((workers_for(one, budget) for one in each), default=None)
    steps = run(image, path, workers=workers)
    meter.unit, meter.where = ("tile", plan.compute.device) if plan else ("block", "")
    try:
        for now in steps:
            meter.total = plan.tiles if plan else now.total
            meter.step = "" if now.step == "computing" else f"{now.step} the file"
            meter.note(now.fraction * meter.total)
            yield None
    finally:
        steps.close()  # type: ignore[attr-defined]  # a generator; closing it stops the job
    return path


def workers_for(plan: Plan, budget: int | None) -> int:
    """Return how many blocks are computed at a time: one core is left to the viewer.

    Raises
    ------
    ResourceError
        If not even one fits the budget.
    """
    usual = threads_for(plan.compute.device)
    if budget is None:
        return usual
    if plan.task_bytes > budget:
        raise ResourceError(
            f"One block of the result needs {human_bytes(plan.task_bytes)} of memory, and the "
            f"budget is {human_bytes(budget)}.",
            "Choose a smaller tile, or a larger budget, under 'Compute'.",
        )
    return min(usual, budget // plan.task_bytes)


def fetch(spec: ModelSpec, meter: Meter) -> Generator[object, None, ModelSpec]:
    """Download what is missing of a model's weights; what came before a stop is kept."""
    from napari_superres.models.download import download

    meter.unit = "MB"
    meter.step = "asking for the file"
    yield None

    def listen(name: str, done: int, total: int) -> None:
        meter.step, meter.where, meter.total = "", name, round(total / 1e6)
        meter.note(done / 1e6)
        tick(0, 1)  # only for a stop: the meter has counted

    download(spec, listen)
    return spec


def _computed(
    image: Image, plan: Plan, tiling: Plan, region: tuple[slice, ...], meter: Meter
) -> Generator[object, None, Pixels]:
    array = UpscaledArray(image.transposed(plan.axes).data, tiling, name=image.called)
    work = filled(array, region, meter)
    times, counts = [time.monotonic()], [0]
    try:
        while True:
            yield next(work)
            times.append(time.monotonic())
            counts.append(round(meter.done))
    except StopIteration as end:
        pixels = end.value
    finally:
        work.close()
    # The first piece holds the loading of the model, so it is left out if there are others.
    first = 1 if len(times) > 2 else 0
    share = (counts[-1] - counts[first]) / max(1, counts[-1])
    part = share * math.prod(s.stop - s.start for s in region)
    seconds = (times[-1] - times[first]) * math.prod(plan.output_shape) / part if part else None
    order = [plan.axes.index(a) for a in image.axes]
    return Pixels(planned(image, plan), pixels.transpose(order), seconds)


def _told_as(image: Image, bounds: Mapping[str, tuple[int, int]]) -> Image:
    """Return a whole result with the history of a part, given by its bounds in source pixels."""
    planes = {axis: slice(*own) for axis, own in bounds.items() if axis not in "yx"}
    part = select(image, planes=planes, region=(slice(*bounds["y"]), slice(*bounds["x"])))
    return replace(image, history=part.history)


def _plain(axes: str) -> str:
    return axes.replace("s", "")


def _finer(axis: str, bounds: tuple[int, int], scale: int) -> slice:
    factor = scale if axis in "yx" else 1
    return slice(bounds[0] * factor, bounds[1] * factor)
