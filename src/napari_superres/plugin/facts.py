"""What the panel says of an image, and of the result that a run would give: no pixel is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_superres.plan import human_bytes
from napari_superres.planning import make_plan

if TYPE_CHECKING:
    from napari_superres.image import Image
    from napari_superres.models.catalog import ModelSpec

_SHORT = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "second": "s", "angstrom": "Å"}


def describe(image: Image) -> str:
    """Return for example ``"z y x · 12 x 1024 x 1024 · uint16 · 0.26 µm/px"``."""
    parts = [" ".join(image.axes), _listing(image.shape), str(image.dtype)]
    at = image.axes.index("x")
    unit = image.units[at]
    if unit:
        parts.append(f"{image.pixel_size[at]:.3g} {_SHORT.get(unit, unit)}/px")
    return " · ".join(parts)


def foresee(image: Image, spec: ModelSpec, settings: dict[str, Any]) -> str:
    """Return what a run would give, for example ``"12 x 4096 x 4096 · uint16 · 403 MB"``.

    Raises
    ------
    SuperresError
        If the settings cannot work for this image; the message says why.
    """
    wishes = {k: v for k, v in settings.items() if k not in ("model", "device", "precision")}
    # Limits and the strength of denoising change no shape, and finding them would read pixels.
    unread: dict[str, Any] = {"limits": (0.0, 1.0)}
    if spec.denoise == "auto":
        unread["denoise"] = 0.0
    plan = make_plan(image, spec, **{**unread, **wishes})
    shape = tuple(plan.output_shape[plan.axes.index(a)] for a in image.axes)
    return f"{_listing(shape)} · {plan.dtype} · {human_bytes(plan.output_bytes)}"


def _listing(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
