"""Which module reads which file, by suffix. A new format is one module and one line here."""

from __future__ import annotations

import os
from pathlib import Path

_HERE = "napari_superres.formats"

READERS: dict[str, str] = {
    ".ome.zarr": f"{_HERE}.ome_zarr",
    ".zarr": f"{_HERE}.ome_zarr",
    ".ome.tiff": f"{_HERE}.tiff",
    ".ome.tif": f"{_HERE}.tiff",
    ".ome.btf": f"{_HERE}.tiff",
    ".tiff": f"{_HERE}.tiff",
    ".tif": f"{_HERE}.tiff",
    ".btf": f"{_HERE}.tiff",
    ".tf8": f"{_HERE}.tiff",
    ".tf2": f"{_HERE}.tiff",
    ".png": f"{_HERE}.picture",
    ".jpeg": f"{_HERE}.picture",
    ".jpg": f"{_HERE}.picture",
    ".czi": f"{_HERE}.vendor",
    ".nd2": f"{_HERE}.vendor",
    ".lif": f"{_HERE}.vendor",
}
"""Suffix -> module with a function ``open_image(path, *, axes, series, level)``.

Modules are imported when a file needs them.
"""

RECORDED = (".ome.zarr", ".ome.tif")
"""Of results that say how they were made, so that they can be told from others later."""


def split_suffix(path: str) -> tuple[str, str]:
    """Return a file's name without its folder and suffix, and the suffix in lower case.

    Parameters
    ----------
    path : str
        Of a file or folder, or a URL.

    Returns
    -------
    stem : str
        ``"cells"`` of ``"data/cells.ome.tif"``.
    suffix : str
        The longest known one; empty if none is.
    """
    name = os.path.basename(path.rstrip("/\\"))
    for suffix in sorted(READERS, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)], suffix
    return name, ""


def result_path(source: str, scale: int) -> str:
    """Return where a result goes when nobody says: beside its source, with the scale factor.

    Parameters
    ----------
    source : str
        A file or a folder; the result of a URL lies in the working folder.
    scale : int
    """
    folder = Path() if "://" in source else Path(source).parent
    return str(folder / f"{split_suffix(source)[0]}_x{scale}.ome.zarr")


def spread_path(path: str) -> str:
    """Return where the spread of a result goes: beside it, as floats, which PNG cannot hold.

    Parameters
    ----------
    path : str
        Of the result; a file, a folder or a URL.
    """
    stem, suffix = split_suffix(path)
    whole = path.rstrip("/\\")
    folder = whole[: len(whole) - len(stem) - len(suffix)]
    return f"{folder}{stem}_spread{'.ome.tif' if suffix == '.png' else suffix}"
