"""Fields for the model and the scale factor, and what is known of the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_superres.errors import LicenceError, SuperresError, WeightsError
from napari_superres.models.catalog import MODELS, default_model
from napari_superres.models.custom import added_models
from napari_superres.models.weights import find_model, needed_files, state
from napari_superres.plugin.preferences import Preferences
from napari_superres.plugin.rows import combo, narrow_form, note, show_row

if TYPE_CHECKING:
    from napari_superres.models.catalog import ModelSpec

FACTORS = (2, 3, 4, 8)
"""Offered for models that make any whole factor."""

_ASK = "?"  # the entry that opens a dialog; no model has that name
_FAMILIES = {
    "microscopy": "Trained on microscopy",
    "interpolation": "Interpolation",
    "realesrgan": "Trained on photographs",
    "latent": "Diffusion",
}
_GROUP_OF = {"supir": "latent", "onestep": "latent"}


class ModelFields(QWidget):
    """Model and factor; whether the model can be used now, and what it was made for."""

    changed = Signal()
    model_changed = Signal()
    """Another model is chosen, or the same one may have been downloaded or accepted by now."""

    def __init__(self) -> None:
        super().__init__()
        self._preferences = Preferences()
        self.model = combo("Model", "Which model makes the image finer.")
        self.chip = QLabel()
        self.chip.setAccessibleName("State of the model")
        self.chip.setWordWrap(True)
        self.chip.setTextFormat(Qt.TextFormat.PlainText)
        bold = self.chip.font()
        bold.setBold(True)
        self.chip.setFont(bold)
        self.manage = QPushButton("Models...")
        self.manage.setToolTip("All models: what is on this computer; download, add and remove.")
        self.download = QPushButton("Download")
        self.accept = QPushButton("Read and accept the licence...")
        self.about = note("About the model")
        self.scale = combo("Factor", "How many times finer y and x become.")
        self._spec: ModelSpec | None = None
        self._problem = ""
        self._before = 0
        self._lay_out()
        self.fill()
        self.model.currentIndexChanged.connect(self._model_changed)
        self.scale.currentIndexChanged.connect(lambda: self.changed.emit())
        self._model_changed()

    @property
    def spec(self) -> ModelSpec | None:
        """The chosen model's row; None when its file cannot be used."""
        return self._spec

    def check(self) -> None:
        """Refuse a model that cannot be used now, with what to click or type.

        Raises
        ------
        WeightsError
            If its file is not one of weights, or they are not on this computer.
        LicenceError
            If its licence must be accepted first.
        """
        spec = self._spec
        if spec is None:
            raise WeightsError(self._problem)
        now = state(spec)
        if now == "to download":
            raise WeightsError(
                f"The weights of '{spec.name}' are not on this computer.",
                f"Press '{self.download.text()}'; without a network, add the file under "
                "'Models...'.",
            )
        if now == "to add":
            raise WeightsError(
                f"The weights of '{spec.name}' are not on this computer.",
                f"See {spec.homepage}, and add the file under 'Models...'.",
            )
        if now == "to accept":
            raise LicenceError(
                f"The licence of '{spec.name}' ({spec.licence}) must be accepted first.",
                f"Press '{self.accept.text()}'.",
            )

    def choose(self, model: str, scale: int | None = None) -> None:
        """Choose a model by name or file, and a factor."""
        index = self.model.findData(model)
        if index < 0:
            index = self.model.count() - 1
            self.model.insertItem(index, Path(model).stem, model)
            self.model.setItemData(index, model, Qt.ItemDataRole.ToolTipRole)
        self.model.setCurrentIndex(index)
        if scale is not None:
            self.scale.setCurrentIndex(self.scale.findData(scale))

    def fill(self) -> None:
        """List the models there are, those that were added too; the choice is kept."""
        before = self.model.currentData() or self._preferences.get("panel", "model")
        self.model.blockSignals(True)
        self.model.clear()
        group = ""
        for spec in MODELS.values():
            family = _GROUP_OF.get(spec.family, spec.family)
            if family != group:
                self._heading(_FAMILIES.get(family, family))
            group = family
            self._offer(spec.name, spec.name, spec.title)
        own = added_models()
        if own:
            self._heading("Your own")
        for name, path in own.items():
            self._offer(name, name, str(path))
        if before and before not in MODELS and before not in own and Path(before).is_file():
            self._offer(Path(before).stem, before, before)
        self.model.insertSeparator(self.model.count())
        self.model.addItem("File of weights...", _ASK)
        at = self.model.findData(before)
        self.model.setCurrentIndex(at if at >= 0 else self.model.findData(default_model(2)))
        self.model.blockSignals(False)

    def look_again(self) -> None:
        """Look which models are on this computer by now."""
        self.fill()
        self._model_changed()

    def _heading(self, text: str) -> None:
        self.model.addItem(text)
        item = self.model.model().item(self.model.count() - 1)
        item.setFlags(Qt.ItemFlag.NoItemFlags)  # neither the mouse nor the keys stop here
        font = item.font()
        font.setItalic(True)
        item.setFont(font)

    def _offer(self, text: str, value: str, tip: str) -> None:
        self.model.addItem(text, value)
        self.model.setItemData(self.model.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)

    def _model_changed(self) -> None:
        chosen = self.model.currentData()
        if chosen == _ASK:
            self._ask_for_file()
            return
        self._before, before = self.model.currentIndex(), self._spec
        try:
            self._spec, self._problem = find_model(chosen), ""
        except SuperresError as error:
            self._spec, self._problem = None, str(error)
        remembered = "" if chosen == default_model(2) else chosen
        if self._preferences.get("panel", "model") != remembered:
            self._preferences.put("panel", "model", remembered)
        self._describe()
        self._offer_factors(another=self._spec != before)
        self.model_changed.emit()
        self.changed.emit()

    def _ask_for_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self.model, "A file of weights", "", "Weights (*.pth *.safetensors)"
        )
        if path:
            self.choose(path)
        else:
            self.model.setCurrentIndex(self._before)

    def _describe(self) -> None:
        spec = self._spec
        now = state(spec) if spec is not None else ""
        show_row(self._rows, self.download, visible=now == "to download")
        show_row(self._rows, self.accept, visible=now == "to accept")
        if spec is None:
            self.chip.setText("× Cannot be used")
            self.about.setText(self._problem)
            return
        self.chip.setText(state_words(spec))
        self.chip.setToolTip(spec.title)
        if spec.weights:
            self.download.setText(f"Download {megabytes(spec)}")
            urls = spec.weights[0].urls
            self.download.setToolTip(f"From {urls[0]}" if urls else spec.homepage)
        self.about.setText(about(spec))
        self.about.setToolTip(f"{spec.title}\n{spec.citation}")

    def _offer_factors(self, *, another: bool) -> None:
        """List the factors of a model; of another one than before, its own is chosen."""
        before = self.scale.currentData()
        own = self._spec.scale if self._spec else 0
        # A model's own factor first: a smaller one is its result averaged down.
        factors = [own, *(f for f in FACTORS if f < own)] if own else list(FACTORS)
        self.scale.blockSignals(True)
        self.scale.clear()
        for factor in factors:
            averaged = own and factor != own
            self.scale.addItem(f"x{factor}" + (" (averaged down)" if averaged else ""), factor)
        keep = 0 if own and another else self.scale.findData(before)
        self.scale.setCurrentIndex(max(0, keep))
        self.scale.blockSignals(False)

    def _lay_out(self) -> None:
        line = QWidget()
        row = QHBoxLayout(line)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.chip, 1)
        row.addWidget(self.manage)
        self._rows = form = narrow_form(self)
        self.form = form
        form.addRow("Model", self.model)
        form.addRow(line)
        form.addRow("", self.download)
        form.addRow("", self.accept)
        form.addRow(self.about)
        form.addRow("Factor", self.scale)


def about(spec: ModelSpec) -> str:
    """Return what a user should know of a model before using it, in a sentence or two."""
    told = spec.commercial or "non-commercial" in spec.licence
    commercial = "" if told else ", not for commercial use"
    if spec.proven == "exact":
        return f"For {spec.domain}."
    return (
        f"Trained on {spec.domain}. Licence {spec.licence}{commercial}. Proven with {spec.proven}."
    )


def state_words(spec: ModelSpec) -> str:
    """Return whether a model can be used now, in words."""
    now = state(spec)
    if now == "to download":
        return "↓ Needs download"
    if now == "to add":
        return "↓ Needs its file"
    if now == "to accept":
        return "§ Needs licence"
    return "✓ On this computer"


def megabytes(spec: ModelSpec) -> str:
    """Return how much a model's weights weigh."""
    size = sum(file.size for file in needed_files(spec))
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
