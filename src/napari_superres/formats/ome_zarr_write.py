"""Write OME-Zarr 0.5 and 0.4: arrays first, whole blocks in any order, the OME metadata last."""

from __future__ import annotations

import functools
import math
import os
import zlib
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from napari_superres.formats.chunk_grid import chunks_under
from napari_superres.formats.ome_zarr_attributes import image_attributes, kept_metadata
from napari_superres.formats.ome_zarr_metadata import KEY
from napari_superres.formats.zarr_encode import (
    BLOSC_LEVEL,
    encode_chunk,
    encode_shard,
    place_file,
    sync_folders,
)

if TYPE_CHECKING:
    from pathlib import Path

    from napari_superres.formats.ome_zarr_layout import Layout
    from napari_superres.image import Image

CODECS = "bytes, blosc(zstd 1, bitshuffle), crc32c"
"""What a job's fingerprint says of the encoding. Without the checksum a flipped bit goes unseen."""


SAMPLED_PLANES = 64
"""How many planes of the coarsest level are looked at for a display window."""


def create(root: Path, layout: Layout) -> None:
    """Make the group and its empty arrays, without any OME metadata.

    Parameters
    ----------
    root : Path
        A folder that does not exist yet.
    layout : Layout

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    group = zarr.open_group(LocalStore(root), mode="w-", zarr_format=_format(layout))
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


def write_block(
    root: Path, layout: Layout, level: int, at: tuple[int, ...], pixels: np.ndarray, scratch: Path
) -> tuple[int, int]:
    """Write one whole block, in place of what is there, and wait until it is on the disk.

    Parameters
    ----------
    root : Path
    layout : Layout
    level : int
    at : tuple of int
        The block's place in the grid.
    pixels : np.ndarray
        In stored order, of the shape of ``layout.region(level, at)``.
    scratch : Path
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


def read_block(root: Path, layout: Layout, level: int, region: Any) -> np.ndarray:
    """Return pixels of a level that has been written, in stored order."""
    return np.asarray(_opened(root, layout, level)[region])


def commit(root: Path, layout: Layout, image: Image) -> None:
    """Write the OME metadata, which turns a folder of arrays into an image. The last step.

    Parameters
    ----------
    root : Path
    layout : Layout
    image : Image
        Whose pixels were written.
    """
    group = _group(root, layout)
    kept = kept_metadata(image)
    if kept:
        group.require_group("OME").update_attributes({KEY: {"metadata": kept}})
    windows = [] if layout.nearest else _windows(root, layout, image)
    group.update_attributes(image_attributes(image, layout, windows))
    _sync_metadata([root, root / "OME", *(root / str(i) for i in range(len(layout.levels)))])


def _sync_metadata(folders: list[Path]) -> None:
    """Wait until metadata documents are on the disk, which zarr-python itself never does."""
    there = [folder for folder in folders if folder.is_dir()]
    for folder in there:
        for name in ("zarr.json", ".zgroup", ".zarray", ".zattrs"):
            if (folder / name).exists():
                with (folder / name).open("rb+") as file:
                    os.fsync(file.fileno())
    sync_folders({*there})


def _group(root: Path, layout: Layout) -> zarr.Group:
    return zarr.open_group(
        LocalStore(root), mode="r+", zarr_format=_format(layout), use_consolidated=False
    )


def _windows(root: Path, layout: Layout, image: Image) -> list[tuple[float, float]]:
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


def _measured_window(root: Path, layout: Layout, level: int, channel: int) -> tuple[float, float]:
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
def _opened(root: Path, layout: Layout, level: int) -> zarr.Array[Any]:
    return zarr.open_array(
        LocalStore(root, read_only=True), path=str(level), mode="r", zarr_format=_format(layout)
    )


def _format(layout: Layout) -> Literal[2, 3]:
    return 3 if layout.version == "0.5" else 2
