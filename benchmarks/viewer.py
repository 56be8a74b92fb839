"""How the viewer feels: gaps in its event loop, the first finer tile, memory while wandering.

Needs a screen; on a server: ``xvfb-run -a -s "-screen 0 1600x1200x24"`` before the command, with
``QT_QPA_PLATFORM=xcb``. Each line prints what it means.

    python benchmarks/viewer.py gaps            # longest time without an event, by what one does
    python benchmarks/viewer.py first           # from the click to the first finer tile
    python benchmarks/viewer.py wander          # memory over a thousand views

All work on a sparse OME-Zarr of a terabyte, made in a folder that is deleted afterwards.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

os.environ.setdefault("NAPARI_CONFIG", "")  # neither use nor change the user's settings

PLANES, EDGE, CHUNK = 128, 65536, 512
"""Of the volume: z, y = x, and its chunks. With 16 bits a pixel that makes 1.1 terabytes."""

WINDOW = 8
"""Chunks along y and x that hold an image, in the middle of some planes; the others are missing."""

SEEN = range(56, 73)
"""Planes that hold an image."""


# The volume ---------------------------------------------------------------------------------------


def make_volume(path: Path) -> None:
    """Write the volume: metadata of a terabyte, and pixels where the benchmark looks."""
    import zarr

    from napari_superres import read
    from napari_superres.surveying import sample_windows

    levels = [EDGE >> i for i in range(7)]
    group = zarr.create_group(path, zarr_format=3)
    group.attrs["ome"] = _metadata(len(levels))
    texture = _texture()
    for i, edge in enumerate(levels):
        array = group.create_array(
            f"{i}", shape=(PLANES, edge, edge), chunks=(1, CHUNK, CHUNK), dtype="uint16"
        )
        part = texture[:: 1 << i, :: 1 << i]
        first = (edge - part.shape[0]) // 2
        there = slice(first, first + part.shape[0])
        for z in SEEN:
            array[z, there, there] = part
    finest = group["0"]
    # What a plan samples holds an image too, so that finding the noise costs what it costs.
    for window in sample_windows(read(path)):
        patch = texture[: window["y"].stop - window["y"].start, :256]
        finest[window["z"].start, window["y"], window["x"]] = patch


def _metadata(n_levels: int) -> dict[str, Any]:
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    return {
        "version": "0.5",
        "multiscales": [
            {
                "name": "volume",
                "axes": axes,
                "datasets": [
                    {
                        "path": f"{i}",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": [1.0, 0.1 * 2**i, 0.1 * 2**i]},
                            {"type": "translation", "translation": [0, *[0.05 * (2**i - 1)] * 2]},
                        ],
                    }
                    for i in range(n_levels)
                ],
            }
        ],
    }


def _texture() -> np.ndarray:
    """Return structures with camera noise, as large as what the volume holds of a plane."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    small = gaussian_filter(rng.random((CHUNK, CHUNK)) ** 8, 1.2, mode="wrap")
    photons = np.tile(small / small.max() * 400 + 10, (WINDOW, WINDOW))
    return (100 + 2 * rng.poisson(photons)).astype(np.uint16)


# The viewer ---------------------------------------------------------------------------------------


class Beats:
    """Times between two turns of the event loop."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self.gaps: list[float] = []
        self.busy: list[float] = []
        self._last, self._worked = time.perf_counter(), time.thread_time()
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)
        self._timer.start(5)

    def _beat(self) -> None:
        now, worked = time.perf_counter(), time.thread_time()
        self.gaps.append(now - self._last)
        self.busy.append(worked - self._worked)
        self._last, self._worked = now, worked

    def restart(self) -> None:
        """Forget what was before."""
        self.gaps.clear()
        self.busy.clear()
        self._last, self._worked = time.perf_counter(), time.thread_time()


def spin(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let the event loop turn for a while, or until something is true; it sleeps when idle."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    end = time.perf_counter() + seconds
    look = QTimer()
    look.timeout.connect(lambda: loop.quit() if until() or time.perf_counter() > end else None)
    look.start(5)
    loop.exec()
    look.stop()


def open_viewer(path: Path) -> tuple[Any, Any]:
    """Return a viewer of usual size that shows the middle of the volume, and its layer."""
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 900)
    (layer,) = viewer.open(str(path), plugin="napari-superres")
    layer.contrast_limits = (100, 900)
    viewer.dims.set_point(0, SEEN[0] + len(SEEN) // 2)
    look(viewer, zoom=1.0)
    spin(1.0)
    return viewer, layer


def look(viewer: Any, zoom: float, y: float = 0.0, x: float = 0.0) -> None:
    """Look at the middle of the volume, or aside of it by source pixels.

    `zoom` is in screen pixels for each source pixel.
    """
    camera = viewer.scene.camera
    middle = 0.1 * (EDGE - 1) / 2
    camera.center = (0.0, middle + 0.1 * y, middle + 0.1 * x)
    camera.zoom = zoom / 0.1


# What is measured ---------------------------------------------------------------------------------


def gaps(path: Path, model: str) -> None:
    """Print the longest gaps without and with an on-demand layer, slicing on this thread or not."""
    from napari.settings import get_settings

    from napari_superres.plugin import upscale_layer

    viewer, layer = open_viewer(path)
    beats = Beats()
    print(f"{'layers':24}{'async':7}" + "".join(f"{name:>16}" for name in ACTIONS))
    for title, is_async in itertools.product(("source alone", model), (False, True)):
        get_settings().experimental.async_ = is_async
        finer = None
        if title == model:
            finer = viewer.add_layer(upscale_layer(layer, model))
            spin(0.5)
        cells = []
        for action in ACTIONS.values():
            beats.restart()
            for _ in action(viewer):
                spin(0.03)
            spin(1.0)
            cells.append(f"{max(beats.gaps):.2f} ({max(beats.busy):.2f})")
        print(f"{title:24}{'on' if is_async else 'off':7}" + "".join(f"{c:>16}" for c in cells))
        if finer is not None:
            print(f"{'':31}{finer.data[0].ready} finer cells kept")
            viewer.layers.remove(finer)
    print("Seconds: longest gap between turns of the event loop (processor time of its thread).")
    print(f"Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    viewer.close()


def _zoom(viewer: Any) -> Iterator[None]:
    for step in range(40):
        look(viewer, 0.3 * 1.1**step)
        yield


def _pan(viewer: Any) -> Iterator[None]:
    for step in range(80):
        look(viewer, 4.0, y=6 * step, x=-8 * step)
        yield


def _scrub(viewer: Any) -> Iterator[None]:
    look(viewer, 4.0)
    for z in (*SEEN, *reversed(SEEN)):
        viewer.dims.set_point(0, z)
        yield


ACTIONS = {"zoom": _zoom, "pan": _pan, "scrub z": _scrub}


def first(path: Path, model: str) -> None:
    """Print when the first finer tile stands on the screen, counted from the click on Run."""
    viewer, layer = open_viewer(path)
    look(viewer, 4.0)
    # What the panel has imported when somebody clicks.
    from napari_superres.plugin import steps
    from napari_superres.plugin.layers import layer_to_image
    from napari_superres.plugin.on_demand import on_demand_layer
    from napari_superres.plugin.work import Work

    spin(2.0)
    times: dict[str, tuple[float, float]] = {}
    canvas = viewer.window._qt_viewer.canvas._scene_canvas
    loaded = "torch" in sys.modules, "ncnn" in sys.modules
    start, busy = time.perf_counter(), time.process_time()

    def note(what: str) -> None:
        times.setdefault(what, (time.perf_counter() - start, time.process_time() - busy))

    def watch(event: Any) -> None:
        finer = event.value
        if finer is layer or not hasattr(finer.data[0], "ready"):
            return
        note("layer added")
        level = finer.data[0]
        finer.events.set_data.connect(lambda: level.ready and note("tile handed to napari"))
        canvas.events.draw.connect(
            lambda _: "tile handed to napari" in times and note("tile on the screen")
        )

    viewer.layers.events.inserted.connect(watch)
    image = layer_to_image(layer)
    work = Work(partial(steps.prepare, image, {"model": model}))
    work.succeeded.connect(lambda plan: viewer.add_layer(on_demand_layer(layer, image, plan)))
    work.start()
    spin(60, lambda: "tile on the screen" in times)
    for what, (seconds, processor) in times.items():
        print(f"{seconds:6.2f} s  {what} (processors: {processor:.2f} s)")
    print(
        f"torch, ncnn in memory before the click: {loaded}; torch after: {'torch' in sys.modules}"
    )
    viewer.close()


def wander(path: Path, model: str, views: int) -> None:
    """Print the memory of the process over many views of the volume."""
    import psutil

    from napari_superres.plugin import upscale_layer
    from napari_superres.plugin.cell_cache import bytes_kept

    viewer, layer = open_viewer(path)
    finer = viewer.add_layer(upscale_layer(layer, model))
    process = psutil.Process()
    rng = np.random.default_rng(1)
    reach = CHUNK * WINDOW / 2
    print(f"{'view':>6}{'MB in all':>12}{'MB of cells':>13}{'seconds':>9}")
    start = time.perf_counter()
    for view in range(views + 1):
        look(viewer, float(2 ** rng.uniform(-1, 4)), *rng.uniform(-reach, reach, 2))
        viewer.dims.set_point(0, int(rng.choice(SEEN)))
        before = finer.data[0].ready
        spin(0.3, lambda before=before: finer.data[0].ready != before)
        if view % max(1, views // 20) == 0:
            resident, kept = process.memory_info().rss / 1e6, bytes_kept() / 1e6
            print(f"{view:6}{resident:12.0f}{kept:13.0f}{time.perf_counter() - start:9.0f}")
    viewer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["gaps", "first", "wander"])
    parser.add_argument("--model", default="microscopy-x4")
    parser.add_argument("--views", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="Of 'first', each in a new process.")
    parser.add_argument("--volume", type=Path, help="Use this one, made before.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.volume or Path(folder) / "volume.ome.zarr"
        if not path.exists():
            make_volume(path)
        if options.what == "gaps":
            gaps(path, options.model)
        elif options.what == "wander":
            wander(path, options.model, options.views)
        elif options.rounds == 1:
            first(path, options.model)
        else:
            again = [sys.executable, __file__, "first", "--rounds", "1", "--volume", str(path)]
            for _ in range(options.rounds):
                subprocess.run([*again, "--model", options.model], check=True)


if __name__ == "__main__":
    main()
