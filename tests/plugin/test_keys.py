"""The panel without a mouse."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QComboBox

from tests.plugin.conftest import choose_output, finished, settle, until

if TYPE_CHECKING:
    from tests.plugin.conftest import Engine


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


def test_a_preview_by_keys_alone(
    viewer: Any, noise: Any, panel: Any, qtbot: Any, engine: Engine
) -> None:
    """Tick, choose, preview, cancel: the keys themselves, from field to field."""
    window = panel.window()
    other = viewer.add_image(noise.data, name="other", axis_labels=tuple("zyx"))
    panel.layers.choose(noise)
    panel.layers.setCurrentRow(0)
    panel.layers.setFocus()

    def press(key: Qt.Key) -> None:
        qtbot.keyClick(window.focusWidget(), key)

    def go_to(field: Any, key: Qt.Key = Qt.Key.Key_Tab) -> None:
        passed = []
        while window.focusWidget() is not field:
            assert len(passed) < 60, passed
            passed.append(window.focusWidget().accessibleName())
            press(key)

    press(Qt.Key.Key_Space)
    assert panel.layers.layers == [noise, other]
    press(Qt.Key.Key_Space)
    assert panel.layers.layers == [noise]
    go_to(panel.form.model)
    before = panel.form.model.currentText()
    press(Qt.Key.Key_Up)
    assert panel.form.model.currentText() != before
    press(Qt.Key.Key_Down)
    assert panel.form.model.currentText() == before
    go_to(panel.form.compute.heading)
    press(Qt.Key.Key_Space)
    go_to(panel.form.compute.halo)
    press(Qt.Key.Key_Up)
    assert panel.form.settings()["halo"] == 0
    press(Qt.Key.Key_Down)
    go_to(panel.preview_button)
    engine.seconds = 0.2
    press(Qt.Key.Key_Space)
    until(lambda: engine.calls > 0)
    settle()
    go_to(panel.progress.cancel)
    press(Qt.Key.Key_Space)
    finished(panel)
    assert panel.progress.line.text() == "Cancelled."
    engine.seconds = 0.0
    go_to(panel.preview_button, Qt.Key.Key_Backtab)
    press(Qt.Key.Key_Space)
    finished(panel)
    go_to(panel.compare.line)
    place = panel.compare.line.value()
    press(Qt.Key.Key_Right)
    assert panel.compare.line.value() > place
    go_to(panel.keep.copy)
    press(Qt.Key.Key_Space)  # opens the menu, in which arrows and Enter choose
    until(panel.keep.menu.isVisible)
    qtbot.keyClick(panel.keep.menu, Qt.Key.Key_Down)
    qtbot.keyClick(panel.keep.menu, Qt.Key.Key_Return)
    finished(panel)
    assert "upscale_layer" in QApplication.clipboard().text()
