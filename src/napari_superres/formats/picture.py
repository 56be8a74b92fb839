"""PNG and JPEG: single pictures, read lazily, and PNG written.

At open a few bytes of the header are read; imagecodecs decodes when pixels are asked for.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask.array as da
import imagecodecs
import numpy as np

from napari_superres.errors import AxesError, InputError, OutputError, UnreadableError
from napari_superres.formats.advice import ACCESS, AGAIN, ONE_IMAGE
from napari_superres.formats.decoded_cache import decoded
from napari_superres.formats.kept_history import read_history
from napari_superres.formats.picture_header import PNG, RECORD, Picture, read_header
from napari_superres.formats.suffixes import split_suffix
from napari_superres.image import Channel, Image, check_axes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class PictureArray:
    """The pixels of a PNG or JPEG; decoded as a whole when a region is asked for.

    Parameters
    ----------
    path : str
        Real path.
    state : (int, int)
        Size in bytes and modification time in nanoseconds that the file must still have.
    shape : tuple of int
        (y, x), (y, x, sample) or (sample, y, x).
    dtype : np.dtype
        uint8 or uint16.
    samples_first : bool
        Whether samples are channels, shown before y and x.
    """

    path: str
    state: tuple[int, int]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    samples_first: bool

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("PictureArray", self.path, self.state, self.shape)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return a region, as of a numpy array.

        Raises
        ------
        UnreadableError
            If the file is damaged, or is no longer the one that was opened.
        """
        pixels = decoded.get((self.path, self.state), self._decode)
        if self.samples_first:
            pixels = np.moveaxis(pixels, -1, 0)
        return np.array(pixels[key])

    def _decode(self) -> np.ndarray:
        try:
            state = os.stat(self.path)
            with open(self.path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise UnreadableError(f"'{self.path}' cannot be read: {error}.", ACCESS) from error
        if (state.st_size, state.st_mtime_ns) != self.state:
            raise UnreadableError(
                f"'{self.path}' has changed since it was opened.", "Open it again."
            )
        decode = imagecodecs.png_decode if data.startswith(PNG) else imagecodecs.jpeg_decode
        try:
            pixels = np.asarray(decode(data))
        except (ValueError, RuntimeError, MemoryError) as error:
            raise UnreadableError(f"'{self.path}' is damaged: {error}.", AGAIN) from error
        shape = (*self.shape[1:], self.shape[0]) if self.samples_first else self.shape
        if pixels.shape != shape or pixels.dtype != self.dtype:
            raise UnreadableError(
                f"'{self.path}' holds other pixels ({pixels.shape}, {pixels.dtype}) than its "
                f"header says ({shape}, {self.dtype}).",
                AGAIN,
            )
        return pixels


def open_image(path: str, *, axes: str | None = None, series: int = 0, level: int = 0) -> Image:
    """Return a PNG or JPEG as an image. No pixel is decoded.

    Parameters
    ----------
    path : str
        Of the file.
    axes : str, optional
        Letters for y and x, and for the samples in last place if there are several.
    series, level : int
        0: a picture has one series and one level.

    Returns
    -------
    Image
        8-bit colours as axis ``s``; 16-bit colours, and gray with alpha, as channels.

    Raises
    ------
    UnreadableError
        If the file is neither, or cut off.
    AxesError
        If `axes` does not fit.
    InputError
        If there is no such series or level, or the colours are those of a printer.
    """
    real = os.path.realpath(path)
    name = split_suffix(real)[0]
    if series or level:
        raise InputError(f"'{real}' is one picture, with series 0 and level 0 alone.", ONE_IMAGE)
    state = os.stat(real)
    picture = read_header(real, state.st_size)
    stored = (picture.height, picture.width, *(() if picture.samples == 1 else (picture.samples,)))
    letters = axes or _letters(picture)
    if len(letters) != len(stored):
        check_axes(letters, stored, name)
    samples_first = len(stored) == 3 and letters[-1] != "s"
    if samples_first:
        stored = (stored[2], *stored[:2])
        letters = letters if letters.endswith("yx") else letters[-1] + letters[:-1]
    check_axes(letters, stored, name)
    if not letters.removesuffix("s").endswith("yx"):
        raise AxesError(
            f"axes='{axes}' does not fit the picture '{name}', whose rows are y and columns x.",
            "Use 'yx', 'yxs' or 'cyx'.",
        )
    array = PictureArray(
        real, (state.st_size, state.st_mtime_ns), stored, picture.dtype, samples_first
    )
    count = stored[0] if letters[0] == "c" else 1
    history, doubts = read_history(_history(picture.record), real)
    return Image(
        data=da.from_array(array, chunks=-1, meta=np.empty((0,) * len(stored), picture.dtype)),
        axes=letters,
        channels=_channels(picture)[:count] if count > 1 else (),
        name=name,
        source={
            "path": real,
            "series": 0,
            "level": 0,
            "size": state.st_size,
            "mtime_ns": state.st_mtime_ns,
        },
        history=history,
        warnings=doubts,
    )


def write_png(plane: Any, path: str, history: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write one plane as PNG, and wait until it is on the disk.

    Parameters
    ----------
    plane : np.ndarray or dask.array.Array, shape (y, x), (y, x, 3) or (y, x, 4)
        uint8 or uint16; bool is written as black and white.
    path : str
        Where to; an existing file is replaced.
    history : sequence of mapping
        How the pixels were made, as in `Image.history`; stored as a text of the PNG.

    Raises
    ------
    InputError
        If PNG has no place for such pixels.
    OutputError
        If the file cannot be written.
    """
    if len(plane.shape) not in (2, 3) or (len(plane.shape) == 3 and plane.shape[2] not in (3, 4)):
        listing = " x ".join(str(n) for n in plane.shape)
        raise InputError(
            f"'{path}' can hold one plane, gray or RGB(A), and not {listing} pixels.",
            "Choose one plane, or write OME-TIFF or OME-Zarr.",
        )
    if plane.dtype not in (np.bool_, np.uint8, np.uint16):
        raise InputError(
            f"'{path}' cannot hold {plane.dtype}: PNG has 8 and 16 bits.",
            "Ask for dtype='uint8' or 'uint16', or write OME-TIFF or OME-Zarr.",
        )
    pixels = np.ascontiguousarray(plane)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    data = imagecodecs.png_encode(pixels)
    if history:
        data = data[:-_END] + _text(json.dumps({"history": list(history)})) + data[-_END:]
    try:
        with open(path, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written: {error}.", ACCESS) from error


_END = 12
"""Bytes of the last chunk, which is empty: length, kind and checksum."""


def _text(words: str) -> bytes:
    """Return a text chunk (PNG specification, 11.3.3.2)."""
    content = b"tEXt" + RECORD + b"\0" + words.encode("ascii")
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))


def _history(record: str) -> Any:
    """Return what `write_png` stored, which may be damaged; None for nothing."""
    if not record:
        return None
    try:
        return json.loads(record)["history"]
    except (ValueError, KeyError, TypeError):
        return record


def _letters(picture: Picture) -> str:
    if picture.samples == 1:
        return "yx"
    return "yxs" if picture.samples > 2 and picture.dtype == np.uint8 else "cyx"


def _channels(picture: Picture) -> tuple[Channel, ...]:
    alpha = Channel("alpha")
    if picture.samples == 2:
        return Channel("gray"), alpha
    return Channel("red", "FF0000"), Channel("green", "00FF00"), Channel("blue", "0000FF"), alpha
