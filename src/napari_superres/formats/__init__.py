"""Files to images: what a path holds is decided by its suffix, and read when pixels are needed."""

from __future__ import annotations

import errno
import importlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from napari_superres.errors import InputError, SuperresError, UnreadableError
from napari_superres.formats.completeness import check_complete
from napari_superres.formats.suffixes import READERS, split_suffix

if TYPE_CHECKING:
    from napari_superres.image import Image

__all__ = ["READERS", "MissingFileError", "is_image_folder", "read"]

_ZARR = READERS[".zarr"]


class MissingFileError(UnreadableError, FileNotFoundError):
    """There is no such file.

    Parameters
    ----------
    path : str
        Where it was looked for.
    """

    def __init__(self, path: str) -> None:
        super().__init__(f"'{path}' does not exist.", "Check the spelling and the folder.")
        self.errno = errno.ENOENT
        self.strerror = os.strerror(errno.ENOENT)
        self.filename = path


def read(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    series: int = 0,
    level: int = 0,
    missing: Literal["warn", "error"] = "warn",
) -> Image:
    """Return the image at a path, without reading a pixel.

    Parameters
    ----------
    path : str or path-like
        A file, an OME-Zarr folder, or the URL of one. ``~`` is the home folder.
    axes : str, optional
        One lower-case letter an axis, in the stored order, such as ``"tzyx"``; ``s`` for the
        samples of a colour picture. Replaces what the file says, and is needed where it says
        nothing.
    series : int
        Which image of a file that holds several, counted from 0.
    level : int
        Which resolution becomes the image, 0 the finest.
    missing : {"warn", "error"}
        What to do about chunks or tiles that are not there, and read as a constant: formats leave
        out what holds nothing else, so only you know whether they should be. "warn" tells their
        number in `Image.warnings`, as far as that can be found out quickly.

    Returns
    -------
    Image
        Its pixels are read, by path, in whatever process computes them.

    Raises
    ------
    UnreadableError
        If there is no such file, its format is not known, or it is broken or incomplete.
    AxesError
        If it does not say which axis is which.
    MissingDependencyError
        If its format needs an optional package.
    """
    image = _found(os.fspath(path), axes, series, level)
    if missing == "error":
        check_complete(image)
    return replace(image, source={**image.source, "axes": axes}) if axes else image


def _found(text: str, axes: str | None, series: int, level: int) -> Image:
    if "://" in text:
        return _open(_ZARR, text, axes, series, level)
    text = os.path.expanduser(text)
    if not os.path.exists(text):
        raise MissingFileError(text)
    if os.path.isdir(text):
        _check_folder(text)
        return _open(_ZARR, text, axes, series, level)
    suffix = split_suffix(text)[1]
    if not suffix:
        raise UnreadableError(
            f"The format of '{text}' is not known.", f"Known are {', '.join(sorted(READERS))}."
        )
    return _open(READERS[suffix], text, axes, series, level)


def _open(module: str, path: str, axes: str | None, series: int, level: int) -> Image:
    opener = importlib.import_module(module)
    try:
        image: Image = opener.open_image(path, axes=axes, series=series, level=level)
    except OSError as error:
        if isinstance(error, SuperresError):
            raise
        raise UnreadableError(
            f"'{path}' cannot be read: {error.strerror or error}.", "Check its permissions."
        ) from error
    return image


def is_image_folder(path: str) -> bool:
    """Return whether a folder is a Zarr group or array, and not one that holds files."""
    return any(name in ("zarr.json", ".zgroup", ".zarray", ".zattrs") for name in os.listdir(path))


def _check_folder(path: str) -> None:
    """Refuse folders of pictures: how they belong together is not known."""
    if is_image_folder(path):
        return
    names = os.listdir(path)
    pictures = sum(name.lower().endswith((".tif", ".tiff", ".png", ".jpg")) for name in names)
    if pictures:
        raise InputError(
            f"'{path}' is a folder with {pictures} pictures, and how they form a stack is not "
            "known.",
            "Give one of the files; or make one stack of them, for example with Fiji: "
            "File > Import > Image Sequence, then save it as OME-TIFF.",
        )
