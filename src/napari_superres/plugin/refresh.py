"""Show the cells of on-demand layers as they come: between background threads and Qt."""

from __future__ import annotations

import time
import weakref
from typing import Any

from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QApplication

from napari_superres.errors import SuperresError
from napari_superres.plugin.progressive import ProgressiveLevel
from napari_superres.plugin.view import on_canvas

LOOK = 50
"""Milliseconds after a move of the camera before what it shows is computed first."""

PAUSE = 0.1
"""Seconds between two refreshes, at least; cells that come faster are shown together."""


def viewer_of(layer: Any) -> Any:
    """Return the viewer that shows a layer, or None; napari has no other way to ask."""
    for callback in layer.events.reload.callbacks:  # viewers listen to it, and nobody else
        if isinstance(callback, tuple):
            return callback[0]()
    return None


def _came(event: Any) -> None:
    keep_fresh(event.value)  # a duplicate, which napari has made


def keep_fresh(layer: Any) -> None:
    """Redraw a layer as its cells come, if it has any and is not redrawn already."""
    levels = layer.data if getattr(layer, "multiscale", False) else ()
    if any(isinstance(x, ProgressiveLevel) and x.refresher is None for x in levels):
        Refresher(layer)  # held by the levels


class Refresher(QObject):
    """Redraws a layer when cells of it are ready, and tells levels that nobody looks at them.

    Parameters
    ----------
    layer : napari.layers.Layer
        With at least one `ProgressiveLevel`. Held weakly.
    """

    ready = Signal()
    broken = Signal(object)

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self._layer = weakref.ref(layer)
        self._levels = {
            i: level for i, level in enumerate(layer.data) if isinstance(level, ProgressiveLevel)
        }
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._refresh)
        self._next = 0.0
        self._said = ""
        self.ready.connect(self._soon, Qt.ConnectionType.QueuedConnection)
        self.broken.connect(self._say, Qt.ConnectionType.QueuedConnection)
        self.moveToThread(QApplication.instance().thread())
        for level in self._levels.values():
            level.changed = self.ready.emit
            level.failed = self.broken.emit
            level.refresher = self
        self._viewer: weakref.ref[Any] | None = None
        self._moved = QTimer(self)
        self._moved.setSingleShot(True)
        self._moved.setInterval(LOOK)
        self._moved.timeout.connect(self._look)
        layer.events.set_data.connect(self._forget_hidden)
        layer.events.set_data.connect(self._follow)
        layer.events.visible.connect(self._forget_hidden)

    def _soon(self) -> None:
        if not self._timer.isActive():
            self._timer.start(max(0, int(1000 * (self._next - time.monotonic()))))

    def _refresh(self) -> None:
        layer = self._layer()
        if layer is None or viewer_of(layer) is None:
            self._forget()
            return
        start = time.monotonic()
        layer.refresh(extent=False, thumbnail=False, highlight=False)
        took = time.monotonic() - start
        # A refresh uploads the whole view: at most a quarter of the time goes into that.
        self._next = start + max(PAUSE, 4 * took)

    def _forget(self) -> None:
        for level in self._levels.values():
            level.forget()

    def _forget_hidden(self) -> None:
        layer = self._layer()
        if layer is None:
            return
        for i, level in self._levels.items():
            if i != layer.data_level or not layer.visible:
                level.forget()

    def _follow(self) -> None:
        """Follow the camera of the viewer that shows the layer: it may zoom in without asking."""
        layer = self._layer()
        viewer = None if layer is None else viewer_of(layer)
        if viewer is None or (self._viewer is not None and self._viewer() is viewer):
            return
        self._viewer = weakref.ref(viewer)
        camera = getattr(viewer, "scene", viewer).camera
        for event in (camera.events.zoom, camera.events.center):
            event.connect(self._camera_moved)
        viewer.layers.events.removed.connect(self._left)
        viewer.layers.events.inserted.connect(_came)
        self._moved.start()

    def _left(self, event: Any) -> None:
        """Begin no further tile of a layer that was removed, or whose viewer was closed."""
        if event.value is self._layer():
            self._forget()

    def _camera_moved(self) -> None:
        if not self._moved.isActive():
            self._moved.start()

    def _look(self) -> None:
        layer = self._layer()
        viewer = self._viewer() if self._viewer is not None else None
        if layer is None or viewer is None or layer.data_level not in self._levels:
            return
        box = on_canvas(viewer, layer)
        if box is not None:
            first, last = box / layer.downsample_factors[layer.data_level]
            self._levels[layer.data_level].look(first, last)

    def _say(self, error: Exception) -> None:
        if not isinstance(error, SuperresError):
            notification_manager.receive_error(type(error), error, error.__traceback__)
        elif str(error) != self._said:  # every view asks again; once is enough
            self._said = str(error)
            show_error(str(error))
