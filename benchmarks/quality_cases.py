"""What `quality.py` compares: sharp images, and every method on a degraded one."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

import napari_superres as sr
from napari_superres.arrays import as_image
from napari_superres.models.camera_noise import Noise
from napari_superres.models.weights import find_model
from napari_superres.surveying import Survey
from napari_superres.upscaling import plan_for, planned, spread

if TYPE_CHECKING:
    from pathlib import Path

    from napari_superres.training.recording import Pair

_SMALLEST = 96
_NO_SPECIMEN = ("multi-channel_int8",)
"""Drawn for a file format's specification."""


@dataclass(frozen=True)
class Method:
    """A model of this package with the settings that it is judged with.

    Parameters
    ----------
    label : str
        In the tables; ``{scale}`` is filled in.
    model : str
        A name or a file of weights; ``{scale}`` likewise.
    denoise : float, "auto", "true" or None
        ``"true"`` tells the model the true noise, which nobody knows of a real image.
    consistency : str or None
        None for the model's own default.
    """

    label: str
    model: str
    denoise: float | str | None = None
    consistency: Any = None

    def at(self, scale: int) -> Method:
        """Return the method for a scale factor."""
        return replace(
            self, label=self.label.format(scale=scale), model=self.model.format(scale=scale)
        )

    def run(
        self, pair: Pair, *, uncertainty: bool = False, tile: int | None = None
    ) -> list[np.ndarray]:
        """Return the result in float32, and where it is asked for its 90 % bound."""
        image, spec = as_image(pair.source), find_model(self.model, pair.scale)
        facts, denoise = None, self.denoise
        if denoise == "true":
            facts, denoise = _told(pair), 1.0 if pair.noise else 0.0
        plan = plan_for(
            image,
            self.model,
            scale=pair.scale,
            denoise=denoise,
            facts=facts,
            dtype="float32",
            consistency=self.consistency,
            tile=tile,
            uncertainty=uncertainty and spec.bound > 0,
        )
        results = [planned(image, plan)]
        if plan.uncertainty:
            results.append(spread(image, plan))
        return [np.asarray(one.data.compute(scheduler="synchronous")) for one in results]

    def fits(self, scale: int) -> bool:
        """Return whether the model makes images that much finer."""
        return find_model(self.model, scale).scale in (None, scale)


def laws(method: Method, pair: Pair) -> dict[str, float]:
    """Return how far gain and offset, and tiles, change a result: shares of its range.

    Parameters
    ----------
    method : Method
        Of the scale factor of `pair`.
    pair : Pair
        The source is taken in other units, and in small tiles.
    """
    (result,) = method.run(pair)
    line = pair.line
    line = line and line._replace(dark=3 * line.dark + 1000, slope=line.slope / 3)
    other = replace(pair, source=3 * pair.source + 1000, noise=3 * pair.noise, line=line)
    span = float(np.ptp(result))
    (scaled,) = method.run(other)
    (tiled,) = method.run(pair, tile=96)
    return {
        "equivariance": float(np.abs(scaled - (3 * result + 1000)).max()) / (3 * span),
        "seams": float(np.abs(tiled - result).max()) / span,
    }


def seconds(methods: list[Method], edge: int, rounds: int = 3) -> dict[str, float]:
    """Return how long each method takes on the same plane, in turn, medians over the rounds.

    Parameters
    ----------
    methods : list of Method
        Of one scale factor.
    edge : int
        Of the source, which is computed on all cores as users do.
    rounds : int
        After one that warms up.
    """
    source = np.random.default_rng(0).integers(100, 1000, (edge, edge), dtype=np.uint16)
    took: dict[str, list[float]] = {method.label: [] for method in methods}
    for number in range(rounds + 1):
        for method in methods:
            began = time.perf_counter()
            sr.upscale(source, method.model, denoise=method.denoise)
            if number:
                took[method.label].append(time.perf_counter() - began)
    return {label: float(np.median(times)) for label, times in took.items()}


def real_images(folder: Path, edge: int, skip: int = 0, every: int = 1) -> dict[str, np.ndarray]:
    """Return sharp planes of a folder of files, one a channel, by ``file/channel``.

    Parameters
    ----------
    folder : Path
        Files that cannot be read are left out, and so are planes that are too small or constant.
    edge : int
        The middle of each plane is taken, at most that long.
    skip, every : int
        Take every so manieth file only, so that one half can be tuned on and the other judged.

    Returns
    -------
    dict of str to np.ndarray, shape (y, x), float32
        0 at the 0.1 percentile and 1 at the 99.9 percentile; not negative.
    """
    images = {}
    for path in sorted(folder.iterdir())[skip::every]:
        if path.name.startswith(_NO_SPECIMEN):
            continue
        try:
            image = sr.read(path, axes=_AXES.get(path.name))
        except sr.SuperresError:
            continue
        for channel in range(image.size("c", 1)):
            plane = _middle(image, channel, edge)
            low, high = np.percentile(plane, (0.1, 99.9))
            if min(plane.shape) < _SMALLEST or high <= low:
                continue
            light = np.clip((plane.astype(np.float64) - low) / (high - low), 0, 4)
            images[f"{path.name.split('.')[0]}/{channel}"] = light.astype(np.float32)
    return images


# Files that do not name their axes.
_AXES = {"embryo_nuclei_3d.tif": "zyx"}


def _middle(image: Any, channel: int, edge: int) -> np.ndarray:
    """Return the middle of the middle plane; of an RGB picture, the mean of its samples."""
    cut = []
    for axis, n in zip(image.axes, image.shape, strict=True):
        if axis == "c":
            cut.append(channel)
        elif axis == "s":
            cut.append(slice(None))
        elif axis in "yx":
            start = max(0, (n - edge) // 2)
            cut.append(slice(start, start + edge))
        else:
            cut.append(n // 2)
    plane = np.asarray(image.data[tuple(cut)].compute())
    return plane.mean(axis=image.axes.index("s")) if image.rgb else plane


def _told(pair: Pair) -> Survey:
    """Return what a survey would find if it knew the truth about the noise."""
    low, high = np.percentile(pair.source, (0.1, 99.9))
    noise = Noise(pair.noise, float(pair.source.std()), 0.0, float("inf"), pair.line)
    return Survey(((float(low), float(high)),), (noise,), 0, 0)


def limit_threads() -> None:
    """Keep every process to one core, so that workers do not fight."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
