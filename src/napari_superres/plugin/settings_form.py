"""The fields that edit the settings of a plan."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QFileDialog,
    QLabel,
    QPushButton,
)

from napari_superres.errors import LicenceError, SuperresError, WeightsError
from napari_superres.models.catalog import MODELS, default_model
from napari_superres.models.weights import find_model, needed_files, state
from napari_superres.plugin.rows import combo, show_row

if TYPE_CHECKING:
    from qtpy.QtWidgets import QFormLayout

    from napari_superres.models.catalog import ModelSpec

FACTORS = (2, 3, 4, 8)
"""Offered for models that make any whole factor."""

_ASK = "?"  # the entry that opens a dialog; no model has that name
_CONSISTENCY = (
    ("Default of the model", None, "What was measured to be best for the model."),
    ("Pixel", "pixel", "The mean of the fine pixels inside each source pixel is kept."),
    ("Local", "local", "The light around each source pixel is kept; noise is not put back."),
    ("Off", "off", "What the model says, as it says it."),
)


class SettingsForm(QObject):
    """Model, factor, denoising, consistency and device; each field is a keyword of `upscale`."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.model = combo("Model", "Which model makes the image finer.")
        self.chip = QLabel()
        self.chip.setAccessibleName("State of the model")
        self.about = QLabel()
        self.about.setAccessibleName("About the model")
        for label in (self.chip, self.about):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        bold = self.chip.font()
        bold.setBold(True)
        self.chip.setFont(bold)
        self.download = QPushButton("Download")
        self.scale = combo("Factor", "How many times finer y and x become.")
        self.denoise = QDoubleSpinBox()
        self.denoise.setSingleStep(0.1)
        self.denoise.setDecimals(1)
        self.denoise.setAccessibleName("Denoising strength")
        self.denoise.setToolTip("0 keeps the noise, 1 removes all that the model takes for noise.")
        self.consistency = combo("Consistency", "How the light that was measured is kept.")
        self.device = combo("Device", "Where the model runs.")
        self._spec: ModelSpec | None = None
        self._problem = ""
        self._before = 0
        self._rows: QFormLayout | None = None
        self._fill()
        self.model.setCurrentIndex(max(0, self.model.findData(default_model(2))))
        self.model.currentIndexChanged.connect(self._model_changed)
        for box in (self.scale, self.consistency, self.device):
            box.currentIndexChanged.connect(self._tell)
        self.denoise.valueChanged.connect(self._tell)

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
                f"The weights of '{spec.name}' are not on this computer, and nothing is downloaded "
                "unasked.",
                f"Press '{self.download.text()}'; without a network, 'superres models download "
                f"{spec.name}' names other ways.",
            )
        if now == "to accept":
            raise LicenceError(
                f"The licence of '{spec.name}' ({spec.licence}) must be accepted first.",
                f"Read it at {spec.homepage}, then run 'superres models accept {spec.name}'.",
            )

    def settings(self) -> dict[str, Any]:
        """Return the keywords for `upscale` and `plan_for`; what is left to default is left out."""
        wishes: dict[str, Any] = {
            "model": self.model.currentData(),
            "scale": self.scale.currentData(),
            "consistency": self.consistency.currentData(),
            "device": self.device.currentData(),
        }
        if self._spec is not None and self._spec.denoise is not None and self.denoise.value() >= 0:
            wishes["denoise"] = round(self.denoise.value(), 2)
        return {key: value for key, value in wishes.items() if value is not None}

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

    def _fill(self) -> None:
        family = ""
        for spec in MODELS.values():
            if family and spec.family != family:
                self.model.insertSeparator(self.model.count())
            family = spec.family
            self.model.addItem(spec.name, spec.name)
            self.model.setItemData(self.model.count() - 1, spec.title, Qt.ItemDataRole.ToolTipRole)
        self.model.insertSeparator(self.model.count())
        self.model.addItem("File of weights...", _ASK)
        for text, value, tip in _CONSISTENCY:
            self.consistency.addItem(text, value)
            last = self.consistency.count() - 1
            self.consistency.setItemData(last, tip, Qt.ItemDataRole.ToolTipRole)
        self.device.addItem("Automatic", None)
        self.device.addItem("CPU", "cpu")
        # Whether PyTorch can use them is known once it is imported, which takes seconds.
        if shutil.which("nvidia-smi"):
            self.device.addItem("GPU (CUDA)", "cuda")
        if sys.platform == "darwin":
            self.device.addItem("GPU (Metal)", "mps")

    def add_rows(self, form: QFormLayout) -> None:
        """Add the fields to a form."""
        form.addRow("Model", self.model)
        form.addRow(self.chip)
        form.addRow(self.download)
        form.addRow(self.about)
        form.addRow("Factor", self.scale)
        form.addRow("Denoise", self.denoise)
        form.addRow("Consistency", self.consistency)
        form.addRow("Device", self.device)
        self._rows = form
        self._model_changed()

    def _model_changed(self) -> None:
        if self.model.currentData() == _ASK:
            self._ask_for_file()
            return
        self._before = self.model.currentIndex()
        try:
            self._spec, self._problem = find_model(self.model.currentData()), ""
        except SuperresError as error:
            self._spec, self._problem = None, str(error)
        self._describe()
        self._offer_factors()
        strength = self._spec.denoise if self._spec else None
        if self._rows is not None:
            show_row(self._rows, self.denoise, visible=strength is not None)
        automatic = strength == "auto"
        # Below 0 stands for what the model itself finds in the image.
        self.denoise.setRange(-0.1 if automatic else 0.0, 1.0)
        self.denoise.setSpecialValueText("Automatic" if automatic else "")
        self.denoise.setValue(-0.1 if automatic else float(strength or 0))
        self._tell()

    def _ask_for_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self.model, "A file of weights", "", "Weights (*.pth *.safetensors)"
        )
        if path:
            self.choose(path)
        else:
            self.model.setCurrentIndex(self._before)

    def look_again(self) -> None:
        """Look whether the chosen model is on this computer by now."""
        self._describe()
        self._tell()

    def _describe(self) -> None:
        spec = self._spec
        fetchable = spec is not None and state(spec) == "to download"
        self.download.setVisible(fetchable)
        if spec is None:
            self.chip.setText("Cannot be used")
            self.about.setText(self._problem)
            return
        self.chip.setText(state_words(spec))
        if fetchable:
            self.download.setText(f"Download {_megabytes(spec)}")
            self.download.setToolTip(
                f"From {spec.weights[0].urls[0]}" if spec.weights[0].urls else spec.homepage
            )
        commercial = "" if spec.commercial else ", not for commercial use"
        if spec.proven == "exact":
            self.about.setText(f"For {spec.domain}.")
            return
        self.about.setText(
            f"Trained on {spec.domain}. Proven with {spec.proven}. "
            f"Licence {spec.licence}{commercial}."
        )

    def _offer_factors(self) -> None:
        before = self.scale.currentData()
        own = self._spec.scale if self._spec else 0
        # A model's own factor first: a smaller one is its result averaged down.
        factors = [own, *(f for f in FACTORS if f < own)] if own else list(FACTORS)
        self.scale.blockSignals(True)
        self.scale.clear()
        for factor in factors:
            averaged = own and factor != own
            self.scale.addItem(f"x{factor}" + (" (averaged down)" if averaged else ""), factor)
        keep = self.scale.findData(before) if not own else 0
        self.scale.setCurrentIndex(max(0, keep))
        self.scale.blockSignals(False)

    def _tell(self, *args: object) -> None:
        self.changed.emit()


def state_words(spec: ModelSpec) -> str:
    """Return whether a model can be used now, in words."""
    now = state(spec)
    if now == "to download":
        return "Not on this computer"
    if now == "to accept":
        return "Licence not accepted yet"
    return "Ready"


def _megabytes(spec: ModelSpec) -> str:
    return f"{sum(file.size for file in needed_files(spec)) / 1e6:.0f} MB"
