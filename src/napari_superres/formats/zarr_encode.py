"""Pixels to the bytes of Zarr chunks and shards, and those to files that are whole or not there.

Written here and not through zarr-python, which leaves out blocks of zeros, merges into what it
finds, never waits for the disk, and takes twice as long. Each codec is one of the specification's
own, so every reader knows it.

References
----------
Zarr core specification 3.0 and its codecs: bytes, blosc, crc32c, sharding-indexed.
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any

import google_crc32c
import imagecodecs
import numpy as np

from napari_superres.formats.chunk_grid import chunks_under
from napari_superres.formats.remote_path import RemotePath

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_superres.formats.remote_path import Place

BLOSC_LEVEL = 1

_NOTHING = 2**64 - 1
"""What a shard's index says of a chunk that it does not hold."""


def encode_chunk(pixels: np.ndarray, chunk: tuple[int, ...]) -> bytes:
    """Return one chunk, compressed by Blosc with zstd and bitshuffle.

    Parameters
    ----------
    pixels : np.ndarray
        At most as large as a chunk; at the array's end it is filled up with zeros.
    chunk : tuple of int

    Returns
    -------
    bytes
    """
    little = pixels.dtype.newbyteorder("<")
    if pixels.shape == chunk:
        values = np.ascontiguousarray(pixels, little)
    else:
        values = np.zeros(chunk, little)
        values[tuple(slice(0, n) for n in pixels.shape)] = pixels
    # One thread: with several, Blosc orders its pieces by who comes first, and equal pixels would
    # not give equal bytes.
    # The annotations of imagecodecs know no arrays, which it takes without copying them.
    data: Any = values.view(np.uint8) if values.dtype == bool else values
    encoded = imagecodecs.blosc_encode(
        data,
        level=BLOSC_LEVEL,
        compressor="zstd",
        shuffle="bitshuffle",
        typesize=values.dtype.itemsize,
        numthreads=1,
    )
    return bytes(encoded)


def encode_shard(pixels: np.ndarray, block: tuple[int, ...], chunk: tuple[int, ...]) -> list[bytes]:
    """Return a shard in pieces: its chunks with their checksums, and the index at the end.

    Parameters
    ----------
    pixels : np.ndarray
        At most as large as a shard. Chunks wholly beyond it are left out.
    block, chunk : tuple of int
        Edges of a shard and of a chunk.

    Returns
    -------
    list of bytes
        To be written one after another.
    """
    index = np.full((*(b // c for b, c in zip(block, chunk, strict=True)), 2), _NOTHING, "<u8")
    parts: list[bytes] = []
    offset = 0
    whole = tuple(slice(0, n) for n in pixels.shape)
    for at, inside in chunks_under(whole, chunk):
        part = with_checksum(encode_chunk(pixels[inside], chunk))
        index[at] = offset, len(part)
        parts.append(part)
        offset += len(part)
    return [*parts, with_checksum(index.tobytes())]


def with_checksum(data: bytes) -> bytes:
    """Return bytes followed by their CRC-32C, least significant byte first."""
    return data + int(google_crc32c.value(data)).to_bytes(4, "little")


def place_file(parts: Sequence[bytes], path: Place, scratch: Place) -> None:
    """Write a file that is either complete and on the disk, or does not carry its name.

    Parameters
    ----------
    parts : sequence of bytes
    path : Path or RemotePath
        Its name. Missing folders are made.
    scratch : Path or RemotePath
        A folder of the same file system, where it grows. Buckets need none.

    Raises
    ------
    OSError
        If the disk is full or a folder cannot be written.
    """
    if isinstance(path, RemotePath):
        path.write_bytes(*parts)
        return
    assert not isinstance(scratch, RemotePath)
    path.parent.mkdir(parents=True, exist_ok=True)
    growing = scratch / uuid.uuid4().hex
    try:
        with growing.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(growing, path)
    except BaseException:
        growing.unlink(missing_ok=True)
        raise


def sync_folders(folders: Iterable[Place]) -> None:
    """Wait until the entries of folders have reached the disk, where the system can do so."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows keeps its folders safe by itself
        return
    for folder in folders:
        if isinstance(folder, RemotePath):  # a bucket answers when it has what was sent
            continue
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
