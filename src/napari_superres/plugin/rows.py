"""Parts of a narrow form: fields that may shrink, notes that wrap."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QSizePolicy, QWidget


def narrow_form(parent: QWidget) -> QFormLayout:
    """Lay out a form whose fields take all the width that is left."""
    form = QFormLayout(parent)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
    return form


def show_row(form: QFormLayout, field: QWidget, *, visible: bool) -> None:
    """Show or hide a field with its label."""
    if hasattr(form, "setRowVisible"):  # Qt 6.4; it removes the space between rows too
        form.setRowVisible(field, visible)
        return
    for part in (form.labelForField(field), field):
        if part is not None:
            part.setVisible(visible)


def combo(name: str, tip: str) -> QComboBox:
    """Return an empty combo box that may be narrower than its texts, and can be read aloud."""
    box = QComboBox()
    may_shrink(box)
    box.setAccessibleName(name)
    box.setToolTip(tip)
    return box


def may_shrink(box: QComboBox) -> None:
    """Let a combo box be narrower than its longest text."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)


def note(name: str) -> QLabel:
    """Return an empty label for a sentence or two."""
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setAccessibleName(name)
    return label
