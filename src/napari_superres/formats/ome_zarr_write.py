"""Write OME-Zarr 0.5 and 0.4: arrays first, whole blocks in any order, the OME metadata last."""

from __future__ import annotations

import functools
import math
import zlib
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import MemoryStore

from napari_superres.formats.chunk_grid import chunks_under
from napari_superres.formats.ome_zarr_attributes import (
    image_attributes,
    kept_metadata,
    labels_attributes,
)
from napari_superres.formats.ome_zarr_metadata import KEY
from napari_superres.formats.ome_zarr_sums import with_sums
from napari_superres.formats.zarr_encode import (
    BLOSC_LEVEL,
    encode_chunk,
    encode_shard,
    place_file,
    sync_folders,
)
from napari_superres.formats.zarr_store import store_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarr.core.buffer import Buffer

    from napari_superres.formats.ome_zarr_layout import Layout
    from napari_superres.formats.remote_path import Place
    from napari_superres.image import Image

CODECS = "bytes, blosc(zstd 1, bitshuffle), crc32c"
"""What a job's fingerprint says of the encoding. Without the checksum a flipped bit goes unseen."""


SAMPLED_PLANES = 64
"""How many planes of the coarsest level are looked at for a display window."""


def create(root: Place, layout: Layout, scratch: Place | None = None) -> None:
    """Make the group and its empty arrays, without any OME metadata.

    Parameters
    ----------
    root : Path or RemotePath
        A folder that does not exist yet.
    layout : Layout
    scratch : Path or RemotePath, optional
        A folder of the same file system where files grow; beside `root` if None.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    documents: dict[str, Buffer] = {}
    group = zarr.create_group(MemoryStore(documents), zarr_format=_format(layout))
    for number, level in enumerate(layout.levels):
        options: dict[str, Any]
        if layout.sharded:
            options = {
                "shards": level.block,
                "compressors": [
                    BloscCodec(cname="zstd", clevel=BLOSC_LEVEL, shuffle="bitshuffle"),
                    Crc32cCodec(),
                ],
                "dimension_names": list(layout.axes),
            }
        else:
            options = {
                "compressors": {
                    "id": "blosc",
                    "cname": "zstd",
                    "clevel": BLOSC_LEVEL,
                    "shuffle": 2,
                },
                "chunk_key_encoding": {"name": "v2", "separator": "/"},
                "attributes": {"_ARRAY_DIMENSIONS": list(layout.axes)},
            }
        group.create_array(
            str(number),
            shape=level.shape,
            chunks=level.chunk,
            dtype=layout.dtype,
            fill_value=0,
            **options,
        )
    _place_documents(documents, root, scratch or root.parent)


def write_block(
    root: Place, layout: Layout, level: int, at: tuple[int, ...], pixels: np.ndarray, scratch: Place
) -> tuple[int, int]:
    """Write one whole block, in place of what is there, and wait until it is on the disk.

    Parameters
    ----------
    root : Path or RemotePath
    layout : Layout
    level : int
    at : tuple of int
        The block's place in the grid.
    pixels : np.ndarray
        In stored order, of the shape of ``layout.region(level, at)``.
    scratch : Path or RemotePath
        A folder of the same file system, outside of `root`, where files grow.

    Returns
    -------
    (int, int)
        Bytes and CRC-32 of its file; of many files the sum, and that of all their bytes in a row.

    Raises
    ------
    OSError
        If the disk is full or the folder gone. No file then carries its name with half its bytes.
    """
    found = layout.levels[level]
    names = list(layout.files(level, at))
    if layout.sharded:
        contents = [encode_shard(pixels, found.block, found.chunk)]
    else:
        whole = tuple(slice(0, n) for n in pixels.shape)
        contents = [
            [encode_chunk(pixels[inside], found.chunk)]
            for _, inside in chunks_under(whole, found.chunk)
        ]
    size, crc = 0, 0
    for name, parts in zip(names, contents, strict=True):
        place_file(parts, root / name, scratch)
        for part in parts:
            size, crc = size + len(part), zlib.crc32(part, crc)
    sync_folders({(root / name).parent for name in names})
    return size, crc


def read_block(root: Place, layout: Layout, level: int, region: Any) -> np.ndarray:
    """Return pixels of a level that has been written, in stored order."""
    return np.asarray(_opened(root, layout, level)[region])


def commit(
    root: Place,
    layout: Layout,
    image: Image,
    scratch: Place | None = None,
    labels: Sequence[str] = (),
) -> None:
    """Write the OME metadata, which turns a folder of arrays into an image. The last step.

    Parameters
    ----------
    root : Path or RemotePath
    layout : Layout
    image : Image
        Whose pixels were written.
    scratch : Path or RemotePath, optional
        As for `create`.
    labels : sequence of str
        Names of the label images that lie below ``labels/``.
    """
    kept = kept_metadata(image)
    scratch = scratch or root.parent
    if kept:
        _place_group(root / "OME", layout, {KEY: {"metadata": kept}}, scratch)
    if labels:
        attributes = labels_attributes(labels, layout.version)
        _place_group(root / "labels", layout, attributes, scratch)
    windows = [] if layout.nearest else _windows(root, layout, image)
    attributes = image_attributes(image, layout, windows)
    _place_group(root, layout, with_sums(attributes, _documents(root, layout)), scratch)


def _documents(root: Place, layout: Layout) -> dict[str, bytes]:
    """Return the metadata documents of the arrays and groups inside a group, by name."""
    folders = [*(str(number) for number in range(len(layout.levels))), "OME", "labels"]
    names = ["zarr.json"] if layout.version == "0.5" else [".zgroup", ".zarray", ".zattrs"]
    places = [f"{folder}/{name}" for folder in folders for name in names]
    return {place: (root / place).read_bytes() for place in places if (root / place).exists()}


def _place_group(root: Place, layout: Layout, attributes: dict[str, Any], scratch: Place) -> None:
    documents: dict[str, Buffer] = {}
    zarr.create_group(MemoryStore(documents), zarr_format=_format(layout), attributes=attributes)
    _place_documents(documents, root, scratch)


def _place_documents(documents: dict[str, Buffer], root: Place, scratch: Place) -> None:
    """Write metadata documents like all else: whole, and with a wait until they are there."""
    places = []
    # In this order a group of version 2 gets its attributes last.
    for name, data in sorted(documents.items(), reverse=True):
        places.append(root / name)
        place_file([data.to_bytes()], places[-1], scratch)
    sync_folders({place.parent for place in places})


def _windows(root: Place, layout: Layout, image: Image) -> list[tuple[float, float]]:
    """Return what viewers show as black and as full colour, for each channel.

    The source's own windows; where it has none, the 0.1 and 99.9 percentiles of the coarsest level,
    of at most 64 planes.
    """
    coarsest = len(layout.levels) - 1
    shape = layout.levels[coarsest].shape
    at = layout.axes.find("c")
    count = shape[at] if at >= 0 else 1
    windows = []
    for i in range(count):
        known = None if image.rgb else image.channels[i].window
        if image.rgb and np.dtype(layout.dtype).kind in "iu":
            known = (0.0, float(np.iinfo(layout.dtype).max))
        windows.append(known or _measured_window(root, layout, coarsest, i))
    return windows


def _measured_window(root: Place, layout: Layout, level: int, channel: int) -> tuple[float, float]:
    shape = layout.levels[level].shape
    lead = tuple(1 if a == "c" else n for a, n in zip(layout.axes[:-2], shape, strict=False))
    count = math.prod(lead)
    sampled = []
    for number in np.unique(np.linspace(0, count - 1, min(count, SAMPLED_PLANES)).astype(int)):
        index = [int(i) for i in np.unravel_index(number, lead)]
        index = [channel if a == "c" else i for a, i in zip(layout.axes, index, strict=False)]
        plane = read_block(root, layout, level, (*(slice(i, i + 1) for i in index), ...))
        sampled.append(plane.ravel())
    values = np.concatenate(sampled).astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (0.1, 99.9)))
    if np.dtype(layout.dtype).kind in "iu":
        low, high = math.floor(low), math.ceil(high)
    return low, high if high > low else low + 1


@functools.lru_cache(maxsize=64)
def _opened(root: Place, layout: Layout, level: int) -> zarr.Array[Any]:
    return zarr.open_array(
        store_at(str(root)), path=str(level), mode="r", zarr_format=_format(layout)
    )


def _format(layout: Layout) -> Literal[2, 3]:
    return 3 if layout.version == "0.5" else 2
