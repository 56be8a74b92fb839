"""Layers that are made finer where one looks: `upscale_layer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image as ImageLayer
from napari.layers import Labels as LabelsLayer
from qtpy.QtWidgets import QApplication

from napari_superres.plugin.cell_cache import keep_at_most
from napari_superres.plugin.layer_history import NOTE, history_metadata
from napari_superres.plugin.layer_tuples import is_far
from napari_superres.plugin.layers import layer_kwargs, layer_to_image, source_note
from napari_superres.plugin.preferences import Preferences
from napari_superres.plugin.progressive import ProgressiveLevel
from napari_superres.plugin.refresh import keep_fresh
from napari_superres.plugin.tile_queue import queue_for
from napari_superres.upscaling import plan_for, planned

if TYPE_CHECKING:
    from napari_superres.image import Image
    from napari_superres.plan import Plan


def upscale_layer(
    layer: Any, model: str | None = None, *, axes: str | None = None, **settings: Any
) -> Any:
    """Return a finer layer that lies exactly over its source. No model runs before it is looked at.

    The layer is multiscale: the finer image on top of the source's own levels, so that the model
    runs only where somebody zooms in past the source's pixels, and 3-D views show the source.
    ``upscale_layer(layer).data[0]`` is a dask array in a script; inside the viewer it is computed
    in the background, so that nothing waits, and its ``.image.data`` is the dask array.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels
        The source; labels are made finer by the model 'nearest' alone.
    model : str, optional
        As for `napari_superres.upscale`.
    axes : str, optional
        One letter a dimension of the data, for layers that do not name their axes.
    **settings
        As for `napari_superres.upscale`, from `scale` to `options`, without the selections.

    Returns
    -------
    napari.layers.Image or napari.layers.Labels
        For ``viewer.add_layer``. Place, colours, contrast limits and units are the source's.

    Raises
    ------
    InputError, AxesError
        If the layer cannot be made finer as it is.
    SettingError
        If a setting makes no sense for the model.
    WeightsError
        If the model's weights are not on this computer.
    """
    image = layer_to_image(layer, axes)
    return on_demand_layer(layer, image, plan_for(image, model, **settings))


def on_demand_layer(layer: Any, image: Image, plan: Plan) -> Any:
    """Return the layer of a plan that was made before.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels
        The source.
    image : Image
        The source as `layer_to_image` gave it.
    plan : Plan
        For that image.
    """
    finer = planned(image, plan)
    live = QApplication.instance() is not None
    if live:
        keep_at_most(round(1e9 * Preferences().get("compute", "kept_gb")))
    data = [_level(finer, image) if live else finer.data, *_coarse_levels(layer)]
    kwargs = layer_kwargs(layer, plan.scale, model=plan.spec.name, axes=image.axes)
    kwargs["metadata"] = {
        **kwargs["metadata"],
        **history_metadata(finer.history),
        NOTE: {
            **source_note(image, data[0], kwargs["name"], image.channels[0].name),
            "levels": "source",
        },
    }
    kind = ImageLayer if isinstance(layer, ImageLayer) else LabelsLayer
    result = kind(data, multiscale=True, cache=is_far(image), **kwargs)
    if isinstance(result, ImageLayer):
        result.contrast_limits_range = layer.contrast_limits_range
    if live:
        keep_fresh(result)
    return result


def _level(finer: Image, source: Image) -> ProgressiveLevel:
    assert finer.plan is not None
    return ProgressiveLevel(finer, source, queue_for(finer.plan.compute.device))


def _coarse_levels(layer: Any) -> list[Any]:
    levels = list(layer.data) if layer.multiscale else [layer.data]
    # Each layer has cells of its own, and redraws itself when they come.
    return [
        _level(level.image, level.source) if isinstance(level, ProgressiveLevel) else level
        for level in levels
    ]
