"""Compare models on what is on the screen: a button, and the dialog that it opens."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_superres.errors import InputError, SuperresError
from napari_superres.models import custom
from napari_superres.models.catalog import MODELS, default_model
from napari_superres.models.weights import find_model
from napari_superres.plugin.files import file_name, folder_of
from napari_superres.plugin.layers import layer_to_image
from napari_superres.plugin.look import real
from napari_superres.plugin.model_fields import state_words
from napari_superres.plugin.notify import say
from napari_superres.plugin.progress_row import ProgressRow
from napari_superres.plugin.rows import combo, narrow_form, note
from napari_superres.plugin.view import visible_part
from napari_superres.plugin.work import Work
from napari_superres.progress import tick

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_superres.comparing.comparison import Comparison
    from napari_superres.comparing.records import Step
    from napari_superres.image import Image
    from napari_superres.plugin.meter import Meter

MOST = 256
"""Source pixels along y and x that are compared at most, from the middle of the view: as many as
`compare` takes by itself."""

_NAME = Qt.ItemDataRole.UserRole
_FACTORS = (("x2", 2, "Twice as fine."), ("x4", 4, "Four times as fine."))


class Wish(NamedTuple):
    """What is to be compared.

    Parameters
    ----------
    image : Image
        The whole source.
    part : mapping
        ``channels``, ``planes`` and ``region`` of what is on the screen, as `compare` takes them.
    models : tuple of str
    scale : int
    folder : str
        Where the report goes.
    """

    image: Image
    part: dict[str, Any]
    models: tuple[str, ...]
    scale: int
    folder: str


def compare_steps(wish: Wish, meter: Meter) -> Generator[object, None, Comparison]:
    """Compare models; what was finished before a stop is kept in the folder."""
    from napari_superres.comparing.comparison import compare

    meter.step = "preparing"
    yield None

    def listen(step: Step) -> None:
        if step.total != meter.total or step.words != meter.where:
            meter.step, meter.unit, meter.where = "", "models", step.words
            meter.total = step.total
            meter.note(step.done)
        tick(0, 1)  # only for a stop: the meter has counted

    return compare(
        wish.image,
        wish.models,
        report=wish.folder,
        scale=wish.scale,
        progress=listen,
        **wish.part,
    )


def part_on_screen(viewer: Any, layer: Any, image: Image) -> dict[str, Any]:
    """Return which part of a layer is on the screen, as `compare` takes it.

    Raises
    ------
    InputError
        If the view shows no plane of the layer.
    """
    axes = image.axes.replace("s", "")
    part = visible_part(viewer, layer, image.axes, MOST)
    place = dict(zip(axes, zip(part.start, part.stop, strict=True), strict=True))
    return {
        "channels": [place["c"][0]] if "c" in place else None,
        "planes": {axis: place[axis][0] for axis in axes if axis not in "cyx"},
        "region": (slice(*place["y"]), slice(*place["x"])),
    }


class CompareModels(QPushButton):
    """Opens the dialog for the panel's layer.

    Parameters
    ----------
    panel : SuperresWidget
    """

    def __init__(self, panel: Any) -> None:
        super().__init__("Compare models on this view...")
        self.setToolTip(
            "Let several models make what is on the screen finer, and see in a report what each "
            "shows, takes and can be trusted with."
        )
        self._panel = panel
        self._dialog: ComparisonDialog | None = None
        self.clicked.connect(lambda: self.open())

    def open(self) -> ComparisonDialog:
        """Open the dialog, or bring it to the front."""
        panel = self._panel
        if self._dialog is None:
            self._dialog = ComparisonDialog(panel.viewer, panel)
        if self._dialog.progress.work is None:
            self._dialog.begin_with(panel.layers.layer, str(panel.form.model.currentData() or ""))
        self._dialog.show()
        self._dialog.raise_()
        return self._dialog


class ComparisonDialog(QDialog):
    """Choose models, compare them on what is on the screen, and open the report.

    Parameters
    ----------
    viewer : napari.Viewer
    parent : QWidget, optional
    """

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Compare models")
        self._viewer = real(viewer)
        self._layer: Any = None
        self._report: Path | None = None
        self.about = note("What is compared")
        self.models = QListWidget()
        self.models.setAccessibleName("Models")
        self.models.setToolTip("Tick those to compare. Differences are to Lanczos, where ticked.")
        self.scale = combo("Factor", "How much finer all of them make it.", _FACTORS)
        self.scale.setCurrentIndex(1)
        self.folder = QLineEdit()
        self.folder.setAccessibleName("Folder for the report")
        self.folder.setToolTip("What is finished there is not computed again.")
        self.choose = QPushButton("Choose...")
        self.progress = ProgressRow()
        self.start_button = QPushButton("Compare")
        self.open_button = QPushButton("Open report")
        self.open_button.setEnabled(False)
        self._lay_out()
        self.choose.clicked.connect(self._choose_folder)
        self.start_button.clicked.connect(lambda: self.start())
        self.open_button.clicked.connect(self.open_report)
        self.progress.cancelled.connect(self._cancel)

    @property
    def ticked(self) -> tuple[str, ...]:
        """The names of the chosen models."""
        items = (self.models.item(row) for row in range(self.models.count()))
        return tuple(str(i.data(_NAME)) for i in items if i.checkState() == Qt.CheckState.Checked)

    def select(self, names: Sequence[str]) -> None:
        """Choose these models and no others."""
        for row in range(self.models.count()):
            item = self.models.item(row)
            on = item.data(_NAME) in names
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)

    def begin_with(self, layer: Any, model: str) -> None:
        """Offer a layer, and tick a model beside what is always worth a look.

        Parameters
        ----------
        layer : napari.layers.Layer or None
        model : str
            Empty for none.
        """
        self._layer = None if layer is None else real(layer)
        ticked = self.ticked or ("lanczos", default_model(4), model)
        self._fill()
        self.select(ticked)
        name = "the layer" if layer is None else f"'{layer.name}'"
        self.about.setText(
            f"The part of {name} on the screen, up to {MOST} x {MOST} pixels, is made finer by "
            "each model in a process of its own. Nothing is downloaded: what is not on this "
            "computer gets an estimate."
        )
        self.folder.setText(_usual_folder(layer))

    def start(self) -> Work | None:
        """Compare the ticked models.

        Returns
        -------
        Work or None
            What does it; None if it cannot start, and the dialog says why.
        """
        if self.progress.work is not None:
            return None
        try:
            wish = self._wish()
        except SuperresError as error:
            self.progress.tell(say(error))
            return None
        work = Work(partial(compare_steps, wish))
        self.progress.start(work, self._succeeded, self._update)
        self._update()
        return work

    def open_report(self) -> None:
        """Show the report in the web browser."""
        if self._report is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._report)))

    def done(self, result: int) -> None:
        """Stop what runs when the dialog is closed; what is finished is kept for the next time."""
        self._cancel()
        super().done(result)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.addWidget(self.about)
        layout.addWidget(self.models, 1)
        fields, place = QWidget(), QHBoxLayout()
        place.addWidget(self.folder, 1)
        place.addWidget(self.choose)
        form = narrow_form(fields)
        form.addRow("Factor", self.scale)
        form.addRow("Report", place)
        layout.addWidget(fields)
        layout.addWidget(self.progress)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        for button in (self.start_button, self.open_button):
            buttons.addButton(button, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.rejected.connect(self.reject)
        layout.addWidget(buttons)
        self.resize(460, 520)

    def _fill(self) -> None:
        self.models.clear()
        for name in [*MODELS, *custom.added_models()]:
            try:
                spec = find_model(name)
                item = QListWidgetItem(f"{name} · {state_words(spec)}")
                item.setToolTip(spec.title)
            except SuperresError as error:
                item = QListWidgetItem(f"{name} · not usable")
                item.setToolTip(str(error))
            item.setData(_NAME, name)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Unchecked)
            self.models.addItem(item)

    def _wish(self) -> Wish:
        if self._layer is None:
            raise InputError("No image layer is ticked.", "Open an image, or tick one.")
        if not self.ticked:
            raise InputError("There is no model to compare.", "Tick one or more.")
        if not self.folder.text().strip():
            raise InputError("There is no folder for the report.", "Name one.")
        image = layer_to_image(self._layer)
        part = part_on_screen(self._viewer, self._layer, image)
        scale = int(self.scale.currentData())
        folder = os.path.expanduser(self.folder.text().strip())
        return Wish(image, part, self.ticked, scale, folder)

    def _succeeded(self, made: Comparison) -> None:
        from napari_superres.comparing.comparison import PAGE

        assert made.folder is not None
        self._report = made.folder / PAGE
        size = made.pictures[0].size
        told = [f"Compared on {size} pixels of '{made.pictures[0].name}': {self._report}."]
        told += [f"{cell.model}: {cell.reason.partition('. ')[0]}." for cell in made.failed]
        self.progress.tell("\n".join(told))

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(
            self, "A folder for the report", str(Path(self.folder.text()).parent)
        )
        if folder:
            self.folder.setText(folder)

    def _cancel(self) -> None:
        if self.progress.work is not None:
            self.progress.work.cancel()

    def _update(self) -> None:
        self.start_button.setEnabled(self.progress.work is None)
        self.open_button.setEnabled(self.progress.work is None and self._report is not None)


def _usual_folder(layer: Any) -> str:
    """Return where a report goes: beside the layer's file, else into the user's own folder."""
    folder = folder_of(None if layer is None else layer.source.path)
    name = "models" if layer is None else file_name(layer.name)
    return str(folder / f"{name} compared")
