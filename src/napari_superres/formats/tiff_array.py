"""The pixels of one level of a TIFF as a lazy array that can be pickled."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_superres.errors import UnreadableError
from napari_superres.formats.tiff_index import TiffIndex, open_index
from napari_superres.formats.tiff_levels import OpenFiles
from napari_superres.regions import as_indices

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK = 1024
"""Edge of a dask chunk in pixels, where the file has no opinion: 2 MB of 16-bit pixels."""

_LARGEST_CHUNK = 4 * _CHUNK**2
"""Pixels of a chunk where strips are as wide as the plane."""

_MOST_CHUNKS = 256
"""Chunks along y or x. A header may claim any size, and dask goes through the chunks one by one."""


@dataclass(frozen=True)
class TiffArray:
    """One level of one image of a TIFF file; indexing reads what is asked for.

    It knows where to look and holds nothing open, so it travels to other processes and machines
    that see the same path. There the file is looked at again, once.

    Parameters
    ----------
    path : str
        Real path.
    state : tuple
        What tells that the files are still the ones that were opened, as in `Series.state`.
    series, level : int
        Which image, and which resolution of it.
    shape : tuple of int
        As the array shows itself.
    dtype : np.dtype
        In the machine's byte order.
    samples_first : bool
        True to show interleaved samples as an axis before y and x, where channels belong; False
        to show them last.
    """

    path: str
    state: tuple[Any, ...]
    series: int
    level: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    samples_first: bool = False

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (
            "TiffArray",
            self.path,
            self.state,
            self.series,
            self.level,
            self.shape,
            self.samples_first,
        )

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return a region.

        Parameters
        ----------
        key : int, slice, Ellipsis, list of int, or a tuple of them
            As for a numpy array.

        Returns
        -------
        np.ndarray, of type `dtype`

        Raises
        ------
        UnreadableError
            If the file is damaged there, or is no longer the one that was opened.
        """
        wanted, dropped = as_indices(key, self.shape)
        out = np.empty([len(indices) for indices in wanted], self.dtype)
        if out.size:
            self._fill(out, wanted)
        return np.asarray(out[tuple(0 if drop else slice(None) for drop in dropped)])

    def _fill(self, out: np.ndarray, wanted: list[Sequence[int]]) -> None:
        level = self._index().series[self.series].levels[self.level]
        has_samples = level.geometry.samples > 1
        at = self.ndim - 3 if has_samples and self.samples_first else self.ndim - 1
        samples = wanted[at] if has_samples else range(1)
        others = [i for i in range(self.ndim) if not (has_samples and i == at)]
        lead, (ys, xs) = [wanted[i] for i in others[:-2]], [wanted[i] for i in others[-2:]]
        lead_shape = [self.shape[i] for i in others[:-2]]
        # (..., y, x, sample), a view of `out` whatever its order
        view = np.moveaxis(out, at, -1) if has_samples else out[..., None]
        # A region with steps, or one that runs backwards, is cut from the dense one around it.
        dense = [range(min(r), max(r) + 1) for r in (ys, xs)]
        cut = np.ix_(
            [y - dense[0].start for y in ys], [x - dense[1].start for x in xs], list(samples)
        )
        with OpenFiles() as files:
            for place in itertools.product(*(range(len(r)) for r in lead)):
                plane = 0
                for r, i, size in zip(lead, place, lead_shape, strict=True):
                    plane = plane * size + r[i]
                view[place] = level.window(files, plane, dense[0], dense[1])[cut]

    def _index(self) -> TiffIndex:
        index = open_index(self.path, all_files=False)
        # The new file may have fewer images.
        if self.state not in [one.state for one in index.series[self.series :][:1]]:
            raise UnreadableError(
                f"'{self.path}' has changed since it was opened.", "Open it again."
            )
        return index


def lazy_pixels(index: TiffIndex, series: int, level: int, *, samples_first: bool) -> da.Array:
    """Return one level of a TIFF as a dask array, without reading a pixel.

    Parameters
    ----------
    index : TiffIndex
        Of the file.
    series, level : int
        Which image, and which resolution of it.
    samples_first : bool
        As for `TiffArray`.

    Returns
    -------
    dask.array.Array
        One plane a chunk at most, its edges on the edges of the file's strips or tiles.
    """
    found = index.series[series]
    here = found.levels[level]
    g = here.geometry
    n_lead = len(found.shape) - 2 - (g.samples > 1)
    lead = found.shape[:n_lead]
    width = _chunk(g.columns, here.piece[1], _CHUNK)
    height = _chunk(g.rows, here.piece[0], min(_CHUNK, _LARGEST_CHUNK // width))
    chunks: tuple[Any, ...] = (*(1,) * n_lead, height, width)
    shape: tuple[int, ...] = (*lead, g.rows, g.columns)
    if g.samples > 1:
        at = n_lead if samples_first else len(shape)
        shape = (*shape[:at], g.samples, *shape[at:])
        chunks = (*chunks[:at], g.samples, *chunks[at:])
    array = TiffArray(
        index.path,
        found.state,
        series,
        level,
        shape,
        np.dtype(g.dtype),
        samples_first,
    )
    return da.from_array(
        array,
        chunks=chunks,
        asarray=False,
        # Inlined, dask looks at the chunks that are asked for, and not at each one there is.
        inline_array=True,
        meta=np.empty((0,) * len(shape), g.dtype),
    )


def _chunk(size: int, piece: int, wanted: int) -> int:
    """Return a chunk's edge: about `wanted` pixels, and whole pieces of the file."""
    wanted = max(wanted, -(-size // _MOST_CHUNKS))
    return max(1, min(size, max(1, round(wanted / piece)) * piece))
