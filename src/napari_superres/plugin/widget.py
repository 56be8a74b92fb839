"""The dock widget: choose, preview what is on the screen, run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_superres.errors import AxesError, InputError, SuperresError
from napari_superres.plugin import steps
from napari_superres.plugin.facts import describe, foresee
from napari_superres.plugin.layer_axes import name_axes
from napari_superres.plugin.layer_choice import LayerChoice
from napari_superres.plugin.layers import layer_to_image
from napari_superres.plugin.notify import say
from napari_superres.plugin.progress_row import ProgressRow
from napari_superres.plugin.results import Results
from napari_superres.plugin.rows import combo, narrow_form, note, show_row
from napari_superres.plugin.settings_form import SettingsForm
from napari_superres.plugin.view import visible_part
from napari_superres.plugin.work import Steps, Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_superres.image import Image
    from napari_superres.models.catalog import ModelSpec

WIDTH = 300
"""Pixels that the panel takes at least; more where the font is large."""

ON_DEMAND, MEMORY, FILE = "on demand", "memory", "file"

_OUTPUTS = (
    ("On demand", ON_DEMAND, "A layer that is computed where you look."),
    ("Into memory", MEMORY, "All pixels now, as an array in memory."),
    ("OME-Zarr file", FILE, "All pixels now, into a file, which is then shown."),
)
FOOTER = "Detail is estimated by a model, not measured. Do not quantify on it without validation."


class SuperresWidget(QWidget):
    """The panel *Super-resolution*. It edits the settings of a plan and shows what comes of it.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Handed in by napari.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.layers = LayerChoice(napari_viewer)
        self.input = note("About the input")
        self.axes = QLineEdit()
        self.axes.setAccessibleName("Axes of the layer")
        self.axes.setToolTip("One letter an axis, in order: t time, c channel, z depth, y, x.")
        self.axes.setPlaceholderText("for example zyx")
        self.form = SettingsForm()
        self.output = combo("Output", "Where the result goes.")
        for text, value, tip in _OUTPUTS:
            self.output.addItem(text, value)
            self.output.setItemData(self.output.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.result = note("About the result")
        self.preview_button = QPushButton("Preview view")
        self.preview_button.setToolTip("Make finer what is on the screen now.")
        self.run_button = QPushButton("Run")
        self.run_button.setToolTip("Make the whole layer finer.")
        self.progress = ProgressRow()
        self.results = Results(napari_viewer)
        self._show: Callable[[Any], str] = str
        self._lay_out()
        self.layers.chosen.connect(self._layer_changed)
        self.axes.editingFinished.connect(self._axes_edited)
        self.form.changed.connect(self._update)
        self.output.currentIndexChanged.connect(self._update)
        self.preview_button.clicked.connect(self.preview)
        self.run_button.clicked.connect(self.run)
        self.form.download.clicked.connect(self.download)
        self._layer_changed()

    def preview(self) -> Work | None:
        """Make finer what is on the screen, and show it over its source.

        Returns
        -------
        Work or None
            What computes it; None if it cannot start, and the panel says why.
        """
        return self._guarded(self._preview)

    def run(self) -> Work | None:
        """Make the whole layer finer, into the chosen output.

        Returns
        -------
        Work or None
            What computes it; None if it cannot start, and the panel says why.
        """
        return self._guarded(self._run)

    def download(self) -> Work | None:
        """Download the weights of the chosen model.

        Returns
        -------
        Work or None
            What downloads them; None if there is no such model.
        """
        spec = self.form.spec
        return None if spec is None else self._start(partial(steps.fetch, spec), self._downloaded)

    def cancel(self) -> None:
        """Stop what runs, within a tile."""
        if self.progress.work is not None:
            self.progress.work.cancel()

    def eventFilter(self, watched: Any, event: Any) -> bool:  # noqa: N802, Qt's name
        """Widen the panel when the form inside needs more, as with large fonts."""
        if event.type() == QEvent.Type.LayoutRequest:
            self._fit_width()
        return bool(super().eventFilter(watched, event))

    def _fit_width(self) -> None:
        margins = self.layout().contentsMargins()
        needed = (
            self.scroll.widget().minimumSizeHint().width()
            + self.scroll.verticalScrollBar().sizeHint().width()
            + margins.left()
            + margins.right()
        )
        self.setMinimumWidth(max(WIDTH, needed))

    def changeEvent(self, event: Any) -> None:  # noqa: N802, Qt's name
        """Stop what runs when the panel is taken out of the viewer: it could not be stopped then.

        Closing a dock of napari's does not close the widget inside, it lets it fall.
        """
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.cancel()
        super().changeEvent(event)

    def _preview(self) -> Work:
        layer, image = self._input()
        part = visible_part(self.viewer, layer, image.axes)
        if not part.whole:
            self.progress.tell("Previewing the middle of the view; zoom in to see all of it finer.")
        show = self.results.preview(layer, image, part)
        return self._start(partial(steps.preview, image, self.form.settings(), part), show)

    def _run(self) -> Work:
        layer, image = self._input()
        settings = self.form.settings()
        output = self.output.currentData()
        work: Steps
        if output == ON_DEMAND:
            work = partial(steps.prepare, image, settings)
            return self._start(work, self.results.on_demand(layer, image))
        if output == MEMORY:
            work = partial(steps.into_memory, image, settings)
            return self._start(work, self.results.in_memory(layer, image))
        work = partial(steps.to_file, image, settings, self._ask_for_path(image))
        return self._start(work, self.results.from_file(layer, image))

    def _downloaded(self, spec: ModelSpec) -> str:
        self.form.look_again()
        return f"The weights of {spec.name} are on this computer now."

    def _start(self, work_steps: Steps, show: Callable[[Any], str]) -> Work:
        work = Work(work_steps)
        self._show = show
        self.progress.watch(work)
        # Bound methods: Qt forgets them when the panel is gone before the work is.
        work.succeeded.connect(self._succeeded)
        work.ended.connect(self._update)
        self.destroyed.connect(work.cancel)
        work.start()
        self._update()
        return work

    def _succeeded(self, result: Any) -> None:
        self._guarded(lambda: self.progress.tell(self._show(result)))

    def _input(self) -> tuple[Any, Image]:
        layer = self.layers.layer
        if layer is None:
            raise InputError("There is no image layer.", "Open an image first.")
        self.form.check()
        return layer, layer_to_image(layer)

    def _guarded(self, action: Callable[[], Any]) -> Any:
        """Do what may fail for a known reason; the reason is shown."""
        try:
            return action()
        except SuperresError as error:
            self.progress.tell(say(error))
            return None

    def _ask_for_path(self, image: Image) -> str:
        scale = self.form.settings().get("scale", 2)
        folder = Path(str(image.source.get("path", ""))).parent
        name = f"{image.name}_x{scale}.ome.zarr".replace("/", "-")
        path, _ = QFileDialog.getSaveFileName(
            self,
            "Write the result as OME-Zarr",
            str(folder / name),
            "OME-Zarr (*.ome.zarr)",
            # What is there already is never replaced; the job says so in words.
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if not path:
            raise InputError("No file was chosen.", "Nothing is done.")
        return path if path.endswith(".zarr") else f"{path}.ome.zarr"

    def _layer_changed(self) -> None:
        self.axes.clear()
        self._update()

    def _axes_edited(self) -> None:
        layer, letters = self.layers.layer, self.axes.text().strip().lower()
        if layer is not None and letters:
            self._guarded(lambda: name_axes(layer, letters))
            self._update()

    def _update(self) -> None:
        """Say what goes in and what would come out, and allow what can be done."""
        layer = self.layers.layer
        image, asks, ready = None, False, False
        try:
            if layer is not None:
                image = layer_to_image(layer)
                self.input.setText(describe(image))
            else:
                self.input.setText("Open an image to begin.")
        except AxesError as error:
            asks = True
            self.input.setText(str(error))
        except SuperresError as error:
            self.input.setText(str(error))
        self.result.setText("")
        if image is not None and self.form.spec is not None:
            try:
                self.result.setText(foresee(image, self.form.spec, self.form.settings()))
                ready = True
            except SuperresError as error:
                self.result.setText(str(error))
        show_row(self._rows, self.axes, visible=asks)
        idle = self.progress.work is None
        self.preview_button.setEnabled(ready and idle)
        self.run_button.setEnabled(ready and idle)
        self.form.download.setEnabled(idle)

    def _lay_out(self) -> None:
        inside = QWidget()
        inside.installEventFilter(self)
        self._rows = rows = narrow_form(inside)
        rows.addRow("Layer", self.layers)
        rows.addRow(self.input)
        rows.addRow("Axes", self.axes)
        self.form.add_rows(rows)
        rows.addRow("Output", self.output)
        rows.addRow(self.result)
        self.scroll = scroll = QScrollArea()
        scroll.setWidget(inside)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        buttons = QHBoxLayout()
        buttons.addWidget(self.preview_button)
        buttons.addWidget(self.run_button)
        footer = note("Caution")
        footer.setText(FOOTER)
        layout = QVBoxLayout(self)
        layout.addWidget(scroll, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(footer)
        self.setMinimumWidth(WIDTH)
