"""Level 0 of an on-demand layer: the source at once, finer tiles as they come."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres.errors import Cancelled, InputError, ResourceError
from napari_superres.planning import make_plan
from napari_superres.plugin.cell_cache import CellCache
from napari_superres.plugin.cells import Cell, Grid
from napari_superres.plugin.lazy_view import LazyView
from napari_superres.progress import on_tick
from napari_superres.upscaled_array import UpscaledArray

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from napari_superres.image import Image
    from napari_superres.plan import Plan
    from napari_superres.plugin.tile_queue import TileQueue

CELL = 512
"""About how many output pixels along y and x are computed and shown at once."""

CHUNK = 256
"""napari asks for regions whose borders are multiples of this many output pixels."""

MOST_AT_ONCE = 64 * 1024**2
"""Pixels that are computed for somebody who waits. More is a job for a file."""

MOST_KEPT = 64 * 1024**2
"""Bytes of a placeholder that are kept, to show the next tile without reading the source again."""

MOST_SHOWN = 2 * 1024**3
"""Bytes of a view. A screen needs less; a whole plane shown at its finest level may need more."""


class ProgressiveLevel:
    """An upscaled image for a viewer: an array that answers at once.

    napari's question for the part on the screen is answered with the source's pixels, repeated, and
    with the finer cells that are ready; the others are computed in the background, centre first,
    and `changed` is called for each. What another view wanted is forgotten. Everybody else who
    indexes the array waits, and gets the result's true pixels and no others.

    Parameters
    ----------
    image : Image
        The lazy result, with its plan.
    source : Image
        What it is made from, with the same axes.
    queue : TileQueue
        Where cells are computed.
    """

    def __init__(self, image: Image, source: Image, queue: TileQueue) -> None:
        if image.plan is None:
            raise InputError(f"'{image.name}' is not an upscaled image.")
        self.image = image
        self.shape = image.shape
        self.dtype = image.dtype
        self.ndim = len(image.shape)
        self.size = math.prod(image.shape)
        self.chunks = tuple(
            CHUNK if a in "yx" else (n if a == "s" else 1)
            for a, n in zip(image.axes, image.shape, strict=True)
        )
        self.source = source
        self.changed: Callable[[], None] = _nothing
        self.failed: Callable[[Exception], None] = _nothing
        self.refresher: Any = None
        plan = for_viewing(image.plan)
        canonical = source.transposed(plan.axes)
        coarse = make_plan(canonical, "nearest", scale=plan.scale, dtype=_converted(plan))
        self._fine = UpscaledArray(canonical.data, plan, name=source.called)
        self._coarse = UpscaledArray(canonical.data, coarse)
        # Position of each of our axes in the canonical order, and back.
        self._to_canonical = [image.axes.index(a) for a in plan.axes]
        on_grid = len(plan.plane_axes) + 2
        edges = (plan.step[0] * plan.scale, plan.step[1] * plan.scale)
        self._grid = Grid(self._fine.shape[:on_grid], edges)
        self._samples = tuple(slice(0, n, 1) for n in self._fine.shape[on_grid:])
        self._queue = queue
        self._lock = threading.Lock()
        self._cells = CellCache()
        self._wanted: set[Cell] = set()
        self._asked: tuple[slice, ...] | None = None
        self._screen: tuple[slice, slice] | None = None
        self._shown: tuple[tuple[slice, ...], np.ndarray] | None = None

    @property
    def waiting(self) -> int:
        """How many cells are still to come for the present view."""
        return self._queue.count(self)

    @property
    def ready(self) -> int:
        """How many finer cells are kept."""
        return len(self._cells)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole result."""
        return self.size * self.dtype.itemsize

    def __deepcopy__(self, memo: dict[int, Any]) -> ProgressiveLevel:
        """Return a level of the same image that nobody looks at yet, as for a duplicated layer."""
        return ProgressiveLevel(self.image, self.source, self._queue)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> LazyView:
        """Return part of the array, lazily; `numpy.asarray` of it gives pixels."""
        # napari, and nobody else, writes the step of the two axes on the screen: slice(a, b, 1).
        parts = key if isinstance(key, tuple) else (key,)
        steps = [part.step for part in parts if isinstance(part, slice)]
        read = self.show if steps.count(1) == 2 else self.pixels
        return LazyView(tuple(range(n) for n in self.shape), self.dtype, read)[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all pixels, if they are few."""
        return np.asarray(self[...], dtype)

    def forget(self) -> None:
        """Stop waiting for cells, because nobody looks at them."""
        with self._lock:
            self._asked = self._shown = None
        self._want()

    def look(self, first: Sequence[float], last: Sequence[float]) -> None:
        """Say what is on the screen, of which a viewer may have asked for more: it comes first.

        Parameters
        ----------
        first, last : sequence of float
            Index along each axis; y and x count.
        """
        y, x = (
            slice(max(0, int(first[i]) - CHUNK), max(0, int(last[i]) + 1 + CHUNK))
            for i in (self.image.axes.index("y"), self.image.axes.index("x"))
        )
        with self._lock:
            self._screen = (y, x)
        self._want()

    def pixels(self, ranges: tuple[range, ...]) -> np.ndarray:
        """Compute pixels and wait for them.

        Parameters
        ----------
        ranges : tuple of range
            One an axis.

        Raises
        ------
        ResourceError
            If they are too many to wait for.
        """
        if math.prod(map(len, ranges)) > MOST_AT_ONCE:
            raise ResourceError(
                f"'{self.image.name}' is computed where it is looked at; "
                f"{math.prod(map(len, ranges))} of its pixels at once would take too long.",
                "Save the layer, or use .image.data of this array, which is lazy, for a part.",
            )
        return self._in_own_order(self._fine[self._index(ranges)])

    def show(self, ranges: tuple[range, ...]) -> np.ndarray:
        """Return what can be shown now, and ask for what is missing.

        Parameters
        ----------
        ranges : tuple of range
            One an axis.

        Returns
        -------
        np.ndarray
            The source's pixels, repeated, where the finer ones are not ready.

        Raises
        ------
        ResourceError
            If the region is larger than any screen.
        """
        index = self._index(ranges)
        on_grid = index[: len(self._grid.shape)]
        if any(r.step != 1 for r in ranges) or index[len(on_grid) :] != self._samples:
            return self.pixels(ranges)  # not what a viewer asks for
        if math.prod(map(len, ranges)) * self.dtype.itemsize > MOST_SHOWN:
            raise ResourceError(
                f"The whole plane of '{self.image.name}' does not fit on the screen at its finest "
                "level.",
                "Set the layer's resolution to automatic, or zoom in.",
            )
        out = self._placeholder(index)
        touched = {overlap.cell: overlap for overlap in self._grid.touched(on_grid)}
        # The middle last, so that it is kept longest.
        for cell in reversed(self._grid.centre_first(list(touched), on_grid)):
            finer = self._cells.get(cell)
            if finer is not None:
                out[touched[cell].place] = finer[touched[cell].part]
        with self._lock:
            self._asked = on_grid
        self._want()
        return self._in_own_order(out)

    def _placeholder(self, index: tuple[slice, ...]) -> np.ndarray:
        """Return the source's pixels, repeated, to be written into.

        Each tile that comes is shown in the same view: reading the source again for it would let
        the viewer wait for the disk.
        """
        shown = self._shown
        if shown is not None and shown[0] == index:
            return shown[1].copy()
        pixels = self._coarse[index]
        if pixels.nbytes > MOST_KEPT:
            return pixels
        self._shown = index, pixels
        return pixels.copy()

    def _want(self) -> None:
        """Wait for the cells that are missing on the screen, and for no others."""
        with self._lock:
            wanted = [] if self._asked is None else self._missing(self._asked)
            self._wanted = set(wanted)
        tasks: list[tuple[Hashable, Callable[[], None]]] = [
            (cell, partial(self.compute, cell)) for cell in wanted
        ]
        self._queue.replace(self, tasks)

    def _missing(self, asked: tuple[slice, ...]) -> list[Cell]:
        *lead, y, x = asked
        if self._screen is not None:
            near = [
                slice(max(own.start, seen.start), min(own.stop, seen.stop))
                for own, seen in zip((y, x), self._screen, strict=True)
            ]
            # A screen that lies elsewhere was looked at before the viewer asked.
            if all(part.start < part.stop for part in near):
                y, x = near
        region = (*lead, y, x)
        cells = self._grid.centre_first([o.cell for o in self._grid.touched(region)], region)
        # No more than can be kept, or they would push each other out for ever.
        return [cell for cell in cells[: self._room()] if cell not in self._cells]

    def compute(self, cell: Cell) -> None:
        """Compute a cell and keep it, unless it is kept already or not wanted any more."""
        if cell in self._cells:
            return

        def check(done: int, total: int) -> None:
            if done < total and not self._wants(cell):
                raise Cancelled("The view has moved on.")

        try:
            with on_tick(check):
                check(0, 1)
                finer = self._fine[(*cell.plane, *self._grid.bounds(cell))]
        except Cancelled:
            return
        except Exception as error:  # the end of a thread: whoever listens shows it
            self.forget()
            self.failed(error)
            return
        with self._lock:
            self._cells.put(cell, finer)
            self._wanted.discard(cell)
        self.changed()

    def _wants(self, cell: Cell) -> bool:
        with self._lock:
            return cell in self._wanted

    def _room(self) -> int:
        """Return how many cells a view may want."""
        samples = self.shape[self.image.axes.index("s")] if "s" in self.image.axes else 1
        return self._cells.room(math.prod(self._grid.edges) * samples * self.dtype.itemsize)

    def _index(self, ranges: tuple[range, ...]) -> tuple[slice, ...]:
        """Return ranges of our axes as slices of the canonical ones."""
        return tuple(_as_slice(ranges[i]) for i in self._to_canonical)

    def _in_own_order(self, pixels: np.ndarray) -> np.ndarray:
        return np.moveaxis(pixels, range(self.ndim), self._to_canonical)


def for_viewing(plan: Plan) -> Plan:
    """Return a plan with tiles small enough to watch them come, where that changes no pixel.

    A tile whose halo covers the receptive radius gives the same pixels whatever its size.
    """
    free = plan.spec.unit == "tile" and plan.halo >= plan.spec.radius and not plan.feather
    if not free:
        return plan
    multiple = plan.spec.multiple
    step = max(1, CELL // plan.scale // multiple) * multiple
    y, x = (min(step, own) for own in plan.step)
    return replace(plan, step=(y, x))


def _converted(plan: Plan) -> str | None:
    return None if plan.dtype == plan.source_dtype else plan.dtype


def _as_slice(r: range) -> slice:
    stop: int | None = r.stop
    if r.step < 0 and r.stop < 0:
        stop = None
    return slice(r.start, stop, r.step)


def _nothing(*args: Any) -> None:
    """Nobody listens."""
