"""Read a finished result again, all of it, and say whether every byte is as it was written."""

from __future__ import annotations

import functools
import itertools
import math
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.errors import IncompleteError, SuperresError, UnreadableError
from napari_superres.formats import read
from napari_superres.formats.chunk_grid import chunk_region
from napari_superres.formats.ome_zarr_metadata import ome_attributes
from napari_superres.formats.ome_zarr_sums import wrong_documents
from napari_superres.formats.remote import is_url
from napari_superres.formats.suffixes import READERS, split_suffix
from napari_superres.formats.zarr_array import ZarrArray
from napari_superres.formats.zarr_store import (
    absolute_root,
    if_shown,
    join,
    open_node,
    read_document,
    safe_path,
)
from napari_superres.job.destination import destination
from napari_superres.job.pool import Pool, check_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import dask.array as da

    from napari_superres.formats.zarr_store import Node

NO_SUMS = "carries no checksums of its metadata: it is not a result of this version."
NO_CRC = (
    "is OME-Zarr 0.4, which has no checksums of pixels: a flipped bit may decode to a wrong pixel "
    "without a word."
)
TIFF = (
    "is a TIFF: pixels compressed by Deflate, as ours are, carry checksums. Others and the tags "
    "have none: a flipped bit there is read as a wrong value without a word."
)


@dataclass(frozen=True)
class Verified:
    """How far the reading is, and what was found.

    Parameters
    ----------
    done, total : int
        Pieces of the file that have been read, of how many.
    faults : tuple of str
        A sentence for each that is not as it should be.
    notes : tuple of str
        A sentence for what such a file cannot tell.
    """

    done: int
    total: int
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Contents:
    """What there is to read, and what is known before."""

    total: int
    pieces: Iterator[Callable[[], list[str]]]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: _Contents) -> _Contents:
        return _Contents(
            self.total + other.total,
            itertools.chain(self.pieces, other.pieces),
            self.faults + other.faults,
            (*self.notes, *(note for note in other.notes if note not in self.notes)),
        )


def verify(path: str | os.PathLike[str], workers: int | None = None) -> Iterator[Verified]:
    """Return an iterator that reads a result while it is iterated, and says what is wrong with it.

    In an OME-Zarr 0.5 of ours every chunk and every metadata document carries a checksum, and no
    chunk is left out: any flipped bit and any missing file is found. In other files as much is
    found as they allow, and the notes say what is not.

    Parameters
    ----------
    path : path-like
        A finished result.
    workers : int, optional
        Threads that read; None for one a processor.

    Yields
    ------
    Verified
        The last one is the verdict.

    Raises
    ------
    IncompleteError
        From the call itself, if the result is not finished.
    SuperresError
        From the call itself, if it cannot be opened at all, or `workers` is no number of them.
    """
    check_workers(workers)
    text = os.fspath(path)
    if not is_url(text) and not os.path.lexists(text) and destination(text).manifest.exists():
        raise IncompleteError(
            f"'{text}' is not finished.", f"See how far it is with: superres status {text}"
        )
    node = open_node(absolute_root(text)) if is_url(text) or os.path.isdir(text) else None
    return _read(_hierarchy(node) if node is not None else _picture(text), workers)


def _read(contents: _Contents, workers: int | None) -> Iterator[Verified]:
    now = Verified(0, contents.total, contents.faults, contents.notes)
    with Pool(None, workers) as pool:
        for ended in pool.run(
            contents.pieces,
            lambda executor, piece, attempt, number: executor.submit(piece),
            lambda outcome: False,
        ):
            for outcome in ended:
                if outcome.error is not None:
                    raise outcome.error
                now = replace(now, done=now.done + 1, faults=(*now.faults, *outcome.value))
            yield now
    yield now


def _hierarchy(node: Node) -> _Contents:
    """Return what is in a group or an array, label images inside it too."""
    if node.is_array:
        return _stored(ZarrArray(node), complete=False)
    wrong = wrong_documents(node.attributes, lambda name: read_document(node, name))
    faults = [f"'{join(node.where, name)}' is not as it was written." for name in wrong or ()]
    notes = [] if wrong is not None else [f"'{node.where}' {NO_SUMS}"]
    if node.zarr_format == 2:
        notes.append(f"'{node.where}' {NO_CRC}")
    found = _Contents(0, iter(()), tuple(faults), tuple(notes))
    prefix = f"{node.path}/" if node.path else ""
    multiscales = ome_attributes(node.attributes).get("multiscales") or [{}]
    paths = [entry["path"] for entry in multiscales[0].get("datasets", ())]
    for path in paths:
        level = open_node(node.root, prefix + safe_path(node.root, path))
        if level is None or not level.is_array:
            fault = f"'{join(node.where, path)}' is not there."
            found += _Contents(0, iter(()), (fault,))
        else:
            found += _stored(ZarrArray(level), complete=wrong is not None)
    labels = if_shown(lambda: open_node(node.root, f"{prefix}labels"))
    for name in ome_attributes(labels.attributes).get("labels", ()) if labels else ():
        inside = open_node(node.root, f"{prefix}labels/{safe_path(node.root, name)}")
        if inside is not None:
            found += _hierarchy(inside)
    if not found.total:
        raise UnreadableError(f"'{node.where}' holds no image.", "Give the folder of the image.")
    return found


def _stored(array: ZarrArray, *, complete: bool) -> _Contents:
    """Return the stored chunks of an array; none of them may be missing if it is `complete`."""
    grid = [-(-n // edge) for n, edge in zip(array.shape, array.stored, strict=True)]

    def faults(at: tuple[int, ...]) -> list[str]:
        region = chunk_region(at, array.stored, array.shape)
        absent = array.absent(region) if complete else []
        if absent:
            return [f"'{name}' is not there." for name in absent]
        return _fault(lambda: array.read_anew(region))

    pieces = (functools.partial(faults, at) for at in np.ndindex(*grid))
    return _Contents(math.prod(grid), pieces)


def _picture(path: str) -> _Contents:
    """Return the tiles of a TIFF or another picture, at all its levels."""
    image = read(path)
    is_tiff = READERS[split_suffix(path)[1]] == READERS[".tif"]
    found = _Contents(0, iter(()))
    for array in (image.data, *image.levels):
        found += _Contents(math.prod(array.numblocks), _tiles(array))
    return replace(found, notes=(f"'{path}' {TIFF}",) if is_tiff else ())


def _tiles(array: da.Array) -> Iterator[Callable[[], list[str]]]:
    def faults(at: tuple[int, ...]) -> list[str]:
        return _fault(lambda: array.blocks[at].compute(scheduler="synchronous"))

    return (functools.partial(faults, at) for at in np.ndindex(*array.numblocks))


def _fault(reading: Callable[[], object]) -> list[str]:
    try:
        reading()
    except SuperresError as error:
        return [error.message]
    return []
