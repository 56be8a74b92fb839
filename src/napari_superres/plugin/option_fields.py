"""A form for what a model takes beside the settings that all share, made from its row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QLineEdit, QPushButton, QWidget

from napari_superres.plugin.rows import Section, combo, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_superres.models.catalog import Option

_MOST = 2**31 - 1


class OptionFields(Section):
    """One field for each `Option` of a model."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__("Options of the model")
        self.fields: dict[str, QWidget] = {}
        self._options: dict[str, Option] = {}
        self.reset = QPushButton("Defaults", self.inside)
        self.reset.setToolTip("Set all options of the model back.")
        self.reset.clicked.connect(self._reset)
        self.setVisible(False)

    def show_options(self, options: Sequence[Option]) -> None:
        """Make the fields of another model; values of options that both have are kept."""
        if tuple(self._options.values()) == tuple(options):
            return
        before = self.values()
        self._options = {option.name: option for option in options}
        self.form.removeWidget(self.reset)
        while self.form.rowCount():
            self.form.removeRow(0)
        self.fields = {option.name: _field(option) for option in options}
        for name, field in self.fields.items():
            label = name.replace("_", " ")
            field.setAccessibleName(label)
            field.setToolTip(self._options[name].help)
            self.form.addRow(label[0].upper() + label[1:], field)
            _change_of(field).connect(self._tell)
        self.form.addRow(self.reset)
        self.setVisible(bool(options))
        self.put({name: value for name, value in before.items() if name in self.fields})
        self._tell()

    def values(self) -> dict[str, Any]:
        """Return the options that differ from their defaults."""
        found = {name: _value(field) for name, field in self.fields.items()}
        return {name: v for name, v in found.items() if v != self._options[name].default}

    def put(self, values: Mapping[str, Any]) -> None:
        """Set some of the options."""
        for name, value in values.items():
            _put(self.fields[name], value)

    def _reset(self) -> None:
        self.put({option.name: option.default for option in self._options.values()})

    def _tell(self, *args: object) -> None:
        changed = self.values()
        self.reset.setEnabled(bool(changed))
        self.summarise(", ".join(f"{k.replace('_', ' ')} {v}" for k, v in changed.items()))
        self.changed.emit()


def _field(option: Option) -> QWidget:
    default = option.default
    if option.choices:
        field: QWidget = combo("", "", [(word, word, "") for word in option.choices])
    elif isinstance(default, bool):
        field = QCheckBox()
    elif isinstance(default, int | float):
        low = -_MOST if option.low is None else option.low
        high = _MOST if option.high is None else option.high
        field = number("", "", low, high, decimals=0 if isinstance(default, int) else 2)
    else:
        field = QLineEdit()
    _put(field, default)
    return field


def _value(field: QWidget) -> Any:
    if isinstance(field, QComboBox):
        return field.currentData()
    if isinstance(field, QCheckBox):
        return field.isChecked()
    if isinstance(field, QLineEdit):
        return field.text()
    value = field.value()
    return round(value, 6) if isinstance(value, float) else value


def _put(field: QWidget, value: Any) -> None:
    if isinstance(field, QComboBox):
        field.setCurrentIndex(field.findData(value))
    elif isinstance(field, QCheckBox):
        field.setChecked(value)
    elif isinstance(field, QLineEdit):
        field.setText(value)
    else:
        field.setValue(value)


def _change_of(field: QWidget) -> Any:
    if isinstance(field, QComboBox):
        return field.currentIndexChanged
    if isinstance(field, QCheckBox):
        return field.toggled
    if isinstance(field, QLineEdit):
        return field.textChanged
    return field.valueChanged
