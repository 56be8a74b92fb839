"""Which source a result in the viewer was made from, and how."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_superres.errors import InputError
from napari_superres.plugin.layer_history import history_of
from napari_superres.plugin.progressive import ProgressiveLevel

if TYPE_CHECKING:
    from napari_superres.image import Image
    from napari_superres.plan import Plan


@dataclass(frozen=True, eq=False)
class Origin:
    """Where a result layer comes from.

    Parameters
    ----------
    source : Image
        All of it, with the axes of the layer's data.
    plan : Plan or None
        None for a result that was opened from a file.
    start : tuple of int, optional
        The source pixel at which the layer begins, one index an axis without ``s``; None for all 0.
    """

    source: Image
    plan: Plan | None = None
    start: tuple[int, ...] | None = None


_origins: weakref.WeakKeyDictionary[Any, Origin] = weakref.WeakKeyDictionary()
_shapes: weakref.WeakKeyDictionary[Any, tuple[int, ...]] = weakref.WeakKeyDictionary()


def remember(layer: Any, origin: Origin) -> None:
    """Note where a layer comes from, for as long as it exists."""
    _origins[layer] = origin
    _shapes[layer] = tuple(layer.data.shape)


def origin_of(layer: Any) -> Origin | None:
    """Return where a layer comes from; None if that is not known without reading a file."""
    finest = layer.data[0] if getattr(layer, "multiscale", False) else None
    if isinstance(finest, ProgressiveLevel):
        return Origin(finest.source, finest.image.plan)
    return _origins.get(layer)


def is_whole(layer: Any) -> bool:
    """Return whether a layer has the pixels that it began with: a comparison may cut some off."""
    return _shapes.get(layer, tuple(layer.data.shape)) == tuple(layer.data.shape)


def is_result(layer: Any) -> bool:
    """Return whether a layer shows a result of ours."""
    return origin_of(layer) is not None or bool(history_of(layer.metadata))


def result_to_check(viewer: Any) -> Any:
    """Return the result that a user means: the selected one, or the topmost of those on the screen.

    Parameters
    ----------
    viewer : napari.Viewer

    Raises
    ------
    InputError
        If there is no result.
    """
    active = viewer.layers.selection.active
    if active is not None and is_result(active):
        return active
    for layer in reversed(viewer.layers):
        if layer.visible and is_result(layer):
            return layer
    raise InputError(
        "There is no result on the screen.", "Make one first, or select the layer of one."
    )
