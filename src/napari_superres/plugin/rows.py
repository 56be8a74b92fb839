"""Parts of a narrow form: fields that may shrink, notes that wrap, sections that fold."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AUTOMATIC = "Automatic"
"""What a field shows when the choice is left to the model or the machine."""


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


def align_labels(forms: Iterable[QFormLayout]) -> None:
    """Give the labels of several forms one width, so that their fields stand below each other.

    A form may be indented by its left margin.
    """
    labels = [
        (item.widget(), form.contentsMargins().left())
        for form in forms
        for row in range(form.rowCount())
        if (item := form.itemAt(row, QFormLayout.ItemRole.LabelRole)) is not None
    ]
    width = max(
        (label.sizeHint().width() + indent for label, indent in labels if label.text()), default=0
    )
    for label, indent in labels:
        if label.minimumWidth() != width - indent:
            label.setMinimumWidth(width - indent)


def tab_in_order(widgets: Sequence[QWidget]) -> None:
    """Let the tabulator key visit widgets in this order."""
    for before, after in itertools.pairwise(widgets):
        QWidget.setTabOrder(before, after)


def combo(name: str, tip: str, entries: Iterable[tuple[str, Any, str]] = ()) -> QComboBox:
    """Return a combo box that may be narrower than its texts, and can be read aloud.

    Parameters
    ----------
    name, tip : str
    entries : iterable of (text, value, tip)
    """
    box = QComboBox()
    may_shrink(box)
    box.setAccessibleName(name)
    box.setToolTip(tip)
    for text, value, about in entries:
        box.addItem(text, value)
        box.setItemData(box.count() - 1, about or text, Qt.ItemDataRole.ToolTipRole)
    return box


def may_shrink(box: QComboBox) -> None:
    """Let a combo box be narrower than its longest text."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(12)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    # A wheel that scrolls the panel must not change what it passes over.
    box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)


def number(
    name: str, tip: str, low: float, high: float, *, decimals: int = 0
) -> QSpinBox | QDoubleSpinBox:
    """Return a field for a number that may be narrow, and can be read aloud."""
    box: QSpinBox | QDoubleSpinBox
    if decimals:
        box = QDoubleSpinBox()
        box.setDecimals(decimals)
        box.setSingleStep(10.0**-decimals)
        box.setRange(low, high)
    else:
        box = QSpinBox()
        box.setRange(int(low), int(high))
    box.setMinimumWidth(60)  # else as wide as the longest number
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    box.setAccessibleName(name)
    box.setToolTip(tip)
    return box


def same_font(parent: QWidget, model: QWidget) -> None:
    """Write line edits and headings as large as the rest: napari's themes leave them out."""
    size = model.font().pointSizeF()
    for field in [*parent.findChildren(QLineEdit), *parent.findChildren(QToolButton)]:
        font = field.font()
        if size > 0 and font.pointSizeF() != size:
            font.setPointSizeF(size)
            field.setFont(font)


def unbroken(text: str) -> str:
    """Return a listing such as ``"zyx · 0.2 µm/px"`` that breaks into lines at its dots alone."""
    parts = (
        part.replace(" ", "\u00a0").replace("/", "\u2060/\u2060") for part in text.split(" · ")
    )
    return " · ".join(parts)


def embolden(widget: QWidget, *, bold: bool) -> None:
    """Write a widget's text in bold, or not."""
    font = widget.font()
    font.setBold(bold)
    widget.setFont(font)


def note(name: str) -> QLabel:
    """Return an empty label for a sentence or two."""
    label = _Note()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setAccessibleName(name)
    return label


class _Note(QLabel):
    """A label that insists on the height of its lines: form layouts cut the last one off."""

    def setText(self, text: str) -> None:  # noqa: N802, Qt's name
        """Show another text."""
        super().setText(text)
        self._insist()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802, Qt's name
        """Break the lines anew."""
        super().resizeEvent(event)
        self._insist()

    def changeEvent(self, event: Any) -> None:  # noqa: N802, Qt's name
        """Make room for another font."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._insist()

    def _insist(self) -> None:
        self.setMinimumHeight(0)  # which the height for a width is never less than
        self.setMinimumHeight(max(0, self.heightForWidth(self.width())) if self.text() else 0)


class Section(QWidget):
    """A heading that unfolds a form; folded it tells what is set inside.

    Parameters
    ----------
    title : str
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._summary = ""
        self.heading = QToolButton()
        self.heading.setCheckable(True)
        self.heading.setAutoRaise(True)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.heading.setAccessibleName(title)
        self.inside = QWidget()
        self.form = narrow_form(self.inside)
        self.form.setContentsMargins(12, 2, 0, 6)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.heading)
        layout.addWidget(self.inside)
        self.heading.toggled.connect(self._fold)
        self._fold(open_=False)

    def summarise(self, text: str) -> None:
        """Say beside the title what is set inside."""
        self._summary = text
        self._write()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802, Qt's name
        """Shorten the heading to the width there is."""
        super().resizeEvent(event)
        self._write()

    def _fold(self, open_: bool) -> None:
        self.inside.setVisible(open_)
        arrow = Qt.ArrowType.DownArrow if open_ else Qt.ArrowType.RightArrow
        self.heading.setArrowType(arrow)
        self._write()

    def _write(self) -> None:
        told = self._summary if not self.heading.isChecked() else ""
        text = f"{self._title} · {told}" if told else self._title
        self.heading.setToolTip(text if told else "")
        room = max(40, self.heading.width() - 30)
        metrics = self.heading.fontMetrics()
        self.heading.setText(metrics.elidedText(text, Qt.TextElideMode.ElideRight, room))
