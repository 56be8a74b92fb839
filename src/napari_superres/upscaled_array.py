"""The lazy array whose ``[...]`` runs the model."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from napari_superres.consistency import bilinear, conserve, repeat, sum_of
from napari_superres.errors import InputError
from napari_superres.models.engine import Address, Halo, load_engine
from napari_superres.models.weights import find_weights
from napari_superres.pixels import fill_gaps, resample_area, to_dtype, value_range
from napari_superres.plan import EXACT_INTEGER, Plan
from napari_superres.progress import tick
from napari_superres.regions import as_indices

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da

    from napari_superres.tiles import Span


class _Tile(NamedTuple):
    """One tile of a plane: its place in the lattice, and what it sees and keeps."""

    row: int
    column: int
    seen: tuple[Span, Span]
    kept: tuple[Span, Span]
    halo: Halo


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
        Whether the array holds the upscaled image, or half the width of the interval that holds
        90 % of the model's errors, in float32.
    """

    def __init__(
        self, source: da.Array, plan: Plan, part: Literal["result", "spread"] = "result"
    ) -> None:
        self.source = source
        self.plan = plan
        self.part = part
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
        out = np.empty([len(c) for c in chosen], self.dtype)
        if out.size:
            self._fill(out, chosen)
        return np.asarray(out[tuple(0 if drop else slice(None) for drop in dropped)])

    def _fill(self, out: np.ndarray, chosen: list[Sequence[int]]) -> None:
        n_lead = len(self.plan.plane_axes)
        lead, inside = chosen[:n_lead], chosen[n_lead:]
        # A region with steps, or one that runs backwards, is cut from the dense one around it.
        ys, xs = ((min(c), max(c) + 1) for c in inside[:2])
        starts = (ys[0], xs[0], *(0 for _ in inside[2:]))
        cut = np.ix_(*(np.asarray(c) - start for c, start in zip(inside, starts, strict=True)))
        whole = all(len(c) == c[-1] - c[0] + 1 for c in inside)
        for place in itertools.product(*(range(len(c)) for c in lead)):
            plane = self._plane(tuple(c[i] for c, i in zip(lead, place, strict=True)), ys, xs)
            out[place] = plane if whole else plane[cut]

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
        tiles = [self._tile(row, column) for row in touched[0] for column in touched[1]]
        done = 0
        for batch in _batches(tiles, plan.compute.batch):
            cut = np.stack([_crop(source, tile.seen, window) for tile in batch])
            for tile, result in zip(batch, self._run(cut, batch, index), strict=True):
                self._add(canvas, tile, result, ys, xs)
            done += len(batch)
            tick(done, len(tiles))
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
        part = self.source[(*index, *window)].compute(scheduler="synchronous")
        part = np.moveaxis(part, -1, 0) if self.plan.rgb else part[None]
        if as_float:
            self._check_exact(part)
        return np.asarray(part, np.float32 if as_float else None)

    def _check_exact(self, source: np.ndarray) -> None:
        if source.dtype.kind in "iu" and source.dtype.itemsize >= 4 and self.dtype.kind in "iu":
            largest = max(int(source.max()), -int(source.min()))
            if largest > EXACT_INTEGER:
                raise InputError(
                    f"Pixels of type {source.dtype} reach {largest}, beyond the {EXACT_INTEGER} up "
                    "to which models keep integers exactly.",
                    "Ask for dtype='float32'.",
                )

    def _tile(self, row: int, column: int) -> _Tile:
        lattices = self.plan.lattices()
        # The engine drops the network's halo; what is left around is for the consistency step.
        margin = self.plan.margin
        seen = [axis.seen(k) for axis, k in zip(lattices, (row, column), strict=True)]
        near = [axis.seen(k, margin) for axis, k in zip(lattices, (row, column), strict=True)]
        kept = [axis.kept(k) for axis, k in zip(lattices, (row, column), strict=True)]
        halo = Halo(
            near[0].start - seen[0].start,
            seen[0].stop - near[0].stop,
            near[1].start - seen[1].start,
            seen[1].stop - near[1].stop,
        )
        return _Tile(row, column, (seen[0], seen[1]), (kept[0], kept[1]), halo)

    def _run(self, values: np.ndarray, batch: list[_Tile], index: tuple[int, ...]) -> np.ndarray:
        """Return the finer pixels that each tile keeps, (n, samples, s*y, s*x), in source units."""
        plan = self.plan
        halo = batch[0].halo
        channel = self._channel(index)
        samples = values.shape[1]
        values = fill_gaps(values, max(plan.context, 1))
        colour = values[:, :3]
        inside, low, span = self._mapped(colour, channel)
        prediction = self._predict(inside, batch, index)
        prediction = resample_area(prediction, plan.spec.scale, plan.scale)
        margin = _margin(batch[0])
        if self.part == "spread":
            error = _without(np.abs(prediction), margin, plan.scale)
            error *= np.float32(span * plan.spec.bound)
            # Alpha is interpolated and has no error of its own.
            return np.concatenate([error, np.zeros_like(error[:, : samples - 3])], axis=1)
        prediction = prediction * np.float32(span) + np.float32(low)
        near = _without(colour, halo)
        if plan.spec.needs_limits:
            outside = _outside(colour, low, low + span)
            if outside.any():
                prediction += _without(bilinear(outside, plan.scale), halo, plan.scale)
        prediction = conserve(prediction, near, plan.consistency, *value_range(self.dtype))
        if samples == 4:
            alpha = _without(bilinear(values[:, 3:], plan.scale), halo, plan.scale)
            prediction = np.concatenate([prediction, alpha], axis=1)
        return _without(prediction, margin, plan.scale)

    def _mapped(self, values: np.ndarray, channel: int) -> tuple[np.ndarray, float, float]:
        if self.plan.limits is None:
            return values, 0.0, 1.0
        low, high = self.plan.limits[0 if self.plan.rgb else channel]
        span = high - low
        inside = (np.clip(values, low, high) - np.float32(low)) / np.float32(span or 1.0)
        return inside, low, span

    def _predict(
        self, inside: np.ndarray, batch: list[_Tile], index: tuple[int, ...]
    ) -> np.ndarray:
        """Run the engine on tiles of 1 or 3 samples, whatever number the network takes."""
        plan = self.plan
        spec = plan.spec
        channel = self._channel(index)
        wants_spread = self.part == "spread"
        setting = replace(plan.setting(channel), uncertainty=wants_spread)
        engine = load_engine(spec, find_weights(spec, setting.denoise), setting)
        plane = self._plane_number(index)
        at = [
            Address(plan.seed, 0, plane, tile.kept[0].start, tile.kept[1].start) for tile in batch
        ]
        missing = plan.compute.batch - len(batch)
        if missing:  # every call has the same shape, else its last bits could differ
            inside = np.concatenate([inside, inside[-1:].repeat(missing, axis=0)])
            at = at + at[-1:] * missing

        def run(tiles: np.ndarray) -> np.ndarray:
            if spec.noise_input:
                level = np.full_like(tiles[:, :1], plan.noise[channel])
                tiles = np.concatenate([tiles, level], axis=1)
            out = engine(tiles, batch[0].halo, at)
            return out[:, spec.samples :] if wants_spread else out

        samples = inside.shape[1]
        if samples == spec.samples:
            out = run(inside)
        elif samples == 1:
            # Gray through a network for colours: gray in, and the mean of what comes out.
            out = run(inside.repeat(spec.samples, axis=1))
            out = sum_of(np.split(out, spec.samples, axis=1)) / np.float32(spec.samples)
        else:
            out = np.concatenate([run(inside[:, i : i + 1]) for i in range(samples)], axis=1)
        return out[: len(batch)]

    def _add(
        self,
        canvas: np.ndarray,
        tile: _Tile,
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

    def _plane_number(self, index: tuple[int, ...]) -> int:
        lead = self.plan.plane_axes
        order = [a for a in lead if a != "c"] + [a for a in lead if a == "c"]
        number = 0
        for axis in order:
            size = self.plan.shape[self.plan.axes.index(axis)]
            number = number * size + index[lead.index(axis)]
        return number


def _batches(tiles: list[_Tile], size: int) -> list[list[_Tile]]:
    """Group tiles of equal shape, at most `size` together."""
    alike: dict[Any, list[_Tile]] = defaultdict(list)
    for tile in tiles:
        lengths = tuple(span.length for span in (*tile.seen, *tile.kept))
        alike[lengths, tile.halo].append(tile)
    return [group[i : i + size] for group in alike.values() for i in range(0, len(group), size)]


def _crop(source: np.ndarray, spans: tuple[Span, Span], window: list[slice]) -> np.ndarray:
    y, x = (
        slice(span.start - w.start, span.stop - w.start)
        for span, w in zip(spans, window, strict=True)
    )
    return source[:, y, x]


def _without(values: np.ndarray, halo: Halo, scale: int = 1) -> np.ndarray:
    height, width = values.shape[-2:]
    return values[
        ...,
        halo.top * scale : height - halo.bottom * scale,
        halo.left * scale : width - halo.right * scale,
    ]


def _margin(tile: _Tile) -> Halo:
    """Return what lies around the kept pixels once the engine has dropped the network's halo."""
    kept, seen, halo = tile.kept, tile.seen, tile.halo
    return Halo(
        kept[0].start - seen[0].start - halo.top,
        seen[0].stop - kept[0].stop - halo.bottom,
        kept[1].start - seen[1].start - halo.left,
        seen[1].stop - kept[1].stop - halo.right,
    )


def _outside(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return by how much values exceed the limits: what a model may not see."""
    return values - np.clip(values, np.float32(low), np.float32(high))


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
