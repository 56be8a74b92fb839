"""Files of microscope vendors, CZI, ND2 and LIF, through the optional readers of bioio."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres.errors import AxesError, InputError, MissingReaderError, UnreadableError
from napari_superres.formats.ome_xml import Ome, OmeXmlError, parse_ome
from napari_superres.formats.suffixes import split_suffix
from napari_superres.image import Channel, Image, check_axes

if TYPE_CHECKING:
    import dask.array as da

_PACKAGES: dict[str, tuple[str, dict[str, Any]]] = {
    # By default a task would read all z-slices at once.
    ".czi": ("bioio_czi", {"chunk_dims": ["Y", "X"]}),
    ".lif": ("bioio_lif", {"chunk_dims": ["Y", "X"]}),
    ".nd2": ("bioio_nd2", {}),
}
"""Suffix -> package with a ``Reader``, and how it is called."""


def open_image(path: str, *, axes: str | None = None, series: int = 0, level: int = 0) -> Image:
    """Return an image of a vendor's file. No pixel is read.

    Parameters
    ----------
    path : str
        Of the file.
    axes : str, optional
        One lower-case letter an axis, in the order of the axes longer than one; replaces what the
        file says.
    series : int
        Which scene of the file, counted from 0.
    level : int
        Which resolution, 0 the finest.

    Returns
    -------
    Image
        Axes of length one are left out, except y and x.

    Raises
    ------
    MissingReaderError
        If bioio's reader for the format is not installed.
    UnreadableError
        If the reader cannot make sense of the file.
    InputError
        If there is no such scene or level, or the pixels are complex.
    """
    real = os.path.realpath(path)
    stem, suffix = split_suffix(real)
    state = os.stat(real)
    reader = _reader(real, suffix)
    scenes = list(reader.scenes)
    levels = len(reader.resolution_levels)
    for what, wish, there in (("series", series, len(scenes)), ("level", level, levels)):
        if not 0 <= wish < there:
            raise InputError(
                f"'{real}' has no {what} {wish}; it holds {there}.",
                f"Use {what}=0 to {there - 1}.",
            )
    try:
        reader.set_scene(series)
        # Readers differ in whether they scale pixel sizes with the level: here level 0 counts.
        pixel_size, units = _calibration(reader)
        full = reader.dims.Y, reader.dims.X
        reader.set_resolution_level(level)
        ratio = {"y": full[0] / reader.dims.Y, "x": full[1] / reader.dims.X}
        data, letters = reader.dask_data, str(reader.dims.order).lower()
    except Exception as error:  # the readers raise whatever their libraries do
        raise _damaged(real, error) from error
    data, letters = _squeezed(data, letters)
    name = stem if len(scenes) == 1 else f"{stem} [{scenes[series]}]"
    data, letters = _arranged(data, letters, axes, name)
    if data.dtype.kind == "c":
        raise InputError(
            f"'{real}' holds complex numbers, which no model upscales.",
            "Save their magnitude or their phase as an image of its own.",
        )
    fine = [pixel_size.get(a, 1.0) for a in letters]
    coarse = [size * ratio.get(a, 1.0) for a, size in zip(letters, fine, strict=True)]
    ome, problem = _ome(reader)
    return Image(
        data=data,
        axes=letters,
        pixel_size=tuple(coarse),
        units=tuple(units.get(a) for a in letters),
        translation=tuple((c - f) / 2 for c, f in zip(coarse, fine, strict=True)),
        channels=_channels(reader, ome, series, letters, data.shape),
        name=name,
        is_labels=data.dtype == np.bool_,
        source={
            "path": real,
            "series": series,
            "level": level,
            "size": state.st_size,
            "mtime_ns": state.st_mtime_ns,
        },
        metadata=_metadata(ome, series, len(scenes)),
        warnings=(problem,) if problem else (),
    )


def series_in(path: str) -> tuple[int, tuple[int, ...]]:
    """Return how many scenes a file holds, and their numbers."""
    real = os.path.realpath(path)
    count = len(_reader(real, split_suffix(real)[1]).scenes)
    return count, tuple(range(count))


def _reader(path: str, suffix: str) -> Any:
    package, options = _PACKAGES[suffix]
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise MissingReaderError(
            f"Reading '{path}' needs the optional package '{package.replace('_', '-')}'.",
            'Install it with: pip install "napari-superres[vendor]".',
        ) from error
    try:
        return module.Reader(path, **options)
    except Exception as error:  # the readers raise whatever their libraries do
        raise _damaged(path, error) from error


def _damaged(path: str, error: Exception) -> UnreadableError:
    return UnreadableError(
        f"'{path}' cannot be read: {error or type(error).__name__}.",
        "Copy it again from where it was recorded, or save it as OME-TIFF with the vendor's "
        "program.",
    )


def _squeezed(data: da.Array, letters: str) -> tuple[da.Array, str]:
    """Return the array without axes of length one, as TIFF and its readers have it."""
    keep = [a in "yx" or n > 1 for a, n in zip(letters, data.shape, strict=True)]
    index = tuple(slice(None) if k else 0 for k in keep)
    return data[index], "".join(a for a, k in zip(letters, keep, strict=True) if k)


def _arranged(data: da.Array, own: str, axes: str | None, name: str) -> tuple[da.Array, str]:
    """Return the array with y, x last, then ``s`` for 8-bit colours; other samples are channels."""
    letters = axes or own
    if axes is None and "s" in own:
        samples = data.shape[own.index("s")]
        if data.dtype != np.uint8 or samples not in (3, 4):
            if "c" in own:
                raise AxesError(
                    f"'{name}' has channels of {samples} samples each ({data.dtype}).",
                    "Say with axes= which of the two is 'c'.",
                )
            letters = own.replace("s", "c")
    if len(letters) != data.ndim:
        check_axes(letters, data.shape, name)
    lead = "".join(a for a in letters if a not in "yxs")
    final = lead + "yx" + ("s" if "s" in letters else "")
    check_axes(final, [data.shape[letters.index(a)] for a in final if a in letters], name)
    return data.transpose([letters.index(a) for a in final]), final


def _calibration(reader: Any) -> tuple[dict[str, float], dict[str, str | None]]:
    """Return pixel sizes, which bioio gives in micrometers, and the time step."""
    found = reader.physical_pixel_sizes
    pixel_size = {
        axis: abs(float(value))
        for axis, value in (("z", found.Z), ("y", found.Y), ("x", found.X))
        if value
    }
    units: dict[str, str | None] = dict.fromkeys(pixel_size, "micrometer")
    step = reader.time_interval
    seconds = step.total_seconds() if hasattr(step, "total_seconds") else 0.0
    if seconds > 0:
        pixel_size["t"], units["t"] = seconds, "second"
    return pixel_size, units


def _ome(reader: Any) -> tuple[Ome | None, str]:
    """Return the metadata as OME-XML, and what a user should know if that fails."""
    try:
        return parse_ome(reader.ome_metadata.to_xml()), ""
    except NotImplementedError:  # not every reader translates
        return None, ""
    except OmeXmlError as error:
        return None, f"OME metadata unreadable: {error}."
    except Exception as error:  # translations fail in their own ways, and pixels do not need them
        return None, f"The vendor's metadata could not be translated to OME-XML: {error}."


def _metadata(ome: Ome | None, series: int, scenes: int) -> dict[str, Any]:
    """Return the OME-XML, and which of its images the scene is where that is clear."""
    if ome is None:
        return {}
    which = {"ome_image": series} if len(ome.images) == scenes else {}
    return {"ome_xml": ome.text, **which}


def _channels(
    reader: Any, ome: Ome | None, series: int, letters: str, shape: tuple[int, ...]
) -> tuple[Channel, ...]:
    count = shape[letters.index("c")] if "c" in letters else 1
    found: tuple[Channel, ...] = (Channel(),) * count
    if ome and series < len(ome.images) and len(ome.images[series].channels) == count:
        found = ome.images[series].channels
    names = [str(name) for name in reader.channel_names or ()]
    if len(names) == count:
        found = tuple(replace(c, name=c.name or n) for c, n in zip(found, names, strict=True))
    return found
