"""One picture, one model, one device, in a process of its own: ``python -m ... TASK.json``.

In its own process because the peak of a process's memory never falls again, because what a model
needs to start is only seen from a start, and because a model that is killed for want of memory
must not take the report with it.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from scipy import fft

from napari_superres.arrays import as_image
from napari_superres.errors import SuperresError
from napari_superres.estimate import REACHED
from napari_superres.kept_tiles import KEPT
from napari_superres.models.camera_noise import Noise
from napari_superres.models.noise_line import NoiseLine
from napari_superres.models.weights import find_model, find_weights
from napari_superres.resources import check_memory, peak_memory
from napari_superres.surveying import Survey
from napari_superres.trust.fourier import ring_correlation
from napari_superres.trust.measure import measure
from napari_superres.upscaling import plan_for, planned, spread

if TYPE_CHECKING:
    from napari_superres.image import Image
    from napari_superres.plan import Plan
    from napari_superres.trust.measures import ChannelMeasures

PROGRAM_BYTES = 3 * 10**8
"""What the program itself takes, libraries included, where memory is estimated."""

MEGAPIXEL_EDGE = 1000
"""Pixels along each side of the picture whose time is estimated."""

WINDOW = 128
"""Edge of the windows whose agreement with the truth is told one by one, in fine pixels."""


@dataclass(frozen=True)
class Task:
    """All that decides what a cell will hold.

    Parameters
    ----------
    digest : str
        Of the picture's pixels.
    axes, pixel_size, unit, limits, noise
        As in `Picture`.
    model, device : str
    scale, repeats, samples, seed : int
    weights : str
        Which files of weights are here.
    version : str
        Of this package.
    """

    digest: str
    axes: str
    pixel_size: float
    unit: str | None
    limits: tuple[float, float]
    noise: Noise
    model: str
    device: str
    scale: int
    repeats: int
    samples: int
    seed: int
    weights: str
    version: str

    def image(self, pixels: np.ndarray, factor: int) -> Image:
        """Return pixels with their physical size, which is `factor` times finer."""
        lengths = [1.0 if a == "s" else self.pixel_size / factor for a in self.axes]
        units = [None if a == "s" else self.unit for a in self.axes]
        return replace(as_image(pixels, self.axes), pixel_size=tuple(lengths), units=tuple(units))

    def plan(self, image: Image, samples: int = 1) -> Plan:
        """Return the plan for the picture."""
        return plan_for(
            image,
            self.model,
            scale=self.scale,
            device=self.device,
            seed=self.seed,
            samples=samples,
            facts=Survey((self.limits,), (self.noise,), 0, 0),
        )


def run(task: Task, folder: Path) -> dict[str, Any]:
    """Return what was measured, as JSON values; the result's pixels go into the folder.

    Parameters
    ----------
    task : Task
    folder : Path
        With ``source.npy`` and, where it is known, ``truth.npy`` of the picture.
    """
    image = task.image(np.load(folder / "source.npy"), 1)
    try:
        plan = task.plan(image)
    except SuperresError as error:
        return {"state": "failed", "reason": str(error), "values": _facts(task)}
    try:
        find_weights(plan.spec)
        check_memory(
            plan.task_bytes + plan.weights_bytes,
            f"'{task.model}'",
            "Compare a smaller region, or on a machine with more memory.",
        )
        costs, result = _computed(task, image, plan)
    except (SuperresError, MemoryError) as error:
        return {
            "state": "failed",
            "reason": str(error) or "Memory is full.",
            "values": {**_facts(task), **_estimates(task, image, plan)},
            "basis": "estimate",
        }
    np.save(folder / "result.npy", result)
    truth = np.load(folder / "truth.npy") if (folder / "truth.npy").exists() else None
    values = {**_facts(task), **costs, **_fidelity(task, image, result, truth)}
    if task.samples > 1 and plan.spec.family != "interpolation":  # which gives one answer
        values["spread"] = _spread(task, image)
    compute = plan.compute
    return {
        "state": "done",
        "reason": "",
        "values": {k: v for k, v in values.items() if math.isfinite(v)},
        "basis": "measured",
        "cutoffs": [] if truth is None else _cutoffs(result, truth),
        "compute": f"{compute.engine} on {compute.device}, {compute.precision}",
    }


def _facts(task: Task) -> dict[str, float]:
    spec = find_model(task.model)
    facts = {"weights_mb": sum(file.size for file in spec.weights) / 1e6}
    if spec.parameters:
        facts["parameters_m"] = spec.parameters / 1e6
    return facts if spec.weights else {}


def _estimates(task: Task, image: Image, plan: Plan) -> dict[str, float]:
    """Return what a plan would cost here, from its arithmetic and the speed of this device.

    Time is that of a picture of a million pixels. Diffusion models enlarge small ones to the size
    that they were trained for, so a small one's time says nothing of a large one's.
    """
    needed = PROGRAM_BYTES + plan.task_bytes + plan.weights_bytes
    estimates = {"ram_mb": needed / 1e6}
    if plan.flop:
        from napari_superres.models.speed import product_speed

        speed = REACHED * product_speed(plan.compute.device, plan.compute.precision)
        pixels = np.asarray(image.data)
        times = [-(-MEGAPIXEL_EDGE // n) for n in pixels.shape[:2]]
        large = np.tile(pixels, times + [1] * (pixels.ndim - 2))[:MEGAPIXEL_EDGE, :MEGAPIXEL_EDGE]
        work = task.plan(task.image(large, 1)).flop
        estimates["seconds_mp"] = work / speed / (MEGAPIXEL_EDGE**2 / 1e6)
    return estimates


def _computed(task: Task, image: Image, plan: Plan) -> tuple[dict[str, float], np.ndarray]:
    """Return what the result costs, and the result."""
    result = planned(image, plan).data.compute(scheduler="synchronous")
    ready = time.time() - psutil.Process().create_time()
    seconds = []
    for _ in range(task.repeats):
        KEPT.forget()
        begin = time.perf_counter()
        planned(image, plan).data.compute(scheduler="synchronous")
        seconds.append(time.perf_counter() - begin)
    typical = statistics.median(seconds)
    costs = {
        "seconds_mp": typical / _megapixels(image.shape, image.axes),
        "start_s": max(0.0, ready - typical),
        "ram_mb": peak_memory() / 1e6,
    }
    if plan.compute.device.startswith("cuda"):
        from napari_superres.models.memory import peak_gpu_memory  # imports torch

        costs["vram_mb"] = peak_gpu_memory(plan.compute.device) / 1e6
    return costs, result


def _megapixels(shape: tuple[int, ...], axes: str) -> float:
    return math.prod(n for a, n in zip(axes, shape, strict=True) if a in "yx") / 1e6


def _fidelity(
    task: Task, image: Image, result: np.ndarray, truth: np.ndarray | None
) -> dict[str, float]:
    finer = task.image(result, task.scale)
    perfect = None if truth is None else task.image(truth, task.scale)
    (channel,) = measure(finer, image, perfect).channels
    values = {**_against_source(channel), "added": 100 * _beyond(result, task.scale)}
    if channel.similarity is not None:
        values |= {
            "psnr": channel.similarity.psnr,
            "ssim": channel.similarity.ssim,
            "frc": channel.resolution.correlation,
        }
    if channel.detail is not None:
        values |= {"recovered": channel.detail.recovered, "invented": channel.detail.invented}
    return values


def _against_source(channel: ChannelMeasures) -> dict[str, float]:
    values = {}
    if channel.light is not None:
        values["flux_error"] = 100 * channel.light.flux_error
        values["residual"] = 100 * channel.light.residual
    if channel.place is not None:
        values["shift"] = math.hypot(channel.place.shift_y, channel.place.shift_x)
    return values


def _spread(task: Task, image: Image) -> float:
    """Return the root-mean-square spread over samples, in percent of the source's contrast."""
    found = spread(image, task.plan(image, task.samples)).data.compute(scheduler="synchronous")
    contrast = float(np.std(np.asarray(image.data), dtype=np.float64))
    rms = float(np.sqrt(np.mean(np.square(found, dtype=np.float64))))
    return 100 * rms / contrast if contrast else math.nan


def _gray(pixels: np.ndarray) -> np.ndarray:
    values = np.asarray(pixels, np.float64)
    return values.mean(axis=-1) if values.ndim == 3 else values


def _beyond(result: np.ndarray, scale: int) -> float:
    """Return the share of a result's energy beyond its source's sampling, constants left out."""
    plane = _gray(result)
    window = np.hanning(plane.shape[0])[:, None] * np.hanning(plane.shape[1])
    power = np.abs(fft.rfft2((plane - plane.mean()) * window)) ** 2
    power[:, 1 : (plane.shape[1] + 1) // 2] *= 2  # columns that stand for two
    y, x = np.abs(fft.fftfreq(plane.shape[0]))[:, None], fft.rfftfreq(plane.shape[1])
    outside = np.maximum(y, x) > 0.5 / scale
    total = float(power.sum())
    return float(power[outside].sum()) / total if total else math.nan


def _cutoffs(result: np.ndarray, truth: np.ndarray) -> list[float]:
    """Return up to which frequency result and truth agree, in each window."""
    one, other = _gray(result), _gray(truth)
    edge = min(WINDOW, *one.shape)
    found = []
    for y in range(0, one.shape[0] - edge + 1, edge):
        for x in range(0, one.shape[1] - edge + 1, edge):
            cut = slice(y, y + edge), slice(x, x + edge)
            found.append(ring_correlation([(one[cut], other[cut])]).cutoff)
    return found


def main(path: str) -> None:
    """Run the task that a file describes, and write ``cell.json`` beside it."""
    file = Path(path)
    values = json.loads(file.read_text("utf-8"))
    line = values["noise"]["line"]
    noise = Noise(**{**values["noise"], "line": line and NoiseLine(*line)})
    task = Task(**{**values, "limits": tuple(values["limits"]), "noise": noise})
    report = {"task": asdict(task), **run(task, file.parent)}
    unfinished = file.with_name("cell.part")
    unfinished.write_text(json.dumps(report, indent=1), "utf-8")
    unfinished.replace(file.with_name("cell.json"))


if __name__ == "__main__":
    main(sys.argv[1])
