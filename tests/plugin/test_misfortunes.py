"""What goes wrong while something runs, in a real viewer: a sentence each, and nothing lost."""

from __future__ import annotations

import errno
import gc
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest

pytest.importorskip("napari")

import napari_superres as sr
from napari_superres.formats import ome_zarr_write
from napari_superres.plugin import files, steps, upscale_layer
from napari_superres.plugin.commands import open_panel, upscale_active_layer
from tests.plugin.conftest import choose_output, finished, settle, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.plugin.conftest import Engine


def test_source_renamed_moved_changed_or_deleted_while_running(
    viewer: Any, noise: Any, panel: Any, engine: Engine, said: list[str]
) -> None:
    """The result is of the pixels that were chosen, and lies where its source is by then."""
    engine.seconds = 0.05
    before = noise.data
    expected = sr.upscale(before, "lanczos", scale=2, axes="zyx")
    choose_output(panel, "memory")
    begun = _begin(panel, engine)
    noise.name = "renamed"
    noise.translate = (4, 30, 30)
    finished(panel)
    result = viewer.layers[-1]
    assert result.name == "renamed [x2 lanczos]"
    corner = (-0.5,) * 3
    np.testing.assert_allclose(result.data_to_world(corner), noise.data_to_world(corner))
    assert panel.progress.line.text() == "Added 'renamed [x2 lanczos]'."

    begun = _begin(panel, engine)
    noise.data = before[:, :200] + np.uint16(1)
    finished(panel)
    assert np.array_equal(viewer.layers[-1].data, expected)
    assert panel.progress.line.text().endswith(
        "'renamed' was changed meanwhile; this is of its pixels before."
    )

    noise.data = before
    begun = _begin(panel, engine)
    noise.data = before[0]  # another number of dimensions
    finished(panel)
    assert viewer.layers[-1].ndim == 3
    assert np.array_equal(viewer.layers[-1].data, expected)

    choose_output(panel, "on demand")
    count = len(viewer.layers)
    noise.axis_labels = ("y", "x")
    panel.layers.choose(noise)
    begun = panel.run()
    noise.data = before[1]
    finished(panel)
    assert begun is not None
    assert len(viewer.layers) == count
    assert panel.progress.line.text() == "'renamed' was changed meanwhile. Press 'Run' again."

    choose_output(panel, "memory")
    engine.calls = 0
    panel.run()
    until(lambda: engine.calls > 0)
    viewer.layers.remove(noise)
    finished(panel)
    assert viewer.layers[-1].name.startswith("renamed [x2 lanczos]")
    assert not said


def test_two_runs_at_once(
    viewer: Any, noise: Any, panel: Any, engine: Engine, said: list[str], tmp_path: Path
) -> None:
    """One from the panel and one from the menu do not get into each other's way."""
    engine.seconds = 0.05
    choose_output(panel, "memory")
    engine.may_end.clear()
    _begin(panel, engine)
    assert panel.run() is None
    assert said == ["Something is running already. Wait for it, or cancel it."]
    viewer.layers.selection.active = noise
    upscale_active_layer(viewer)
    until(lambda: len(viewer.layers) == 2)
    assert panel.progress.work is not None
    engine.may_end.set()
    finished(panel)
    expected = sr.upscale(noise.data, "lanczos", scale=2, axes="zyx")
    names = sorted(layer.name for layer in viewer.layers)
    assert names == ["noise", "noise [x2 lanczos]", "noise [x2 microscopy-x2]"]
    assert np.array_equal(viewer.layers["noise [x2 lanczos]"].data, expected)
    # Two layers after each other, and a cancel that ends both.
    other = viewer.add_image(noise.data[::-1], name="other", axis_labels=("z", "y", "x"))
    panel.layers.choose(noise, other)
    count = len(viewer.layers)
    _begin(panel, engine)
    assert panel.progress.line.text().startswith("1/2 noise · ")
    panel.cancel()
    finished(panel)
    assert panel.progress.line.text() == "Cancelled."
    assert len(viewer.layers) == count
    panel.run()
    finished(panel)
    # A name that is taken is never given away.
    assert [layer.name for layer in viewer.layers[count:]] == [
        "noise [x2 lanczos] [1]",
        "other [x2 lanczos]",
    ]


def test_disk_that_is_or_gets_full(
    viewer: Any,
    noise: Any,
    panel: Any,
    said: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything is written if it can be known, else with what is done kept."""
    path = tmp_path / "x.ome.zarr"
    monkeypatch.setattr(files.QFileDialog, "getSaveFileName", lambda *a, **k: (str(path), ""))
    choose_output(panel, "file")
    huge = da.zeros((4000, 40_000, 40_000), dtype=np.uint16, chunks=(1, 4000, 4000))
    layer = viewer.add_image(
        huge, name="huge", axis_labels=("z", "y", "x"), contrast_limits=(0, 1), visible=False
    )
    panel.layers.choose(layer)
    panel.run()
    finished(panel)
    assert "disk" in said[-1]
    assert "B left" in said[-1]
    assert panel.progress.line.text() == said[-1]
    assert not list(tmp_path.iterdir())

    panel.layers.choose(noise)
    with monkeypatch.context() as patch:
        patch.setattr(ome_zarr_write, "place_file", _no_space)
        panel.run()
        finished(panel)
    assert "disk is full" in said[-1]
    assert len(viewer.layers) == 2
    assert not path.exists()
    panel.run()  # it goes on where it was
    finished(panel)
    expected = sr.upscale(noise.data, "lanczos", scale=2, axes="zyx")
    assert np.array_equal(sr.read(path).data.compute(), expected)


def test_memory_that_is_or_gets_full(
    viewer: Any, noise: Any, panel: Any, engine: Engine, said: list[str]
) -> None:
    """Known before it is begun where it can be; a sentence with ways out where not."""
    choose_output(panel, "memory")
    panel.form.compute.memory.setValue(0.1)
    huge = da.zeros((100, 4000, 4000), dtype=np.uint16, chunks=(1, 4000, 4000))
    layer = viewer.add_image(
        huge, name="huge", axis_labels=("z", "y", "x"), contrast_limits=(0, 1), visible=False
    )
    panel.layers.choose(layer)
    assert panel.result.text() == (
        "The result takes 12.8 GB, and the memory budget is 100 MB. Choose the output 'On demand' "
        "or 'OME-Zarr file'."
    )
    assert not panel.run_button.isEnabled()
    panel.layers.choose(noise)
    assert panel.run_button.isEnabled()
    engine.error = MemoryError()
    panel.run()
    finished(panel)
    assert said[-1].startswith("Memory is full")
    assert "smaller tile" in said[-1]
    assert list(viewer.layers) == [noise, layer]
    engine.error = None
    panel.run()
    finished(panel)
    assert viewer.layers[-1].name == "noise [x2 lanczos]"


def test_viewer_closed_while_writing_a_file(
    viewer: Any,
    noise: Any,
    panel: Any,
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The work stops, nothing carries the result's name, and the next run goes on."""
    path = tmp_path / "x.ome.zarr"
    monkeypatch.setattr(files.QFileDialog, "getSaveFileName", lambda *a, **k: (str(path), ""))
    engine.seconds = 0.1
    choose_output(panel, "file")
    work = _begin(panel, engine)
    viewer.close()
    until(lambda: not work._worker.is_running)
    calls = engine.calls
    settle(0.3)
    assert engine.calls == calls
    assert not path.exists()


@pytest.mark.parametrize("kind", ["preview", "consistency", "copy"])
def test_a_closed_viewer_is_freed_whatever_was_going_on(
    viewer: Any, noise: Any, panel: Any, engine: Engine, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window that stays in memory keeps its images there, and its work the processor."""
    from napari._qt.qt_viewer import QtViewer

    begun = threading.Event()
    engine.may_end.clear()
    if kind == "preview":
        work = panel.preview()
    elif kind == "consistency":
        viewer.add_layer(upscale_layer(noise, "lanczos", scale=2))
        work = panel.trust.consistency()
    else:  # a plan that takes its time

        def slow(image: Any, settings: Any, meter: Any) -> Any:
            begun.set()
            for _ in range(3000):
                time.sleep(0.02)
                yield None

        monkeypatch.setattr(steps, "prepare", slow)
        work = panel.copy("python")
    until(lambda: work._worker.is_running and (begun.is_set() or engine.calls > 0))
    viewer.close()
    settle()
    gc.collect()
    assert not len(QtViewer._instances)
    calls = engine.calls
    engine.may_end.set()
    until(lambda: not work._worker.is_running)
    settle(0.3)
    assert engine.calls == calls


def test_layers_without_pixels_are_refused_kindly(
    viewer: Any, said: list[str], make_napari_viewer: Callable[..., Any]
) -> None:
    """Points and shapes are in every viewer, and people click."""
    panel = open_panel(viewer)
    for add, name in (("add_points", "marks"), ("add_shapes", "outlines")):
        layer = getattr(viewer, add)([[0, 0], [0, 9], [9, 9], [9, 0]], name=name)
        assert panel.layers.count() == 0
        assert panel.input.text() == (
            f"'{name}' has no pixels to make finer. Open an image to begin."
        )
        assert not panel.run_button.isEnabled()
        viewer.layers.selection.active = layer
        upscale_active_layer(viewer)
        assert said[-1] == (
            f"The layer '{name}' is a {type(layer).__name__} layer, which has no pixels to make "
            "finer. Choose an image layer."
        )
        viewer.layers.clear()
    viewer.add_labels(np.eye(40, dtype=int), name="cells")
    assert "'cells' is a label image" in panel.result.text()
    assert "Use the model 'nearest'" in panel.result.text()
    panel.form.choose("nearest", 2)
    assert panel.run_button.isEnabled()


def _begin(panel: Any, engine: Engine) -> Any:
    """Run, and return when the model is at work."""
    engine.calls = 0
    work = panel.run()
    until(lambda: engine.calls > 0)
    return work


def _no_space(*arguments: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_was_computed_is_freed_with_its_layers(viewer: Any, noise: Any, panel: Any) -> None:
    """A day's results stay in memory with the workers, which napari keeps for good."""
    upscale_active_layer(viewer)
    until(lambda: len(viewer.layers) == 2)
    choose_output(panel, "memory")
    for run in (panel.run, panel.preview, panel.trust.consistency):
        run()
        until(lambda: panel.progress.work is None and panel.trust.progress.work is None)
    settle()
    assert len(viewer.layers) == 6
    layers = [weakref.ref(layer) for layer in viewer.layers]
    pixels = weakref.ref(viewer.layers["noise [x2 lanczos]"].data)
    viewer.layers.clear()
    settle(0.5)
    gc.collect()
    assert not [layer() for layer in layers if layer() not in (None, noise)]
    assert pixels() is None


def test_a_source_that_was_upscaled_on_demand_is_freed_with_its_layer(viewer: Any) -> None:
    """The work holds what shows its result, and that the source's layer."""
    rng = np.random.default_rng(5)
    viewer.add_image(rng.integers(100, 4000, (60, 70), dtype=np.uint16))
    layer, pixels = weakref.ref(viewer.layers[0]), weakref.ref(viewer.layers[0].data)
    upscale_active_layer(viewer)
    until(lambda: len(viewer.layers) == 2)
    viewer.layers.clear()

    def freed() -> bool:
        gc.collect()
        return layer() is None and pixels() is None

    until(freed, 20)  # tiles that are being computed are still awaited
