"""Keys of the panel, bound as long as it is open, and only where napari has no other use."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QShortcut

KEYS = {
    "preview": "Ctrl+Alt+P",
    "run": "Ctrl+Alt+U",
    "blink": "Ctrl+Alt+B",
    "cancel": "Escape",
}


def bind(panel: Any) -> dict[str, Any]:
    """Bind the keys, name them in the tooltips, and return the shortcuts that could be bound.

    Parameters
    ----------
    panel : SuperresWidget
    """
    actions = {
        "preview": panel.preview,
        "run": panel.run,
        "blink": panel.compare.blink,
        "cancel": panel.cancel,
    }
    bound = {}
    for name, keys in KEYS.items():
        inside = name == "cancel"  # elsewhere Escape means other things
        if not inside and _is_taken(keys):
            continue
        shortcut = QShortcut(QKeySequence(keys), panel)
        shortcut.setContext(
            Qt.ShortcutContext.WidgetWithChildrenShortcut
            if inside
            else Qt.ShortcutContext.WindowShortcut
        )
        shortcut.activated.connect(actions[name])
        bound[name] = shortcut
    for name, button, tip in (
        ("preview", panel.preview_button, "Make finer what is on the screen now"),
        ("run", panel.run_button, "Make the whole of the ticked layers finer"),
        (
            "cancel",
            panel.progress.cancel,
            "Stop the work within a tile; what is written so far is kept",
        ),
    ):
        keys = f" ({bound[name].key().toString()})" if name in bound else ""
        button.setToolTip(f"{tip}{keys}.")
    return bound


def _is_taken(keys: str) -> bool:
    """Return whether napari, or its user, has bound the same keys."""
    from napari.settings import get_settings

    wanted = QKeySequence(keys).toString().lower()
    taken = {
        QKeySequence(str(binding)).toString().lower()
        for bindings in get_settings().shortcuts.shortcuts.values()
        for binding in bindings
    }
    return wanted in taken
