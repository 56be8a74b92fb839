"""Which part of a layer is on the screen."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from napari_superres.errors import InputError

MOST = 1024
"""Source pixels along y and x that a preview takes at most, from the middle of the view."""


class Visible(NamedTuple):
    """Part of one plane of a layer.

    Parameters
    ----------
    start, stop : tuple of int
        One an axis of the layer, without the samples of RGB; source pixels. Axes other than y and x
        have one index.
    whole : bool
        False when more is on the screen than a preview takes.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]
    whole: bool


def visible_part(viewer: Any, layer: Any, axes: str, most: int = MOST) -> Visible:
    """Return the part of a layer's present plane that is on the screen.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : napari.layers.Image or napari.layers.Labels
    axes : str
        The layer's axes, one letter a dimension of the data.
    most : int
        Largest edge in source pixels; of a larger view the middle is taken.

    Raises
    ------
    InputError
        If the view shows a volume, other axes than y and x, or nothing of the layer.
    """
    if viewer.dims.ndisplay != 2:
        raise InputError("A preview needs the 2-D view.", "Leave the 3-D view first.")
    fine = [axes.index("y"), axes.index("x")]
    before = viewer.dims.ndim - layer.ndim
    shown = [d - before for d in viewer.dims.displayed]
    if sorted(shown) != sorted(fine):
        names = [axes[d] if d >= 0 else "another axis" for d in shown]
        raise InputError(
            f"The view shows {names[0]} and {names[1]} of '{layer.name}', and only y and x are "
            "made finer.",
            "Show y and x, for example with the transpose and roll buttons.",
        )
    index = _plane(viewer, layer, fine)
    box = _drawn(viewer, layer)
    start, stop, whole = list(index), [i + 1 for i in index], True
    for axis in fine:
        first, last = max(0, int(box[0, axis])), min(_length(layer, axis), int(box[1, axis]) + 1)
        if first >= last:
            raise InputError(f"Nothing of '{layer.name}' is on the screen.", "Move the view.")
        if last - first > most:
            first, whole = (first + last - most) // 2, False
            last = first + most
        start[axis], stop[axis] = first, last
    return Visible(tuple(start), tuple(stop), whole)


def plane_on_screen(viewer: Any, layer: Any, axes: str) -> dict[str, int]:
    """Return the index of the present plane of a layer along each axis but y, x and s.

    Raises
    ------
    InputError
        If the layer has no plane where the sliders are.
    """
    index = _plane(viewer, layer, [axes.index("y"), axes.index("x")])
    return {a: i for a, i in zip(axes.replace("s", ""), index, strict=True) if a not in "yx"}


def _plane(viewer: Any, layer: Any, fine: list[int]) -> list[int]:
    """Return the index of the present plane along every axis; 0 along y and x."""
    point = np.rint(_to_data(viewer, layer, viewer.dims.point)).astype(int)
    index = [0 if axis in fine else int(i) for axis, i in enumerate(point)]
    for axis, i in enumerate(index):
        if not 0 <= i < _length(layer, axis):
            raise InputError(f"'{layer.name}' has no plane here.", "Move the sliders to one.")
    return index


def _length(layer: Any, axis: int) -> int:
    return int(layer.data.shape[axis])


def _to_data(viewer: Any, layer: Any, point: Any) -> np.ndarray:
    """Return where a point of the viewer's world lies in a layer's data."""
    return np.asarray(layer.world_to_data(np.asarray(point) * _unit_ratios(viewer, layer)))


def _unit_ratios(viewer: Any, layer: Any) -> np.ndarray:
    """Return the viewer's unit in units of the layer, for each axis of the viewer.

    Since napari 0.9 sliders and camera speak of the viewer's units, and `world_to_data` of the
    layer's. Before, where layers cannot share units, and of a layer that was just removed, there is
    nothing to convert.
    """
    ratios = np.ones(viewer.dims.ndim)
    units = getattr(viewer.dims, "units", None)
    if units is not None and min(len(units), viewer.dims.ndim) >= layer.ndim:
        both = zip(units[-layer.ndim :], layer.units, strict=True)
        ratios[-layer.ndim :] = [
            (1 * a).to_base_units().magnitude / (1 * b).to_base_units().magnitude for a, b in both
        ]
    return ratios


def _drawn(viewer: Any, layer: Any) -> np.ndarray:
    """Return first and last index of what is drawn, (2, ndim), in pixels of the finest level."""
    seen = on_canvas(viewer, layer)
    if seen is not None and (_unit_ratios(viewer, layer) != 1).any():
        return seen  # napari itself takes the one unit for the other
    drawn = np.asarray(layer.corner_pixels, dtype=float)
    if layer.multiscale:
        factor = np.asarray(layer.downsample_factors[layer.data_level])
        drawn = np.stack([drawn[0] * factor, (drawn[1] + 1) * factor - 1])
    if seen is None:
        return drawn
    # napari widens what it draws of multiscale layers to whole chunks, and takes the nearest pixel
    # of a layer that lies outside of the canvas.
    return np.stack([np.maximum(drawn[0], seen[0]), np.minimum(drawn[1], seen[1])])


def on_canvas(viewer: Any, layer: Any) -> np.ndarray | None:
    """Return what the canvas shows of a layer's plane, whether it is drawn by now or not.

    Returns
    -------
    np.ndarray, shape (2, ndim), or None
        First and last index along each axis, in pixels of the finest level, also outside of the
        layer. None in the 3-D view, and on napari before 0.9, which does not tell.
    """
    canvas = getattr(viewer, "canvas", None)
    if canvas is None or viewer.dims.ndisplay != 2:
        return None
    camera = viewer.scene.camera
    half = np.asarray(canvas.size, dtype=float) / camera.zoom / 2
    centre = np.asarray(camera.center[-2:])
    corners = []
    for signs in itertools.product((-1, 1), repeat=2):
        point = np.array(viewer.dims.point, dtype=float)
        point[list(viewer.dims.displayed)] = centre + np.array(signs) * half
        corners.append(_to_data(viewer, layer, point))
    return np.stack([np.floor(np.min(corners, axis=0)), np.ceil(np.max(corners, axis=0))])
