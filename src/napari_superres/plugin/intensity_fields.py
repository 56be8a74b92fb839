"""Fields for intensities: what becomes 0 and 1, denoising, how the light is kept, kind of pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QWidget

from napari_superres.errors import SettingError
from napari_superres.plugin.rows import AUTOMATIC, Section, combo, note, number, show_row

if TYPE_CHECKING:
    from napari_superres.models.catalog import ModelSpec
    from napari_superres.plan import Plan

AUTO, DISPLAYED, GIVEN = "auto", "displayed", "given"

_LIMITS = (
    (AUTOMATIC, AUTO, "The 0.1 and 99.9 percentiles of the whole image, from a fixed sample."),
    ("As displayed", DISPLAYED, "The contrast limits of each layer."),
    ("From, to", GIVEN, "Two numbers, for all layers."),
)
_CONSISTENCY = (
    ("Model default", None, "What was measured to be best for the model."),
    ("Pixel", "pixel", "The mean of the fine pixels inside each source pixel is kept."),
    ("Local", "local", "The light around each source pixel is kept; noise is not put back."),
    ("Off", "off", "What the model says, as it says it."),
)
_DTYPES = (
    ("As the source", None, "Rounded and clipped to the type of the source."),
    ("float32", "float32", "Neither rounded nor clipped."),
)


class IntensityFields(Section):
    """Limits, denoising, consistency and type; each is a keyword of `upscale`."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__("Intensity")
        self.limits = combo("Limits", "Intensities that the model sees as 0 and 1.", _LIMITS)
        self.low, self.high = QLineEdit(), QLineEdit()
        self.low.setAccessibleName("Lower limit")
        self.high.setAccessibleName("Upper limit")
        self.pair = QWidget()
        row = QHBoxLayout(self.pair)
        row.setContentsMargins(0, 0, 0, 0)
        for field, hint in ((self.low, "lower"), (self.high, "upper")):
            field.setPlaceholderText(hint)
            field.setMinimumWidth(40)
            field.textChanged.connect(self._tell)
            row.addWidget(field)
        self.denoise = number(
            "Denoising strength",
            "0 keeps the noise, 1 removes all that the model takes for noise.",
            0,
            1,
            decimals=1,
        )
        self.consistency = combo(
            "Consistency", "How the light that was measured is kept.", _CONSISTENCY
        )
        self.dtype = combo("Type of the result's pixels", "Kind of number.", _DTYPES)
        self.found = note("Found in the image")
        self.form.addRow("Limits", self.limits)
        self.form.addRow("", self.pair)
        self.form.addRow("Denoise", self.denoise)
        self.form.addRow("Consistency", self.consistency)
        self.form.addRow("Pixels", self.dtype)
        self.form.addRow(self.found)
        self._spec: ModelSpec | None = None
        for box in (self.limits, self.consistency, self.dtype):
            box.currentIndexChanged.connect(self._tell)
        self.denoise.valueChanged.connect(self._tell)
        show_row(self.form, self.pair, visible=False)
        show_row(self.form, self.found, visible=False)

    def show_model(self, spec: ModelSpec | None) -> None:
        """Offer what a model takes; of another one than before, its defaults are set."""
        another, self._spec = spec != self._spec, spec
        strength = spec.denoise if spec else None
        show_row(self.form, self.limits, visible=spec is not None and spec.needs_limits)
        show_row(self.form, self.denoise, visible=strength is not None)
        automatic = strength == "auto"
        # Below 0 stands for what the model itself finds in the image.
        self.denoise.setRange(-0.1 if automatic else 0.0, 1.0)
        self.denoise.setSpecialValueText(AUTOMATIC if automatic else "")
        if another:
            show_row(self.form, self.found, visible=False)
            self.denoise.setValue(-0.1 if automatic else float(strength or 0))
        self._tell()

    def show_found(self, plan: Plan) -> None:
        """Tell the numbers that were found in the image."""
        words = []
        if plan.limits and self.limits.currentData() == AUTO:
            words.append("limits " + ", ".join(f"{a:.4g} to {b:.4g}" for a, b in plan.limits))
            low, high = plan.limits[0]
            self.low.setText(f"{low:g}")
            self.high.setText(f"{high:g}")
        strengths = [strength for strength in plan.denoise if strength is not None]
        if strengths and self.denoise.value() < 0:
            words.append("denoising " + ", ".join(f"{strength:.2g}" for strength in strengths))
        self.found.setText(f"Found in the image: {'; '.join(words)}." if words else "")
        show_row(self.form, self.found, visible=bool(words))

    def settings(self, layer: Any = None) -> dict[str, Any]:
        """Return keywords for `upscale`; what is left to the model is left out.

        Parameters
        ----------
        layer : napari.layers.Image, optional
            Whose contrast limits are meant by "as displayed".

        Raises
        ------
        SettingError
            If the limits are not two numbers.
        """
        spec = self._spec
        wishes: dict[str, Any] = {
            "consistency": self.consistency.currentData(),
            "dtype": self.dtype.currentData(),
        }
        if spec is not None and spec.denoise is not None and self.denoise.value() >= 0:
            wishes["denoise"] = round(self.denoise.value(), 2)
        if spec is not None and spec.needs_limits:
            wishes["limits"] = self._limits(layer)
        return {key: value for key, value in wishes.items() if value is not None}

    def _limits(self, layer: Any) -> tuple[float, float] | None:
        choice = self.limits.currentData()
        if choice == DISPLAYED and layer is not None:
            low, high = getattr(layer, "contrast_limits", (0.0, 1.0))
            return float(low), float(high)
        if choice != GIVEN:
            return None
        try:
            return float(self.low.text()), float(self.high.text())
        except ValueError:
            raise SettingError(
                f"The limits '{self.low.text()}' and '{self.high.text()}' are not two numbers.",
                "Give both, or let them be found.",
            ) from None

    def _tell(self, *args: object) -> None:
        shown = self._spec is not None and self._spec.needs_limits
        given = shown and self.limits.currentData() == GIVEN
        show_row(self.form, self.pair, visible=given)
        self.summarise(", ".join(self._words(given=given)))
        self.changed.emit()

    def _words(self, *, given: bool) -> list[str]:
        spec, words = self._spec, []
        if spec is None:
            return []
        if given:
            words.append(f"{self.low.text()} to {self.high.text()}")
        elif spec.needs_limits and self.limits.currentData() == DISPLAYED:
            words.append("as displayed")
        if spec.denoise is not None and self.denoise.text() != AUTOMATIC:
            words.append(f"denoise {self.denoise.text()}")
        if self.consistency.currentData() is not None:
            words.append(f"consistency {self.consistency.currentData()}")
        if self.dtype.currentData() is not None:
            words.append(str(self.dtype.currentData()))
        return words
