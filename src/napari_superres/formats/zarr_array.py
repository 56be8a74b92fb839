"""One stored Zarr array: picklable, opened by path in whatever process reads it."""

from __future__ import annotations

import functools
import lzma
import math
import os
import struct
import uuid
import zlib
from pathlib import Path
from stat import S_ISLNK
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import zarr
from zarr.core.sync import sync

from napari_superres.errors import InputError, SuperresError, UnreadableError
from napari_superres.formats.advice import ACCESS, AGAIN, METADATA
from napari_superres.formats.chunk_grid import (
    chunk_region,
    chunks_under,
    convenient,
    relative,
    spanned,
)
from napari_superres.formats.decoded_cache import decoded
from napari_superres.formats.file_state import FileState
from napari_superres.formats.remote import is_url
from napari_superres.formats.zarr_store import check_inside, identity, join, store_at
from napari_superres.regions import as_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_superres.formats.chunk_grid import Region
    from napari_superres.formats.zarr_store import Node

DASK_EDGE = 1024
"""Dask reads whole chunks of its own, so these are near the window that a task asks for."""

CUBE_EDGE = 256
"""The same where each stored chunk holds many planes, and reading too much costs far more."""

WASTE = 4
"""Decoded chunks are kept when they hold so many times the pixels that were asked for."""

COUNTABLE = 50_000
"""Up to so many stored files a level's folder is listed when it is opened."""

# What zarr, numcodecs, imagecodecs and the codecs of the standard library raise on damaged bytes.
_DAMAGE = (
    ValueError, RuntimeError, OSError, LookupError, TypeError, EOFError, ArithmeticError,
    zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip


class ZarrArray:
    """An array in a folder or behind a URL, read by slicing.

    Parameters
    ----------
    node : Node
        Where it lies, and its metadata document.

    Raises
    ------
    InputError
        If its pixels are no numbers that can be upscaled: complex, text, structures, none at all.
    UnreadableError
        If its metadata makes no sense, or names a codec that is not known or could run code.
    """

    def __init__(self, node: Node) -> None:
        self.root = node.root
        self.path = node.path
        self.zarr_format = node.zarr_format
        _refuse_code(node)
        array = self._open()
        self.shape = tuple(int(n) for n in array.shape)
        self.ndim = len(self.shape)
        self.dtype = _native(array.dtype, node)
        self.fill_value: Any = np.asarray(array.fill_value).item() if array.fill_value else 0
        self.chunk = tuple(int(n) for n in array.chunks)
        self.stored = tuple(int(n) for n in array.shards or array.chunks)
        document = "zarr.json" if self.zarr_format == 3 else ".zarray"
        self.version = identity(self.root, f"{self.path}/{document}" if self.path else document)
        self.opened = uuid.uuid4().hex
        if 0 in self.stored + self.chunk:
            raise UnreadableError(f"'{self.where}' has chunks without pixels.", METADATA)
        if 0 in self.shape:
            listing = " x ".join(map(str, self.shape))
            raise InputError(f"'{self.where}' is {listing}: it holds no pixel.", AGAIN)

    @property
    def where(self) -> str:
        """What messages call it."""
        return join(self.root, self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_opened", "_checked")}

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("ZarrArray", self.root, self.path, self.shape, str(self.dtype), self.version)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return a region, in the machine's byte order.

        Parameters
        ----------
        key : int, slice, Ellipsis, list of int, or a tuple of them
            As for a numpy array; integers drop their axis, steps may be negative.

        Raises
        ------
        UnreadableError
            If a chunk under it is damaged; the message names the chunk.
        """
        wanted, dropped = as_indices(key, self.shape)
        region = tuple(slice(min(w), max(w) + 1) if len(w) else slice(0, 0) for w in wanted)
        wasteful = self._is_wasteful(region)
        pixels = self._guarded(region, self._through_cache if wasteful else self._read)
        for axis, (positions, part) in enumerate(zip(wanted, region, strict=True)):
            if not (isinstance(positions, range) and positions.step == 1):
                pixels = pixels.take([i - part.start for i in positions], axis)
        pixels = pixels[tuple(0 if drop else slice(None) for drop in dropped)]
        return pixels.astype(self.dtype, copy=False)

    def read_anew(self, region: Region) -> np.ndarray:
        """Return a region as it is stored now, whatever is kept in memory.

        Raises
        ------
        UnreadableError
            If a chunk under it is damaged; the message names the chunk.
        """
        return self._guarded(region, self._read)

    def _guarded(self, region: Region, read: Callable[[Region], np.ndarray]) -> np.ndarray:
        self._check_files(region)
        try:
            return read(region)
        except SuperresError:
            raise
        except _DAMAGE as error:
            raise self._damaged(region, error) from error

    def _read(self, region: Region) -> np.ndarray:
        return np.asarray(self._array[region])

    def _is_wasteful(self, region: Region) -> bool:
        """Return whether most of what is decoded for a region lies outside of it.

        So it is for chunks that hold many planes, or a whole large one. Neighbours will be asked
        for soon, so the decoded chunks are worth keeping.
        """
        wanted = math.prod(part.stop - part.start for part in region)
        touched = math.prod(
            len(spanned(part, c)) * c for part, c in zip(region, self.chunk, strict=True)
        )
        return touched >= WASTE * wanted > 0

    def _through_cache(self, region: Region) -> np.ndarray:
        out = np.empty([part.stop - part.start for part in region], self.dtype)
        for at, inside in chunks_under(region, self.chunk):
            whole = chunk_region(at, self.chunk, self.shape)
            key = (self.root, self.path, *self.version.values(), self._stored_state(at), at)
            chunk = decoded.get(key, functools.partial(self._read, whole))
            out[relative(inside, region)] = chunk[relative(inside, whole)]
        return out

    def _stored_state(self, at: tuple[int, ...]) -> tuple[Any, ...]:
        """Return what changes when the stored file of a chunk does: metadata says nothing of it."""
        if is_url(self.root):
            return (self.opened,)  # to ask the server costs as much as to read a small chunk
        stored = [i * c // s for i, c, s in zip(at, self.chunk, self.stored, strict=True)]
        name = self._array.metadata.encode_chunk_key(tuple(stored))
        try:
            return FileState.of(os.path.join(self.where, name))
        except (FileNotFoundError, NotADirectoryError):
            return ()

    @property
    def _array(self) -> zarr.Array[Any]:
        opened = self.__dict__.get("_opened")
        if opened is None:
            opened = self.__dict__["_opened"] = self._open()
        return opened

    def _open(self) -> zarr.Array[Any]:
        try:
            return zarr.open_array(
                store_at(self.root),
                path=self.path,
                mode="r",
                zarr_format=3 if self.zarr_format == 3 else 2,
            )
        except SuperresError:
            raise
        except (*_DAMAGE, AttributeError) as error:
            raise UnreadableError(
                f"'{self.where}' cannot be opened as a Zarr array: {_short(error)}.", METADATA
            ) from error

    def missing_chunks(self, countable: int | None = COUNTABLE) -> tuple[int, int, str] | None:
        """Return how many stored chunks are missing, of how many, and the first one's name.

        Parameters
        ----------
        countable : int, optional
            Most files that are worth listing; None for any number.

        Returns
        -------
        (int, int, str) or None
            None behind a URL, and beyond so many files as are `countable`.
        """
        expected = math.prod(-(-n // s) for n, s in zip(self.shape, self.stored, strict=True))
        if is_url(self.root) or (countable is not None and expected > countable):
            return None
        folder = Path(self.where)
        there = {
            Path(parent, name).relative_to(folder).as_posix()
            for parent, _, names in os.walk(folder)
            for name in names
        }
        whole = tuple(slice(0, n) for n in self.shape)
        absent = [name for name, _ in self._stored_chunks(whole) if name not in there]
        return len(absent), expected, absent[0] if absent else ""

    def absent(self, region: Region) -> list[str]:
        """Return the names of the stored chunks under a region that are not there."""
        prefix = f"{self.path}/" if self.path else ""
        names = [prefix + name for name, _ in self._stored_chunks(region)]
        store = store_at(self.root)
        return [join(self.root, name) for name in names if not sync(store.exists(name))]

    def _stored_chunks(self, region: Region) -> Iterator[tuple[str, Region]]:
        """Yield the name of each stored chunk under a region, and the region's part in it."""
        for at, inside in chunks_under(region, self.stored):
            yield self._array.metadata.encode_chunk_key(at), inside

    def _check_files(self, region: Region) -> None:
        """Refuse stored chunks that zarr would take for missing, and links to somewhere else."""
        if is_url(self.root):
            return
        checked: set[str] = self.__dict__.setdefault("_checked", set())
        for name, _ in self._stored_chunks(region):
            place = os.path.join(self.where, name)
            try:
                stat = os.lstat(place)
            except (FileNotFoundError, NotADirectoryError):
                continue
            folder = os.path.dirname(place)
            if folder not in checked:
                check_inside(self.root, folder)
                checked.add(folder)
            if S_ISLNK(stat.st_mode):
                check_inside(self.root, place)
            elif stat.st_size == 0:
                raise UnreadableError(
                    f"The chunk '{place}' is an empty file: it was not written to its end.",
                    "Restore the image from a copy.",
                )

    def _damaged(self, region: Region, error: Exception) -> UnreadableError:
        """Return the error that names the chunk which cannot be read."""
        for name, part in self._stored_chunks(region):
            try:
                self._read(part)
            except _DAMAGE as found:
                return UnreadableError(
                    f"The chunk '{join(self.where, name)}' is damaged: {_short(found)}.",
                    "Restore the image from a copy.",
                )
        return UnreadableError(f"'{self.where}' cannot be read: {_short(error)}.", ACCESS)


def as_dask(array: ZarrArray, axes: str) -> da.Array:
    """Return a dask array whose chunks suit reading plane by plane.

    Along y and x they are whole stored chunks, about `DASK_EDGE` pixels long (`CUBE_EDGE` where
    those hold many planes), never the small inner chunks of a shard, and never a chunk as large as
    a whole slide; all samples of a colour picture; one plane along every other axis.

    Parameters
    ----------
    array : ZarrArray
    axes : str
        One letter a dimension, in the array's order.

    Returns
    -------
    dask.array.Array
    """
    planes = math.prod(c for axis, c in zip(axes, array.chunk, strict=True) if axis not in "yxs")
    edge = DASK_EDGE if planes == 1 else CUBE_EDGE
    wanted = {"y": edge, "x": edge, "s": 4}
    chunks = tuple(
        min(n, convenient(chunk, wanted[axis])) if axis in wanted else 1
        for axis, chunk, n in zip(axes, array.chunk, array.shape, strict=True)
    )
    return da.from_array(
        array,
        chunks=chunks,
        name=f"zarr-{da.core.tokenize(array, chunks)}",
        # Inlined, dask looks at the chunks that are asked for and not at each one there is.
        inline_array=True,
        meta=np.empty((0,) * array.ndim, array.dtype),
    )


def _native(dtype: np.dtype[Any], node: Node) -> np.dtype[Any]:
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        raise InputError(
            f"The pixels of '{node.where}' are complex numbers ({dtype}).",
            "Save their magnitude or their real part, and open that.",
        )
    if dtype.kind not in "biuf":
        raise InputError(
            f"The pixels of '{node.where}' are no numbers but {dtype}.",
            "Choose an array of pixels.",
        )
    return dtype.newbyteorder("=")


def _refuse_code(node: Node) -> None:
    """Refuse what could run code when pixels are read: pickled objects."""
    lists = [node.document.get(key) for key in ("codecs", "filters")]
    codecs = [codec for listed in lists if isinstance(listed, list) for codec in listed]
    for codec in [*codecs, node.document.get("compressor")]:
        name = (codec.get("id") or codec.get("name")) if isinstance(codec, dict) else codec
        if isinstance(name, str) and "pickle" in name.lower():
            raise UnreadableError(
                f"'{node.where}' stores pickled objects, which could run any code when read.",
                "Such a file is not opened; ask for one with plain numbers.",
            )


def _short(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")
