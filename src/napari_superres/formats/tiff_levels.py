"""Where the pixels of a TIFF lie, and how a window of one plane is read from there.

A *plane* here is a picture as the file stores it: rows x columns x samples. Nothing in this module
holds an open file; each reading opens the files it needs and closes them again, so that threads
never share a position, and a file that was looked at can be renamed or replaced on any system.
"""

from __future__ import annotations

import itertools
import math
import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_superres.errors import UnreadableError
from napari_superres.formats.advice import ACCESS, AGAIN
from napari_superres.formats.decoded_cache import decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from napari_superres.formats.file_state import FileState

BROKEN = (
    tifffile.TiffFileError,  # a ValueError in newer versions only
    ValueError,
    RuntimeError,
    TypeError,
    LookupError,
    ArithmeticError,
)
"""What decoders raise on damaged data; imagecodecs derives its errors from RuntimeError."""

_NARROW = 8
"""A window narrower than the row by this factor is read row by row, not as whole rows."""


class OpenFiles(ExitStack):
    """The files of one reading, opened when first needed and closed together."""

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[str, IO[bytes]] = {}
        self._same: set[FileState] = set()

    def check(self, file: FileState) -> None:
        """Refuse a file that changed since it was looked at; asked once a reading.

        Raises
        ------
        UnreadableError
            If it is another one, or gone.
        """
        if file not in self._same:
            if not file.is_current():
                raise UnreadableError(
                    f"'{file.path}' has changed since it was opened.", "Open it again."
                )
            self._same.add(file)

    def read(self, path: str, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes from `offset`.

        Raises
        ------
        UnreadableError
            If the file ends before, or cannot be opened.
        """
        try:
            if path not in self._open:
                self._open[path] = self.enter_context(open(path, "rb", buffering=0))  # noqa: SIM115
            file = self._open[path]
            if offset + count > os.fstat(file.fileno()).st_size:
                raise UnreadableError(
                    f"'{path}' is truncated: it ends before byte {offset + count:,}.",
                    AGAIN,
                )
            file.seek(offset)
            data = file.read(count)
        except OSError as error:
            if isinstance(error, UnreadableError):
                raise
            raise UnreadableError(f"'{path}' cannot be read: {error}.", ACCESS) from error
        if len(data) < count:
            raise UnreadableError(
                f"'{path}' cannot be read: {len(data)} of {count} bytes came.", ACCESS
            )
        return data


@dataclass(frozen=True)
class Geometry:
    """The size of a plane and how planes are counted.

    Parameters
    ----------
    rows, columns, samples : int
        Shape of a plane; more than one sample only where they are interleaved.
    per_page : int
        Planes of one TIFF page: separate samples times depth.
    dtype : np.dtype
        In the machine's byte order.
    """

    rows: int
    columns: int
    samples: int
    per_page: int
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class ContiguousLevel:
    """Planes that lie behind one another in one file, unpacked.

    Parameters
    ----------
    geometry : Geometry
    file : FileState
    offset : int
        Of the first plane, in bytes.
    stored : np.dtype
        In the file's byte order.
    piece : (int, int)
        Rows and columns that are read at once; here anything goes.
    """

    geometry: Geometry
    file: FileState
    offset: int
    stored: np.dtype[Any]
    piece: tuple[int, int] = (1, 1)

    @property
    def files(self) -> set[FileState]:
        """The files that hold it."""
        return {self.file}

    def window(self, files: OpenFiles, plane: int, ys: range, xs: range) -> np.ndarray:
        """Return a window of one plane, (y, x, sample)."""
        files.check(self.file)
        g = self.geometry
        pixel = g.samples * self.stored.itemsize
        row = g.columns * pixel
        start = self.offset + (plane * g.rows + ys.start) * row
        if len(xs) * _NARROW < g.columns:
            parts = [
                files.read(self.file.path, start + i * row + xs.start * pixel, len(xs) * pixel)
                for i in range(len(ys))
            ]
            data, columns = b"".join(parts), range(len(xs))
        else:
            data, columns = files.read(self.file.path, start, len(ys) * row), xs
        width = len(data) // (len(ys) * pixel)
        pixels = np.frombuffer(data, self.stored).reshape(len(ys), width, g.samples)
        return pixels[:, columns.start : columns.stop].astype(g.dtype, copy=False)


@dataclass(frozen=True)
class Page:
    """The strips or tiles of one TIFF page, and the function that decodes them.

    Parameters
    ----------
    file : FileState
    offsets, counts : tuple of int
        Where the pieces lie, in bytes; 0 for pieces that were never written.
    decode : callable
        Of tifffile: ``decode(data, index, **options) -> (array, place, shape)``.
    options : mapping
        For `decode`.
    """

    file: FileState
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    decode: Callable[..., Any]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class SegmentedLevel:
    """Planes that are stored as strips or tiles, compressed or not.

    Parameters
    ----------
    geometry : Geometry
    pages : tuple of Page
    depth : int
        Planes of a page along z (the tag ImageDepth); nearly always 1.
    tile : (int, int, int)
        Depth, rows and columns of a piece.
    fill : int or float
        Value of pieces that were never written.
    state : FileState
        Of the file that describes them, which may be another one than holds them.
    keep : bool
        Whether decoded pieces are worth keeping: not where they are stored unpacked.
    """

    geometry: Geometry
    pages: tuple[Page, ...]
    depth: int
    tile: tuple[int, int, int]
    fill: float
    state: FileState
    keep: bool

    @property
    def piece(self) -> tuple[int, int]:
        """Rows and columns that are decoded at once."""
        return self.tile[1], self.tile[2]

    @property
    def files(self) -> set[FileState]:
        """The files that hold it."""
        return {page.file for page in self.pages}

    def window(self, files: OpenFiles, plane: int, ys: range, xs: range) -> np.ndarray:
        """Return a window of one plane, (y, x, sample)."""
        g = self.geometry
        page, part = divmod(plane, g.per_page)
        files.check(self.pages[page].file)
        separate, z = divmod(part, self.depth)
        _, height, width = self.tile
        out = np.full((len(ys), len(xs), g.samples), self.fill, g.dtype)
        for row, column in itertools.product(_touched(ys, height), _touched(xs, width)):
            pixels = self._decoded(files, page, self._number(separate, z, row, column))
            if pixels is None:
                continue
            top, left = row * height, column * width
            # The last piece of a row or column may reach beyond the picture, or stop at its edge.
            bottom = min(top + pixels.shape[1], ys.stop)
            right = min(left + pixels.shape[2], xs.stop)
            y0, x0 = max(top, ys.start), max(left, xs.start)
            out[y0 - ys.start : bottom - ys.start, x0 - xs.start : right - xs.start] = pixels[
                z % self.tile[0], y0 - top : bottom - top, x0 - left : right - left
            ]
        return out

    def _number(self, separate: int, z: int, row: int, column: int) -> int:
        deep, high, wide = (
            math.ceil(n / size)
            for n, size in zip(
                (self.depth, self.geometry.rows, self.geometry.columns), self.tile, strict=True
            )
        )
        return ((separate * deep + z // self.tile[0]) * high + row) * wide + column

    def _decoded(self, files: OpenFiles, number: int, index: int) -> np.ndarray | None:
        """Return a piece as (z, y, x, sample); None where it was never written."""
        page = self.pages[number]
        if index >= len(page.offsets) or index >= len(page.counts):
            raise UnreadableError(
                f"'{page.file.path}' has no piece {index} of plane {number}: its header claims "
                f"{self.geometry.rows} x {self.geometry.columns} pixels, its tables list "
                f"{len(page.offsets)} pieces.",
                "The header is wrong or the file damaged; save it again from its source.",
            )
        if page.counts[index] == 0 or page.offsets[index] == 0:
            return None

        def decode() -> np.ndarray:
            data = files.read(page.file.path, page.offsets[index], page.counts[index])
            try:
                pixels = page.decode(data, index, **page.options)[0]
                return np.asarray(pixels, self.geometry.dtype)
            except (*BROKEN, MemoryError) as error:
                raise UnreadableError(
                    f"'{page.file.path}': strip or tile {index} of plane {number} cannot be "
                    f"decoded ({str(error) or type(error).__name__}).",
                    "The file is damaged there; copy it again, or leave that plane out.",
                ) from error

        if not self.keep:
            return decode()
        return decoded.get((self.state, page.file, page.offsets[index]), decode)


Level = ContiguousLevel | SegmentedLevel


def _touched(wanted: range, size: int) -> Iterator[int]:
    return iter(range(wanted.start // size, -(-wanted.stop // size)))
