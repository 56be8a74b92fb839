"""Which axis of a layer is which: as it says itself, or as its user says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from napari_superres.errors import AxesError
from napari_superres.image import check_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

_LETTERS = {
    "t": ("t", "time", "frame", "frames", "timepoint"),
    "c": ("c", "ch", "channel", "channels"),
    "z": ("z", "depth", "plane", "planes"),
    "y": ("y", "row", "rows", "height"),
    "x": ("x", "column", "columns", "width"),
}
_LETTER_OF = {word: letter for letter, words in _LETTERS.items() for word in words}

# What napari calls an axis that nobody named: "-2" since 0.6, "axis -2" before.
_UNNAMED = re.compile(r"^(axis )?-?\d+$")


def layer_axes(layer: Any) -> str:
    """Return the axes of a layer's pixels, as far as the layer names them.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels

    Returns
    -------
    str
        One letter a dimension of the data, ``s`` last for RGB pictures. Words such as "time" or
        "channel" count as their letter.

    Raises
    ------
    AxesError
        If an axis has no name, or one that says nothing, and the layer has more than two.
    """
    labels = [str(label).strip().lower() for label in layer.axis_labels]
    samples = "s" if getattr(layer, "rgb", False) else ""
    letters = [_LETTER_OF.get(label, label) for label in labels]
    if all(len(a) == 1 and a.isalpha() for a in letters) and {"y", "x"} <= set(letters):
        return "".join(letters) + samples
    if layer.ndim == 2 and all(_UNNAMED.match(label) for label in labels):
        return "yx" + samples
    listing = " x ".join(str(n) for n in _shape(layer))
    raise AxesError(
        f"Which axis is which in the layer '{layer.name}' ({listing})? Its axes are called "
        f"{', '.join(map(str, layer.axis_labels))}.",
        f"Name them, for example '{'tczyx'[-layer.ndim :]}' (t time, c channel, z depth).",
    )


def known_axes(layer: Any) -> str:
    """Return the axes of a layer as `layer_axes` does; empty where nobody has named them."""
    try:
        return layer_axes(layer)
    except AxesError:
        return ""


def named_with(layer: Any, layers: Sequence[Any]) -> list[Any]:
    """Return those layers whose axes are named when one is: with the same axes, or none known."""
    axes = known_axes(layer)
    return [x for x in layers if x.ndim == layer.ndim and known_axes(x) in (axes, "")]


def name_axes(layer: Any, axes: str) -> None:
    """Name the axes of a layer, so that they need not be asked for again.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels
    axes : str
        One letter an axis, without the ``s`` of RGB pictures.

    Raises
    ------
    AxesError
        If the letters do not describe the layer.
    """
    samples = "s" if getattr(layer, "rgb", False) else ""
    check_axes(axes + samples, _shape(layer), layer.name)
    layer.axis_labels = tuple(axes)


def _shape(layer: Any) -> tuple[int, ...]:
    return tuple(layer.data[0].shape if layer.multiscale else layer.data.shape)
