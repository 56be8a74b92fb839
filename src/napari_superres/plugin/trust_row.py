"""The row *Trust*: what can be checked of the result on the screen."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_superres.errors import SuperresError
from napari_superres.plugin import trust
from napari_superres.plugin.look import look_at, real
from napari_superres.plugin.notify import say
from napari_superres.plugin.origins import is_result
from napari_superres.plugin.progress_row import ProgressRow
from napari_superres.plugin.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_superres.plugin.work import Steps

_NO_RESULT = "There is no result yet: preview or run first."


class TrustRow(QWidget):
    """Three buttons that check the selected result, or the topmost one, and what they found.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    starting = Signal()
    """A check begins, and looks at whole layers: what cuts some of them should end."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer = real(viewer)
        self.consistency_button = _button(
            "Consistency",
            "Average the result back to the source's pixels, and show what differs as a layer.",
        )
        self.resolution_button = _button(
            "Resolution",
            "Estimate the finest resolved period of source and result by Fourier rings.",
        )
        self.uncertainty_button = _button(
            "Uncertainty", "Show where the model itself expects errors, if it says so."
        )
        self._buttons = {
            self.consistency_button: self.consistency,
            self.resolution_button: self.resolution,
            self.uncertainty_button: self.uncertainty,
        }
        self._tips = {button: button.toolTip() for button in self._buttons}
        self.progress = ProgressRow()
        row = QHBoxLayout()
        row.setSpacing(4)
        for button, check in self._buttons.items():
            button.clicked.connect(partial(_pressed, check))
            row.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(row)
        layout.addWidget(self.progress)
        self.progress.cancelled.connect(self._cancel)
        events = viewer.layers.events
        for event in (events.inserted, events.removed):
            event.connect(self._update)
        self._update()

    def consistency(self) -> Work | None:
        """Add the residual map of the result on the screen.

        Returns
        -------
        Work or None
            What computes it; None if it cannot start, and the row says why.
        """
        return self._start(trust.consistency_steps, self._add)

    def resolution(self) -> Work | None:
        """Say the finest resolved period of source and result on the screen.

        Returns
        -------
        Work or None
            What estimates it; None if it cannot start, and the row says why.
        """
        return self._start(trust.resolution_steps, str)

    def uncertainty(self) -> Work | None:
        """Add a map of the errors that the model expects on the screen.

        Returns
        -------
        Work or None
            What computes it; None if it cannot start, and the row says why.
        """
        return self._start(trust.uncertainty_steps, self._add)

    def changeEvent(self, event: Any) -> None:  # noqa: N802, Qt's name
        """Stop what runs when the row is taken out of its window."""
        if event.type() == event.Type.ParentChange and self.parent() is None:
            self._cancel()
        super().changeEvent(event)

    def _start(self, steps: Callable[..., Any], show: Callable[[Any], str]) -> Work | None:
        if self.progress.work is not None:
            return None
        self.starting.emit()
        try:
            look = look_at(self._viewer)
        except SuperresError as error:
            self.progress.tell(say(error))
            return None
        begin: Steps = partial(steps, look)
        work = Work(begin)
        self._show = show
        self.progress.start(work, self._succeeded, self._update)
        self._update()
        return work

    def _succeeded(self, found: Any) -> None:
        self.progress.tell(self._show(found))

    def _add(self, found: trust.Checked) -> str:
        trust.add_map(self._viewer, found)
        return found.sentence

    def _cancel(self) -> None:
        if self.progress.work is not None:
            self.progress.work.cancel()

    def _update(self, *_: Any) -> None:
        there = any(is_result(layer) for layer in self._viewer.layers)
        idle = self.progress.work is None
        for button in self._buttons:
            button.setEnabled(there and idle)
            button.setToolTip(self._tips[button] if there else _NO_RESULT)


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    return button


def _pressed(check: Callable[[], Any], checked: bool = False) -> None:
    check()
