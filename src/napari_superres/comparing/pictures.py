"""From images to the pictures that are compared."""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_superres.arrays import as_image
from napari_superres.comparing.records import NOISY, Picture
from napari_superres.errors import InputError, SettingError
from napari_superres.pixels import resample_area, to_dtype
from napari_superres.selection import channel_index, select
from napari_superres.surveying import Survey, survey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_superres.image import Image


EDGE = 256
"""Longest edge of a picture in source pixels, unless a region is asked for."""

SMALLEST = 32
"""Shortest edge in source pixels that figures can be measured on."""

# Noise above this share of the contrast is seen at a glance.
_NOISY = 0.1


def pictures_of(
    images: Sequence[Any],
    truths: Sequence[Any],
    *,
    scale: int,
    degrade: bool,
    channels: Sequence[int | str] | None,
    planes: Mapping[str, Any] | None,
    region: tuple[slice, slice] | None,
    kinds: Sequence[str],
) -> Iterator[Picture]:
    """Yield one picture for each chosen channel of each image.

    Parameters
    ----------
    images : sequence of Image or arrays
    truths : sequence of the same
        One for each image, on the pixels of the result; or none.
    scale : int
        Result pixels a source pixel.
    degrade : bool
        Whether the images are themselves the truth, and their means over blocks of
        ``scale * scale`` pixels the sources.
    channels, planes, region
        As for `upscale`. None for the first channel, the middle plane along z, the first along
        other axes, and the part of up to 256 x 256 source pixels with the most structure.
    kinds : sequence of str
        What sort each image is; none to tell from the pixels.

    Raises
    ------
    InputError
        If an image is too small, holds values that are not finite, or its truth does not fit.
    SettingError
        If the numbers of images, truths and kinds differ.
    """
    for what, given in (("truth", truths), ("kind", kinds)):
        if given and len(given) != len(images):
            raise SettingError(
                f"There are {len(images)} images and {len(given)} of {what}=.",
                f"Give one {what} for each image, in the same order, or none.",
            )
    if degrade and truths:
        raise SettingError("degrade= makes its own truths.", "Leave out truth= or degrade=.")
    for number, given in enumerate(images):
        # A region counts in the pixels of what is compared, also where that is a result.
        image = replace(as_image(given), plan=None)
        truth = replace(as_image(truths[number]), plan=None) if truths else None
        for one in (image, truth):
            if one is not None and one.dtype == bool:
                raise InputError(
                    f"'{one.called}' is a mask, which has no intensities to compare.",
                    "Give the image that it was made from.",
                )
        facts = survey(image)
        chosen = range(image.size("c")) if channels is None else channels
        for channel in itertools.islice(chosen, 1 if channels is None else None):
            yield _picture(
                image,
                truth,
                facts,
                channel if "c" in image.axes else None,
                planes or {},
                region,
                scale=scale,
                degrade=degrade,
                kind=kinds[number] if kinds else "",
                only=channels is not None and len(channels) == 1,
            )


def _picture(
    image: Image,
    truth: Image | None,
    facts: Survey,
    channel: int | str | None,
    planes: Mapping[str, Any],
    region: tuple[slice, slice] | None,
    *,
    scale: int,
    degrade: bool,
    kind: str,
    only: bool,
) -> Picture:
    whole = f"{image.axes} {' x '.join(map(str, image.shape))} {image.dtype}"
    one = _plane(image, channel, planes)
    index = _number(image, channel)
    step = scale if degrade else 1
    y, x = region or _most_structure(one, EDGE * step, step)
    part = _array(select(one, region=(y, x)))
    if not np.isfinite(part).all():
        raise InputError(
            f"'{image.name}' holds values that are not finite, which cannot be compared.",
            "Choose a region without them.",
        )
    fine: np.ndarray | None = None
    if degrade:
        fine, part = _degraded(part, scale)
    elif truth is not None:
        fine = _truth(truth, image, channel, planes, (y, x), scale, only=only)
    if min(part.shape[:2]) < SMALLEST:
        raise InputError(
            f"'{image.name}' gives a picture of {part.shape[0]} x {part.shape[1]} source pixels, "
            "too few to measure.",
            f"{SMALLEST} x {SMALLEST} are needed.",
        )
    name = one.channels[0].name if image.size("c") > 1 else ""
    axes: Literal["yx", "yxs"] = "yxs" if one.rgb else "yx"
    # A coarser picture has less noise than the whole.
    noise = survey(as_image(part, axes)).noise[0] if degrade else facts.noise[index]
    axis = one.axes.index("x")
    return Picture(
        name=f"{image.name} {name or f'channel {index}'}" if image.size("c") > 1 else image.name,
        kind=kind or _kind(one, facts, index),
        whole=whole,
        axes=axes,
        source=part,
        truth=fine,
        limits=_limits(one, facts, index),
        noise=noise,
        pixel_size=one.pixel_size[axis] * step,
        unit=one.units[axis],
        digest=_digest(part, fine),
    )


def _plane(image: Image, channel: int | str | None, planes: Mapping[str, Any]) -> Image:
    """Return the image with one plane; lengths of 1 along all axes but y, x and s."""
    wishes = {
        axis: image.size(axis) // 2 if axis == "z" else 0
        for axis in image.axes
        if axis not in "cyxs"
    }
    wishes.update(planes)
    one = select(image, None if channel is None else [channel], wishes)
    if any(one.size(axis) > 1 for axis in one.axes if axis not in "yxs"):
        raise SettingError(
            f"planes={dict(planes)} chooses several planes of '{image.name}'.",
            "Choose one: a comparison is of one plane an image.",
        )
    return one


def _number(image: Image, channel: int | str | None) -> int:
    return channel_index(image, channel or 0) % image.size("c") if "c" in image.axes else 0


def _array(image: Image) -> np.ndarray:
    """Return pixels of shape (y, x) or (y, x, s)."""
    image = image.transposed("".join(a for a in image.axes if a not in "yxs") + _last(image))
    values = np.asarray(image.data.compute(scheduler="synchronous"))
    return values.reshape(values.shape[-len(_last(image)) :])


def _last(image: Image) -> str:
    return "yxs" if image.rgb else "yx"


def _most_structure(image: Image, edge: int, step: int) -> tuple[slice, slice]:
    """Return the window whose pixels vary most; a plane that is hardly longer is taken whole."""
    height, width = (image.size(axis) // step * step for axis in "yx")
    edges = min(edge, height), min(edge, width)
    starts = [
        [round(i * (n - e) / max(1, k - 1)) for i in range(k)]
        for n, e in zip((height, width), edges, strict=True)
        for k in (min(4, -(-n // e)),)
    ]
    windows = [
        (slice(y, y + edges[0]), slice(x, x + edges[1])) for y, x in itertools.product(*starts)
    ]
    if len(windows) == 1:
        return windows[0]
    return max(windows, key=lambda w: float(np.nanstd(_array(select(image, region=w)))))


def _degraded(part: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the truth, and what a camera with pixels `scale` times as long would have seen."""
    height, width = (n // scale * scale for n in part.shape[:2])
    fine = part[:height, :width]
    moved = np.moveaxis(np.atleast_3d(fine), -1, 0).astype(np.float32)
    coarse = np.moveaxis(resample_area(moved, scale, 1), 0, -1)
    return fine, to_dtype(coarse.reshape(*coarse.shape[:2], *fine.shape[2:]), part.dtype)


def _truth(
    truth: Image,
    image: Image,
    channel: int | str | None,
    planes: Mapping[str, Any],
    region: tuple[slice, slice],
    scale: int,
    *,
    only: bool,
) -> np.ndarray:
    for axis in "yx":
        if truth.size(axis) != scale * image.size(axis):
            raise InputError(
                f"The truth '{truth.name}' has {truth.size(axis)} pixels along {axis}; a result of "
                f"'{image.name}' at scale {scale} has {scale * image.size(axis)}.",
                "Give a truth on the result's own pixels, or another scale.",
            )
    for axis in dict.fromkeys(image.axes + truth.axes):
        if axis not in "cyxs" and truth.size(axis) != image.size(axis):
            raise InputError(
                f"The truth '{truth.name}' has {truth.size(axis)} planes along {axis}, and "
                f"'{image.name}' has {image.size(axis)}.",
                "Give a truth with the same planes.",
            )
    index = _its_channel(truth, image, _number(image, channel), only=only)
    one = _plane(truth, index if "c" in truth.axes else None, planes)
    spans = [range(*cut.indices(image.size(a))) for a, cut in zip("yx", region, strict=True)]
    cuts = [slice(s.start * scale, s.stop * scale) for s in spans]
    return _array(select(one, region=(cuts[0], cuts[1])))


def _its_channel(truth: Image, image: Image, index: int, *, only: bool) -> int:
    """Return which channel of the truth belongs to one of the image: by name, or by order.

    If it is the `only` one that is compared, a truth without channels is its own.
    """
    names, own = ([channel.name for channel in one.channels] for one in (truth, image))
    if own and own[index] and own.count(own[index]) == names.count(own[index]) == 1:
        return names.index(own[index])
    if only and truth.size("c") == 1 and not any(names):
        return 0
    if truth.size("c") != image.size("c"):
        called = own[index] if own and own[index] else index
        raise InputError(
            f"The truth '{truth.name}' has {truth.size('c')} channels and '{image.name}' "
            f"{image.size('c')}, and no names say which of them belongs to channel {called}.",
            "Give a truth with the same channels.",
        )
    return index


def _kind(one: Image, facts: Survey, index: int) -> str:
    if one.rgb:
        return "colour picture"
    noise = facts.noise[index]
    noisy = noise.std > _NOISY * noise.contrast
    return NOISY if noisy else "clean image"


def _limits(one: Image, facts: Survey, index: int) -> tuple[float, float]:
    if one.rgb and one.dtype == np.uint8:
        return 0.0, 255.0
    low, high = facts.limits[index]
    return (low, high) if high > low else (low, math.nextafter(low, math.inf) + 1)


def _digest(*arrays: np.ndarray | None) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        if array is not None:
            sha.update(f"{array.shape} {array.dtype}".encode())
            sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
