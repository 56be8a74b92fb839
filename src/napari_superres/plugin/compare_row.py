"""The controls of a comparison: how, and where the line is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QGridLayout, QLabel, QSlider, QWidget

from napari_superres.errors import InputError
from napari_superres.plugin.compare import BLINK, OFF, SIDE_BY_SIDE, SWIPE, Comparison
from napari_superres.plugin.notify import say
from napari_superres.plugin.preferences import Preferences
from napari_superres.plugin.rows import combo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_superres.plugin.compare import Pair

_MODES = (
    ("Off", OFF, "The result as it is."),
    ("Swipe", SWIPE, "Interpolation to the left of a line, the model to the right."),
    ("Blink", BLINK, "One and the other in turn, at the same place."),
    ("Side by side", SIDE_BY_SIDE, "Two views that move together."),
)
_STEPS = 1000


class CompareRow(QWidget):
    """How a result is compared with plain interpolation, or with its source.

    Parameters
    ----------
    viewer : napari.Viewer
    pairs : callable
        Returns what can be compared now.
    """

    def __init__(self, viewer: Any, pairs: Callable[[], Sequence[Pair]]) -> None:
        super().__init__()
        self.comparison = Comparison(viewer)
        self._pairs = pairs
        self._preferences = Preferences()
        self.label = QLabel("Compare")
        self.mode = combo(
            "Compare", "See the result beside plain interpolation, or beside its source.", _MODES
        )
        self.label.setBuddy(self.mode)
        self.line = QSlider(Qt.Orientation.Horizontal)
        self.line.setRange(0, _STEPS)
        self.line.setSingleStep(_STEPS // 50)
        self.line.setPageStep(_STEPS // 10)
        self.line.setValue(_STEPS // 2)
        self.line.setAccessibleName("Line between interpolation and model")
        self.line.setToolTip("Interpolation lies to the left of the line, the model to the right.")
        self.left, self.right = QLabel("Interpolation"), QLabel("Model")
        self.right.setAlignment(Qt.AlignmentFlag.AlignRight)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setVerticalSpacing(2)
        layout.addWidget(self.label, 0, 0)
        layout.addWidget(self.mode, 0, 1)
        layout.addWidget(self.line, 1, 0, 1, 2)
        layout.addWidget(self.left, 2, 0)
        layout.addWidget(self.right, 2, 1)
        layout.setColumnStretch(1, 1)
        # A slide uploads pixels: not more often than they can be drawn.
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._move)
        self._next = 0.0
        self.mode.activated.connect(self._chosen)
        self.line.valueChanged.connect(self._soon)
        self.comparison.stopped.connect(self._show_mode)
        self._show_mode()

    def begin(self) -> None:
        """Compare what was just previewed, in the way that was used last."""
        self.compare(self._preferences.get("panel", "compare"))

    def end(self) -> None:
        """Compare no longer."""
        self.compare(OFF)

    def compare(self, mode: str) -> None:
        """Compare in a mode.

        Parameters
        ----------
        mode : {"off", "swipe", "blink", "side by side"}

        Raises
        ------
        InputError
            If there is nothing that can be compared like that.
        """
        try:
            self.comparison.start(mode, self._pairs() if mode != OFF else ())
        finally:
            self._show_mode()

    def blink(self) -> None:
        """Begin to blink, or end it."""
        self._try(OFF if self.comparison.mode == BLINK else BLINK)

    def _chosen(self, index: int) -> None:
        mode = self.mode.itemData(index)
        if self._try(mode):
            self._preferences.put("panel", "compare", mode)

    def _try(self, mode: str) -> bool:
        try:
            self.compare(mode)
        except InputError as error:
            say(error)
            return False
        return True

    def _show_mode(self) -> None:
        mode = self.comparison.mode
        self.mode.setCurrentIndex(self.mode.findData(mode))
        for part in (self.line, self.left, self.right):
            part.setVisible(mode == SWIPE)

    def _soon(self) -> None:
        if not self._timer.isActive():
            self._timer.start(max(0, round(1000 * (self._next - time.monotonic()))))

    def _move(self) -> None:
        begin = time.monotonic()
        self.comparison.move(self.line.value() / _STEPS)
        self._next = begin + 3 * (time.monotonic() - begin)
