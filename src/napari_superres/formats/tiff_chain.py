"""Is a TIFF file complete, as far as its directories tell? Looked at before anything is decoded."""

from __future__ import annotations

import os
import struct
from typing import IO, NamedTuple

import numpy as np

from napari_superres.errors import UnreadableError
from napari_superres.formats.advice import AGAIN

_MOST_TAGS = 4096
"""A directory with more is damage; baseline TIFF defines about a hundred tags."""

_VALUE_SIZES = np.array([0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8, 0], np.float64)
"""Bytes of a value by the type of its tag: byte, ASCII, short, long, rational, ..., IFD8."""

_LAST_COMMON_TAG, _IMAGEJ_TAGS = 532, (50838, 50839)
"""Tags that are looked at; private ones of other programs may point anywhere."""


class Chain(NamedTuple):
    """The pages of a file, and what is wrong with their list.

    Parameters
    ----------
    pages : int
        How many sound directories there are; at least 1.
    problem : str
        Empty where the list ends as it should.
    """

    pages: int
    problem: str


def follow_chain(path: str) -> Chain:
    """Return how many pages a TIFF has, after following its chain of directories to the end.

    Libraries end a chain quietly where it breaks, and a truncated stack becomes a shorter one.

    Parameters
    ----------
    path : str
        Of the file.

    Returns
    -------
    Chain

    Raises
    ------
    UnreadableError
        If the file is empty, no TIFF, without a sound page, or if it ends before the metadata of a
        page do.
    """
    size = os.path.getsize(path)
    if size == 0:
        raise UnreadableError(f"'{path}' is empty.", AGAIN)
    with open(path, "rb") as file:
        order, big, offset = _header(path, file)
        # Classic: 2-byte count, 12-byte tags, 4-byte offset. BigTIFF: 8, 20 and 8 bytes.
        count_format, offset_format = ("Q", "Q") if big else ("H", "I")
        count_size, offset_size = struct.calcsize(count_format), struct.calcsize(offset_format)
        tag = np.dtype(
            [("code", "H"), ("kind", "H"), ("count", offset_format), ("at", offset_format)]
        )
        tag = tag.newbyteorder("<" if order == "<" else ">")
        seen: set[int] = set()
        tags: list[bytes] = []
        problem = ""
        while offset and not problem:
            if offset in seen:
                problem = "the list of pages runs in a circle"
            elif offset + count_size > size:
                problem = f"the next page would start at byte {offset:,} of {size:,}"
            else:
                file.seek(offset)
                (count,) = struct.unpack(order + count_format, file.read(count_size))
                end = offset + count_size + count * tag.itemsize + offset_size
                if not 0 < count <= _MOST_TAGS or end > size:
                    problem = f"the directory at byte {offset:,} is cut or damaged"
                else:
                    tags.append(file.read(count * tag.itemsize))
                    seen.add(offset)
                    (offset,) = struct.unpack(order + offset_format, file.read(offset_size))
    if not seen:
        raise UnreadableError(
            f"'{path}' is truncated or damaged: {problem or 'it has a header and no page'}.", AGAIN
        )
    _check_values(path, np.frombuffer(b"".join(tags), tag), size)
    return Chain(len(seen), problem)


def _check_values(path: str, tags: np.ndarray, size: int) -> None:
    """Refuse metadata, such as an OME-XML text, that lie behind the end of the file."""
    nbytes = _VALUE_SIZES[np.minimum(tags["kind"], len(_VALUE_SIZES) - 1)] * tags["count"]
    is_elsewhere = nbytes > tags.dtype["at"].itemsize
    matters = (tags["code"] <= _LAST_COMMON_TAG) | np.isin(tags["code"], _IMAGEJ_TAGS)
    ends = np.where(is_elsewhere & matters, tags["at"].astype(float) + nbytes, 0.0)
    if ends.max() > size:
        raise UnreadableError(
            f"'{path}' is truncated: its metadata reach to byte {int(ends.max()):,}, but the file "
            f"has {size:,}.",
            AGAIN,
        )


def _header(path: str, file: IO[bytes]) -> tuple[str, bool, int]:
    """Return byte order, whether it is a BigTIFF, and where the first directory is."""
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = struct.unpack(f"{order}H", head[2:4])[0] if order and len(head) >= 8 else 0
    if version == 43 and len(head) == 16:
        return str(order), True, int(struct.unpack(f"{order}Q", head[8:])[0])
    if version == 42:
        return str(order), False, int(struct.unpack(f"{order}I", head[4:8])[0])
    raise UnreadableError(
        f"'{path}' is not a complete TIFF file: it starts with {head[:4]!r}.",
        "Check that it was copied completely and carries the right suffix.",
    )
