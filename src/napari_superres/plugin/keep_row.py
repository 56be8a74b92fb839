"""Keep a result: export it, or copy how it was made."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QApplication, QFileDialog, QHBoxLayout, QMenu, QPushButton, QWidget

from napari_superres.errors import InputError
from napari_superres.plugin.files import file_name, folder_of
from napari_superres.plugin.layer_axes import layer_axes
from napari_superres.plugin.layer_history import history_of, joined_history
from napari_superres.plugin.layer_tuples import joined
from napari_superres.plugin.layers import layer_to_image
from napari_superres.plugin.view import plane_on_screen
from napari_superres.provenance import citations, methods_text
from napari_superres.repeating import as_command, as_python, call
from napari_superres.selection import select

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_superres.image import Image

    Record = Mapping[str, Any]

PYTHON, COMMAND, METHODS = "python", "command", "methods"

_FORMATS = {
    "OME-Zarr (*.ome.zarr)": ".ome.zarr",
    "OME-TIFF (*.ome.tif)": ".ome.tif",
    "PNG, the plane on the screen (*.png)": ".png",
}
_COPIES = (
    (PYTHON, "Copy as Python", "A program that makes the same pixels again."),
    (COMMAND, "Copy as command", "A command line that makes the same pixels again."),
    (METHODS, "Copy methods text", "A paragraph for a paper, with references."),
)
_WORDS = {PYTHON: "a program", COMMAND: "a command", METHODS: "a paragraph"}


class KeepRow(QWidget):
    """Two buttons: *Export...* and *Copy*, which has a menu."""

    copy_wanted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.export = QPushButton("Export...")
        self.export.setToolTip(
            "Write the selected result, or the last one, to .ome.zarr, .ome.tif or .png."
        )
        self.copy = QPushButton("Copy")
        self.copy.setToolTip("Copy how the selected result, or the next one, is made.")
        self.menu = QMenu(self.copy)
        self.menu.setToolTipsVisible(True)
        self.actions_of: dict[str, Any] = {}
        for kind, text, tip in _COPIES:
            action = self.menu.addAction(text)
            action.setToolTip(tip)
            action.triggered.connect(partial(self._wanted, kind))
            self.actions_of[kind] = action
        self.copy.setMenu(self.menu)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.export)
        layout.addWidget(self.copy)

    def _wanted(self, kind: str, checked: bool = False) -> None:
        self.copy_wanted.emit(kind)


def ask_for_export(parent: QWidget, image: Image) -> str:
    """Return the path that a result is to be exported to.

    Raises
    ------
    InputError
        If none was chosen.
    """
    folder = folder_of(image.source.get("path"))
    path, chosen = QFileDialog.getSaveFileName(
        parent,
        "Export the result",
        str(folder / f"{file_name(image.name)}.ome.zarr"),
        ";;".join(_FORMATS),
        # What is there already is never replaced; the job says so in words.
        options=QFileDialog.Option.DontConfirmOverwrite,
    )
    if not path:
        raise InputError("No file was chosen.", "Nothing is done.")
    known = (".zarr", ".tif", ".tiff", ".png")
    return path if path.lower().endswith(known) else path + _FORMATS.get(chosen, ".ome.zarr")


def image_of(layers: Sequence[Any]) -> Image:
    """Return result layers as one image, several as its channels.

    Raises
    ------
    InputError
        If there are none, or they cannot be channels of one image.
    """
    if not layers:
        raise InputError(
            "There is no result to export yet.", "Press 'Run', or select the layer of a result."
        )
    return joined([layer_to_image(layer) for layer in layers])


def on_screen(viewer: Any, layer: Any, image: Image) -> Image:
    """Return the plane of an image that the viewer shows, for formats that hold one."""
    # The layer's own axes: channels that are layers have none among the sliders.
    planes = plane_on_screen(viewer, layer, layer_axes(layer))
    return select(image, planes=planes) if planes else image


def text_of(kind: str, history: Sequence[Record]) -> str:
    """Return what is copied of how a result was made.

    Parameters
    ----------
    kind : {"python", "command", "methods"}
    history : sequence of mapping
        As in `Image.history`.

    Raises
    ------
    InputError
        If it cannot be said like that, such as a command for a layer that is in no file.
    """
    if kind == METHODS:
        return "\n\n".join([methods_text(history), *citations(history)]) + "\n"
    if kind == COMMAND:
        return as_command(history)
    if history and history[-1]["source"].get("path"):
        return as_python(history)
    return _for_console(history)


def to_clipboard(kind: str, made: Sequence[Sequence[Record]]) -> str:
    """Put the texts of some results where *Paste* finds them, and return a sentence that says so.

    Raises
    ------
    InputError
        If one of them cannot be said like that.
    """
    together = joined_history(made)
    if together[-1]["source"].get("path") and "channel" not in together[-1]:
        made = [together]  # the channels of one file are made at once
    texts = dict.fromkeys(text_of(kind, history) for history in made)
    QApplication.clipboard().setText("\n".join(texts))
    return f"Copied {_WORDS[kind]}: paste it where you need it."


def histories(layers: Sequence[Any]) -> list[tuple[Record, ...]]:
    """Return how each of the layers was made, without those that we did not make."""
    return [history for layer in layers if (history := history_of(layer.metadata))]


def _for_console(history: Sequence[Record]) -> str:
    """Return a program for napari's console, for a layer that is in no file."""
    name = history[0]["source"]["name"]
    lines = [
        "from napari_superres.plugin import upscale_layer",
        "",
        f"layer = viewer.layers[{name!r}]",
    ]
    lines += [f"layer = {call('upscale_layer', 'layer', record)}" for record in history]
    return "\n".join([*lines, "viewer.add_layer(layer)"]) + "\n"
