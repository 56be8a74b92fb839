"""What tiles become: mapped to the model's range, run through it, and given back their light."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_superres.consistency import bilinear, conserve, sum_of
from napari_superres.models.engine import Address, Halo, load_engine
from napari_superres.models.noise_line import noise_map
from napari_superres.models.weights import find_weights
from napari_superres.pixels import fill_gaps, resample_area, value_range
from napari_superres.progress import inside
from napari_superres.symmetry import SYMMETRIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.plan import Plan
    from napari_superres.tiles import Span


class PlacedTile(NamedTuple):
    """One tile of a plane: its place in the lattice, and what it sees and keeps."""

    row: int
    column: int
    seen: tuple[Span, Span]
    kept: tuple[Span, Span]
    halo: Halo

    @property
    def answered(self) -> tuple[int, int]:
        """The first source pixel along y and x that the engine answers for."""
        return self.seen[0].start + self.halo.top, self.seen[1].start + self.halo.left

    @property
    def margin(self) -> Halo:
        """What lies around the kept pixels once the engine has dropped the network's halo."""
        kept, seen, halo = self.kept, self.seen, self.halo
        return Halo(
            kept[0].start - seen[0].start - halo.top,
            seen[0].stop - kept[0].stop - halo.bottom,
            kept[1].start - seen[1].start - halo.left,
            seen[1].stop - kept[1].stop - halo.right,
        )


def place_tile(plan: Plan, row: int, column: int) -> PlacedTile:
    """Return a tile of a plan's lattice."""
    lattices = plan.lattices()
    # The engine drops the network's halo; what is left around is for the consistency step.
    seen = [axis.seen(k) for axis, k in zip(lattices, (row, column), strict=True)]
    near = [axis.seen(k, plan.margin) for axis, k in zip(lattices, (row, column), strict=True)]
    kept = [axis.kept(k) for axis, k in zip(lattices, (row, column), strict=True)]
    halo = Halo(
        near[0].start - seen[0].start,
        seen[0].stop - near[0].stop,
        near[1].start - seen[1].start,
        seen[1].stop - near[1].stop,
    )
    return PlacedTile(row, column, (seen[0], seen[1]), (kept[0], kept[1]), halo)


class TileWork(NamedTuple):
    """Tiles of equal shape that are computed together.

    Parameters
    ----------
    plan : Plan
    tiles : sequence of PlacedTile
        At most as many as the plan's batch.
    values : np.ndarray, shape (n, samples, y, x), float32
        What they see, in the source's units.
    channel, plane : int
        Of which channel, and which plane of the whole image.
    """

    plan: Plan
    tiles: Sequence[PlacedTile]
    values: np.ndarray
    channel: int
    plane: int

    def results(self) -> np.ndarray:
        """Return the finer pixels that each tile keeps, in source units.

        Returns
        -------
        np.ndarray, shape (n, k, samples, s*y, s*x), float32
            `k` is 1; with several samples it is 2: their mean, and their standard deviation (with
            one sample less in the denominator), accumulated as B. P. Welford did (Technometrics
            1962, doi:10.1080/00401706.1962.10490022), which holds two of them and not all.
        """
        count = self.plan.samples
        if count == 1:
            return self._fine(0)[:, None]
        mean: np.ndarray = np.zeros((), np.float32)
        squares = mean
        for sample in range(count):
            with inside(sample, count, f"sample {sample + 1}/{count}"):
                fine = self._fine(sample)
            away = fine - mean
            mean = mean + away / np.float32(sample + 1)
            squares = squares + away * (fine - mean)
        spread = np.sqrt(squares / np.float32(count - 1))
        return np.stack([mean, spread], axis=1)

    def predicted_errors(self) -> np.ndarray:
        """Return half the width of the model's own 90 % interval, as `results` with `k` of 1."""
        values, samples = self._filled()
        mapped, _, span = self._mapped(values[:, :3])
        error = self._error(mapped)
        error = resample_area(error, self.plan.spec.scale, self.plan.scale)
        error = without(error, self.tiles[0].margin, self.plan.scale)
        error *= np.float32(span * self.plan.spec.bound)
        # Alpha is interpolated and has no error of its own.
        return np.concatenate([error, np.zeros_like(error[:, : samples - 3])], axis=1)[:, None]

    def _error(self, mapped: np.ndarray) -> np.ndarray:
        """Return the model's error scale, positive.

        It was fitted where none or all of the noise is removed. Where a part is, what is left may
        be noise or the specimen's own grain: the squares of both are weighed by that part, and the
        network runs twice.
        """
        strength, removed = self.plan.denoise[self.channel], self.plan.noise[self.channel]
        if not strength or not self.plan.removes_part(self.channel):
            return np.abs(self._predict(mapped, 0, removed, wants_error=True))
        kept, whole = (
            self._predict(mapped, 0, noise, wants_error=True) for noise in (0, removed / strength)
        )
        return np.asarray(np.sqrt((1 - strength) * kept**2 + strength * whole**2), np.float32)

    def _filled(self) -> tuple[np.ndarray, int]:
        return fill_gaps(self.values, max(self.plan.context, 1)), self.values.shape[1]

    def _fine(self, sample: int) -> np.ndarray:
        """Return one sample, (n, samples, s*y, s*x)."""
        plan, halo = self.plan, self.tiles[0].halo
        values, samples = self._filled()
        colour = values[:, :3]
        mapped, low, span = self._mapped(colour)
        prediction = self._predict(mapped, sample, plan.noise[self.channel])
        prediction = resample_area(prediction, plan.spec.scale, plan.scale)
        if plan.limits is not None:
            prediction = prediction * np.float32(span)
            prediction += np.float32(low)
        near = without(colour, halo)
        if plan.spec.needs_limits:
            outside = _outside(colour, low, low + span)
            if outside.any():
                prediction += without(bilinear(outside, plan.scale), halo, plan.scale)
        bounds = value_range(np.dtype(plan.dtype))
        prediction = conserve(prediction, near, plan.consistency, *bounds)
        if samples == 4:
            alpha = without(bilinear(values[:, 3:], plan.scale), halo, plan.scale)
            prediction = np.concatenate([prediction, alpha], axis=1)
        return without(prediction, self.tiles[0].margin, plan.scale)

    def _mapped(self, values: np.ndarray) -> tuple[np.ndarray, float, float]:
        if self.plan.limits is None:
            return values, 0.0, 1.0
        low, high = self.plan.limits[self.channel]
        span = high - low
        mapped = (np.clip(values, low, high) - np.float32(low)) / np.float32(span or 1.0)
        return mapped, low, span

    def _predict(
        self, mapped: np.ndarray, sample: int, noise: float, *, wants_error: bool = False
    ) -> np.ndarray:
        """Run the engine on tiles of 1 or 3 samples, whatever number the network takes."""
        plan, spec = self.plan, self.plan.spec
        setting = replace(plan.setting(self.channel), uncertainty=wants_error)
        engine = load_engine(spec, find_weights(spec, setting.denoise), setting)
        at = [Address(plan.seed, sample, self.plane, *tile.answered) for tile in self.tiles]
        missing = plan.compute.batch - len(self.tiles)
        if missing:  # every call has the same shape, else its last bits could differ
            mapped = np.concatenate([mapped, mapped[-1:].repeat(missing, axis=0)])
            at = at + at[-1:] * missing
        # A model that draws nothing gives another answer to another view of the same.
        view = SYMMETRIES[0 if spec.random else sample]
        halo, spare = self.tiles[0].halo, Halo(0, 0, 0, 0)
        if view is not SYMMETRIES[0]:
            mapped, halo, spare = _completed(mapped, halo, spec.multiple)
            halo = view.halo(halo)

        def run(tiles: np.ndarray) -> np.ndarray:
            if spec.noise_input:
                level = noise_map(tiles, noise, plan.noise_lines[self.channel])
                tiles = np.concatenate([tiles, level], axis=1)
            out = view.undo(engine(view.apply(tiles), halo, at))
            return out[:, spec.samples :] if wants_error else out

        samples = mapped.shape[1]
        if samples == spec.samples:
            out = run(mapped)
        elif samples == 1:
            # Gray through a network for colours: gray in, and the mean of what comes out.
            out = run(mapped.repeat(spec.samples, axis=1))
            out = sum_of(np.split(out, spec.samples, axis=1)) / np.float32(spec.samples)
        else:
            out = np.concatenate([run(mapped[:, i : i + 1]) for i in range(samples)], axis=1)
        return without(np.asarray(out[: len(self.tiles)]), spare, spec.scale)


def without(values: np.ndarray, halo: Halo, scale: int = 1) -> np.ndarray:
    """Return images (..., y, x) without a halo, which counts in pixels of `scale`."""
    height, width = values.shape[-2:]
    return values[
        ...,
        halo.top * scale : height - halo.bottom * scale,
        halo.left * scale : width - halo.right * scale,
    ]


def _completed(values: np.ndarray, halo: Halo, multiple: int) -> tuple[np.ndarray, Halo, Halo]:
    """Return tiles with sides that are multiples, their halo, and what to cut off the result.

    A network that folds squares of pixels has to find the same squares in each view of a plane, so
    a plane that ends within one is completed before it is turned: by reflection, as the official
    program does. One pixel has no reflection and is repeated.
    """
    ends = {-2: halo.bottom, -1: halo.right}
    spare = {}
    for axis, end in ends.items():
        length = values.shape[axis]
        missing = -length % multiple
        if missing:
            padding = [(0, 0)] * values.ndim
            padding[axis] = (0, missing)
            values = np.pad(values, padding, mode="reflect" if missing < length else "edge")
        spare[axis] = (end + missing) % multiple
        ends[axis] = end + missing - spare[axis]
    around = Halo(halo.top, ends[-2], halo.left, ends[-1])
    return values, around, Halo(0, spare[-2], 0, spare[-1])


def _outside(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return by how much values exceed the limits: what a model may not see."""
    return values - np.clip(values, np.float32(low), np.float32(high))
