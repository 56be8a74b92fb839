"""One image inside a TIFF file: its shape, its axes as the file names them, its planes."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres.errors import InputError, UnreadableError
from napari_superres.formats.advice import AGAIN, TOGETHER
from napari_superres.formats.file_state import FileState
from napari_superres.formats.tiff_levels import (
    ContiguousLevel,
    Geometry,
    Level,
    Page,
    SegmentedLevel,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    import tifffile

_JPEG = (6, 7, 33007, 34892)
"""TIFF compressions whose pieces need the tables of their page."""


@dataclass(frozen=True)
class Series:
    """One image of a file, with all its levels.

    Parameters
    ----------
    kind : str
        Which dialect gave the axes: ``"ome"``, ``"imagej"``, ``"shaped"`` (tifffile's own),
        ``"generic"``, ``"uniform"``, ...
    name : str
        Empty where the file gives none.
    axes : str
        Lower case, in the order of the file; ``q`` and ``i`` where it names none; ``s`` is samples.
    shape : tuple of int
        In the order of the file.
    photometric : int
        The TIFF tag of the first page.
    resolution : (float, float)
        Pixels per unit along y and x; 0 where the tag is missing.
    resolution_unit : int
        The TIFF tag: 1 none, 2 inch, 3 centimeter, 4 millimeter, 5 micrometer.
    levels : tuple of Level
        Finest first.
    unwritten : int
        Strips or tiles that the file leaves out.
    files : tuple of FileState
        All that its pixels and its description come from, sorted.
    """

    kind: str
    name: str
    axes: str
    shape: tuple[int, ...]
    photometric: int
    resolution: tuple[float, float]
    resolution_unit: int
    levels: tuple[Level, ...]
    unwritten: int
    files: tuple[FileState, ...]

    @cached_property
    def state(self) -> tuple[Any, ...]:
        """Size and time of its file, or what stands for those of many: each task carries it."""
        if len(self.files) == 1:
            return self.files[0][1:]
        return (hashlib.sha256(repr(self.files).encode()).hexdigest(),)


def build_series(
    file: FileState, described: Collection[FileState], found: tifffile.TiffPageSeries
) -> Series:
    """Return where everything of one image is.

    Parameters
    ----------
    file : FileState
        The file that tifffile started from.
    described : collection of FileState
        The files that describe the image, whether they hold pixels or not.
    found : tifffile.TiffPageSeries
        What tifffile makes of it, with its file still open.

    Raises
    ------
    UnreadableError
        If planes are missing, cut off or stored in an unknown way.
    InputError
        If there are no pixels, or complex ones.
    """
    path, key = file.path, found.keyframe
    if key.dtype is None or found.transform is not None:
        raise UnreadableError(
            f"'{path}' stores its pixels in a way that is not known "
            f"({key.bitspersample} bits, sample format {key.sampleformat}).",
            "Save it as OME-TIFF with another program, such as Fiji.",
        )
    if np.dtype(found.dtype).kind == "c":
        raise InputError(
            f"'{path}' holds complex numbers, which no model upscales.",
            "Save their magnitude or their phase as an image of its own.",
        )
    if 0 in found.shape or 0 in key.shaped:
        listing = " x ".join(str(n) for n in found.shape)
        raise InputError(f"'{path}' holds an image without pixels ({listing}).", AGAIN)
    levels: list[Level] = []
    for number, level in enumerate(found.levels):
        built = _level(file, level)
        if built is None and number == 0:
            raise _incomplete(path, found)
        if built is None:
            break  # a pyramid with holes: what is finer can still be read
        levels.append(built)
    axes, shape = found.axes.lower(), tuple(int(n) for n in found.shape)
    if len(axes) == 1:  # a row of pixels
        axes, shape = "yx", (int(key.shaped[2]), int(key.shaped[3]))
    return Series(
        kind=found.kind,
        name=found.name,
        axes=axes,
        shape=shape,
        photometric=int(key.photometric),
        resolution=(_ratio(key, "YResolution"), _ratio(key, "XResolution")),
        resolution_unit=int(key.tags.valueof("ResolutionUnit", 1)),
        levels=tuple(levels),
        unwritten=sum(
            page.counts.count(0)
            for level in levels
            if isinstance(level, SegmentedLevel)
            for page in level.pages
        ),
        files=tuple(sorted({*described, *(one for level in levels for one in level.files)})),
    )


def _level(file: FileState, found: tifffile.TiffPageSeries) -> Level | None:
    """Return where the pixels of one level lie; None if planes are missing."""
    key = found.keyframe
    separate, depth, rows, columns, samples = (int(n) for n in key.shaped)
    per_page = separate * depth
    planes = math.prod(int(n) for n in found.shape) // (rows * columns * samples)
    native = np.dtype(found.dtype).newbyteorder("=")
    geometry = Geometry(rows, columns, samples, per_page, native)
    offset = found.dataoffset
    files = _Files(file)
    if offset is not None and not found.is_multifile:
        holder = files.find(key.parent.filehandle.path)  # of a data set, it may be another file
        stored = native.newbyteorder(key.parent.byteorder)
        end = int(offset) + planes * rows * columns * samples * stored.itemsize
        # What the header of a single page claims is believed until it is read, and the plan
        # refuses what is absurd. A stack whose planes are known to be cut off is refused at once.
        if planes > per_page and end > holder.size:
            raise _truncated(holder, end)
        _check_extent(holder, key.dataoffsets, key.databytecounts)
        return ContiguousLevel(geometry, holder, int(offset), stored)
    pages = _pages(found, planes // per_page)
    if pages is None:
        return None
    tile = (
        (int(key.tiledepth), int(key.tilelength), int(key.tilewidth))
        if key.is_tiled
        else (1, min(int(key.rowsperstrip), rows), columns)
    )
    if 0 in tile:
        raise UnreadableError(
            f"'{file.path}' is damaged: its header makes no sense (pieces of "
            f"{' x '.join(map(str, tile))} pixels).",
            AGAIN,
        )
    return SegmentedLevel(
        geometry,
        tuple(_page(page, files) for page in pages),
        depth,
        tile,
        key.nodata,
        file,
        keep=int(key.compression) != 1,
    )


def _pages(found: tifffile.TiffPageSeries, count: int) -> list[Any] | None:
    """Return the first `count` pages of a level; None if there are fewer."""
    pages = []
    for i in range(count):
        try:
            page = found[i]
        except IndexError:
            return None
        if page is None:
            return None
        pages.append(page)
    return pages


class _Files:
    """States of the files of a data set, looked up once."""

    def __init__(self, main: FileState) -> None:
        self._known = {main.path: main}

    def find(self, path: str) -> FileState:
        if path not in self._known:
            self._known[path] = FileState.of(os.path.realpath(path))
        return self._known[path]


def _page(page: Any, files: _Files) -> Page:
    file = files.find(page.parent.filehandle.path)
    key = page.keyframe
    offsets, counts = tuple(page.dataoffsets), tuple(page.databytecounts)
    _check_extent(file, offsets, counts)
    is_jpeg = int(key.compression) in _JPEG
    options = {"jpegtables": page.jpegtables, "jpegheader": key.jpegheader} if is_jpeg else {}
    return Page(file, offsets, counts, key.decode, options)


def _check_extent(file: FileState, offsets: tuple[int, ...], counts: tuple[int, ...]) -> None:
    end = max((o + c for o, c in zip(offsets, counts, strict=False)), default=0)
    if end > file.size:
        raise _truncated(file, end)


def _ratio(page: Any, tag: str) -> float:
    value = page.tags.valueof(tag, (0, 1))
    try:
        return float(value[0]) / float(value[1])
    except (TypeError, ZeroDivisionError, LookupError):
        return 0.0


def _truncated(file: FileState, end: int) -> UnreadableError:
    return UnreadableError(
        f"'{file.path}' is truncated: its pixels reach to byte {end:,}, but the file has "
        f"{file.size:,}.",
        AGAIN,
    )


def _incomplete(path: str, found: tifffile.TiffPageSeries) -> UnreadableError:
    size = math.prod(int(n) for n in found.keyframe.shaped)
    declared = math.prod(int(n) for n in found.shape) // size
    there = 0
    for i in range(declared):
        try:
            there += found[i] is not None
        except IndexError:
            break
    return UnreadableError(
        f"'{path}' declares {declared} planes, but only {there} of them are there.", TOGETHER
    )
