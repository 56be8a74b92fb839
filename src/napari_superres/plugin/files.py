"""Where the panel's results go, asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog

from napari_superres.errors import InputError

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_superres.image import Image


def ask_for_path(parent: QWidget, image: Image, scale: int) -> str:
    """Return the OME-Zarr folder that a result is to be written to.

    Raises
    ------
    InputError
        If none was chosen.
    """
    path, _ = QFileDialog.getSaveFileName(
        parent,
        "Write the result as OME-Zarr",
        beside(_folder(image), image, scale),
        "OME-Zarr (*.ome.zarr)",
        # What is there already is never replaced; the job says so in words.
        options=QFileDialog.Option.DontConfirmOverwrite,
    )
    if not path:
        raise InputError("No file was chosen.", "Nothing is done.")
    return path if path.endswith(".zarr") else f"{path}.ome.zarr"


def ask_for_folder(parent: QWidget, image: Image) -> str:
    """Return the folder that the results of several layers are to be written to.

    Raises
    ------
    InputError
        If none was chosen.
    """
    folder = QFileDialog.getExistingDirectory(
        parent, "A folder for the results, one file a layer", _folder(image)
    )
    if not folder:
        raise InputError("No folder was chosen.", "Nothing is done.")
    return str(folder)


def beside(folder: str, image: Image, scale: int) -> str:
    """Return the path of a result in a folder, named after its source."""
    return str(Path(folder) / f"{file_name(image.name)}_x{scale}.ome.zarr")


def file_name(name: str) -> str:
    """Return a layer's name as every system allows it for a file; a colon means a drive to Windows.

    https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
    """
    return re.sub(r'[<>:"/\\|?*\x00-\x1f]', "-", name).rstrip(" .") or "image"


def folder_of(path: object) -> Path:
    """Return the folder of a file; the user's own where there is none, or it is on a server."""
    return Path(str(path)).parent if path and "://" not in str(path) else Path.home()


def _folder(image: Image) -> str:
    return str(folder_of(image.source.get("path")))
