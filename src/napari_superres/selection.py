"""Which channels, planes and part of a plane of a result are wanted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_superres.image import Image


def select(
    image: Image,
    channels: Sequence[int | str] | int | str | None = None,
    planes: Mapping[str, Any] | None = None,
    region: tuple[slice, slice] | None = None,
) -> Image:
    """Return part of an image, at its place in physical space.

    Parameters
    ----------
    image : Image
        A result; `region` counts in the pixels of its source.
    channels : sequence of int or str, or one of them, optional
        Indices or names along axis ``c``. A number that is no index is a name: of a wavelength.
    planes : mapping of str to int, slice or sequence of int, optional
        By axis. An integer keeps the axis, with one plane.
    region : (slice, slice), optional
        Along y and x, with steps of 1.

    Returns
    -------
    Image
        The record of its making, if it is a result, says under ``part`` what was chosen of the
        whole: the indices along ``c``; start, stop and step along axes of planes; start and stop
        along y and x, in source pixels.

    Raises
    ------
    SettingError
        If there is no such axis, channel, plane or pixel.
    """
    whole = image
    wishes = dict(planes or {})
    part: dict[str, list[int]] = {}
    if channels is not None:
        if "c" in wishes:
            raise SettingError("Both channels= and planes={'c': ...} choose channels.", "Give one.")
        several = [channels] if isinstance(channels, int | str) else channels
        wishes["c"] = [channel_index(image, channel) for channel in several]
    for axis, wish in wishes.items():
        if axis not in image.axes or axis in "yxs":
            raise SettingError(
                f"'{image.called}' has no planes along '{axis}'; its axes are '{image.axes}'.",
                "Use region= for y and x.",
            )
        chosen = _indices(image, axis, wish)
        image = _taken(image, axis, chosen)
        step = chosen[1] - chosen[0] if len(chosen) > 1 else 1
        part[axis] = list(chosen) if axis == "c" else [chosen[0], chosen[-1] + 1, step]
    if region is not None:
        image, bounds = _cropped(image, region)
        part.update(bounds)
    if whole.plan is None:
        part = _counted_in_source(whole, part)
    return _noted(image, part)


def _counted_in_source(image: Image, part: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Return what a record can say of a part of a result that was read from a file."""
    last = image.history[-1] if image.history else {}
    if not last or "channel" in last:
        return {}
    plan, before = last["plan"], last.get("part", {})
    found = {}
    for axis, own in part.items():
        scale = plan["scale"] if axis in "yx" else 1
        count = plan["shape"][plan["axes"].index(axis)] if axis in plan["axes"] else 0
        if axis in before:
            count = len(before[axis] if axis == "c" else range(*before[axis]))
        fits = image.size(axis) == count * scale
        if fits and not any(n % scale for n in own):
            found[axis] = [n // scale for n in own]
    return found


def _noted(image: Image, part: Mapping[str, list[int]]) -> Image:
    """Return an image whose record says which part of the whole result it is."""
    if not part or not image.history:
        return image
    *earlier, last = image.history
    before = last.get("part", {})
    whole = {axis: _within(before[axis], own, axis) for axis, own in part.items() if axis in before}
    return replace(image, history=(*earlier, {**last, "part": {**before, **part, **whole}}))


def _within(before: Sequence[int], own: Sequence[int], axis: str) -> list[int]:
    """Return a part of a part as a part of the whole."""
    if axis == "c":
        return [before[i] for i in own]
    chosen = range(*before)[slice(*own)]
    step = chosen.step if len(chosen) > 1 else 1
    return [chosen[0], chosen[-1] + 1, *([] if axis in "yx" else [step])]


def channel_index(image: Image, wish: int | str) -> int:
    """Return where a channel lies along axis ``c``.

    Parameters
    ----------
    image : Image
    wish : int or str
        Its index or name. A number that is no index is a name: of a wavelength.

    Raises
    ------
    SettingError
        If there is no such channel, or several have that name.
    """
    names = [channel.name for channel in image.channels]
    if not isinstance(wish, str) and str(wish) in names and not -len(names) <= wish < len(names):
        wish = str(wish)
    if isinstance(wish, str):
        if names.count(wish) != 1:
            raise SettingError(
                f"'{image.called}' has {names.count(wish)} channels named '{wish}'.",
                f"Its channels are {names}; indices work too.",
            )
        return names.index(wish)
    if "c" not in image.axes:
        raise SettingError(f"'{image.called}' has no channel axis.", "Leave channels= out.")
    return int(wish)


def _indices(image: Image, axis: str, wish: Any) -> Sequence[int]:
    size = image.size(axis)
    if isinstance(wish, slice):
        chosen: Sequence[int] = range(size)[wish]
    else:
        wanted = [wish] if isinstance(wish, int | np.integer) else list(wish)
        for i in wanted:
            if not -size <= i < size:
                raise SettingError(
                    f"'{image.called}' has no index {i} along '{axis}'.", f"It has 0 to {size - 1}."
                )
        chosen = [int(i) % size for i in wanted]
    if len(chosen) == 0:
        raise SettingError(
            f"Nothing of '{image.called}' is chosen along '{axis}'.", f"It has 0 to {size - 1}."
        )
    return chosen


def _taken(image: Image, axis: str, chosen: Sequence[int]) -> Image:
    position = image.axes.index(axis)
    whole = [slice(None)] * len(image.axes)
    steps = np.diff(chosen)
    if len(chosen) == 1 or ((steps == steps[0]).all() and steps[0] > 0):
        step = int(steps[0]) if len(chosen) > 1 else 1
        whole[position] = slice(chosen[0], chosen[-1] + 1, step)
        return image.cropped(whole)
    if axis != "c":
        raise SettingError(
            f"The planes {list(chosen)} along '{axis}' are not evenly spaced, in rising order.",
            "A result with one pixel size cannot hold them: choose a range.",
        )
    return replace(
        image,
        data=image.data[(*whole[:position], list(chosen))],
        levels=(),
        **image.channel_fields(chosen),
    )


def _cropped(image: Image, region: tuple[slice, slice]) -> tuple[Image, dict[str, list[int]]]:
    """Return part of each plane, and its bounds in source pixels."""
    scale = image.plan.scale if image.plan else 1
    whole = [slice(None)] * len(image.axes)
    bounds = {}
    for axis, wish in zip("yx", region, strict=True):
        size = image.size(axis) // scale
        start, stop, step = wish.indices(size)
        outside = wish.stop is not None and wish.stop > size
        if step != 1 or start >= stop or outside:
            raise SettingError(
                f"region {wish.start}:{wish.stop} along '{axis}' is not a part of the {size} "
                f"pixels of '{image.called}'.",
                "Give start:stop in source pixels.",
            )
        whole[image.axes.index(axis)] = slice(start * scale, stop * scale)
        bounds[axis] = [start, stop]
    return image.cropped(whole), bounds
