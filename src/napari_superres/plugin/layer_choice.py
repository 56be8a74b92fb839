"""The choice of an input layer."""

from __future__ import annotations

from typing import Any

from napari.layers import Image as ImageLayer
from napari.layers import Labels as LabelsLayer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox

from napari_superres.plugin.rows import may_shrink


class LayerChoice(QComboBox):
    """A combo box of the viewer's image and labels layers that follows the layer list.

    It holds layers, not names, so that renaming changes nothing but the text.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    chosen = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._watched: list[Any] = []
        may_shrink(self)
        self.setAccessibleName("Input layer")
        self.setToolTip("The image to make finer. RGB pictures are treated as one picture.")
        for event in ("inserted", "removed", "reordered"):
            getattr(viewer.layers.events, event).connect(self.fill)
        self.currentIndexChanged.connect(self._tell)
        self._last: Any = None
        self.fill()

    @property
    def layer(self) -> Any:
        """The chosen layer, or None when there is no layer that has pixels."""
        return self.currentData()

    def choose(self, layer: Any) -> None:
        """Choose a layer of the viewer, if it has pixels."""
        index = self._index_of(layer)
        if index >= 0:
            self.setCurrentIndex(index)

    def fill(self, event: object = None) -> None:
        """Take the layers of the viewer again, and keep the choice if it is still there."""
        before = self.layer
        if before is None:
            before = self._viewer.layers.selection.active
        for layer in self._watched:
            layer.events.name.disconnect(self.fill)
        # The layer list shows the last layer on top.
        self._watched = [
            layer
            for layer in reversed(self._viewer.layers)
            if isinstance(layer, ImageLayer | LabelsLayer)
        ]
        self.blockSignals(True)
        self.clear()
        for layer in self._watched:
            layer.events.name.connect(self.fill)
            self.addItem(_title(layer), layer)
        self.setCurrentIndex(max(0, self._index_of(before)) if self._watched else -1)
        self.blockSignals(False)
        self._tell()

    def _index_of(self, layer: Any) -> int:
        return next((i for i, other in enumerate(self._watched) if other is layer), -1)

    def _tell(self, index: int = 0) -> None:
        if self.layer is not self._last:
            self._last = self.layer
            self.chosen.emit()


def _title(layer: Any) -> str:
    if isinstance(layer, LabelsLayer):
        return f"{layer.name} (labels)"
    return f"{layer.name} (RGB)" if layer.rgb else str(layer.name)
