"""What the panel says of an image, and of the result that a run would give: no pixel is read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_superres.planning import make_plan
from napari_superres.resources import human_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.image import Image
    from napari_superres.models.catalog import ModelSpec
    from napari_superres.plan import Plan

_SHORT = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "second": "s", "angstrom": "Å"}


def describe(image: Image) -> str:
    """Return for example ``"z y x · 12 x 1024 x 1024 · uint16 · 0.26 µm/px"``."""
    parts = [" ".join(image.axes), _listing(image.shape), str(image.dtype)]
    at = image.axes.index("x")
    unit = image.units[at]
    if unit:
        parts.append(f"{image.pixel_size[at]:.3g} {short_unit(unit)}/px")
    return " · ".join(parts)


def outlook(image: Image, spec: ModelSpec, settings: dict[str, Any]) -> Plan:
    """Return the plan of a run as far as it can be made without reading a pixel.

    Its limits and strengths of denoising are made up; shapes, sizes and tiles are right.

    Raises
    ------
    SuperresError
        If the settings cannot work for this image; the message says why.
    """
    machine = ("model", "device", "precision", "batch")
    wishes = {k: v for k, v in settings.items() if k not in machine}
    # Limits and the strength of denoising change no shape, and finding them would read pixels.
    unread: dict[str, Any] = {"limits": (0.0, 1.0)}
    if spec.denoise == "auto":
        unread["denoise"] = 0.0
    if spec.noise_input and wishes.get("denoise"):
        wishes["denoise"] = 0.0
    return make_plan(image, spec, **{**unread, **wishes})


def foresee(images: Sequence[Image], plans: Sequence[Plan], rate: float | None = None) -> str:
    """Return what a run would give, such as ``"12 x 4096 x 4096 · uint16 · 403 MB · about 4 min"``.

    Parameters
    ----------
    images : sequence of Image
        The sources, at least one.
    plans : sequence of Plan
        Theirs, of `outlook`.
    rate : float, optional
        Seconds for each pixel of the source, if that was measured.
    """
    shapes = {
        tuple(plan.output_shape[plan.axes.index(a)] for a in image.axes)
        for image, plan in zip(images, plans, strict=True)
    }
    parts = [f"{len(images)} layers"] if len(images) > 1 else []
    parts += [_listing(shapes.pop())] if len(shapes) == 1 else []
    parts += [dtypes.pop()] if len(dtypes := {plan.dtype for plan in plans}) == 1 else []
    parts.append(human_bytes(sum(plan.output_bytes for plan in plans)))
    if rate is not None:
        parts.append(f"about {in_words(rate * sum(math.prod(image.shape) for image in images))}")
    return " · ".join(parts)


def speed_key(settings: dict[str, Any]) -> tuple[Any, ...]:
    """Return what the speed depends on, of the settings."""
    words = ("model", "scale", "device", "precision", "tile", "halo", "feather", "batch")
    options = sorted((settings.get("options") or {}).items())
    return (*(settings.get(word) for word in words), *options)


def in_words(seconds: float) -> str:
    """Return a duration as people estimate it, such as ``"40 s"``, ``"4 min"`` or ``"3 h"``."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(1, seconds):.0f} s"


def how_to_begin(layers: Sequence[Any], usable: int) -> str:
    """Return what to do when no layer is ticked.

    Parameters
    ----------
    layers : sequence of napari.layers.Layer
        All of the viewer.
    usable : int
        How many of them can be ticked.
    """
    if usable:
        return "Tick a layer to begin."
    if len(layers):
        return f"'{layers[0].name}' has no pixels to make finer. Open an image to begin."
    return "Open an image to begin."


def short_unit(unit: str) -> str:
    """Return the usual sign of a unit of length or time, such as ``"µm"``."""
    return _SHORT.get(unit, unit)


def _listing(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
