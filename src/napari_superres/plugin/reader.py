"""Open TIFF, OME-TIFF and OME-Zarr in napari with their axes, pixel size, channels and history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_warning
from qtpy.QtWidgets import QApplication, QInputDialog

from napari_superres.errors import AxesError
from napari_superres.formats import read
from napari_superres.plugin.layer_tuples import LayerTuple, image_to_layer_data

if TYPE_CHECKING:
    from napari_superres.image import Image

Reader = Callable[[str | Sequence[str]], list[LayerTuple]]

_SUFFIXES = (".zarr", ".tif", ".tiff")


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the function that opens a path, or None if it is not ours.

    Parameters
    ----------
    path : str or sequence of str
        What was dropped on the viewer. A sequence that napari wants as one stack is left to others:
        how separate files form a stack is not known.
    """
    if not isinstance(path, str):
        return None
    return open_layers if path.lower().rstrip("/\\").endswith(_SUFFIXES) else None


def open_layers(path: str | Sequence[str]) -> list[LayerTuple]:
    """Return the layers of an image file, without reading a pixel.

    Parameters
    ----------
    path : str or sequence of str
        Each path becomes its own layers.

    Returns
    -------
    list of (data, kwargs, layer type)

    Raises
    ------
    UnreadableError
        If the file is broken or of an unknown kind.
    AxesError
        If it does not say which axis is which, and nobody answers the question.
    """
    paths = [path] if isinstance(path, str) else list(path)
    images = [_read(one) for one in paths]
    for image in images:
        for warning in image.warnings:
            show_warning(warning)
    return [layer for image in images for layer in image_to_layer_data(image)]


def _read(path: str) -> Image:
    try:
        return read(path)
    except AxesError as error:
        if QApplication.instance() is None:
            raise
        axes = _ask(error)
        if not axes:
            raise
        return read(path, axes=axes)


def _ask(error: AxesError) -> str:
    """Return the axes that the user types, or an empty string."""
    parent: Any = QApplication.activeWindow()
    question = f"{error.message}\n{error.hint}\n\nAxes, one letter each, in that order:"
    answer, accepted = QInputDialog.getText(parent, "Which axis is which?", question)
    return str(answer).strip().lower() if accepted else ""
