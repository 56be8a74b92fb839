"""Which part of a result is on the screen, and which part of its source lies under it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari.layers import Image as ImageLayer

from napari_superres.errors import InputError
from napari_superres.plugin.layers import layer_to_image
from napari_superres.plugin.origins import is_whole, result_to_check
from napari_superres.plugin.progressive import ProgressiveLevel
from napari_superres.plugin.view import visible_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.image import Image
    from napari_superres.plugin.origins import Origin

MOST = 2048
"""Result pixels along y and x that are looked at, from the middle of the view."""


@dataclass(frozen=True, eq=False)
class Look:
    """The part of a result that is on the screen.

    Parameters
    ----------
    layer : napari.layers.Image
        The result.
    image : Image
        All of its pixels, lazily.
    scale : int
        Scale factor.
    start, stop : tuple of int
        In the result's pixels, one an axis of the layer; whole source pixels along y and x.
    """

    layer: Any
    image: Image
    scale: int
    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def factors(self) -> tuple[int, ...]:
        """Result pixels a source pixel, one an axis of the layer."""
        return tuple(self.scale if a in "yx" else 1 for a in self.image.axes if a != "s")

    def fine(self, after: Sequence[int] | None = None) -> tuple[slice, ...]:
        """Return the part, one slice an axis of `image`; of a whole that begins `after` before."""
        return self._slices(self.start, self.stop, after or (0,) * len(self.start))

    def coarse(self, origin: Origin) -> tuple[slice, ...]:
        """Return the source under the part, one slice an axis of the source."""
        start, stop = (
            [n // f for n, f in zip(ends, self.factors, strict=True)]
            for ends in (self.start, self.stop)
        )
        return self._slices(start, stop, origin.start or (0,) * len(start))

    def _slices(
        self, start: Sequence[int], stop: Sequence[int], after: Sequence[int]
    ) -> tuple[slice, ...]:
        parts = [slice(n + a, n + b) for a, b, n in zip(start, stop, after, strict=True)]
        if "s" in self.image.axes:
            parts.append(slice(0, self.image.size("s")))
        return tuple(parts)


def real(thing: Any) -> Any:
    """Return the viewer or layer that a proxy of napari's stands for.

    napari hands plugins a viewer through which everything of a package called napari... comes
    wrapped, our own plans and images too, which are then no dataclasses any more.
    """
    return getattr(thing, "__wrapped__", thing)


def look_at(viewer: Any, layer: Any = None) -> Look:
    """Return which part of a result is on the screen. No pixel is read.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : napari.layers.Image, optional
        A result; None for the selected one, or the topmost on the screen.

    Raises
    ------
    InputError
        If there is no result, or the view shows nothing that can be checked.
    """
    viewer = real(viewer)
    layer = result_to_check(viewer) if layer is None else real(layer)
    if not isinstance(layer, ImageLayer):
        raise InputError(f"'{layer.name}' holds labels, which are only repeated.")
    if not is_whole(layer):
        raise InputError(
            f"Part of '{layer.name}' is cut off by a comparison.", "End the comparison first."
        )
    finest = layer.data[0] if layer.multiscale else None
    image = finest.image if isinstance(finest, ProgressiveLevel) else layer_to_image(layer)
    if not image.history:
        raise InputError(f"'{layer.name}' is not a result of ours.", "Select the layer of one.")
    scale = int(image.history[-1]["plan"]["scale"])
    part = visible_part(viewer, layer, image.axes, MOST)
    look = Look(layer, image, scale, part.start, part.stop)
    start = tuple(n // f * f for n, f in zip(part.start, look.factors, strict=True))
    stop = tuple(-(-n // f) * f for n, f in zip(part.stop, look.factors, strict=True))
    return replace(look, start=start, stop=stop)
