"""The lazy array whose ``[...]`` runs the model."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from dask.local import get_sync  # by its name, dask would first import all of distributed

from napari_superres.consistency import repeat
from napari_superres.errors import InputError
from napari_superres.kept_tiles import KEPT, digest
from napari_superres.pixels import to_dtype
from napari_superres.plan import EXACT_INTEGER, Plan
from napari_superres.progress import inside, tick
from napari_superres.regions import as_indices
from napari_superres.tile_results import PlacedTile, TileWork, place_tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da

    from napari_superres.tiles import Span


class UpscaledArray:
    """An upscaled image as an array; indexing computes what is asked for, and nothing else.

    The law: ``array[r]`` equals ``array[:][r]`` bit for bit, because every tile that touches a
    region is computed whole, at its place in the lattice of the plane.

    Parameters
    ----------
    source : dask.array.Array
        Axes as in `plan.axes`.
    plan : Plan
        All decisions.
    part : {"result", "spread"}
        Whether the array holds the upscaled image, or in float32 what `plan.spread` says: the
        standard deviation of samples, or half the width of the interval that holds 90 % of the
        model's errors. Where tiles hand over to one another, it is the mean of theirs.
    name : str
        What messages call the source.
    """

    def __init__(
        self,
        source: da.Array,
        plan: Plan,
        part: Literal["result", "spread"] = "result",
        name: str = "image",
    ) -> None:
        self.source = source
        self.plan = plan
        self.part = part
        self.name = name
        self.shape = plan.output_shape
        self.dtype = np.dtype(plan.dtype if part == "result" else np.float32)
        self.ndim = len(self.shape)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("UpscaledArray", self.source.name, self.plan, self.part)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return a region.

        Parameters
        ----------
        key : int, slice, list of int, Ellipsis, or a tuple of them
            As for a numpy array; integers drop their axis, steps may be negative. A list, for one
            axis at most, chooses along it.

        Returns
        -------
        np.ndarray, of type `dtype`
        """
        chosen, dropped = as_indices(key, self.shape)
        out = self._computed(chosen)
        return np.asarray(out[tuple(0 if drop else slice(None) for drop in dropped)])

    def _computed(self, chosen: list[Sequence[int]]) -> np.ndarray:
        """Return the pixels at some positions along each axis."""
        lengths = [len(c) for c in chosen]
        if 0 in lengths:
            return np.empty(lengths, self.dtype)
        n_lead = len(self.plan.plane_axes)
        lead, inside = chosen[:n_lead], chosen[n_lead:]
        # A region with steps, or one that runs backwards, is cut from the dense one around it.
        ys, xs = ((min(c), max(c) + 1) for c in inside[:2])
        starts = (ys[0], xs[0], *(0 for _ in inside[2:]))
        cut = np.ix_(*(np.asarray(c) - start for c, start in zip(inside, starts, strict=True)))
        whole = all(len(c) == c[-1] - c[0] + 1 for c in inside)
        planes = (self._plane(index, ys, xs) for index in itertools.product(*lead))
        wanted = (plane if whole else plane[cut] for plane in planes)
        if set(lengths[:n_lead]) <= {1}:  # as in each block of a job: not copied once more
            return next(wanted).reshape(lengths)
        out = np.empty(lengths, self.dtype)
        for place in np.ndindex(*lengths[:n_lead]):
            out[place] = next(wanted)
        return out

    def _plane(
        self, index: tuple[int, ...], ys: tuple[int, int], xs: tuple[int, int]
    ) -> np.ndarray:
        """Compute output pixels ``ys`` x ``xs`` of one plane, as (y, x) or (y, x, s)."""
        plan = self.plan
        if plan.spec.name == "nearest":
            return self._repeated(index, ys, xs)
        scale = plan.scale
        lattices = plan.lattices()
        touched = [
            lattice.touching(start // scale, -(-stop // scale))
            for lattice, (start, stop) in zip(lattices, (ys, xs), strict=True)
        ]
        window = [
            slice(lattice.seen(ks[0]).start, lattice.seen(ks[-1]).stop)
            for lattice, ks in zip(lattices, touched, strict=True)
        ]
        source = self._read(index, window)
        canvas = np.zeros((source.shape[0], ys[1] - ys[0], xs[1] - xs[0]), np.float32)
        tiles = [place_tile(plan, row, column) for row in touched[0] for column in touched[1]]
        done = 0
        waiting = {}
        for batch in _batches(tiles, plan.compute.batch):
            with inside(done, len(tiles), self._words(index, done, len(tiles))):
                results = self._results(batch, source, window, index)
            for tile, result in zip(batch, results, strict=True):
                if plan.feather:
                    waiting[tile] = result
                else:
                    self._add(canvas, tile, result, ys, xs)
            done += len(batch)
            tick(done, len(tiles))
        for tile in sorted(waiting):  # sums in another order have other last bits
            self._add(canvas, tile, waiting[tile], ys, xs)
        canvas = _restore_gaps(canvas, source, scale, window, ys, xs)
        return (
            np.moveaxis(to_dtype(canvas, self.dtype), 0, -1)
            if plan.rgb
            else (to_dtype(canvas[0], self.dtype))
        )

    def _repeated(
        self, index: tuple[int, ...], ys: tuple[int, int], xs: tuple[int, int]
    ) -> np.ndarray:
        scale = self.plan.scale
        window = [slice(start // scale, -(-stop // scale)) for start, stop in (ys, xs)]
        values = repeat(self._read(index, window, as_float=False), scale)
        first = [start - w.start * scale for (start, _), w in zip((ys, xs), window, strict=True)]
        values = values[:, first[0] : first[0] + ys[1] - ys[0], first[1] : first[1] + xs[1] - xs[0]]
        if values.dtype != self.dtype:
            values = to_dtype(values, self.dtype)
        return np.moveaxis(values, 0, -1) if self.plan.rgb else values[0]

    def _read(
        self, index: tuple[int, ...], window: list[slice], *, as_float: bool = True
    ) -> np.ndarray:
        """Return source pixels as (samples, y, x)."""
        # Without callbacks: napari has one that keeps all that is read, gigabytes of it.
        part = self.source[(*index, *window)].compute(scheduler=get_sync, callbacks=[])
        part = np.moveaxis(part, -1, 0) if self.plan.rgb else part[None]
        if as_float:
            self._check_exact(part)
        return np.asarray(part, np.float32 if as_float else None)

    def _check_exact(self, source: np.ndarray) -> None:
        """Refuse pixels that float32, in which models compute, cannot hold."""
        integers = source.dtype.kind in "iu" and self.dtype.kind in "iu"
        if source.dtype.itemsize < 4 or not (integers or source.dtype == np.float64):
            return
        allowed = EXACT_INTEGER if integers else float(np.finfo(np.float32).max)
        finite = np.isfinite(source)
        low, high = (f(where=finite, initial=0).item() for f in (source.min, source.max))
        largest = max(high, -low)
        if largest > allowed:
            raise InputError(
                f"'{self.name}' has pixels of type {source.dtype} that reach {largest}, beyond "
                f"the {allowed:g} up to which models keep "
                + ("integers exactly." if integers else "numbers at all."),
                "Ask for dtype='float32'." if integers else "Divide them by something first.",
            )

    def _results(
        self,
        batch: list[PlacedTile],
        source: np.ndarray,
        window: list[slice],
        index: tuple[int, ...],
    ) -> list[np.ndarray]:
        """Return the finer pixels of each tile of a batch, (samples, s*y, s*x)."""
        plan = self.plan
        place = self._channel(index), self._plane_number(index)
        crops = {tile: _crop(source, tile.seen, window) for tile in batch}

        errors = self.part == "spread" and plan.samples == 1

        def computed(tiles: list[PlacedTile]) -> np.ndarray:
            work = TileWork(plan, tiles, np.stack([crops[tile] for tile in tiles]), *place)
            return work.predicted_errors() if errors else work.results()

        if not any(plan.keeps(tile.kept) for tile in batch):
            return list(computed(batch)[:, 0])
        # By their pixels, not by the name of their source: files are written anew, arrays changed.
        keys = [(digest(crops[tile]), plan, errors, index, tile.row, tile.column) for tile in batch]
        with KEPT.claimed(keys):
            found = {key: kept for key in keys if (kept := KEPT.get(key)) is not None}
            missing = [(k, tile) for k, tile in zip(keys, batch, strict=True) if k not in found]
            if missing:
                fine = computed([tile for _, tile in missing])
                for (key, tile), values in zip(missing, fine, strict=True):
                    found[key] = values
                    if plan.keeps(tile.kept):
                        KEPT.keep(key, values, costly=plan.spec.unit == "plane")
        return [found[key][int(self.part == "spread" and not errors)] for key in keys]

    def _add(
        self,
        canvas: np.ndarray,
        tile: PlacedTile,
        result: np.ndarray,
        ys: tuple[int, int],
        xs: tuple[int, int],
    ) -> None:
        scale = self.plan.scale
        own, there = [], []
        for span, (start, stop) in zip(tile.kept, (ys, xs), strict=True):
            first, last = max(span.start * scale, start), min(span.stop * scale, stop)
            own.append(slice(first - span.start * scale, last - span.start * scale))
            there.append(slice(first - start, last - start))
        part = result[:, own[0], own[1]]
        if self.plan.feather:
            y, x = (
                axis.weights(k).repeat(scale)[cut]
                for axis, k, cut in zip(
                    self.plan.lattices(), (tile.row, tile.column), own, strict=True
                )
            )
            canvas[:, there[0], there[1]] += part * y[:, None] * x[None, :]
        else:
            canvas[:, there[0], there[1]] = part

    def _channel(self, index: tuple[int, ...]) -> int:
        position = self.plan.plane_axes.find("c")
        return index[position] if position >= 0 else 0

    def _words(self, index: tuple[int, ...], done: int, count: int) -> str:
        """Return what a part of a plane is called, where a plane takes long enough to ask."""
        if self.plan.spec.unit == "tile":
            return ""
        words = f"plane {self._plane_number(index) + 1}/{self.plan.planes}"
        return f"{words}, part {done + 1}/{count}" if count > 1 else words

    def _plane_number(self, index: tuple[int, ...]) -> int:
        lead = self.plan.plane_axes
        order = [a for a in lead if a != "c"] + [a for a in lead if a == "c"]
        number = 0
        for axis in order:
            size = self.plan.shape[self.plan.axes.index(axis)]
            number = number * size + index[lead.index(axis)]
        return number


def _batches(tiles: list[PlacedTile], size: int) -> list[list[PlacedTile]]:
    """Group tiles of equal shape, at most `size` together."""
    alike: dict[Any, list[PlacedTile]] = defaultdict(list)
    for tile in tiles:
        lengths = tuple(span.length for span in (*tile.seen, *tile.kept))
        alike[lengths, tile.halo, tile.margin].append(tile)
    return [group[i : i + size] for group in alike.values() for i in range(0, len(group), size)]


def _crop(source: np.ndarray, spans: tuple[Span, Span], window: list[slice]) -> np.ndarray:
    y, x = (
        slice(span.start - w.start, span.stop - w.start)
        for span, w in zip(spans, window, strict=True)
    )
    return source[:, y, x]


def _restore_gaps(
    canvas: np.ndarray,
    source: np.ndarray,
    scale: int,
    window: list[slice],
    ys: tuple[int, int],
    xs: tuple[int, int],
) -> np.ndarray:
    """Put values that are not finite back where they were."""
    if np.isfinite(source).all():
        return canvas
    spans = [(start // scale, -(-stop // scale)) for start, stop in (ys, xs)]
    near = source[
        :,
        spans[0][0] - window[0].start : spans[0][1] - window[0].start,
        spans[1][0] - window[1].start : spans[1][1] - window[1].start,
    ]
    fine = repeat(near, scale)
    y, x = (start - first * scale for (start, _), (first, _) in zip((ys, xs), spans, strict=True))
    fine = fine[:, y : y + canvas.shape[1], x : x + canvas.shape[2]]
    return np.where(np.isfinite(fine), canvas, fine)
