"""PNG and JPEG: single pictures, read lazily, and PNG written.

The headers are read here, a few bytes at open; imagecodecs decodes when pixels are asked for.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import dask.array as da
import imagecodecs
import numpy as np

from napari_superres.errors import AxesError, InputError, OutputError, UnreadableError
from napari_superres.formats.decoded_cache import decoded
from napari_superres.formats.suffixes import split_suffix
from napari_superres.image import Channel, Image, check_axes

if TYPE_CHECKING:
    from collections.abc import Callable

_AGAIN = "Copy it again from where it was made."

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_SAMPLES = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""By colour type: gray, RGB, palette, gray with alpha, RGBA (PNG specification, 11.2.2)."""

_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers that start a frame and give its size (ITU T.81, table B.1)."""

_JPEG_TAIL = 65536
"""Bytes at the end in which a whole JPEG has its end marker; some cameras write behind it."""


@dataclass(frozen=True)
class Picture:
    """What the header of a picture says.

    Parameters
    ----------
    height, width, samples : int
        Of the decoded picture.
    dtype : np.dtype
        uint8 or uint16.
    """

    height: int
    width: int
    samples: int
    dtype: np.dtype[Any]


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
            raise UnreadableError(f"'{self.path}' cannot be read: {error}.") from error
        if (state.st_size, state.st_mtime_ns) != self.state:
            raise UnreadableError(
                f"'{self.path}' has changed since it was opened.", "Open it again."
            )
        decode = imagecodecs.png_decode if data.startswith(_PNG) else imagecodecs.jpeg_decode
        try:
            pixels = np.asarray(decode(data))
        except (ValueError, RuntimeError, MemoryError) as error:
            raise UnreadableError(f"'{self.path}' is damaged: {error}.", _AGAIN) from error
        shape = (*self.shape[1:], self.shape[0]) if self.samples_first else self.shape
        if pixels.shape != shape or pixels.dtype != self.dtype:
            raise UnreadableError(
                f"'{self.path}' holds other pixels ({pixels.shape}, {pixels.dtype}) than its "
                f"header says ({shape}, {self.dtype}).",
                _AGAIN,
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
        raise InputError(f"'{real}' is one picture: it has series 0 and level 0 only.")
    state = os.stat(real)
    picture = _read_header(real, state.st_size)
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
    )


def write_png(plane: Any, path: str) -> None:
    """Write one plane as PNG, and wait until it is on the disk.

    Parameters
    ----------
    plane : np.ndarray or dask.array.Array, shape (y, x), (y, x, 3) or (y, x, 4)
        uint8 or uint16; bool is written as black and white.
    path : str
        Where to; an existing file is replaced.

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
    try:
        with open(path, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written: {error}.") from error


def _letters(picture: Picture) -> str:
    if picture.samples == 1:
        return "yx"
    return "yxs" if picture.samples > 2 and picture.dtype == np.uint8 else "cyx"


def _channels(picture: Picture) -> tuple[Channel, ...]:
    alpha = Channel("alpha")
    if picture.samples == 2:
        return Channel("gray"), alpha
    return Channel("red", "FF0000"), Channel("green", "00FF00"), Channel("blue", "0000FF"), alpha


def _read_header(path: str, size: int) -> Picture:
    """Return what the header says, after a look whether the file is whole."""
    if size == 0:
        raise UnreadableError(f"'{path}' is empty.", _AGAIN)
    kinds: tuple[tuple[bytes, Callable[[IO[bytes]], Picture]], ...] = (
        (_PNG, _png_header),
        (b"\xff\xd8", _jpeg_header),
    )
    with open(path, "rb") as file:
        head = file.read(8)
        for magic, parse in kinds:
            if head.startswith(magic):
                file.seek(len(magic))
                try:
                    picture = parse(file)
                except (struct.error, KeyError, EOFError) as error:
                    raise UnreadableError(f"'{path}' is truncated or damaged.", _AGAIN) from error
                if 0 in (picture.height, picture.width):
                    raise InputError(f"'{path}' is a picture without pixels.", _AGAIN)
                if magic != _PNG and picture.samples == 4:
                    raise InputError(
                        f"'{path}' holds the colours of a printer (CMYK).",
                        "Convert it to RGB with an image editor.",
                    )
                return picture
    raise UnreadableError(
        f"'{path}' is neither PNG nor JPEG: it starts with {head[:4]!r}.",
        "Check that it was copied completely and carries the right suffix.",
    )


def _png_header(file: IO[bytes]) -> Picture:
    """Walk over the chunks to the last one; their contents are not read."""
    width = height = depth = color = 0
    is_transparent = False
    while True:
        length, kind = struct.unpack(">I4s", file.read(8))
        start = file.tell()
        if kind == b"IHDR":
            width, height, depth, color = struct.unpack(">IIBB", file.read(10))
        is_transparent |= kind == b"tRNS"
        file.seek(start + length)
        if len(file.read(4)) < 4:
            raise EOFError
        if kind == b"IEND":
            break
    samples = _PNG_SAMPLES[color]
    if is_transparent and color in (0, 2, 3):
        samples += 1
    return Picture(height, width, samples, np.dtype(np.uint16 if depth == 16 else np.uint8))


def _jpeg_header(file: IO[bytes]) -> Picture:
    while True:
        marker = file.read(2)
        while marker[1:] == b"\xff":  # padding
            marker = b"\xff" + file.read(1)
        if len(marker) < 2 or marker[0] != 0xFF:
            raise EOFError
        (length,) = struct.unpack(">H", file.read(2))
        if marker[1] in _JPEG_FRAMES:
            depth, height, width, samples = struct.unpack(">BHHB", file.read(6))
            break
        file.seek(length - 2, os.SEEK_CUR)
    # Decoders fill what is cut off with gray and say nothing, so the end marker has to be there.
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _JPEG_TAIL))
    if b"\xff\xd9" not in file.read():
        raise EOFError
    return Picture(height, width, samples, np.dtype(np.uint16 if depth > 8 else np.uint8))
