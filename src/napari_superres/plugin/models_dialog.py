"""The model manager: what is on this computer, and how to get, add and remove it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QGridLayout,
    QHeaderView,
    QInputDialog,
    QLabel,
    QMessageBox,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_superres.errors import SuperresError
from napari_superres.models import custom, library
from napari_superres.models.cache import accept_licence, cache_folder
from napari_superres.models.catalog import MODELS
from napari_superres.models.weights import find_model, locate, state
from napari_superres.plugin import steps
from napari_superres.plugin.model_fields import megabytes, state_words
from napari_superres.plugin.notify import say
from napari_superres.plugin.progress_row import ProgressRow
from napari_superres.plugin.rows import note
from napari_superres.plugin.work import Work
from napari_superres.resources import human_bytes

if TYPE_CHECKING:
    from napari_superres.models.catalog import ModelSpec

_COLUMNS = ("Model", "Factor", "State", "Size", "Licence")
_NAME = Qt.ItemDataRole.UserRole


class ModelsDialog(QDialog):
    """A table of all models, and what can be done with the chosen one.

    Parameters
    ----------
    parent : QWidget, optional
    """

    changed = Signal()
    """Something was added, removed or accepted."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Models")
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(_COLUMNS)
        self.table.setAccessibleName("Models")
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setShowGrid(False)
        self.table.setTabKeyNavigation(False)  # the tabulator goes on to the buttons
        self.table.verticalHeader().hide()
        self.about = note("About the model")
        self.about.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.about.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.download = QPushButton("Download")
        self.accept_button = QPushButton("Accept licence...")
        self.remove = QPushButton("Remove...")
        self.add = QPushButton("Add a file...")
        self.open = QPushButton("Open folder")
        self.homepage = QPushButton("Web page")
        self.progress = ProgressRow()
        self.total = QLabel()
        self.total.setWordWrap(True)
        self._specs: dict[str, ModelSpec | SuperresError] = {}
        self._lay_out()
        self.table.itemSelectionChanged.connect(self._selected)
        self.download.clicked.connect(self.start_download)
        self.accept_button.clicked.connect(self._accept_licence)
        self.remove.clicked.connect(self._remove)
        self.add.clicked.connect(self._add)
        self.open.clicked.connect(self._open_folder)
        self.homepage.clicked.connect(self._open_page)
        self.fill()

    @property
    def name(self) -> str:
        """The chosen model's name; empty when there is none."""
        row = self.table.currentRow()
        item = self.table.item(row, 0) if row >= 0 else None
        return str(item.data(_NAME)) if item is not None else ""

    def choose(self, name: str) -> None:
        """Choose a model by name."""
        for row in range(self.table.rowCount()):
            if self.table.item(row, 0).data(_NAME) == name:
                self.table.selectRow(row)

    def fill(self) -> None:
        """Look again at what is there; the choice is kept."""
        before = self.name
        own = custom.added_models()
        self._specs = {name: _row(name) for name in [*MODELS, *own]}
        self.table.setRowCount(len(self._specs))
        for row, (name, spec) in enumerate(self._specs.items()):
            for column, text in enumerate(_cells(name, spec)):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                item.setData(_NAME, name)
                self.table.setItem(row, column, item)
        here, weight = _on_this_computer(self._specs)
        folder = cache_folder()
        self.total.setText(f"{here} downloaded or added, {human_bytes(weight)}, in {folder}")
        self.choose(before or next(iter(self._specs)))
        self._selected()

    def start_download(self) -> Work | None:
        """Download the weights of the chosen model."""
        spec = self._specs.get(self.name)
        if spec is None or isinstance(spec, SuperresError) or self.progress.work is not None:
            return None
        work = Work(partial(steps.fetch, spec))
        self.progress.start(work, self._downloaded, self.fill)
        self._selected()
        return work

    def done(self, result: int) -> None:
        """Stop a download when the dialog is closed; what came is kept for the next time."""
        if self.progress.work is not None:
            self.progress.work.cancel()
        super().done(result)

    def _downloaded(self, spec: ModelSpec) -> None:
        self.progress.tell(f"The weights of {spec.name} are on this computer now.")
        self.changed.emit()

    def _selected(self) -> None:
        spec = self._specs.get(self.name)
        idle = self.progress.work is None
        now, here, page, offer = "", spec is not None, "", ""
        if spec is None or isinstance(spec, SuperresError):
            self.about.setText(str(spec or ""))
        else:
            self.about.setText(_about(spec))
            now, page = state(spec), spec.homepage
            here = not spec.bundled and any(locate(spec, file) for file in spec.weights)
            if now == "to download":
                offer = f" {megabytes(spec)}"
        self.download.setText(f"Download{offer}")
        self.download.setEnabled(idle and bool(offer))
        self.accept_button.setEnabled(idle and now == "to accept")
        self.remove.setEnabled(idle and here)
        self.homepage.setEnabled(bool(page))

    def _accept_licence(self) -> None:
        spec = self._specs[self.name]
        assert not isinstance(spec, SuperresError)
        if ask_for_licence(self, spec):
            self.fill()
            self.changed.emit()

    def _remove(self) -> None:
        answer = QMessageBox.question(
            self, "Remove weights", f"Delete the weights of '{self.name}' from this computer?"
        )
        if answer != QMessageBox.StandardButton.Yes:
            return
        if self._try(partial(library.remove, self.name)) is not None:
            self.progress.tell(f"Removed the weights of '{self.name}'.")
            self.fill()
            self.changed.emit()

    def _add(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "A file of weights", "", "Weights (*.pth *.safetensors)"
        )
        if not path:
            return
        name, accepted = QInputDialog.getText(
            self,
            "Add a file of weights",
            "The model that it is for, or a new name of your own:",
            text=_guess(Path(path)),
        )
        if not accepted:
            return
        added = self._try(partial(library.add, Path(path), name.strip() or None))
        if added is None:
            return
        official = " It is the official file." if added.is_official else ""
        self.progress.tell(f"Added as '{added.model}'.{official}")
        self.fill()
        self.choose(added.model)
        self.changed.emit()

    def _open_folder(self) -> None:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    def _open_page(self) -> None:
        QDesktopServices.openUrl(QUrl(getattr(self._specs[self.name], "homepage", "")))

    def _try(self, action: Any) -> Any:
        """Do what may fail for a known reason; the reason is shown."""
        try:
            return action()
        except SuperresError as error:
            self.progress.tell(say(error))
            return None

    def _lay_out(self) -> None:
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        buttons = QGridLayout()
        rows = (
            (self.download, self.accept_button, self.remove),
            (self.add, self.open, self.homepage),
        )
        for y, row in enumerate(rows):
            for x, button in enumerate(row):
                button.setAutoDefault(False)
                buttons.addWidget(button, y, x)
        close = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        close.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.about)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.total)
        layout.addWidget(close)
        self.resize(760, 560)


def ask_for_licence(parent: QWidget, spec: ModelSpec) -> bool:
    """Ask whether a licence is accepted, and remember a yes. Returns whether it is."""
    box = QMessageBox(parent)
    box.setWindowTitle("Licence")
    box.setIcon(QMessageBox.Icon.Question)
    box.setText(f"'{spec.name}' has the licence: {spec.licence}.")
    use = "" if spec.commercial else "It does not allow commercial use. "
    box.setInformativeText(f"{use}Read it at {spec.homepage} before you accept.")
    box.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
    yes = box.addButton("Accept", QMessageBox.ButtonRole.AcceptRole)
    box.addButton(QMessageBox.StandardButton.Cancel)
    box.exec()
    if box.clickedButton() is not yes:
        return False
    accept_licence(spec.name)
    return True


def _row(name: str) -> ModelSpec | SuperresError:
    try:
        return find_model(name)
    except SuperresError as error:
        return error


def _cells(name: str, spec: ModelSpec | SuperresError) -> tuple[str, ...]:
    if isinstance(spec, SuperresError):
        return name, "", "Cannot be used", "", ""
    size = sum(file.size for file in spec.weights)
    told = spec.commercial or "non-commercial" in spec.licence
    commercial = "" if told else " (non-commercial)"
    return (
        name,
        f"x{spec.scale}" if spec.scale else "any",
        state_words(spec),
        human_bytes(size) if size else "",
        spec.licence + commercial,
    )


def _about(spec: ModelSpec) -> str:
    lines = [
        f"{spec.title}.",
        f"Trained on: {spec.domain}. Proven with: {spec.proven}.",
        f"Cite: {spec.citation}",
    ]
    if spec.weights and not spec.bundled and not all(file.urls for file in spec.weights):
        lines.append(f"Its authors offer no direct link: see {spec.homepage}, then add the file.")
    return "\n".join(lines)


def _on_this_computer(specs: dict[str, ModelSpec | SuperresError]) -> tuple[str, int]:
    """Return how many models have files in the cache, in words, and their bytes."""
    count, weight = 0, 0
    for spec in specs.values():
        if isinstance(spec, SuperresError) or spec.bundled:
            continue
        paths = [path for file in spec.weights if (path := locate(spec, file)) is not None]
        count += bool(paths)
        weight += sum(path.stat().st_size for path in paths)
    return f"{count} model{'' if count == 1 else 's'}", weight


def _guess(path: Path) -> str:
    for spec in MODELS.values():
        if any(Path(file.name).stem == path.stem for file in spec.weights):
            return spec.name
    return path.stem
