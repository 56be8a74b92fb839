"""Where the panel's parts stand, and in which order the tabulator visits them."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractSpinBox, QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from napari_superres.plugin.compare_models import CompareModels
from napari_superres.plugin.rows import align_labels, narrow_form, note, same_font, tab_in_order


def lay_out(panel: Any, footer: str) -> None:
    """Lay out the panel: settings that scroll, and below them what one acts with.

    Parameters
    ----------
    panel : SuperresWidget
        Gets the attributes `scroll`, `rows`, `forms` and `compare_models`.
    footer : str
        The last sentence.
    """
    inside = QWidget()
    inside.installEventFilter(panel)
    top, panel.rows, bottom = QVBoxLayout(inside), None, QWidget()
    top.setContentsMargins(0, 0, 4, 0)
    first = QWidget()
    panel.rows = narrow_form(first)
    panel.rows.addRow(panel.layers)
    panel.rows.addRow(panel.input)
    panel.rows.addRow("Axes", panel.axes)
    last = narrow_form(bottom)
    last.addRow("Output", panel.output)
    last.addRow(panel.result)
    for part in (first, panel.form, bottom):
        top.addWidget(part)
    top.addStretch(1)
    form = panel.form
    panel.forms = [panel.rows, form.models.form, form.intensity.form, form.compute.form, last]
    panel.scroll = scroll = QScrollArea()
    scroll.setWidget(inside)
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    buttons = QHBoxLayout()
    buttons.addWidget(panel.preview_button)
    buttons.addWidget(panel.run_button)
    caution = note("Caution")
    caution.setText(footer)
    layout = QVBoxLayout(panel)
    layout.addWidget(scroll, 1)
    layout.addLayout(buttons)
    layout.addWidget(panel.progress)
    layout.addWidget(panel.compare)
    layout.addWidget(panel.trust)
    panel.compare_models = CompareModels(panel)
    layout.addWidget(panel.compare_models)
    layout.addWidget(panel.keep)
    layout.addWidget(caution)
    order_tabs(panel)
    form.models.model_changed.connect(lambda: order_tabs(panel))


def fit(panel: Any, least: int) -> None:
    """Align the labels, and make panel and form as large as they need, which goes by the font.

    Parameters
    ----------
    panel : SuperresWidget
    least : int
        Pixels.
    """
    align_labels(panel.forms)
    same_font(panel, panel.input)
    margins = panel.layout().contentsMargins()
    scroll, bar = panel.scroll, panel.scroll.verticalScrollBar()
    edges = scroll.width() - scroll.viewport().width() - bar.isVisible() * bar.width()
    needed = (
        scroll.widget().minimumSizeHint().width()
        + bar.sizeHint().width()
        + edges
        + margins.left()
        + margins.right()
    )
    panel.setMinimumWidth(max(least, needed, panel.layout().minimumSize().width()))
    # A scroll area does not know that texts in lines need more height where they have less width.
    inside = scroll.widget()
    inside.setMinimumHeight(inside.layout().totalHeightForWidth(scroll.viewport().width()))


def order_tabs(panel: Any) -> None:
    """Let the tabulator visit the panel's fields from top to bottom."""
    tab_in_order(_in_visual_order(panel))


def _in_visual_order(panel: Any) -> list[QWidget]:
    form = panel.form
    return [
        panel.layers,
        panel.axes,
        form.model,
        form.models.manage,
        form.download,
        form.models.accept,
        form.scale,
        form.options.heading,
        *_fields(form.options.inside),
        form.intensity.heading,
        *_fields(form.intensity.inside),
        form.compute.heading,
        *_fields(form.compute.inside),
        panel.output,
        panel.preview_button,
        panel.run_button,
        panel.progress.cancel,
        panel.compare.mode,
        panel.compare.line,
        *_fields(panel.trust),
        panel.compare_models,
        panel.keep.export,
        panel.keep.copy,
    ]


def _fields(parent: QWidget) -> list[QWidget]:
    """Return the fields of a form from top to bottom, without what is inside of spin boxes."""
    return [
        child
        for child in parent.findChildren(QWidget)
        if child.focusPolicy() & Qt.FocusPolicy.TabFocus
        and not isinstance(child.parent(), QAbstractSpinBox)
        and child.window() is parent.window()  # and not the list of a combo box
    ]
