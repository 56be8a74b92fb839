"""The choice of input layers."""

from __future__ import annotations

from typing import Any

from napari.layers import Image as ImageLayer
from napari.layers import Labels as LabelsLayer
from qtpy.QtCore import QEvent, QSize, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QListWidget, QListWidgetItem, QSizePolicy

from napari_superres.plugin.layer_history import PREVIEW
from napari_superres.plugin.layers import note_pixels, source_of

ROWS = 4
"""As many layers are shown without scrolling."""

_FACTS = ("name", "axis_labels", "data", "scale", "units")
_LAYER = Qt.ItemDataRole.UserRole


class LayerChoice(QListWidget):
    """The viewer's image and labels layers, each with a tick; follows the layer list.

    It holds layers, not names, so that renaming changes nothing but the text. Until somebody sets a
    tick, those layers are ticked that are selected when the panel opens, and then whatever is
    opened, with all channels of its file; labels only where no image is ticked.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    chosen = Signal()
    """Other layers are ticked, or another row is current."""

    edited = Signal()
    """A layer came, went, or has another name, place, or other axes or pixels."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._watched: list[Any] = []
        self._shown: list[Any] = []
        self._ticked: list[Any] = []
        self._last: list[Any] = []
        self._by_hand = False
        self.setAccessibleName("Input layers")
        self.setToolTip(
            "Layers to make finer: tick one or more. RGB pictures are treated as one picture."
        )
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        events = viewer.layers.events
        events.inserted.connect(self._inserted)
        events.removed.connect(self._removed)
        events.reordered.connect(self.fill)
        self.itemChanged.connect(self._ticked_by_hand)
        self.currentRowChanged.connect(self._tell)
        self.fill()
        self._tick_automatically([x for x in viewer.layers if x in viewer.layers.selection])

    @property
    def layers(self) -> list[Any]:
        """The ticked layers, lowest first as napari draws them."""
        return [layer for layer in reversed(self._watched) if _in(layer, self._ticked)]

    @property
    def layer(self) -> Any:
        """The ticked layer that is spoken of: the current one, else the first; or None."""
        row = self.currentRow()
        if 0 <= row < len(self._watched) and _in(self._watched[row], self._ticked):
            return self._watched[row]
        return next(iter(self.layers), None)

    def choose(self, *layers: Any) -> None:
        """Tick these layers of the viewer and no others."""
        self._by_hand = True
        self._tick(layers)

    def fill(self, event: object = None) -> None:
        """Take the layers of the viewer again, and keep the ticks of those still there."""
        for layer in self._watched:
            for emitter in _emitters(layer):
                emitter.disconnect(self._edited)
        # The layer list shows the last layer on top.
        self._watched = [
            layer
            for layer in reversed(self._viewer.layers)
            if isinstance(layer, ImageLayer | LabelsLayer) and PREVIEW not in layer.metadata
        ]
        for layer in self._watched:
            note_pixels(layer)
            for emitter in _emitters(layer):
                emitter.connect(self._edited)
        ticked = [layer for layer in self._ticked if _in(layer, self._watched)]
        self._show(ticked)
        if not ticked:
            self._by_hand = False
            self._tick_automatically(self._watched[:1])

    def changeEvent(self, event: Any) -> None:  # noqa: N802, Qt's name
        """Make the rows as high as the font wants them."""
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            for row in range(self.count()):
                self.item(row).setSizeHint(QSize(0, self._row_height()))
            self.updateGeometry()
        super().changeEvent(event)

    def minimumSizeHint(self) -> QSize:  # noqa: N802, Qt's name
        """Return a width that leaves room for a short name."""
        return QSize(120, self.sizeHint().height())

    def sizeHint(self) -> QSize:  # noqa: N802, Qt's name
        """Return the height of the rows there are, up to `ROWS`."""
        row = self._row_height()
        rows = max(1, min(ROWS, self.count()))
        return QSize(super().sizeHint().width(), rows * row + 2 * self.frameWidth())

    def _row_height(self) -> int:
        return self.fontMetrics().height() + 8

    def _inserted(self, event: Any) -> None:
        self.fill()
        if not self._by_hand:
            self._tick_automatically([event.value])
        self.edited.emit()

    def _removed(self, event: Any) -> None:
        self.fill()
        self.edited.emit()

    def _tick_automatically(self, layers: list[Any]) -> None:
        known = [x for x in layers if _in(x, self._watched)]
        fresh = [x for x in known if _is_source(x)]
        if any(isinstance(x, ImageLayer) for x in self._ticked):
            # New labels are there to be painted over the image.
            fresh = [x for x in fresh if isinstance(x, ImageLayer)]
        if not fresh and not self._ticked:
            # Something hidden, or a result, is better than nothing.
            fresh = [x for x in self._watched if _is_source(x)][:1] or known
        if fresh:
            origins = {_origin(x) for x in fresh} - {None}
            siblings = [x for x in self._watched if _origin(x) in origins]
            self._tick([*fresh, *(x for x in siblings if _is_source(x))])

    def _tick(self, layers: Any) -> None:
        self._show([layer for layer in self._watched if _in(layer, layers)])

    def _show(self, ticked: list[Any]) -> None:
        current = self.currentRow()
        at = self._shown[current] if 0 <= current < len(self._shown) else None
        self.blockSignals(True)
        self.clear()
        for layer in self._watched:
            item = QListWidgetItem(_title(layer))
            item.setToolTip(layer.name)
            item.setSizeHint(QSize(0, self._row_height()))
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            state = Qt.CheckState.Checked if _in(layer, ticked) else Qt.CheckState.Unchecked
            item.setCheckState(state)
            self.addItem(item)
        self._shown = list(self._watched)
        if at is not None and _in(at, self._watched):
            self.setCurrentRow(next(i for i, x in enumerate(self._watched) if x is at))
        self.blockSignals(False)
        self._ticked = ticked
        self.updateGeometry()
        self._tell()

    def _ticked_by_hand(self, item: Any) -> None:
        self._by_hand = True
        self._ticked = [
            layer
            for i, layer in enumerate(self._watched)
            if self.item(i).checkState() == Qt.CheckState.Checked
        ]
        self._tell()

    def _edited(self, event: object = None) -> None:
        self.blockSignals(True)
        for i, layer in enumerate(self._watched):
            self.item(i).setText(_title(layer))
            self.item(i).setToolTip(layer.name)
        self.blockSignals(False)
        self.edited.emit()

    def _tell(self, row: int = 0) -> None:
        now = [self.layer, *self.layers]
        if len(now) != len(self._last) or any(
            a is not b for a, b in zip(now, self._last, strict=True)
        ):
            self._last = now
            self.chosen.emit()


def _in(layer: Any, layers: Any) -> bool:
    return any(layer is other for other in layers)


def _origin(layer: Any) -> Any:
    """Return the file or sample that a layer was opened from, which its other channels share."""
    return layer.source.path or layer.source.sample or source_of(layer).get("path")


def _is_source(layer: Any) -> bool:
    """Return whether somebody may want a layer finer: what is hidden waits for something else."""
    return layer.visible and "superres" not in layer.metadata


def _emitters(layer: Any) -> list[Any]:
    return [e for name in _FACTS if (e := getattr(layer.events, name, None)) is not None]


def _title(layer: Any) -> str:
    if isinstance(layer, LabelsLayer):
        return f"{layer.name} (labels)"
    return f"{layer.name} (RGB)" if layer.rgb else str(layer.name)
