"""What the header of a PNG or JPEG says, and whether the file is whole. A few bytes are read."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from napari_superres.errors import InputError, UnreadableError
from napari_superres.formats.advice import AGAIN

if TYPE_CHECKING:
    from collections.abc import Callable

PNG = b"\x89PNG\r\n\x1a\n"
RECORD = b"napari-superres"
"""Keyword of the text in which a PNG says how it was made."""

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
    record : str
        What `write_png` stored with a result; empty for files of others.
    """

    height: int
    width: int
    samples: int
    dtype: np.dtype[Any]
    record: str = ""


def read_header(path: str, size: int) -> Picture:
    """Return what the header says, after a look whether the file is whole.

    Parameters
    ----------
    path : str
        Of the file.
    size : int
        Of the file in bytes.

    Raises
    ------
    UnreadableError
        If it is neither PNG nor JPEG, or cut off.
    InputError
        If it has no pixels, or the colours of a printer.
    """
    if size == 0:
        raise UnreadableError(f"'{path}' is empty.", AGAIN)
    kinds: tuple[tuple[bytes, Callable[[IO[bytes]], Picture]], ...] = (
        (PNG, _png_header),
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
                    raise UnreadableError(f"'{path}' is truncated or damaged.", AGAIN) from error
                if 0 in (picture.height, picture.width):
                    raise InputError(f"'{path}' is a picture without pixels.", AGAIN)
                if magic != PNG and picture.samples == 4:
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
    """Walk over the chunks to the last one; pixels are not read."""
    width = height = depth = color = 0
    is_transparent = False
    record = ""
    while True:
        length, kind = struct.unpack(">I4s", file.read(8))
        start = file.tell()
        if kind == b"IHDR":
            width, height, depth, color = struct.unpack(">IIBB", file.read(10))
        is_transparent |= kind == b"tRNS"
        if kind == b"tEXt" and file.read(min(length, len(RECORD) + 1)) == RECORD + b"\0":
            record = file.read(start + length - file.tell()).decode("latin-1")
        file.seek(start + length)
        if len(file.read(4)) < 4:
            raise EOFError
        if kind == b"IEND":
            break
    samples = _PNG_SAMPLES[color]
    if is_transparent and color in (0, 2, 3):
        samples += 1
    dtype = np.dtype(np.uint16 if depth == 16 else np.uint8)
    return Picture(height, width, samples, dtype, record)


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
