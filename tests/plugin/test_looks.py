"""Every state of the panel on the screen: nothing cut off, in both themes, at large fonts.

With the variable ``SUPERRES_PICTURES`` naming a folder, each state is saved there to be looked at.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QWidget,
)

from napari_superres.plugin.rows import Section
from tests.plugin.conftest import choose_output, finished, settle, until, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.plugin.conftest import Engine

PICTURES = os.environ.get("SUPERRES_PICTURES")


@pytest.fixture
def appearance() -> Iterator[Any]:
    """Return napari's settings of looks, and set them back."""
    from napari.settings import get_settings

    looks = get_settings().appearance
    before = looks.theme, looks.font_size
    yield looks
    looks.theme, looks.font_size = before


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
    pixels = image.bits()
    pixels.setsize(image.sizeInBytes())
    return np.array(pixels).reshape(image.height(), -1, 4)[:, : image.width(), :3]


def faults(panel: Any) -> list[str]:
    """Return what a user would see as broken: words that are cut off, parts that overlap."""
    found = []
    shown = [w for w in panel.findChildren(QWidget) if w.isVisibleTo(panel) and w.width() > 0]
    for widget in shown:
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
    inside = panel.scroll.widget()
    if inside.minimumSizeHint().width() > panel.scroll.viewport().width():
        found.append("wider than the panel")
    return found


def test_states(viewer: Any, panel: Any, engine: Engine, said: list[str]) -> None:
    """As one meets them, in the narrowest panel."""
    viewer.window.resize(1000, 900)
    settle()
    assert panel.minimumWidth() <= 330
    look(panel, "nothing to do")
    viewer.add_points([[0, 0]], name="marks")
    look(panel, "points alone")
    stack = np.random.default_rng(4).gamma(2, 300, (3, 200, 240)).astype(np.uint16)
    layer = viewer.add_image(stack, name="stack of a name that is much too long for any list")
    viewer.add_image(np.zeros((50, 60, 3), np.uint8), name="photo", rgb=True)
    panel.layers.choose(layer)
    look(panel, "axes without names")
    layer.axis_labels = ("z", "y", "x")
    look(panel, "ready")
    panel.form.choose("realesrgan-x4plus")
    panel.preview()
    look(panel, "needs download")
    panel.form.intensity.heading.click()
    panel.form.intensity.limits.setCurrentIndex(2)
    panel.form.compute.heading.click()
    look(panel, "sections open")
    panel.form.intensity.limits.setCurrentIndex(0)
    panel.form.intensity.heading.click()
    panel.form.compute.heading.click()
    panel.form.choose("supir-v0q")
    panel.form.options.heading.click()
    look(panel, "needs licence, options open")
    panel.form.options.heading.click()
    panel.form.choose("lanczos", 2)
    engine.seconds = 0.3
    choose_output(panel, "memory")
    panel.run()
    until(lambda: engine.calls > 0)
    panel.progress.cancel.setFocus()
    look(panel, "running")
    panel.progress.cancel.click()
    look(panel, "cancelling")
    finished(panel)
    look(panel, "cancelled")
    engine.seconds = 0.0
    panel.preview()
    finished(panel)
    assert panel.progress.line.text().startswith("Preview of ")
    look(panel, "previewed, swiping")
    assert " · about " in words(panel.result)
    panel.compare.compare("off")
    engine.error = MemoryError()
    panel.run()
    finished(panel)
    look(panel, "out of memory")


@pytest.mark.parametrize("percent", [125, 150, 200])
def test_large_fonts(viewer: Any, noise: Any, panel: Any, appearance: Any, percent: int) -> None:
    """Who needs large letters gets a wider panel, not cut words."""
    viewer.window.resize(1500, 1100)
    small = panel.layers.fontMetrics().height()
    appearance.font_size = round(appearance.font_size * percent / 100)
    until(lambda: panel.input.fontMetrics().height() > small * (1 + (percent - 100) / 200))
    settle(0.3)
    look(panel, f"font {percent}")
    for part in (panel.form.intensity, panel.form.compute):
        part.heading.click()
        assert part.heading.fontMetrics().height() >= panel.input.fontMetrics().height() - 1
    look(panel, f"font {percent}, sections open")
    row = panel.layers.visualItemRect(panel.layers.item(0)).height()
    assert row >= panel.layers.fontMetrics().height()
    assert panel.axes.fontMetrics().height() >= panel.input.fontMetrics().height() - 1


def test_light_theme(viewer: Any, noise: Any, panel: Any, appearance: Any) -> None:
    """Letters and ground change together."""
    dark = look(panel, "dark")
    appearance.theme = "light"
    settle(0.5)
    light = look(panel, "light")
    assert dark.mean() < 80
    assert light.mean() > 180
    # Letters stand out: the darkest pixels are far from the ground.
    assert np.median(light) - light.min() > 120


def test_keyboard_alone(viewer: Any, noise: Any, panel: Any, qtbot: Any) -> None:
    """From top to bottom with the tabulator, and everything has a name to be read aloud."""
    viewer.window.resize(1000, 900)
    panel.form.compute.heading.click()
    settle()
    visited = [panel.layers]
    # What the tabulator does, without the focus that a test's window may not have.
    while (now := visited[-1].nextInFocusChain()) is not panel.layers:
        visited.append(now)
    visited = [
        w
        for w in visited
        if panel.isAncestorOf(w)
        and w.isVisible()
        and w.isEnabled()
        and w.focusPolicy() & Qt.FocusPolicy.TabFocus
    ]
    assert panel.preview_button in visited
    assert visited[-1] is panel.keep.copy
    rows = [w.mapTo(panel, w.rect().topLeft()).y() for w in visited]
    assert all(later >= earlier - 12 for earlier, later in itertools.pairwise(rows))
    for widget in visited:
        name = widget.accessibleName() or getattr(widget, "text", str)()
        assert name, widget
    fields = panel.findChildren(QAbstractSpinBox) + panel.findChildren(QComboBox)
    assert all(field.accessibleName() for field in fields)


def test_keys(viewer: Any, noise: Any, panel: Any, engine: Engine) -> None:
    """Preview, run, blink and cancel without a mouse; the tooltips name the keys."""
    bound = {name: shortcut.key().toString() for name, shortcut in panel.shortcuts.items()}
    assert bound == {
        "preview": "Ctrl+Alt+P",
        "run": "Ctrl+Alt+U",
        "blink": "Ctrl+Alt+B",
        "cancel": "Esc",
    }
    assert panel.preview_button.toolTip().endswith("(Ctrl+Alt+P).")
    # A window on a screen without a window manager gets no keys, so they are pressed here.
    press = {name: shortcut.activated.emit for name, shortcut in panel.shortcuts.items()}
    press["preview"]()
    finished(panel)
    assert len(viewer.layers) == 3
    press["blink"]()
    assert panel.compare.comparison.mode == "blink"
    engine.seconds = 0.2
    choose_output(panel, "memory")
    press["run"]()
    assert panel.compare.comparison.mode == "off"
    until(lambda: engine.calls > 1)
    press["cancel"]()
    finished(panel)
    assert panel.progress.line.text() == "Cancelled."
