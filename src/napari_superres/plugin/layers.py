"""A napari layer as an `Image`, and where a finer image of it lies in the viewer."""

from __future__ import annotations

import re
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.layers import Labels as LabelsLayer
from napari.utils.transforms import Affine

from napari_superres.arrays import as_image
from napari_superres.errors import AxesError, InputError
from napari_superres.image import Channel, Image, check_axes
from napari_superres.plugin.layer_axes import layer_axes
from napari_superres.plugin.layer_history import CUT, NOTE, history_of
from napari_superres.plugin.progressive import ProgressiveLevel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_first_seen: weakref.WeakKeyDictionary[Any, Callable[[], Any]] = weakref.WeakKeyDictionary()
"""The pixels that a layer had when it was seen first, held weakly."""

# What napari appends to the name of a layer where there is one of that name.
_NUMBER = re.compile(r" \[\d+\]$")

_IMAGE_LOOK = (
    "attenuation",
    "blending",
    "colormap",
    "contrast_limits",
    "depiction",
    "gamma",
    "interpolation2d",
    "interpolation3d",
    "opacity",
    "projection_mode",
    "rendering",
    "rgb",
)
_LABELS_LOOK = ("blending", "colormap", "opacity", "projection_mode", "rendering")


def layer_to_image(layer: Any, axes: str | None = None) -> Image:
    """Return the pixels of a layer as an `Image`, lazily.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels
        Of any reader. Of a multiscale layer the finest level is taken.
    axes : str, optional
        One letter a dimension of the data; None for what the layer says.

    Returns
    -------
    Image
        With the layer's pixel size, units and translation. Flips, which are negative scales of the
        layer, rotation, shear and affine are left to `layer_kwargs`.

    Raises
    ------
    InputError
        If the layer has no pixels, or a comparison has cut some off.
    AxesError
        If the axes are not known.
    """
    check_has_pixels(layer)
    if CUT in layer.metadata:  # also of a layer that napari hands to a writer
        raise InputError(
            f"Part of '{layer.name}' is cut off by a comparison.", "End the comparison first."
        )
    levels = list(layer.data) if layer.multiscale else [layer.data]
    axes = axes or layer_axes(layer)
    check_axes(axes, levels[0].shape, layer.name)
    there = _placement(layer, axes)
    note = layer.metadata.get(NOTE, {})
    if isinstance(levels[0], ProgressiveLevel):
        image = levels[0].image
        return replace(
            image.transposed(axes), **there, name=layer.name, channels=_channels(layer, image)
        )
    image = Image(
        as_image(levels[0], axes).data,
        axes,
        name=layer.name,
        is_labels=isinstance(layer, LabelsLayer),
        # The first level below an on-demand level is its source: coarser, but another image.
        levels=(
            ()
            if note.get("levels") == "source"
            else tuple(as_image(x, axes).data for x in levels[1:])
        ),
        source=source_of(layer) or _file(layer, axes),
        metadata=note.get("metadata", {}),
        history=history_of(layer.metadata),
        **there,
    )
    return replace(image, channels=_channels(layer, image))


def source_note(image: Image, pixels: Any, title: str, channel: str) -> dict[str, Any]:
    """Return what a layer's metadata says under `NOTE`, of where its pixels come from.

    Parameters
    ----------
    image : Image
        With the source and what else its file says.
    pixels : array
        The layer's finest level.
    title : str
        The layer's name.
    channel : str
        That of its channel.
    """
    return {
        "source": dict(image.source),
        "metadata": dict(image.metadata),
        "pixels": getattr(pixels, "name", None),
        "title": title,
        "channel": channel,
    }


def source_of(layer: Any) -> dict[str, Any]:
    """Return where a layer's pixels come from; empty if that was not noted, or of other pixels.

    napari hands metadata on to projections of a layer, and users give a layer other pixels.
    """
    note = layer.metadata.get(NOTE, {})
    # Dask names an array after what it is made of.
    same = note and note["pixels"] == getattr(_finest(layer), "name", None)
    return note["source"] if same else {}


def note_pixels(layer: Any) -> None:
    """Note which pixels a layer has when it is first seen: a file holds these and no others."""
    if layer in _first_seen:
        return
    pixels = _finest(layer)
    try:
        _first_seen[layer] = weakref.ref(pixels)
    except TypeError:  # an array of a kind that can only be held
        _first_seen[layer] = lambda: pixels


def check_has_pixels(layer: Any) -> None:
    """Refuse layers that are not images, kindly.

    Raises
    ------
    InputError
        If the layer holds points, shapes, surfaces, tracks or vectors.
    """
    if not isinstance(layer, ImageLayer | LabelsLayer):
        kind = type(layer).__name__
        raise InputError(
            f"The layer '{layer.name}' is a {kind} layer, which has no pixels to make finer.",
            "Choose an image layer.",
        )


def layer_kwargs(
    layer: Any,
    scale: float,
    *,
    model: str | None = None,
    axes: str | None = None,
    start: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Return the settings of a layer that is `scale` times finer and lies exactly over `layer`.

    For ``napari.layers.Image(data, **layer_kwargs(layer, scale))``, or ``viewer.add_image``. The
    name is made unique by the viewer. Contrast limits are the source's, so both look alike.

    Finer pixels have their centres elsewhere, so the first one lies (1 - scale) / (2 scale) source
    pixels before the source's first, along y and x *of the data*: through the layer's rotation,
    shear and pixel size. The affine transform comes after that, and is copied.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels
        The source.
    scale : float
        Scale factor along y and x; below 1 for an image of coarser pixels.
    model : str, optional
        Named in the new layer's name.
    axes : str, optional
        The layer's axes, when they are not the last two that are made finer.
    start : sequence of int, optional
        Where in the source the finer image begins, one index an axis of the layer; for a crop.

    Returns
    -------
    dict
        ``name, scale, translate, rotate, shear, affine, units, axis_labels, metadata`` and how the
        layer looks (``colormap, contrast_limits, gamma, blending, opacity, interpolation2d, rgb``
        and the like).
    """
    check_has_pixels(layer)
    fine = _fine_axes(layer, axes)
    factor = np.where(fine, float(scale), 1.0)
    shift = (1 / factor - 1) / 2 + (0 if start is None else np.asarray(start, dtype=float))
    kwargs = {
        "name": f"{layer.name} [x{scale:g}{' ' + model if model else ''}]",
        "scale": np.asarray(layer.scale) / factor,
        "translate": np.asarray(layer.translate) + data_steps(layer) @ shift,
        "rotate": np.asarray(layer.rotate),
        "shear": np.asarray(layer.shear),
        "affine": np.asarray(layer.affine.affine_matrix),
        "units": layer.units,
        "axis_labels": layer.axis_labels,
        "metadata": dict(layer.metadata),
    }
    look = _IMAGE_LOOK if isinstance(layer, ImageLayer) else _LABELS_LOOK
    return {**kwargs, **{key: getattr(layer, key) for key in look if hasattr(layer, key)}}


def data_steps(layer: Any) -> np.ndarray:
    """Return how far one pixel along each axis of the data moves a layer's `translate`.

    Returns
    -------
    np.ndarray, shape (ndim, ndim), float64
        Column i is the step along axis i: rotation times shear times scale.
    """
    return np.asarray(
        Affine(
            scale=layer.scale, rotate=layer.rotate, shear=layer.shear, ndim=layer.ndim
        ).linear_matrix
    )


def is_turned(layer: Any) -> bool:
    """Return whether a layer is placed by more than the pixel size and translation of files."""
    straight = np.allclose(layer.rotate, np.eye(layer.ndim)) and np.allclose(layer.shear, 0)
    straight = straight and min(layer.scale) > 0
    return not (straight and np.array_equal(layer.affine.affine_matrix, np.eye(layer.ndim + 1)))


def _fine_axes(layer: Any, axes: str | None) -> list[bool]:
    if axes is None:
        try:
            axes = layer_axes(layer)
        except AxesError:
            axes = "." * (layer.ndim - 2) + "yx"
    return [a in "yx" for a in axes if a != "s"]


def _placement(layer: Any, axes: str) -> dict[str, Any]:
    """Return pixel size, units and translation, for every axis of the data."""
    extra = "s" in axes
    units = [None if str(u) in ("pixel", "dimensionless") else str(u) for u in layer.units]
    return {
        "pixel_size": (*map(float, np.abs(layer.scale)), *(1.0,) * extra),
        "units": (*units, *(None,) * extra),
        "translation": (*map(float, layer.translate), *(0.0,) * extra),
    }


def _channels(layer: Any, image: Image) -> tuple[Channel, ...]:
    if "c" in image.axes:
        return image.channels
    if not isinstance(layer, ImageLayer) or layer.rgb:
        return (Channel(layer.name),)
    low, high = layer.contrast_limits
    note = layer.metadata.get(NOTE, {})
    # A layer may be called otherwise than its channel; who renames the layer means the channel.
    kept = note.get("title") == _NUMBER.sub("", layer.name)
    name = note["channel"] if kept else layer.name
    return (Channel(name, _color(layer), (float(low), float(high))),)


def _color(layer: Any) -> str | None:
    """Return the colour of the brightest pixels, if the darkest are black."""
    colors = np.asarray(layer.colormap.colors)
    if colors[0, :3].any():
        return None
    return "".join(f"{round(float(v) * 255):02X}" for v in colors[-1, :3])


def _file(layer: Any, axes: str) -> dict[str, Any]:
    """Return the file that another reader opened, unless the layer was given other pixels."""
    path = getattr(layer.source, "path", None)
    if not path or NOTE in layer.metadata:
        return {}
    note_pixels(layer)
    same = _first_seen[layer]() is _finest(layer)
    return {"path": str(path), "axes": axes} if same else {}


def _finest(layer: Any) -> Any:
    return layer.data[0] if layer.multiscale else layer.data
