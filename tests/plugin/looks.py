"""Whether a panel looks right: nothing cut off, nothing left unpainted.

With ``SUPERRES_PICTURES`` naming a folder, each picture is saved there to be looked at.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QWidget,
)

from napari_superres.plugin.layer_choice import ROWS
from napari_superres.plugin.rows import Section
from napari_superres.plugin.widget import SuperresWidget
from tests.plugin.conftest import settle

PICTURES = os.environ.get("SUPERRES_PICTURES")

INK = 25
"""Grey levels between letters and their ground, at least; those of disabled buttons are pale."""


def look(panel: Any, state: str) -> np.ndarray:
    """Check that a state is laid out well, and return its picture."""
    settle(0.2)
    end = time.monotonic() + 15  # a busy machine lays out late
    while faults(panel) and time.monotonic() < end:
        settle()
    assert not faults(panel), state
    picture = panel.grab()
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        picture.save(str(Path(PICTURES) / f"{state}.png"))
    image = picture.toImage()
    bits = image.bits()
    bits.setsize(image.sizeInBytes())
    pixels = np.array(bits).reshape(image.height(), -1, 4)[:, : image.width(), :3]
    assert not unpainted(panel, pixels), state
    return pixels


def unpainted(panel: Any, pixels: np.ndarray) -> list[str]:
    """Return the words that stand on the panel and cannot be seen on its picture."""
    found = []
    ratio = pixels.shape[1] / panel.width()
    kinds = (QLabel, QAbstractButton, QComboBox, QAbstractSpinBox)
    for widget in (w for kind in kinds for w in panel.findChildren(kind)):
        words = widget.currentText() if isinstance(widget, QComboBox) else widget.text()
        box = widget.visibleRegion().boundingRect()
        if not words or not widget.isVisibleTo(panel) or box.height() < widget.height():
            continue  # scrolled away
        corner = widget.mapTo(panel, box.topLeft())
        # Inside of what frames it.
        y, x = (
            slice(round(ratio * (start + 3)), round(ratio * (start + length - 3)))
            for start, length in ((corner.y(), box.height()), (corner.x(), box.width()))
        )
        if np.ptp(pixels[y, x].astype(int).mean(axis=2)) < INK:
            found.append(words)
    return found


def faults(panel: Any) -> list[str]:
    """Return what a user would see as broken: words that are cut off, parts that overlap."""
    found = []
    scroll = panel.scroll if isinstance(panel, SuperresWidget) else None
    shown = [w for w in panel.findChildren(QWidget) if w.isVisibleTo(panel) and w.width() > 0]
    for widget in shown:
        parent = widget.parentWidget()
        # What scrolls may lie outside of its viewport, and of nothing else.
        if parent in shown and (scroll is None or parent is not scroll.viewport()):
            inner = parent.rect().adjusted(-1, -1, 1, 1)
            if not inner.contains(widget.geometry()) and isinstance(widget, QLabel):
                found.append(f"outside of its part: {widget.text()}")
        if isinstance(widget, QLabel) and widget.text():
            needed = (
                widget.heightForWidth(widget.width())
                if widget.wordWrap()
                else widget.sizeHint().height()
            )
            if widget.height() < needed - 1:
                found.append(f"cut below: {widget.text()}")
            if not widget.wordWrap() and widget.width() < widget.sizeHint().width() - 1:
                found.append(f"cut: {widget.text()}")
        elif isinstance(widget, QAbstractButton) and widget.text():
            own = isinstance(widget.parent(), Section)  # shortens its text itself
            if not own and widget.width() < widget.sizeHint().width() - 1:
                found.append(f"cut: {widget.text()}")
        elif isinstance(widget, QComboBox) and not widget.isEditable():
            room = widget.width() - widget.height()
            if widget.fontMetrics().horizontalAdvance(widget.currentText()) > room + 8:
                found.append(f"cut: {widget.currentText()}")
    if scroll is not None:
        if panel.layers.count() <= ROWS and panel.layers.verticalScrollBar().isVisible():
            found.append("a list of few layers scrolls")
        if scroll.widget().minimumSizeHint().width() > scroll.viewport().width():
            found.append("wider than the panel")
    return found
