"""Put results into the viewer, exactly over their source, and never in place of another layer."""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Image as ImageLayer
from napari.layers import Labels as LabelsLayer

from napari_superres.plugin.compare import Pair
from napari_superres.plugin.layer_history import (
    NOTE,
    PREVIEW,
    channel_history,
    history_metadata,
    history_of,
)
from napari_superres.plugin.layers import layer_kwargs, source_note
from napari_superres.plugin.on_demand import on_demand_layer
from napari_superres.plugin.origins import Origin, remember
from napari_superres.selection import select

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_superres.image import Image
    from napari_superres.plan import Plan
    from napari_superres.plugin.steps import Pixels
    from napari_superres.plugin.view import Visible


class Preview(NamedTuple):
    """The layers of a preview, weakly held: the result, and plain interpolation beside it."""

    result: weakref.ref[Any]
    plain: weakref.ref[Any] | None
    x: int


_previews: weakref.WeakKeyDictionary[Any, Preview] = weakref.WeakKeyDictionary()
_made: weakref.WeakKeyDictionary[Any, list[weakref.ref[Any]]] = weakref.WeakKeyDictionary()
"""The results of each source, oldest first, whether the panel or a command has made them."""


class Results:
    """Makes layers of results, and knows which belong together.

    Each method returns a function that takes the result, shows it, and says so in one sentence.
    A result lies where its source is by then, also when that was moved or removed meanwhile.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer

    def previews(self, layers: Sequence[Any]) -> list[Pair]:
        """Return the previews of layers, each with plain interpolation at the same place."""
        found = []
        for layer in layers:
            preview = _previews.get(layer)
            result, plain = (
                (preview.result(), preview.plain and preview.plain()) if preview else (None, None)
            )
            if result in self._viewer.layers and plain in self._viewer.layers:
                found.append(Pair(plain, result, preview.x if preview else None))
        return found

    def pairs(self, layers: Sequence[Any]) -> list[Pair]:
        """Return the results of layers, each with its source."""
        found = [self._same_light(layer) for layer in layers if layer in self._viewer.layers]
        return [
            Pair(layer, results[-1], over=(*results[:-1], *_layers_of(_previews.get(layer))))
            for layer, *results in found
            if results
        ]

    def last(self, layers: Sequence[Any]) -> list[Any]:
        """Return the last results of layers, as far as they are still there."""
        return [pair.result for pair in self.pairs(layers)]

    def selected(self) -> list[Any]:
        """Return the selected layers that are results."""
        chosen = self._viewer.layers.selection
        return [x for x in self._viewer.layers if x in chosen and history_of(x.metadata)]

    def preview(
        self, layer: Any, image: Image, part: Visible, beside: list[Any]
    ) -> Callable[[Pixels], str]:
        """Return what shows a preview, in place of an earlier one of the same layer.

        `beside` are the previews that are shown together; each is added to it when it comes.
        """
        return partial(self._preview, Source(layer, image), part, beside)

    def on_demand(self, layer: Any, image: Image) -> Callable[[Plan], str]:
        """Return what adds an on-demand layer, given its plan."""
        return partial(self._on_demand, Source(layer, image))

    def in_memory(self, layer: Any, image: Image) -> Callable[[Pixels], str]:
        """Return what adds a layer of pixels in memory."""
        return partial(self._in_memory, Source(layer, image))

    def from_file(
        self, layers: Sequence[Any], images: Sequence[Image]
    ) -> Callable[[tuple[Image, Plan]], str]:
        """Return what adds the layers of a file, given the image read from it and its plan.

        Several layers are the channels of that image, in their order.
        """
        sources = [Source(*both) for both in zip(layers, images, strict=True)]
        return partial(self._from_file, sources)

    def _preview(self, source: Source, part: Visible, beside: list[Any], result: Pixels) -> str:
        if source.layer not in self._viewer.layers:
            return f"'{source.layer.name}' was removed, so its preview is not shown."
        plan = result.image.plan
        assert plan is not None
        kwargs = source.kwargs(plan.scale, f"{plan.spec.name}, preview", part.start)
        kwargs["metadata"] = {
            **kwargs["metadata"],
            **history_metadata(result.image.history),
            PREVIEW: True,
        }
        finer = _layer_of(source.layer, result.pixels, kwargs)
        if finer.blending == "additive" and not any(_same_place(finer, x) for x in beside):
            # The lowest covers all light below, and the other channels add theirs to it. Sources
            # stay visible, for other planes and around the preview.
            finer.blending = kwargs["blending"] = "translucent_no_depth"
        beside.append(finer)
        self._drop_preview(source.layer)
        selected = set(self._viewer.layers.selection)
        plain = None
        if result.plain is not None:
            name = f"{source.layer.name} [x{plan.scale} {result.plain_model}, preview]"
            hidden = {**kwargs, "name": name, "visible": False, "metadata": {PREVIEW: True}}
            plain = self._over(source.layer, _layer_of(source.layer, result.plain, hidden))
        shown = self._over(source.layer, finer)
        # The user is at work on the source, and goes on there.
        self._viewer.layers.selection = selected
        x = source.image.axes.index("x")
        remember(shown, Origin(source.image, plan, part.start))
        _previews[source.layer] = Preview(
            weakref.ref(shown), None if plain is None else weakref.ref(plain), x
        )
        y, x = (part.stop[i] - part.start[i] for i in map(source.image.axes.index, "yx"))
        middle = "" if part.whole else ", the middle of the view"
        return f"Preview of {y} x {x} source pixels{middle}, with {plan.spec.name}.{source.changed}"

    def _on_demand(self, source: Source, plan: Plan) -> str:
        if source.changed:
            return f"'{source.layer.name}' was changed meanwhile. Press 'Run' again."
        finer = self._place(source.layer, on_demand_layer(source.layer, source.image, plan))
        return f"Added '{finer.name}'. Zoom in past the source's pixels to see it finer."

    def _in_memory(self, source: Source, result: Pixels) -> str:
        plan = result.image.plan
        assert plan is not None
        kwargs = self._kwargs(source, plan, result.image, result.pixels)
        finer = self._add(source.layer, result.pixels, kwargs)
        remember(finer, Origin(source.image, plan))
        return f"Added '{finer.name}'.{source.changed}"

    def _from_file(self, sources: Sequence[Source], written: tuple[Image, Plan]) -> str:
        result, plan = written
        names = []
        for i, source in enumerate(sources):
            own = result
            if len(sources) > 1:
                own = select(result, channels=[i])
                own = replace(own, history=channel_history(result.history, i))
            at = result.axes.find("c") if len(sources) > 1 else -1
            whole = [result.data, *result.levels]
            levels = [_in_order(data, result.axes, at, i, source.image.axes) for data in whole]
            data = levels if len(levels) > 1 else levels[0]
            kwargs = self._kwargs(source, plan, own, levels[0])
            finer = self._add(source.layer, data, kwargs)
            # The plan of several channels is not that of one.
            remember(finer, Origin(source.image, plan if len(sources) == 1 else None))
            names.append(finer.name)
        added = " and ".join(f"'{name}'" for name in names)
        return f"Wrote '{result.source['path']}' and added {added}.{sources[0].changed}"

    def _kwargs(self, source: Source, plan: Plan, result: Image, pixels: Any) -> dict[str, Any]:
        kwargs = source.kwargs(plan.scale, plan.spec.name)
        kwargs["metadata"] = {
            **kwargs["metadata"],
            **history_metadata(result.history),
            NOTE: source_note(result, pixels, kwargs["name"], source.image.channels[0].name),
        }
        return kwargs

    def _add(self, source: Any, data: Any, kwargs: dict[str, Any]) -> Any:
        return self._place(source, _layer_of(source, data, kwargs))

    def _place(self, source: Any, finer: Any) -> Any:
        self._over(source, finer)
        # Light on top of the same light would look twice as bright.
        below = [layer for layer in self._same_light(source) if layer.visible]
        _made.setdefault(source, []).append(weakref.ref(finer))
        if finer.visible and finer.blending == "additive" and below:
            for layer in below:
                layer.visible = False
            self._show_after(finer, source)
        return finer

    def _over(self, source: Any, finer: Any) -> Any:
        for layer in _layers_of(_previews.get(source)):
            layer.visible = False
        self._viewer.add_layer(finer)
        return finer

    def _same_light(self, source: Any) -> list[Any]:
        """Return a source and its results, as far as they are in the viewer, oldest first."""
        layers = [source, *(reference() for reference in _made.get(source, ()))]
        return [layer for layer in layers if layer in self._viewer.layers]

    def _show_after(self, finer: Any, source: Any) -> None:
        """Show a source, or its last result, when a result is removed and none of them is seen."""
        removed = self._viewer.layers.events.removed
        cover, hidden = weakref.ref(finer), weakref.ref(source)

        def show_again(event: Any) -> None:
            if event.value is not cover():
                return
            removed.disconnect(show_again)
            below = hidden()
            left = [] if below is None else self._same_light(below)
            if left and not any(layer.visible for layer in left):
                left[-1].visible = True

        removed.connect(show_again)

    def _drop_preview(self, layer: Any) -> None:
        for old in _layers_of(_previews.pop(layer, None)):
            if old in self._viewer.layers:
                self._viewer.layers.remove(old)


class Source:
    """A layer as it was when work on it began, and where it is by now.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels
    image : Image
        Its pixels, as `layer_to_image` gave them.
    """

    def __init__(self, layer: Any, image: Image) -> None:
        self.layer = layer
        self.image = image
        self._pixels = _first_level(layer)
        kwargs = layer_kwargs(layer, 1, axes=image.axes)
        self._then = type(layer)(_nothing_like(image), **{**kwargs, "visible": False})

    @property
    def place(self) -> Any:
        """The layer, or what it was if it has other axes by now."""
        return self.layer if self.layer.ndim == self._then.ndim else self._then

    @property
    def changed(self) -> str:
        """A sentence for the user if the layer's pixels were replaced meanwhile, else nothing."""
        if _first_level(self.layer) is self._pixels:
            return ""
        return f" '{self.layer.name}' was changed meanwhile; this is of its pixels before."

    def kwargs(self, scale: int, model: str, start: Sequence[int] | None = None) -> dict[str, Any]:
        """Return `layer_kwargs` for a result."""
        kwargs = layer_kwargs(self.place, scale, model=model, axes=self.image.axes, start=start)
        return {**kwargs, "name": f"{self.layer.name} [x{scale} {model}]"}


def _layer_of(source: Any, data: Any, kwargs: dict[str, Any]) -> Any:
    kind = ImageLayer if isinstance(source, ImageLayer) else LabelsLayer
    finer = kind(data, multiscale=isinstance(data, list), **kwargs)
    if kind is ImageLayer:
        finer.contrast_limits_range = source.contrast_limits_range
    return finer


def _layers_of(preview: Preview | None) -> list[Any]:
    """Return the layers of a preview that still exist."""
    references = (preview.result, preview.plain) if preview else ()
    return [layer for x in references if x is not None and (layer := x()) is not None]


def _first_level(layer: Any) -> Any:
    return layer.data[0] if layer.multiscale else layer.data


def _nothing_like(image: Image) -> np.ndarray:
    samples = image.size("s") if image.rgb else 1
    shape = tuple(samples if a == "s" else 1 for a in image.axes)
    return np.zeros(shape, image.dtype)


def _same_place(layer: Any, other: Any) -> bool:
    return np.array_equal(layer.extent.world, other.extent.world)


def _in_order(data: Any, axes: str, channel_axis: int, channel: int, wanted: str) -> Any:
    """Return a stored array, or a channel of it, with its axes in the order of the layer's."""
    if channel_axis >= 0:
        data = data[(slice(None),) * channel_axis + (channel,)]
        axes = axes[:channel_axis] + axes[channel_axis + 1 :]
    return data.transpose([axes.index(a) for a in wanted])
