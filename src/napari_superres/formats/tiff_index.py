"""What a TIFF file holds and where, found without reading a pixel.

tifffile understands the dialects; this module distrusts what it does quietly: planes that are
missing become zeros there, a broken list of pages becomes a shorter stack, other files are opened
by whatever name the metadata give. All of that is refused here.
"""

from __future__ import annotations

import logging
import math
import os
import struct
import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tifffile

from napari_superres.errors import InputError, UnreadableError
from napari_superres.formats.advice import ACCESS, AGAIN, TOGETHER
from napari_superres.formats.file_state import FileState
from napari_superres.formats.ome_xml import (
    Ome,
    OmeXmlError,
    is_outside,
    looks_like_ome,
    parse_ome,
)
from napari_superres.formats.tiff_chain import follow_chain
from napari_superres.formats.tiff_levels import BROKEN
from napari_superres.formats.tiff_series import Series, build_series

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_UNREADABLE = (*BROKEN, OSError, AttributeError, AssertionError, struct.error, MemoryError)
"""What tifffile raises on headers that make no sense."""

_MOST_KNOWN = 8
"""Files whose index a process keeps. An index of 20 000 pages takes some 20 MB."""


@dataclass(frozen=True)
class TiffIndex:
    """What a file holds.

    Parameters
    ----------
    file : FileState
        The file that was looked at.
    series : tuple of Series
        At least one.
    ome : Ome or None
        Its OME-XML, where it has any that can be read.
    imagej : mapping
        ImageJ's metadata; empty for other files.
    warnings : tuple of str
        What a user should know.
    """

    file: FileState
    series: tuple[Series, ...]
    ome: Ome | None
    imagej: Mapping[str, Any]
    warnings: tuple[str, ...]

    @property
    def path(self) -> str:
        """Real path of the file."""
        return self.file.path

    def is_current(self) -> bool:
        """Return whether the other files of its data set are still what they were."""
        return all(file.is_current() for file in {f for one in self.series for f in one.files})


_known: OrderedDict[FileState, TiffIndex] = OrderedDict()
_lock = threading.Lock()


def open_index(path: str, *, all_files: bool = True) -> TiffIndex:
    """Return what a TIFF file holds; looked up once a process and state of the file.

    Parameters
    ----------
    path : str
        Real path of an existing file.
    all_files : bool
        Whether the other files of its data set must be what they were, too. There can be thousands:
        a reader does without, and checks those that it touches.

    Raises
    ------
    UnreadableError
        If the file is broken or incomplete, or names files outside its folder.
    InputError
        If its pixels are of a kind that cannot be upscaled.
    """
    try:
        file = FileState.of(path)
        with _lock:
            known = _known.get(file)
            if known is not None:
                _known.move_to_end(file)
        if known is not None and (not all_files or known.is_current()):
            return known
        index = _look(file)
    except OSError as error:
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(f"'{path}' cannot be read: {error}.", ACCESS) from error
    with _lock:
        _known[file] = index
        while len(_known) > _MOST_KNOWN:
            _known.popitem(last=False)
    return index


def _look(file: FileState) -> TiffIndex:
    path, start, holder = file.path, file, file
    chain = follow_chain(path)
    warnings: list[str] = []
    ome: Ome | None = None
    flags: dict[str, bool] = {}
    with _understood(path), tifffile.TiffFile(path) as tif:
        description = tif.pages[0].description
    if looks_like_ome(description):
        # Micro-Manager writes a format of its own beside OME-XML; the standard one counts.
        flags["is_mmstack"] = False
        try:
            ome, start, holder = _checked_ome(file, description)
        except OmeXmlError as error:
            warnings.append(f"OME metadata unreadable: {error}.")
            flags["is_ome"] = False
    external = ome.text if ome and start == file and ome.text != description else None
    with _understood(start.path), tifffile.TiffFile(start.path, omexml=external, **flags) as tif:
        imagej = dict(tif.imagej_metadata or {}) if tif.is_imagej else {}
        table = tif.pages[0].colormap
        if imagej and table is not None:  # where ImageJ stores the only one of 8-bit pixels
            imagej.setdefault("LUTs", [table >> 8])
        shaped = [noted.get("shape", ()) for noted in tif.shaped_metadata or ()]
        series = tuple(build_series(start, {file, holder}, found) for found in tif.series)
    if not series:
        raise UnreadableError(f"'{path}' holds no image that can be read.", AGAIN)
    _check_declared(path, series[0], ome, imagej, shaped)
    if chain.problem:
        if series[0].kind not in ("ome", "imagej", "shaped"):
            raise UnreadableError(
                f"'{path}' is truncated or damaged: after {chain.pages} pages, {chain.problem}.",
                AGAIN,
            )
        warnings.append(f"All planes are there, but the list of pages is damaged: {chain.problem}.")
    return TiffIndex(file, series, ome, imagej, tuple(warnings))


def _checked_ome(file: FileState, description: str) -> tuple[Ome, FileState, FileState]:
    """Return the OME-XML of a file, the TIFF to start from, and the file with the text.

    A file of a data set may hold no more than a pointer to where its metadata are: another TIFF,
    or a text of its own. The names in it are looked at first.
    """
    path = file.path
    ome = parse_ome(description)
    names = (*ome.file_names, *(() if ome.metadata_file is None else (ome.metadata_file,)))
    _check_names(path, names)
    if ome.metadata_file is None:
        return ome, file, file
    companion = os.path.join(os.path.dirname(path), ome.metadata_file)
    if not os.path.isfile(companion):
        raise UnreadableError(
            f"The metadata of '{path}' are in '{ome.metadata_file}', which is not beside it.",
            "Put that file into the same folder.",
        )
    holder = FileState.of(os.path.realpath(companion))
    is_tiff = companion.lower().endswith((".tif", ".tiff", ".btf"))
    if is_tiff:
        with _understood(companion), tifffile.TiffFile(companion) as tif:
            text = tif.pages[0].description
    else:
        with open(companion, encoding="utf-8") as stream:
            text = stream.read()
    full = parse_ome(text)
    _check_names(path, full.file_names)
    if full.metadata_file is not None:
        raise OmeXmlError(f"'{ome.metadata_file}' points to '{full.metadata_file}' in turn")
    return full, holder if is_tiff else file, holder


def _check_names(path: str, names: tuple[str, ...]) -> None:
    for name in names:
        if is_outside(name):
            raise UnreadableError(
                f"The metadata of '{path}' name a file outside its folder: '{name}'.",
                "That is not allowed; get the file from a source you trust, or correct the name.",
            )


def _check_declared(
    path: str,
    first: Series,
    ome: Ome | None,
    imagej: Mapping[str, Any],
    shaped: Sequence[Sequence[int]],
) -> None:
    """Compare the number of planes that the metadata declare with what was found."""
    if ome is not None and first.kind != "ome":
        raise UnreadableError(
            f"The OME metadata of '{path}' describe {len(ome.images)} images, but their planes "
            "are not where they say.",
            TOGETHER,
        )
    declared = 1
    if ome is None and imagej:
        declared = math.prod(int(imagej.get(key, 1)) for key in ("channels", "slices", "frames"))
        declared = declared if declared > 1 else int(imagej.get("images", 1))
    elif ome is None and shaped:
        plane = [n for a, n in zip(first.axes, first.shape, strict=True) if a in "yxs"]
        # A shape that ends in another plane was left behind by a program that changed the picture.
        if list(shaped[0][-len(plane) :]) == plane:
            declared = math.prod(shaped[0][: -len(plane)])
    found = math.prod(
        n
        for a, n in zip(first.axes, first.shape, strict=True)
        if a not in ("yx" if imagej else "yxs")
    )
    if found < declared:
        raise UnreadableError(
            f"'{path}' declares {declared} planes, but only {found} of them are there.", AGAIN
        )


@contextmanager
def _understood(path: str) -> Iterator[None]:
    """Turn what tifffile raises on a damaged header into an error that names the file.

    Its log lines of this thread stay off the terminal: what matters in them is checked here.
    """
    me = threading.get_ident()
    logger = logging.getLogger("tifffile")

    def is_foreign(record: logging.LogRecord) -> bool:
        return record.thread != me

    logger.addFilter(is_foreign)
    try:
        yield
    except InputError:
        raise
    except _UNREADABLE as error:
        raise UnreadableError(
            f"'{path}' is damaged: its header makes no sense ({error}).", AGAIN
        ) from error
    finally:
        logger.removeFilter(is_foreign)
