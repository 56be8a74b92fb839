"""Tiled, pyramidal OME-TIFF, written in a stream from lazy arrays.

Deflate at its fastest level, with a horizontal predictor for integers: every reader of compressed
TIFF knows it (libtiff, Bio-Formats, QuPath, MATLAB), while zstd is missing from many. One core
writes 240 MiB of 16-bit pixels a second to a quarter of their size; with zstd it would be 300.
"""

from __future__ import annotations

import errno
import itertools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import imagecodecs
import numpy as np
import tifffile

from napari_superres._version import __version__
from napari_superres.errors import InputError, OutputError, ResourceError, SuperresError
from napari_superres.formats.advice import ACCESS
from napari_superres.formats.ome_write import check_writable, compose_ome
from napari_superres.formats.units import factor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import dask.array as da

    from napari_superres.image import Image

_TILE = 512
"""Edge of a tile; smaller pictures have one smaller tile. TIFF asks for a multiple of 16."""

_BAND = 64 * 1024**2
"""Bytes that are read at once: as many rows of tiles, or as many tiles of a row, as fit."""

_CLASSIC = 2 * 1024**3
"""Bytes above which offsets of 64 bits are used. Classic TIFF ends at 4 GiB, many readers at 2."""

_THREADS = min(4, os.cpu_count() or 1)
"""Tiles that are compressed at the same time."""


_LEAST_DENSITY, _MOST = 1e-3, 1e9
"""Pixels per centimeter that fit into the rational numbers of TIFF without loss of meaning."""


def write_ome_tiff(
    levels: Sequence[da.Array],
    image: Image,
    path: str | os.PathLike[str],
    *,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write an image as tiled OME-TIFF with its pyramid, and wait until it is on the disk.

    Memory is bounded by some 64 MB of pixels, whatever the size of the image: bands of tiles are
    computed, compressed and written one after another.

    Parameters
    ----------
    levels : sequence of dask.array.Array
        The pixels, finest level first, with axes as in `image`.
    image : Image
        Axes, sizes, channels, history, and in ``metadata["ome_xml"]`` what the source said.
    path : str or path-like
        Where to; an existing file is replaced. Give a temporary name and rename it afterwards: a
        file that was cut off can look like a shorter stack.
    tick : callable
        Called with the number of tiles done and in all; may raise to stop.

    Raises
    ------
    InputError
        If OME-TIFF cannot hold such axes or pixels.
    ResourceError
        If the disk is full.
    OutputError
        If the file cannot be written for another reason.
    """
    _check_levels(levels, image)
    layers = [_layer(level, image) for level in levels]
    total = sum(layer.tiles for layer in layers)
    nbytes = sum(level.size for level in levels) * layers[0].dtype.itemsize
    done = 0

    def counted(parts: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal done
        for part in parts:
            done += 1
            tick(done, total)
            yield part

    try:
        with (
            ThreadPoolExecutor(_THREADS) as pool,
            tifffile.TiffWriter(
                path, bigtiff=nbytes > _CLASSIC, byteorder="<", ome=False, shaped=False
            ) as writer,
        ):
            for number, layer in enumerate(layers):
                is_first = number == 0
                writer.write(
                    counted(_encoded(layer, pool)),
                    subfiletype=0 if is_first else 1,
                    subifds=len(layers) - 1 if is_first else 0,
                    description=compose_ome(image).encode() if is_first else None,
                    software=f"napari-superres {__version__}" if is_first else False,
                    metadata=None,
                    maxworkers=1,
                    **_layout(layer),
                    **_resolution(image, layer, layers[0]),
                )
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
    except OSError as error:
        if isinstance(error, SuperresError):  # the source cannot be read
            raise
        if error.errno == errno.ENOSPC:
            raise ResourceError(
                f"There is no space left for '{os.fspath(path)}'.",
                "Free some, or write to another disk.",
            ) from error
        raise OutputError(f"'{os.fspath(path)}' cannot be written: {error}.", ACCESS) from error


class _Layer(NamedTuple):
    """One level, and how it is cut.

    Parameters
    ----------
    pixels : dask.array.Array
        (..., y, x) or (..., y, x, sample).
    lead : tuple of int
        Shape before y.
    rows, columns, samples : int
        Shape of a plane.
    edge : (int, int)
        Rows and columns of a tile.
    dtype : np.dtype
        As written.
    """

    pixels: da.Array
    lead: tuple[int, ...]
    rows: int
    columns: int
    samples: int
    edge: tuple[int, int]
    dtype: np.dtype[Any]

    @property
    def tiles(self) -> int:
        """How many there are."""
        high, wide = self.edge
        return math.prod(self.lead) * -(-self.rows // high) * -(-self.columns // wide)


def _layer(level: da.Array, image: Image) -> _Layer:
    samples = image.size("s", 1) if "s" in image.axes else 1
    n_lead = len(image.axes) - (3 if "s" in image.axes else 2)
    rows, columns = level.shape[n_lead : n_lead + 2]
    edge = (min(_TILE, -(-rows // 16) * 16), min(_TILE, -(-columns // 16) * 16))
    dtype = np.dtype(np.uint8 if image.dtype == np.bool_ else image.dtype)
    return _Layer(level, level.shape[:n_lead], rows, columns, samples, edge, dtype)


def _layout(layer: _Layer) -> dict[str, Any]:
    """Return how tifffile is told of a level."""
    is_rgb = layer.samples > 1
    plane = (layer.rows, layer.columns, *((layer.samples,) if is_rgb else ()))
    return {
        "shape": (math.prod(layer.lead), *plane),
        "dtype": layer.dtype.newbyteorder("<"),
        "tile": layer.edge,
        "photometric": "rgb" if is_rgb else "minisblack",
        "planarconfig": "contig" if is_rgb else None,
        "extrasamples": "unassalpha" if layer.samples == 4 else None,
        "compression": "adobe_deflate",
        "predictor": _is_predicted(layer.dtype),
    }


def _is_predicted(dtype: np.dtype[Any]) -> bool:
    """Return whether differences are stored: not of floats, which few readers undo."""
    return dtype.kind in "iu"


def _encoded(layer: _Layer, pool: ThreadPoolExecutor) -> Iterator[bytes]:
    """Yield the compressed tiles of a level: plane by plane, row by row."""
    for plane in np.ndindex(layer.lead):
        for rows, columns in _bands(layer):
            band = layer.pixels[(*plane, rows, columns)].compute(scheduler="threads")
            band = np.asarray(band).astype(layer.dtype.newbyteorder("<"), copy=False)
            yield from pool.map(_encode, _cut(band, layer))


def _bands(layer: _Layer) -> Iterator[tuple[slice, slice]]:
    """Yield what is read at once: rows of tiles, or parts of one row where that is too much."""
    high, wide = layer.edge
    tile = high * wide * layer.samples * layer.dtype.itemsize
    across = -(-layer.columns // wide)
    n_rows = max(1, _BAND // (tile * across))
    n_columns = across if n_rows > 1 else max(1, min(across, _BAND // tile))
    for y in range(0, layer.rows, n_rows * high):
        for x in range(0, layer.columns, n_columns * wide):
            yield (
                slice(y, min(y + n_rows * high, layer.rows)),
                slice(x, min(x + n_columns * wide, layer.columns)),
            )


def _cut(band: np.ndarray, layer: _Layer) -> Iterator[np.ndarray]:
    """Yield the tiles of a band; those at the edge are filled up by repeating the last pixels."""
    high, wide = layer.edge
    for y, x in itertools.product(range(0, band.shape[0], high), range(0, band.shape[1], wide)):
        tile = band[y : y + high, x : x + wide]
        missing = ((0, high - tile.shape[0]), (0, wide - tile.shape[1]))
        yield np.pad(tile, (*missing, *((0, 0),) * (tile.ndim - 2)), mode="edge")


def _encode(tile: np.ndarray) -> bytes:
    if _is_predicted(tile.dtype):
        # (y, x) or (y, x, sample): differences run along x
        tile = imagecodecs.delta_encode(tile, axis=1)
    return bytes(imagecodecs.deflate_encode(tile.tobytes(), level=1, raw=False))


def _resolution(image: Image, layer: _Layer, first: _Layer) -> dict[str, Any]:
    """Return pixels per centimeter, for readers that know TIFF and not OME."""
    density = []
    for axis, ratio in (("x", layer.columns / first.columns), ("y", layer.rows / first.rows)):
        at = image.axes.index(axis)
        length = factor(image.units[at], "centimeter")
        if length is None or not _LEAST_DENSITY < 1 / (image.pixel_size[at] * length) < _MOST:
            return {}
        density.append(ratio / (image.pixel_size[at] * length))
    return {"resolution": tuple(density), "resolutionunit": "centimeter"}


def _check_levels(levels: Sequence[da.Array], image: Image) -> None:
    check_writable(image)
    at = [i for i, axis in enumerate(image.axes) if axis not in "yx"]
    for level in levels:
        same = len(level.shape) == len(image.axes) and level.dtype == image.dtype
        if not same or any(level.shape[i] != image.shape[i] for i in at):
            raise InputError(
                f"A level of '{image.name}' is {level.shape} {level.dtype}, but the image is "
                f"{image.shape} {image.dtype}.",
                "Levels differ in y and x alone.",
            )
