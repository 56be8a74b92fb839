"""TIFF in all its dialects as an `Image`: plain, BigTIFF, ImageJ, OME-TIFF."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres.errors import InputError
from napari_superres.formats.suffixes import split_suffix
from napari_superres.formats.tiff_array import lazy_pixels
from napari_superres.formats.tiff_axes import apply_order, order_axes
from napari_superres.formats.tiff_facts import Facts, gather_facts
from napari_superres.formats.tiff_index import TiffIndex, open_index
from napari_superres.image import Channel, Image, check_axes

if TYPE_CHECKING:
    from napari_superres.formats.tiff_series import Series


def open_image(path: str, *, axes: str | None = None, series: int = 0, level: int = 0) -> Image:
    """Return an image of a TIFF file. No pixel is read.

    Parameters
    ----------
    path : str
        Of the file.
    axes : str, optional
        One lower-case letter an axis, in the order in which the file holds them; replaces what the
        file says. Needed for stacks that do not name their axes.
    series : int
        Which image of the file, counted from 0.
    level : int
        Which resolution becomes the image, 0 the finest; coarser ones become its `levels`.

    Returns
    -------
    Image
        y and x last, then ``s`` for RGB.

    Raises
    ------
    AxesError
        If the file does not name an axis, and `axes` is not given or does not fit.
    UnreadableError
        If the file is empty, truncated, damaged, incomplete or names files outside its folder.
    InputError
        If there is no such series or level, or its pixels cannot be upscaled.
    """
    real = os.path.realpath(path)
    index = open_index(real)
    found = _chosen(index, series, level)
    name = _name(index, series)
    order = order_axes(found, axes, real)
    arrays = [
        apply_order(lazy_pixels(index, series, n, samples_first=order.samples_first), order)
        for n in range(level, len(found.levels))
    ]
    check_axes(order.final, arrays[0].shape, real)
    facts = gather_facts(index, series)
    pixel_size, translation = _placed(facts, found, level, order.final)
    return Image(
        data=arrays[0],
        axes=order.final,
        pixel_size=pixel_size,
        units=tuple(facts.units.get(a) for a in order.final),
        translation=translation,
        channels=_described(facts, order.final, arrays[0].shape),
        name=name,
        is_labels=facts.is_labels or arrays[0].dtype == np.bool_,
        levels=tuple(arrays[1:]),
        source={
            "path": real,
            "series": series,
            "level": level,
            "size": index.file.size,
            "mtime_ns": index.file.mtime_ns,
            **_other_files(found),
        },
        metadata=facts.metadata,
        history=facts.history,
        warnings=(
            *index.warnings,
            *facts.warnings,
            *((order.doubt,) if order.doubt else ()),
            *_elsewhere(index, series),
        ),
    )


def series_in(path: str) -> tuple[int, tuple[int, ...]]:
    """Return how many series a file describes, and which of them have pixels in the file itself.

    Of a data set, each file may describe all series and hold one.
    """
    index = open_index(os.path.realpath(path))
    return len(index.series), _held(index)


def _chosen(index: TiffIndex, series: int, level: int) -> Series:
    if not 0 <= series < len(index.series):
        listing = ", ".join(
            f"{i}: {one.name or 'unnamed'} ({' x '.join(map(str, one.shape))})"
            for i, one in enumerate(index.series[:12])
        )
        raise InputError(
            f"'{index.path}' has no series {series}; it holds {len(index.series)} ({listing}).",
            f"Use series=0 to {len(index.series) - 1}.",
        )
    found = index.series[series]
    if not 0 <= level < len(found.levels):
        raise InputError(
            f"'{index.path}' has no level {level}; it holds {len(found.levels)}.",
            f"Use level=0 to {len(found.levels) - 1}; 0 is the finest.",
        )
    return found


def _held(index: TiffIndex) -> tuple[int, ...]:
    """Return the series whose pixels lie, at least in part, in the file itself."""
    return tuple(n for n, one in enumerate(index.series) if index.path in _holders(one))


def _holders(found: Series) -> list[str]:
    """Return the paths of the files that hold a series' pixels."""
    return sorted({file.path for level in found.levels for file in level.files})


def _elsewhere(index: TiffIndex, series: int) -> tuple[str, ...]:
    """Say that the chosen series lies in other files, where the file itself may be meant."""
    holders, held = _holders(index.series[series]), _held(index)
    if len(index.series) == 1 or index.path in holders:
        return ()
    where = "another file" if len(holders) == 1 else f"{len(holders)} other files"
    listed = ", ".join(map(str, held)) or "none"
    return (
        f"Series {series} lies in {where} of this data set, '{os.path.basename(holders[0])}'; "
        f"this file holds series {listed}. Choose with series=.",
    )


def _other_files(found: Series) -> dict[str, Any]:
    """Return all files of a data set that has several, under ``files``, and their states."""
    if len(found.files) == 1:
        return {}
    states = {file.path: [file.size, file.mtime_ns] for file in found.files}
    return {"files": list(states), "states": states}


def _name(index: TiffIndex, series: int) -> str:
    stem = split_suffix(index.path)[0]
    if len(index.series) == 1:
        return stem
    return f"{stem} [{index.series[series].name or series}]"


def _placed(
    facts: Facts, found: Series, level: int, axes: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return pixel size and translation of a level: its first pixel covers several finer ones."""
    fine, here = found.levels[0].geometry, found.levels[level].geometry
    ratio = {"y": _ratio(fine.rows, here.rows), "x": _ratio(fine.columns, here.columns)}
    pixel_size, translation = [], []
    for axis in axes:
        size = facts.pixel_size.get(axis, 1.0)
        coarse = size * ratio.get(axis, 1.0)
        pixel_size.append(coarse)
        translation.append(facts.translation.get(axis, 0.0) + (coarse - size) / 2)
    return tuple(pixel_size), tuple(translation)


def _ratio(fine: int, coarse: int) -> float:
    """Return how many fine pixels a coarse one covers; the last one may be cut, or left out."""
    whole = max(1, round(fine / coarse))
    return whole if coarse in (fine // whole, -(-fine // whole)) else fine / coarse


def _described(facts: Facts, axes: str, shape: tuple[int, ...]) -> tuple[Channel, ...]:
    """Return a description for each channel; a colour picture has one, without a colour."""
    count = shape[axes.index("c")] if "c" in axes else 1
    channels = facts.channels
    if "s" in axes:
        samples = max(1, len(channels) // count)
        channels = tuple(Channel(c.name, None, c.window) for c in channels[::samples])
    return channels if len(channels) == count else (Channel(),) * count
