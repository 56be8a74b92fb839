"""Write OME-Zarr 0.5 and 0.4: arrays first, whole blocks in any order, the OME metadata last."""

from __future__ import annotations

import functools
import math
import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from napari_superres.formats.ome_zarr_attributes import image_attributes, kept_metadata
from napari_superres.formats.ome_zarr_metadata import KEY

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
                    BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
                    Crc32cCodec(),
                ],
                "dimension_names": list(layout.axes),
            }
        else:
            options = {
                "compressors": {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 2},
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
    root: Path, layout: Layout, level: int, at: tuple[int, ...], pixels: np.ndarray
) -> None:
    """Write one whole block, in place of what is there.

    Parameters
    ----------
    root : Path
    layout : Layout
    level : int
    at : tuple of int
        The block's place in the grid.
    pixels : np.ndarray
        In stored order, of the shape of ``layout.region(level, at)``.

    Raises
    ------
    OSError
        If the disk is full or the folder gone. No file then carries its name with half its bytes.
    """
    for name in layout.files(level, at):
        # Nothing old is merged in: a damaged file would be in the way, or survive in part.
        (root / name).unlink(missing_ok=True)
    _opened(root, layout, level)[layout.region(level, at)] = pixels


def read_block(root: Path, layout: Layout, level: int, region: Any) -> np.ndarray:
    """Return pixels of a level that has been written, in stored order."""
    return np.asarray(_opened(root, layout, level)[region])


def sync_to_disk(root: Path, names: list[str]) -> None:
    """Wait until files and the folders that name them have reached the disk.

    Zarr itself never waits, and after a power failure a file could be shorter than it seemed.
    """
    for name in names:
        with (root / name).open("rb+") as file:
            os.fsync(file.fileno())
    sync_folders({(root / name).parent for name in names})


def sync_folders(folders: set[Path]) -> None:
    """Wait until the entries of folders have reached the disk, where the system can do so."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows keeps its folders safe by itself
        return
    for folder in folders:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


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
    sync_folders({root})


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
    array = zarr.open_array(
        LocalStore(root), path=str(level), mode="r+", zarr_format=_format(layout)
    )
    # A block of zeros is a result like any other: its file says that it is done. The setting is
    # given here because zarr before 3.4 forgets it when an array is opened again.
    return array.with_config({"write_empty_chunks": True})


def _format(layout: Layout) -> Literal[2, 3]:
    return 3 if layout.version == "0.5" else 2
