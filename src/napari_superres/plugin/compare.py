"""See a result beside what it is compared with: swipe, blink, side by side."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_superres.errors import InputError
from napari_superres.plugin.layer_history import CUT
from napari_superres.plugin.layers import data_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

OFF, SWIPE, BLINK, SIDE_BY_SIDE = "off", "swipe", "blink", "side by side"

BLINK_SECONDS = 0.8
"""How long each of the two is shown: long enough to look, and no flicker (WCAG 2.3.1)."""


class Pair(NamedTuple):
    """Two layers of the same place.

    Parameters
    ----------
    reference, result : napari.layers.Layer
    x : int or None
        The axis of both that runs to the right, where both are previews of the same size, so that
        one can be drawn to the left of a line and the other to the right.
    over : tuple of napari.layers.Layer
        Other results and previews of the same source, which may lie over both.
    """

    reference: Any
    result: Any
    x: int | None = None
    over: tuple[Any, ...] = ()


class Comparison(QObject):
    """Shows pairs of layers in one of the modes, and afterwards everything as it was.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    stopped = Signal()
    """A layer of a pair was removed."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.mode = OFF
        self.position = 0.5
        self._pairs: list[Pair] = []
        self._visible: list[tuple[weakref.ref[Any], bool]] = []
        self._whole: list[tuple[Any, Any, np.ndarray]] = []
        self._named: list[tuple[Any, bool]] = []
        self._grid: dict[str, Any] = {}
        self._timer = QTimer(self)
        self._timer.setInterval(round(1000 * BLINK_SECONDS))
        self._timer.timeout.connect(self._blink)
        viewer.layers.events.removed.connect(self._removed)

    def start(self, mode: str, pairs: Sequence[Pair]) -> None:
        """Show pairs in a mode, in place of what was compared before.

        Raises
        ------
        InputError
            If there is nothing to compare, or these layers cannot be compared like that.
        """
        self.stop()
        if mode == OFF:
            return
        pairs = [pair for pair in pairs if all(x in self._viewer.layers for x in pair[:2])]
        if not pairs:
            raise InputError("There is nothing to compare yet.", "Press 'Preview view' first.")
        if mode == SWIPE and any(pair.x is None for pair in pairs):
            raise InputError("Only previews can be swiped.", "Press 'Preview view' first.")
        self.mode, self._pairs = mode, list(pairs)
        self._visible = [(weakref.ref(layer), layer.visible) for layer in self._viewer.layers]
        if mode == SWIPE:
            self._begin_swipe()
        elif mode == BLINK:
            for layer in (other for pair in pairs for other in pair.over):
                layer.visible = False
            self._show_only(result=True)
            self._timer.start()
        else:
            self._side_by_side()

    def stop(self) -> None:
        """Show everything as it was before."""
        self._timer.stop()
        if self.mode == OFF:
            return
        self.mode = OFF
        for layer, data, translate in self._whole:
            layer.data = data
            layer.translate = translate
            layer.metadata.pop(CUT, None)
        self._whole = []
        for key, value in self._grid.items():
            setattr(grid_of(self._viewer), key, value)
        self._grid = {}
        for layer, was in self._named:
            layer.name_overlay.visible = was
        self._named = []
        for reference, was in self._visible:
            layer = reference()
            if layer is not None and layer in self._viewer.layers:
                layer.visible = was
        self._visible, self._pairs = [], []

    def move(self, position: float) -> None:
        """Put the line between the two at a share of the width, 0 for the result alone."""
        self.position = position
        if self.mode == SWIPE:
            self._swipe()

    def _begin_swipe(self) -> None:
        self._whole = [
            (layer, layer.data, np.array(layer.translate))
            for pair in self._pairs
            for layer in pair[:2]
        ]
        for layer, _, _ in self._whole:
            layer.metadata[CUT] = True
        self._swipe()

    def _swipe(self) -> None:
        whole = {id(layer): (data, translate) for layer, data, translate in self._whole}
        for reference, result, x, _ in self._pairs:
            assert x is not None
            data, translate = whole[id(result)]
            width = data.shape[x]
            at = round(self.position * width)
            if at < width:
                result.data = data[(slice(None),) * x + (slice(at, None),)]
                result.translate = translate + data_steps(result)[:, x] * at
            if at > 0:
                plain, _ = whole[id(reference)]
                reference.data = plain[(slice(None),) * x + (slice(0, at),)]
            reference.visible, result.visible = at > 0, at < width

    def _blink(self) -> None:
        self._show_only(result=not self._pairs[0].result.visible)

    def _show_only(self, *, result: bool) -> None:
        for pair in self._pairs:
            shown, hidden = (pair.result, pair.reference) if result else pair[:2]
            shown.visible = True  # first, or the canvas is empty for a moment
            hidden.visible = False

    def _side_by_side(self) -> None:
        compared = [layer for pair in self._pairs for layer in pair[:2]]
        for layer in self._viewer.layers:
            layer.visible = any(layer is other for other in compared)
            if hasattr(layer, "name_overlay"):  # napari 0.9
                self._named.append((layer, layer.name_overlay.visible))
                layer.name_overlay.visible = True
        grid = grid_of(self._viewer)
        settings = {"shape": (len(self._pairs), 2), "stride": 1, "enabled": True}
        self._grid = {key: getattr(grid, key) for key in settings}
        for key, value in settings.items():
            setattr(grid, key, value)
        QTimer.singleShot(100, self._nudge)

    def _nudge(self) -> None:
        """Let the camera look at the views again, whose size napari learns when it draws them."""
        if self.mode == SIDE_BY_SIDE:
            camera = getattr(self._viewer, "scene", self._viewer).camera
            zoom = camera.zoom
            camera.zoom = zoom * 1.001
            camera.zoom = zoom

    def _removed(self, event: Any) -> None:
        if any(event.value is layer for pair in self._pairs for layer in pair[:2]):
            self.stop()
            self.stopped.emit()


def grid_of(viewer: Any) -> Any:
    """Return the viewer's grid, which moved in napari 0.9."""
    canvas = getattr(viewer, "canvas", None)
    return canvas.grid if canvas is not None else viewer.grid
