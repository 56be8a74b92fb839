"""What it costs to read, tile, merge, encode and write, without any model.

The engine repeats pixels, so all that is left is plumbing: reading windows with their halo from an
OME-Zarr, floats and back, the levels of the pyramid, compression, checksums, waiting for the disk,
and the list of blocks. Every number is measured in a process of its own; memory is what comes on
top of the program and its libraries, CPU seconds are those without the engine's.

    python benchmarks/plumbing.py                 # all, about ten minutes and 4 GB of disk
    python benchmarks/plumbing.py --units 1 4     # a short look
    python benchmarks/plumbing.py --idle cuda:0 --model realesr-general-x4v3
                                                  # how long a GPU waits for its next tile
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import psutil

import napari_superres as sr
from napari_superres.consistency import repeat
from napari_superres.job import execution, run, running, write
from napari_superres.models import engine as engines
from napari_superres.models.catalog import MODELS
from napari_superres.planning import make_plan
from napari_superres.resources import peak_memory
from napari_superres.upscaling import planned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_superres.image import Image
    from napari_superres.models.engine import Address, Halo

EDGE, PLANES = 1024, 2
"""A unit of work: two planes of 1024 x 1024 pixels, which become 64 MiB at x4."""

SHARDS = 100_000

MiB, GiB = 2**20, 2**30


class Repeater:
    """A family of one engine that repeats pixels."""

    ENGINES = ("numpy",)
    cpu = 0.0
    lock = threading.Lock()

    @staticmethod
    def load(spec: Any, weights: Any, setting: Any) -> Callable[..., np.ndarray]:
        """Return the engine."""

        def run(tiles: np.ndarray, halo: Halo, at: Sequence[Address]) -> np.ndarray:
            begin = time.thread_time()
            y, x = tiles.shape[-2] - halo.bottom, tiles.shape[-1] - halo.right
            finer = repeat(tiles[..., halo.top : y, halo.left : x], spec.scale)
            with Repeater.lock:
                Repeater.cpu += time.thread_time() - begin
            return finer

        return run


def without_model(image: Image) -> Image:
    """Return the lazy x4 result of an image by the engine that repeats, halo and all."""
    load = engines.load_family
    engines.load_family = lambda name: Repeater if name == "repeater" else load(name)
    spec = replace(MODELS["microscopy-x4"], family="repeater", weights=(), noise_input=False)
    compute = engines.choose_compute(spec, "cpu")
    plan = make_plan(image, spec, denoise=0, consistency="off", compute=compute)
    return planned(image, plan)


def source(folder: Path, units: int) -> Image:
    """Return planes of photon noise around some structure, stored in chunks of 512."""
    path = folder / "source.ome.zarr"
    dice = np.random.default_rng(0)
    y, x = np.ogrid[:EDGE, :EDGE]
    plane = dice.poisson(300 + 200 * np.sin(y / 40) * np.sin(x / 55)).astype(np.uint16)
    planes = [da.from_array(np.roll(plane, i, 0), chunks=512) for i in range(PLANES)]
    write(sr.Image(da.stack(planes * units), "zyx"), path)
    return sr.read(path)


def work(folder: Path, units: int, workers: int) -> dict[str, float]:
    """Write so many units, and return what it took."""
    this = psutil.Process()
    result = without_model(sr.read(folder / "source.ome.zarr"))
    np.asarray(result.data[0, :4, :4])  # libraries are loaded
    Repeater.cpu = 0.0
    start, cpu, begin = this.memory_info().rss, time.process_time(), time.perf_counter()
    path = write(result, folder / "result.ome.zarr", workers=workers)
    return {
        "units": units,
        "seconds": time.perf_counter() - begin,
        "cpu": time.process_time() - cpu - Repeater.cpu,
        "memory": peak_memory() - start,
        "output": result.data.nbytes,
        "disk": sum(p.stat().st_size for p in path.rglob("*") if p.is_file()),
    }


class Nowhere(Executor):
    """Workers far away that are done at once, and have written files of some size."""

    def submit(self, *call: Any, **keywords: Any) -> Future[Any]:  # type: ignore[override]
        """Return what a worker would."""
        ended: Future[Any] = Future()
        ended.set_result([(2_900_000, 1), (700_000, 2), (180_000, 3), (46_000, 4)])
        return ended


def driver(folder: Path) -> dict[str, float]:
    """Run the loop of a driver over many shards, and return what it took."""
    this = psutil.Process()
    array = da.zeros((SHARDS // 100, 20480, 20480), chunks=(1, 2048, 2048), dtype=np.uint16)
    image = sr.Image(array, "zyx")
    start, cpu = this.memory_info().rss, time.process_time()
    running.check_space = lambda *place, **more: None  # nothing will be written
    execution.check_space = running.check_space
    steps = run(image, folder / "driver.ome.zarr", executor=Nowhere(), workers=64)
    most, done = start, 0
    for step in steps:
        most = max(most, this.memory_info().rss)
        done = step.done
        if done >= SHARDS:
            break
    steps.close()
    return {"shards": done, "memory": most - start, "cpu": time.process_time() - cpu}


def layer() -> dict[str, float]:
    """Build the lazy result of a volume with a million tiles, and return the time."""
    chunks = (1, 2048, 2048)
    # Without a graph of its own, as a file has none.
    array = da.from_array(Nothing((640, 20480, 20480)), chunks=chunks, meta=np.empty((0, 0, 0)))
    image = sr.Image(array.astype(np.uint16), "zyx")
    best = float("inf")
    for number in range(5):
        begin = time.perf_counter()
        result = sr.upscale(image, "microscopy-x2", denoise=0, seed=number)
        best = min(best, time.perf_counter() - begin)
    return {"tiles": result.plan.tiles, "milliseconds": 1000 * best}


class Nothing:
    """A volume that nobody reads."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.ndim, self.dtype = shape, len(shape), np.dtype(np.uint16)

    def __dask_tokenize__(self) -> tuple[object, ...]:
        return "Nothing", self.shape

    def __getitem__(self, key: Any) -> np.ndarray:
        """Refuse."""
        raise AssertionError("building a lazy result reads no pixel")


def idle(folder: Path, device: str, model: str, units: int) -> dict[str, float]:
    """Return how much of a job's time a GPU's model is not at work."""
    source(folder, units)
    image = sr.read(folder / "source.ome.zarr")
    result = sr.upscale(image, model, device=device)
    np.asarray(result.data[0, :64, :64])  # loaded and warm
    lock, inside, busy, since = threading.Lock(), 0, 0.0, 0.0
    load = engines.load_engine

    def timed(*arguments: Any) -> Callable[..., np.ndarray]:
        own = load(*arguments)

        def call(*tiles: Any) -> np.ndarray:
            nonlocal inside, busy, since
            with lock:
                if inside == 0:
                    since = time.perf_counter()
                inside += 1
            try:
                return own(*tiles)
            finally:
                with lock:
                    inside -= 1
                    if inside == 0:
                        busy += time.perf_counter() - since

        return call

    from napari_superres import tile_results

    tile_results.load_engine = timed  # type: ignore[assignment]
    begin = time.perf_counter()
    write(result, folder / "result.ome.zarr")
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "idle": 1 - busy / seconds}


def apart(*words: object) -> dict[str, float]:
    """Measure something in a process of its own."""
    command = [sys.executable, __file__, "--inside", *map(str, words)]
    shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(shown.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def inside(words: list[str]) -> dict[str, float]:
    """Measure one thing here."""
    what, folder = words[0], Path(words[1])
    if what == "source":
        source(folder, int(words[2]))
        return {}
    if what == "work":
        return work(folder, int(words[2]), int(words[3]))
    if what == "idle":
        return idle(folder, words[2], words[3], int(words[4]))
    return driver(folder) if what == "driver" else layer()


def report(units: list[int], workers: int) -> dict[str, Any]:
    """Measure all, print tables while they grow, and return the numbers."""
    print(f"{platform.machine()}, {os.cpu_count()} processors, {workers} workers\n")
    print("| units | output | seconds | CPU seconds | CPU s per GiB | memory | on disk |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    rows = []
    for count in units:
        with tempfile.TemporaryDirectory(prefix="plumbing") as name:
            apart("source", name, count)
            row = apart("work", name, count, workers)
        rows.append(row)
        print(
            f"| {count} | {row['output'] / MiB:.0f} MiB | {row['seconds']:.1f} | {row['cpu']:.1f} "
            f"| {row['cpu'] / (row['output'] / GiB):.1f} | {row['memory'] / MiB:.0f} MiB "
            f"| {row['disk'] / MiB:.0f} MiB |",
            flush=True,
        )
    with tempfile.TemporaryDirectory(prefix="plumbing") as name:
        loop = apart("driver", name)
    built = apart("layer", "-")
    print(
        f"\ndriver: {loop['shards']:.0f} shards in {loop['cpu']:.1f} CPU seconds, "
        f"{loop['memory'] / MiB:.0f} MiB over start"
    )
    print(f"lazy layer: {built['tiles']:.0f} tiles built in {built['milliseconds']:.1f} ms")
    return {"work": rows, "driver": loop, "layer": built}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--idle", metavar="DEVICE", help="measure how long this device waits")
    parser.add_argument("--model", default="realesr-general-x4v3")
    parser.add_argument("--inside", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.inside:
        print(json.dumps(inside(chosen.inside)))
        return
    if chosen.idle:
        with tempfile.TemporaryDirectory(prefix="plumbing") as name:
            found = apart("idle", name, chosen.idle, chosen.model, chosen.units[-1])
        print(f"{chosen.model} on {chosen.idle}: idle for {found['idle']:.1%} of the job")
    else:
        found = report(chosen.units, chosen.workers)
    if chosen.json:
        chosen.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
