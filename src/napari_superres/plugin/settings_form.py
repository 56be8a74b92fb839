"""The fields that edit the settings of a plan; each is a keyword of `upscale`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_superres.plugin.compute_fields import ComputeFields
from napari_superres.plugin.intensity_fields import IntensityFields
from napari_superres.plugin.model_fields import ModelFields
from napari_superres.plugin.option_fields import OptionFields

if TYPE_CHECKING:
    from napari_superres.models.catalog import ModelSpec


class SettingsForm(QWidget):
    """Model and factor, the model's own options, intensities, and where to compute."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.models = ModelFields()
        self.options = OptionFields()
        self.intensity = IntensityFields()
        self.compute = ComputeFields()
        self.parts = (self.models, self.options, self.intensity, self.compute)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in self.parts:
            layout.addWidget(part)
            part.changed.connect(self.changed)
        # Short names for scripts.
        self.model, self.scale = self.models.model, self.models.scale
        self.chip, self.download = self.models.chip, self.models.download
        self.denoise, self.consistency = self.intensity.denoise, self.intensity.consistency
        self.device = self.compute.device
        self.models.model_changed.connect(self._model_changed)
        self._model_changed()

    @property
    def spec(self) -> ModelSpec | None:
        """The chosen model's row; None when its file cannot be used."""
        return self.models.spec

    def check(self) -> None:
        """Refuse a model that cannot be used now, with what to click or type.

        Raises
        ------
        WeightsError
            If its file is not one of weights, or they are not on this computer.
        LicenceError
            If its licence must be accepted first.
        """
        self.models.check()

    def choose(self, model: str, scale: int | None = None) -> None:
        """Choose a model by name or file, and a factor."""
        self.models.choose(model, scale)

    def settings(self, layer: Any = None) -> dict[str, Any]:
        """Return the keywords for `upscale` and `plan_for`; what is left to default is left out.

        Parameters
        ----------
        layer : napari.layers.Image, optional
            What is to be made finer, for settings that are taken from a layer's display.

        Raises
        ------
        SettingError
            If what was typed has no meaning.
        """
        options = self.options.values()
        return {
            "model": self.model.currentData(),
            "scale": self.scale.currentData(),
            **self.intensity.settings(layer),
            **self.compute.settings(),
            **({"options": options} if options else {}),
        }

    def _model_changed(self) -> None:
        spec = self.spec
        self.options.show_options(spec.options if spec else ())
        self.intensity.show_model(spec)
        self.compute.show_model(spec)
