"""One line about progress, a bar, and the button that stops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_superres.plugin.notify import say
from napari_superres.plugin.rows import note

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_superres.plugin.work import Work

LOOK = 150
"""Milliseconds between two looks at the work's meter."""


class ProgressRow(QWidget):
    """Shows one piece of work at a time, and what became of it."""

    cancelled = Signal()
    """Somebody wants the work to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName("Progress")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop the work within a tile. What is written so far is kept.")
        self.line = note("Status")
        self.line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        row = QHBoxLayout()
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.line)
        self._work: Work | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK)
        self._timer.timeout.connect(self._look)
        self.cancel.clicked.connect(self.stop)
        self._show_bar(visible=False)
        self.tell("")

    @property
    def work(self) -> Work | None:
        """The work that runs now."""
        return self._work

    def watch(self, work: Work) -> None:
        """Show a piece of work until it ends."""
        self._work = work
        self.cancel.setText("Cancel")
        self.cancel.setEnabled(True)
        self._show_bar(visible=True)
        work.failed.connect(self._failed)
        work.ended.connect(self._ended)
        self._look()
        self._timer.start()

    def start(
        self, work: Work, succeeded: Callable[[Any], None], ended: Callable[[], None]
    ) -> None:
        """Start a piece of work and show it until it ends; it is cancelled when this row is gone.

        Parameters
        ----------
        work : Work
            Not started yet.
        succeeded, ended : callable
            Bound methods, which Qt forgets when their object is gone before the work is. The first
            takes what the work returned; the second is called whatever became of it.
        """
        self.watch(work)
        work.succeeded.connect(succeeded)
        work.ended.connect(ended)
        self.destroyed.connect(work.cancel)
        work.start()

    def tell(self, text: str) -> None:
        """Show a sentence in place of the progress."""
        self.line.setText(text)
        self.line.setVisible(bool(text))

    def forget(self) -> None:
        """Drop a sentence about what is no longer so, if nothing runs."""
        if self._work is None:
            self.tell("")

    def _look(self) -> None:
        if self._work is None:
            return
        meter = self._work.meter
        # A bar that runs to and fro, as long as there is nothing to count.
        self.bar.setRange(0, 1000 if meter.total and not meter.step else 0)
        self.bar.setValue(round(1000 * meter.fraction))
        if not self._work.cancelling:
            title = f"{self._work.title} · " if self._work.title else ""
            self.tell(title + meter.line())

    def stop(self) -> None:
        """Stop the work that is shown, within a tile."""
        self.cancelled.emit()
        if self._work is not None:
            self._work.cancel()
            self.cancel.setText("Cancelling...")
            self.cancel.setEnabled(False)
            self.tell("Cancelling: the tile under way is finished first.")

    def _failed(self, error: Exception) -> None:
        self.tell(say(error))

    def _ended(self) -> None:
        self._work = None
        self._timer.stop()
        self._show_bar(visible=False)

    def _show_bar(self, *, visible: bool) -> None:
        self.bar.setVisible(visible)
        self.cancel.setVisible(visible)
