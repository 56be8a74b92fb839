"""Put results into the viewer, exactly over their source, and never in place of another layer."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image as ImageLayer
from napari.layers import Labels as LabelsLayer

from napari_superres.plugin.layer_history import history_metadata
from napari_superres.plugin.layers import layer_kwargs
from napari_superres.plugin.on_demand import on_demand_layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_superres.image import Image
    from napari_superres.plan import Plan
    from napari_superres.plugin.steps import Pixels
    from napari_superres.plugin.view import Visible

_PLACE = ("scale", "translate", "rotate", "shear", "affine")


class Results:
    """Makes layers of results.

    Each method returns a function that takes the result, shows it, and says so in one sentence.
    A result lies where its source is by then, also when that was moved or removed meanwhile.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._previews: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def preview(self, layer: Any, image: Image, part: Visible) -> Callable[[Pixels], str]:
        """Return what shows a preview, in place of an earlier one of the same layer."""
        return partial(self._preview, layer, image, part)

    def on_demand(self, layer: Any, image: Image) -> Callable[[Plan], str]:
        """Return what adds an on-demand layer, given its plan."""
        return partial(self._on_demand, layer, image)

    def in_memory(self, layer: Any, image: Image) -> Callable[[Pixels], str]:
        """Return what adds a layer of pixels in memory."""
        return partial(self._in_memory, layer, image)

    def from_file(self, layer: Any, image: Image) -> Callable[[Image], str]:
        """Return what adds a layer of a file, given the image that was read from it."""
        return partial(self._from_file, layer, image)

    def _preview(self, layer: Any, image: Image, part: Visible, result: Pixels) -> str:
        if layer not in self._viewer.layers:
            return f"'{layer.name}' was removed, so its preview is not shown."
        plan = result.image.plan
        assert plan is not None
        kwargs = layer_kwargs(
            layer,
            plan.scale,
            model=f"{plan.spec.name}, preview",
            axes=image.axes,
            start=part.start,
        )
        kwargs["metadata"] = {**kwargs["metadata"], **history_metadata(result.image.history)}
        shown = self._previews.get(layer, lambda: None)()
        if shown is not None and shown in self._viewer.layers:
            shown.data = result.pixels
            for key in (*_PLACE, "name", "metadata"):
                setattr(shown, key, kwargs[key])
        else:
            selected = set(self._viewer.layers.selection)
            shown = self._add(layer, result.pixels, kwargs)
            # The user is at work on the source, and goes on there.
            self._viewer.layers.selection = selected
            self._previews[layer] = weakref.ref(shown)
        y, x = (part.stop[i] - part.start[i] for i in map(image.axes.index, "yx"))
        middle = "" if part.whole else ", the middle of the view"
        return f"Preview of {y} x {x} source pixels{middle}, with {plan.spec.name}."

    def _on_demand(self, layer: Any, image: Image, plan: Plan) -> str:
        finer = self._place(layer, on_demand_layer(layer, image, plan))
        return f"Added '{finer.name}'. Zoom in past the source's pixels to see it finer."

    def _in_memory(self, layer: Any, image: Image, result: Pixels) -> str:
        plan = result.image.plan
        assert plan is not None
        kwargs = self._kwargs(layer, image, plan.scale, plan.spec.name, result.image)
        return f"Added '{self._add(layer, result.pixels, kwargs).name}'."

    def _from_file(self, layer: Any, image: Image, result: Image) -> str:
        last = result.history[-1]
        scale, model = int(last["plan"]["scale"]), str(last["model"])
        kwargs = self._kwargs(layer, image, scale, model, result)
        levels = [part.transpose(_order(result, image)) for part in (result.data, *result.levels)]
        data = levels if len(levels) > 1 else levels[0]
        shown = self._add(layer, data, kwargs)
        return f"Wrote '{result.source['path']}' and added '{shown.name}'."

    def _kwargs(
        self, layer: Any, image: Image, scale: int, model: str, result: Image
    ) -> dict[str, Any]:
        kwargs = layer_kwargs(layer, scale, model=model, axes=image.axes)
        notes = {"source": dict(result.source), "metadata": dict(result.metadata)}
        kwargs["metadata"] = {
            **kwargs["metadata"],
            **history_metadata(result.history),
            "superres_source": notes,
        }
        return kwargs

    def _add(self, source: Any, data: Any, kwargs: dict[str, Any]) -> Any:
        kind = ImageLayer if isinstance(source, ImageLayer) else LabelsLayer
        finer = kind(data, multiscale=isinstance(data, list), **kwargs)
        if kind is ImageLayer:
            finer.contrast_limits_range = source.contrast_limits_range
        return self._place(source, finer)

    def _place(self, source: Any, finer: Any) -> Any:
        preview = self._previews.get(source, lambda: None)()
        if preview is not None:
            preview.visible = False
        self._viewer.add_layer(finer)
        # Light on top of the same light would look twice as bright.
        if finer.blending == "additive" and source in self._viewer.layers and source.visible:
            _hide_as_long_as(self._viewer.layers, source, finer)
        return finer


def _hide_as_long_as(layers: Any, source: Any, finer: Any) -> None:
    """Hide a source until the result that lies over it is removed."""
    source.visible = False
    hidden, cover = weakref.ref(source), weakref.ref(finer)

    def show_again(event: Any) -> None:
        if event.value is not cover():
            return
        layers.events.removed.disconnect(show_again)
        layer = hidden()
        if layer is not None:
            layer.visible = True

    layers.events.removed.connect(show_again)


def _order(result: Image, image: Image) -> list[int]:
    """Return the axes of a stored result in the order of the layer's."""
    return [result.axes.index(a) for a in image.axes]
