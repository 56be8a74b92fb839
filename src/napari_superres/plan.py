"""Every decision about one run, made before it starts."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_superres.consistency import RADIUS
from napari_superres.kept_tiles import LIMIT
from napari_superres.models.engine import Compute, Setting, load_family
from napari_superres.plan_words import plan_words
from napari_superres.tiles import Lattice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.models.catalog import Consistency, ModelSpec
    from napari_superres.models.noise_line import NoiseLine
    from napari_superres.models.workload import Work
    from napari_superres.tiles import Span

Limits = tuple[float, float]

EXACT_INTEGER = 2**24
"""Beyond it float32, in which models compute, cannot tell neighbouring integers apart."""


@dataclass(frozen=True)
class Plan:
    """Every decision about one run; whatever could change a pixel is in it.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    axes : str
        Axes of the source with ``y``, ``x`` and then ``s`` last.
    shape : tuple of int
        Shape of the source, in that order.
    source_dtype, dtype : str
        Type of a pixel before and after.
    scale : int
        Scale factor of the result.
    step : (int, int)
        Core of a tile along y and x, in source pixels.
    halo, feather : int
        In source pixels.
    block : (int, int)
        What one task computes, in output pixels along y and x.
    limits : tuple of (float, float), or None
        What becomes 0 and 1, a pair for each channel (the colours of a picture share it).
    denoise : tuple of (float or None)
        Denoising strength of each channel; None where the model has no such setting.
    noise : tuple of float
        Standard deviation of the noise that is removed from each channel, in the source's units and
        on the average over its pixels; all 0 for models that are not told.
    noise_lines : tuple of (NoiseLine or None)
        How it grows with brightness; None where it is taken to be the same everywhere.
    consistency : {"pixel", "local", "off"}
        How light is conserved.
    seed : int
        For models that draw random numbers.
    samples : int
        How many results are averaged: of other random numbers, or, for models that draw none, of
        the first so many of `symmetry.SYMMETRIES`, the eight flips and rotations.
    uncertainty : bool
        Whether the model's own prediction of its error is computed too.
    compute : Compute
        Engine, device, precision and batch.
    options : tuple of (str, value)
        The model's own options, all of them, sorted by name.
    auto_denoise : bool
        Whether the strengths of denoising were found in the image. It changes no pixel.
    """

    spec: ModelSpec
    axes: str
    shape: tuple[int, ...]
    source_dtype: str
    dtype: str
    scale: int
    step: tuple[int, int]
    halo: int
    feather: int
    block: tuple[int, int]
    limits: tuple[Limits, ...] | None
    denoise: tuple[float | None, ...]
    noise: tuple[float, ...]
    noise_lines: tuple[NoiseLine | None, ...]
    consistency: Consistency
    seed: int
    samples: int
    uncertainty: bool
    compute: Compute
    options: tuple[tuple[str, Any], ...]
    auto_denoise: bool = field(default=False, compare=False)

    @property
    def rgb(self) -> bool:
        """True when the source is a colour picture."""
        return self.axes.endswith("s")

    @property
    def spread(self) -> Literal["", "sampling spread", "augmentation spread", "predicted error"]:
        """What the second result is; empty if there is none.

        The standard deviation over samples drawn with other random numbers, or over flips and
        rotations of the image; or half the width of the model's own 90 % interval.
        """
        if self.samples > 1:
            return "sampling spread" if self.spec.random else "augmentation spread"
        return "predicted error" if self.uncertainty else ""

    @property
    def passes(self) -> float:
        """How often the network runs on each tile for all that is asked for, mean over channels."""
        if self.spread != "predicted error":
            return self.samples
        partly = sum(self.removes_part(channel) for channel in range(len(self.denoise)))
        return 2 + partly / len(self.denoise)

    @property
    def kept_bytes(self) -> int:
        """Most memory of a process for tiles that are kept for a while."""
        if not (self.feather or self.samples > 1 or self.spec.unit == "plane"):
            return 0
        kept = math.prod(self.output_shape) * (2 if self.samples > 1 else 1)
        return min(LIMIT, np.dtype(np.float32).itemsize * kept)

    def keeps(self, kept: Sequence[Span]) -> bool:
        """Return whether a tile, by what it keeps along y and x, is kept in memory for a while."""
        return self.samples > 1 or self.spec.unit == "plane" or self._shared(kept)

    def _shared(self, kept: Sequence[Span]) -> bool:
        """Return whether a tile hands over to a neighbour in another block, which needs it too."""
        if not self.feather:
            return False
        ends = ((span.start * self.scale, span.stop * self.scale - 1) for span in kept)
        return any(a // n != b // n for (a, b), n in zip(ends, self.block, strict=True))

    @property
    def plane_axes(self) -> str:
        """The axes that count planes: all but y, x and s."""
        return self.axes.replace("y", "").replace("x", "").replace("s", "")

    @property
    def context(self) -> int:
        """Source pixels that a tile sees at each side of what it keeps."""
        return self.halo + self.margin

    @property
    def margin(self) -> int:
        """Source pixels around what a tile keeps that the light-conserving step looks at.

        A multiple of the network's own, so that tiles begin where its squares of pixels do.
        """
        return margin_for(self.consistency, self.spec.multiple)

    @property
    def tile(self) -> tuple[int, int]:
        """Length of a whole tile away from the border, along y and x, in source pixels."""
        y, x = (step + self.feather + 2 * self.context for step in self.step)
        return y, x

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the result, in the order of `axes`."""
        return tuple(
            n * self.scale if a in "yx" else n for a, n in zip(self.axes, self.shape, strict=True)
        )

    @property
    def output_bytes(self) -> int:
        """Bytes of the result, uncompressed and without a pyramid."""
        return math.prod(self.output_shape) * np.dtype(self.dtype).itemsize

    @property
    def planes(self) -> int:
        """Number of planes."""
        return math.prod(
            n for a, n in zip(self.axes, self.shape, strict=True) if a in self.plane_axes
        )

    @property
    def tiles(self) -> int:
        """Number of tiles in all planes."""
        return self.planes * math.prod(lattice.count for lattice in self.lattices())

    @property
    def overhead(self) -> float:
        """How many source pixels the model sees for each that is kept.

        Each tile counts once: those that several blocks need are kept for the others of the same
        process, as far as memory for them goes.
        """
        y, x = self.lattices()
        seen = [
            sum(axis.seen(k, self.context).length for k in range(axis.count)) for axis in (y, x)
        ]
        return seen[0] * seen[1] / (y.length * x.length)

    @property
    def task_bytes(self) -> int:
        """Most memory that one task needs beside the loaded model: window, tile, block."""
        samples = 3 if self.rgb else 1
        out = self.block[0] * self.block[1] * samples
        tile = min(self.tile[0], self._length("y")) * min(self.tile[1], self._length("x"))
        workspace = tile * self.compute.batch * self.spec.workspace
        if self.spec.unit == "plane":
            half = self.compute.precision != "float32"
            workspace = max(work.workspace for work in self.works()) // (2 if half else 1)
        seen = tile * max(samples, self.spec.samples) * self.compute.batch
        window = math.prod(edge // self.scale + 2 * self.context for edge in self.block) * samples
        return int(
            window * 12
            + seen
            * (12 + 16 * self.spec.at(self.scale).scale ** 2 * (2 if self.samples > 1 else 1))
            + workspace
            + out * (8 + 2 * np.dtype(self.dtype).itemsize)
        )

    @property
    def flop(self) -> float:
        """Floating-point operations of the whole run, halo included."""
        if self.spec.unit == "plane":
            return self.samples * self.planes * sum(work.flop for work in self.works())
        colours = 3 if self.rgb and self.spec.samples == 1 else 1
        pixels = self.planes * self._length("y") * self._length("x") * colours
        return self.passes * self.spec.flop * pixels * self.overhead

    @property
    def weights_bytes(self) -> int:
        """Memory that the model's numbers take once loaded."""
        return self.spec.parameters * (4 if self.compute.precision == "float32" else 2)

    def works(self) -> list[Work]:
        """Return what there is to compute for each part of a plane, in raster order.

        Only for models that restore planes.
        """
        y, x = ([axis.seen(k).length for k in range(axis.count)] for axis in self.lattices())
        family = load_family(self.spec.family)
        return [family.work(self.spec, self.options, rows, cols) for rows in y for cols in x]

    def lattices(self) -> tuple[Lattice, Lattice]:
        """Return the tiles along y and along x."""
        y, x = (
            Lattice(self._length(axis), step, self.context, self.feather)
            for axis, step in zip("yx", self.step, strict=True)
        )
        return y, x

    def removes_part(self, channel: int) -> bool:
        """Return whether a part of a channel's noise is removed, by a model that is told how much.

        The error of such a result is predicted in two passes, for none and for all of it.
        """
        return self.spec.noise_input and 0 < (self.denoise[channel] or 0) < 1

    def setting(self, channel: int) -> Setting:
        """Return what the engine for a channel is loaded with."""
        return Setting(
            engine=self.compute.engine,
            device=self.compute.device,
            precision=self.compute.precision,
            # A model that is told the noise is the same whatever the noise.
            denoise=None if self.spec.noise_input else self.denoise[channel],
            uncertainty=self.uncertainty,
            options=self.options,
        )

    def record(self) -> dict[str, Any]:
        """Return the plan as JSON values, for a result's history and for a job's fingerprint."""
        values = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in ("spec", "compute", "options", "auto_denoise")
        }
        return {
            "model": self.spec.name,
            **_plain(values),
            **dataclasses.asdict(self.compute),
            "options": dict(self.options),
        }

    def _length(self, axis: str) -> int:
        return self.shape[self.axes.index(axis)]

    def __str__(self) -> str:
        return plan_words(self)


def margin_for(consistency: Consistency, multiple: int) -> int:
    """Return how far conserving light looks around a tile, rounded up to a multiple."""
    return -(-RADIUS[consistency] // multiple) * multiple


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value
