"""One table of how fast a network runs in each engine, side by side, with its real shape.

    python benchmarks/engines.py                               # the compact network, 1024 x 1024
    python benchmarks/engines.py --model realesrgan-x4plus --size 512 --rounds 1
    python benchmarks/engines.py --only "torch float32" --only napari-superres

Each engine lives in a process of its own and runs in turn, round after round, so that a load that
comes and goes meets all of them; times are wall clock on all cores, medians over the rounds, and
ratios are medians of each round's ratio. GFLOP/s count what the plain network needs for the
picture, so work that an engine wastes on halos counts against it, and multiplications that
Winograd's algorithm saves count for it. Memory is the most that a run took, without libraries and
weights.

Weights are taken from the cache or from ``--weights``; without them they are random, which changes
no time. Packages that are not installed are skipped, and said so under the table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from safetensors.numpy import save_file

from napari_superres.errors import WeightsError
from napari_superres.models.cache import VARIABLE
from napari_superres.models.families.realesrgan.architecture import Architecture
from napari_superres.models.families.realesrgan.tensors import read_one
from napari_superres.models.library import add
from napari_superres.models.weights import find_model, find_weights

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ARCHITECTURES = {
    "realesrgan-x4plus": Architecture("rrdb", 3, 64, 23, 32, 4),
    "realesrgan-x4plus-anime-6b": Architecture("rrdb", 3, 64, 6, 32, 4),
    "realesr-general-x4v3": Architecture("compact", 3, 64, 32, 0, 4),
    "realesr-animevideov3": Architecture("compact", 3, 64, 16, 0, 4),
}
PEAKS = ("matmul float32", "matmul bfloat16")
NAMES = (
    "torch float32",
    "napari-superres",
    "its engine alone",
    "napari-superres, torch",
    "torch channels_last",
    "torch bfloat16",
    "onnxruntime float32",
    "OpenVINO float32",
    "OpenVINO bfloat16",
    "ncnn by hand",
)
"""The rows; the first one is what the others are compared with."""


@dataclass
class Row:
    """What was measured of one engine."""

    seconds: list[float] = field(default_factory=list)
    peak: int = 0
    error: float | None = None


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        path, origin = weights_for(arguments.model, arguments.weights, Path(folder))
        print(f"{arguments.model}, {arguments.size} x {arguments.size} pixels, {origin} weights")
        print(f"{machine()}\n")
        rows, notes = measure(arguments, path, Path(folder))
    flop = ARCHITECTURES[arguments.model].flop * arguments.size**2
    print(table(rows, flop))
    for note in notes:
        print(f"\nNot run: {note}")
    if arguments.json:
        record = {name: vars(row) for name, row in rows.items()}
        arguments.json.write_text(json.dumps({"flop": flop, "rows": record}, indent=1))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="realesr-general-x4v3", choices=ARCHITECTURES)
    parser.add_argument("--size", type=int, default=1024, help="edge of the picture in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=NAMES, help="engines to run")
    parser.add_argument("--weights", type=Path, help="the model's file, if not in the cache")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args()


def weights_for(model: str, given: Path | None, folder: Path) -> tuple[Path, str]:
    """Return a file of weights, and put it where `upscale` finds it."""
    if given is None:
        try:
            spec = find_model(model)
            return find_weights(spec)[spec.weights[0].name], "its own"
        except WeightsError:
            given = folder / "random.safetensors"
            save_file(random_tensors(ARCHITECTURES[model]), given)
            origin = "random"
    else:
        origin = "given"
    os.environ[VARIABLE] = str(folder / "cache")
    add(given, model)
    return given, origin


def random_tensors(architecture: Architecture) -> dict[str, np.ndarray]:
    """Return weights that neither fade out nor explode from layer to layer."""
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in architecture.tensors.items():
        spread = 0.1 if len(shape) == 1 else 1 / np.prod(shape[1:]) ** 0.5
        tensors[name] = (rng.standard_normal(shape) * spread).astype(np.float32)
    return tensors


def machine() -> str:
    """Return what the figures belong to."""
    name = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((x.partition(":")[2].strip() for x in lines if "model name" in x), name)
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{name}, {psutil.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"
    )


def measure(
    arguments: argparse.Namespace, weights: Path, folder: Path
) -> tuple[dict[str, Row], list[str]]:
    """Run all engines in turn, round after round."""
    wanted = [n for n in NAMES if not arguments.only or n in arguments.only] + list(PEAKS)
    picture = np.random.default_rng(0).random((3, arguments.size, arguments.size), np.float32)
    np.save(folder / "picture.npy", picture)
    workers: dict[str, Worker] = {}
    notes = []
    for name in wanted:
        worker = Worker(name, arguments.model, weights, folder)
        problem = worker.ask("load")
        if problem is None:
            workers[name] = worker
        else:
            notes.append(f"{name} ({problem})")
    rows = {name: Row() for name in workers}
    for turn in range(arguments.rounds):
        for name in list(workers):
            answer = workers[name].ask("run")
            if isinstance(answer, str):
                notes.append(f"{name} ({answer})")
                del workers[name], rows[name]
                continue
            seconds, peak = answer
            rows[name].peak = max(rows[name].peak, peak)
            rows[name].seconds.append(seconds)
            if turn == 0 and name not in PEAKS:
                rows[name].error = difference(folder, name)
            print(f"round {turn + 1}: {name:24s} {seconds:8.2f} s", flush=True)
    for worker in workers.values():
        worker.close()
    print()
    return rows, notes


def difference(folder: Path, name: str) -> float | None:
    """Return the largest difference to the first engine's result."""
    path, first = folder / f"{name}.npy", folder / f"{NAMES[0]}.npy"
    if not first.exists():
        return None
    result = float(np.abs(np.load(path) - np.load(first)).max())
    if path != first:
        path.unlink()
    return result


class Worker:
    """A process in which one engine lives."""

    def __init__(self, name: str, model: str, weights: Path, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(
            target=serve, args=(other, name, model, weights, folder), daemon=True
        )
        self._process.start()
        other.close()

    def ask(self, command: str) -> Any:
        """Return the answer to ``"load"`` or ``"run"``; a string says what went wrong."""
        try:
            self._connection.send(command)
            return self._connection.recv()
        except (EOFError, ConnectionError):
            return "its process ended, probably for want of memory"

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(timeout=30)
        self._process.kill()  # a library's own threads may keep it from ending


def serve(connection: Connection, name: str, model: str, weights: Path, folder: Path) -> None:
    """Load an engine, and run it whenever asked."""
    run: Any = None
    while True:
        try:
            command = connection.recv()
        except EOFError:
            return
        try:
            if command == "load":
                run = matmul(name) if name in PEAKS else engine(name, model, weights)
                connection.send(None)
            else:
                connection.send(timed(run, name, folder))
        except (ImportError, NotImplementedError, MemoryError, RuntimeError) as error:
            connection.send(f"{type(error).__name__}: {error}")


def engine(name: str, model: str, weights: Path) -> Any:
    """Return an engine, warmed up."""
    from contenders import CONTENDERS, Case

    architecture, tensors = read_one(weights)
    run = CONTENDERS[name](Case(model, architecture, tensors))
    run(np.zeros((3, 64, 64), np.float32))
    return run


def matmul(name: str) -> Any:
    """Return a product of matrices of 2**34 operations, which torch computes near the peak."""
    import torch

    matrix = torch.ones(2048, 2048, dtype=getattr(torch, name.split()[-1]))
    return lambda _: matrix @ matrix


def timed(run: Any, name: str, folder: Path) -> tuple[float, int]:
    """Return seconds and the most memory beside what was loaded; keep the first result."""
    picture = np.load(folder / "picture.npy")
    process, done = psutil.Process(), threading.Event()
    peak = before = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.05):
            peak = max(peak, process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        if name in PEAKS:
            run(None)
            start = time.perf_counter()
            for _ in range(10):
                run(None)
            seconds = (time.perf_counter() - start) / 10
        else:
            start = time.perf_counter()
            result = run(picture)
            seconds = time.perf_counter() - start
    finally:
        done.set()
        watching.join()
    path = folder / f"{name}.npy"
    if name not in PEAKS and not path.exists():
        np.save(path, result)
    return seconds, peak - before


def table(rows: dict[str, Row], flop: float) -> str:
    """Return the table in Markdown."""
    lines = [
        "| engine | seconds | GFLOP/s | times as fast | largest difference | memory (GB) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    first = rows.get(NAMES[0])
    for name, row in rows.items():
        if not row.seconds:
            continue
        seconds = statistics.median(row.seconds)
        rate = (2.0 * 2048**3 if name in PEAKS else flop) / seconds / 1e9
        cells = [name, f"{seconds:.2f}", f"{rate:.0f}", "", "", ""]
        if name not in PEAKS:
            if first is not None:
                pairs = zip(first.seconds, row.seconds, strict=False)
                cells[3] = f"{statistics.median(a / b for a, b in pairs):.2f}"
            cells[4] = "" if row.error is None else f"{row.error:.1e}"
            cells[5] = f"{row.peak / 1e9:.2f}"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
