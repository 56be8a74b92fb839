"""On-demand layers in a real viewer."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers._layer_actions import _duplicate_layer
from napari.settings import get_settings

from napari_superres.errors import WeightsError
from napari_superres.plugin import upscale_layer
from napari_superres.plugin.progressive import ProgressiveLevel
from napari_superres.plugin.tile_queue import threads_for
from napari_superres.plugin.view import on_canvas
from tests.plugin.conftest import canvas, settle, until

if TYPE_CHECKING:
    from tests.plugin.conftest import Engine


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def slicing(request: pytest.FixtureRequest, make_napari_viewer: Any) -> bool:
    """Run with napari's asynchronous slicing off and on."""
    get_settings().experimental.async_ = request.param
    return bool(request.param)


@pytest.fixture
def source(viewer: Any) -> Any:
    """Return a stack of noise in the viewer."""
    rng = np.random.default_rng(2)
    stack = rng.integers(0, 4000, (4, 900, 1200), dtype=np.uint16)
    return viewer.add_image(stack, name="noise", axis_labels=("z", "y", "x"), scale=(2, 0.5, 0.5))


def camera(viewer: Any) -> Any:
    """Return the camera, which moved in napari 0.9."""
    return getattr(viewer, "scene", viewer).camera


def zoom_in(viewer: Any, factor: float = 8) -> None:
    """Zoom past the source's own pixels."""
    camera(viewer).zoom *= factor
    settle(0.2)


def test_adding_the_layer_runs_no_model(viewer: Any, source: Any, engine: Engine) -> None:
    """Adding a layer of a large stack must not compute the stack."""
    finer = viewer.add_layer(upscale_layer(source, "bicubic", scale=4))
    for z in range(4):
        viewer.dims.set_point(0, 2 * z)
        settle(0.05)
    assert isinstance(finer.data[0], ProgressiveLevel)
    assert engine.calls == 0
    assert finer.data_level == 1


def test_zooming_in_fills_the_screen_with_the_results_pixels(
    slicing: bool, viewer: Any, source: Any, engine: Engine
) -> None:
    """The one thing that an on-demand layer is for."""
    finer = viewer.add_layer(upscale_layer(source, "lanczos", scale=4))
    zoom_in(viewer)
    until(lambda: finer.data_level == 0 and engine.calls > 0)
    level = finer.data[0]
    until(lambda: level.waiting == 0)
    settle(0.5)
    (_, top, left), (_, bottom, right) = finer.corner_pixels
    z = round(viewer.dims.point[0] / 2)
    expected = level.image.data[z, top : bottom + 1, left : right + 1].compute()
    assert np.array_equal(finer._slice.image.raw, expected)
    calls = engine.calls
    settle(0.3)
    assert engine.calls == calls


def test_a_duplicated_layer_is_filled_by_itself(viewer: Any, source: Any, engine: Engine) -> None:
    """Two looks at one result, in other colours: napari's Duplicate Layer."""
    original = viewer.add_layer(upscale_layer(source, "lanczos", scale=4))
    settle()
    viewer.layers.selection = {original}
    _duplicate_layer(viewer.layers)
    copy = viewer.layers[-1]
    viewer.layers.remove(original)
    assert engine.calls == 0
    zoom_in(viewer)
    until(lambda: copy.data_level == 0 and engine.calls > 0 and copy.data[0].waiting == 0)
    settle(0.5)
    (_, top, left), (_, bottom, right) = copy.corner_pixels
    z = round(viewer.dims.point[0] / 2)
    expected = copy.data[0].image.data[z, top : bottom + 1, left : right + 1].compute()
    assert np.array_equal(copy._slice.image.raw, expected)


def test_what_is_on_the_screen_comes_first_after_zooming_in_further(
    slicing: bool, viewer: Any, source: Any, engine: Engine
) -> None:
    """Napari asks for all that was on the screen when level 0 began, and then no more."""
    engine.seconds = 0.1
    finer = viewer.add_layer(upscale_layer(source, "bicubic", scale=4))
    camera(viewer).zoom = 2 * 1.1  # of the screen's pixels a unit, so 1.1 a source pixel
    until(lambda: finer.data_level == 0 and engine.calls > 0)
    asked = finer.data[0].waiting
    camera(viewer).center = (0, 120, 200)  # aside of the middle
    camera(viewer).zoom = 2 * 12
    settle(0.3)
    first, last = on_canvas(viewer, finer)
    z, y, x = (
        round(viewer.dims.point[0] / 2),
        *(slice(int(first[i]) + 1, int(last[i])) for i in (1, 2)),
    )
    expected = finer.data[0].image.data[z, y, x].compute()
    computed = engine.calls

    def shown() -> Any:
        top, left = finer.corner_pixels[0, 1:]
        raw = finer._slice.image.raw
        return raw[y.start - top : y.stop - top, x.start - left : x.stop - left]

    until(lambda: np.array_equal(shown(), expected))
    assert engine.calls - computed < asked / 2


def test_channels_time_and_depth_in_one_layer(slicing: bool, viewer: Any, engine: Engine) -> None:
    """Other readers open all of a recording as one layer."""
    rng = np.random.default_rng(3)
    stack = rng.integers(0, 4000, (2, 2, 3, 200, 260), dtype=np.uint16)
    source = viewer.add_image(stack, axis_labels=tuple("tczyx"), contrast_limits=(0, 4000))
    finer = viewer.add_layer(upscale_layer(source, "lanczos", scale=2))
    source.visible = False
    zoom_in(viewer, 4)
    for place in ((0, 0, 0), (1, 1, 2), (0, 1, 1)):
        viewer.dims.set_point((0, 1, 2), place)
        until(lambda: finer.data_level == 0 and finer.data[0].waiting == 0)
        settle(0.4)
        (*_, top, left), (*_, bottom, right) = finer.corner_pixels
        expected = finer.data[0].image.data[place][top : bottom + 1, left : right + 1].compute()
        assert np.array_equal(finer._slice.image.raw, expected), place


def test_several_layers_share_the_device_and_are_filled_side_by_side(
    slicing: bool, viewer: Any, source: Any, engine: Engine
) -> None:
    """Three channels must not fight for three times the processors, nor wait for one another."""
    engine.seconds = 0.1
    at_once: list[int] = []
    running = threading.Semaphore(0)
    call = engine._call

    def counted(*args: Any) -> Any:
        running.release()
        at_once.append(running._value)
        try:
            return call(*args)
        finally:
            running.acquire()

    engine._call = counted
    engine.may_end.clear()
    layers = [viewer.add_layer(upscale_layer(source, "bicubic", scale=4)) for _ in range(3)]
    zoom_in(viewer)
    until(lambda: all(layer.data_level == 0 and layer.data[0].waiting > 1 for layer in layers))
    engine.may_end.set()
    until(lambda: sum(layer.data[0].ready for layer in layers) >= 3)
    ready = [layer.data[0].ready for layer in layers]
    assert max(ready) - min(ready) <= 2, ready
    engine.seconds = 0.0  # the rest is of no interest, and must not outlive the viewer
    until(lambda: all(layer.data[0].waiting == 0 for layer in layers))
    assert max(at_once) <= threads_for("cpu")


def test_a_removed_layer_computes_nothing_more(viewer: Any, source: Any, engine: Engine) -> None:
    """Who holds a layer in a variable does not look at it."""
    engine.seconds = 0.1
    finer = viewer.add_layer(upscale_layer(source, "bicubic", scale=4))
    camera(viewer).zoom = 2 * 1.1
    until(lambda: engine.calls > 0)
    assert finer.data[0].waiting > 8
    viewer.layers.remove(finer)
    settle(0.6)
    assert finer.data[0].waiting <= 1
    viewer.add_layer(finer)
    until(lambda: finer.data[0].waiting > 1)


def test_closing_the_viewer_ends_the_work_for_it(viewer: Any, source: Any, engine: Engine) -> None:
    """A closed window that computes on keeps the machine busy, unseen."""
    engine.seconds = 0.1
    finer = viewer.add_layer(upscale_layer(source, "bicubic", scale=4))
    camera(viewer).zoom = 2 * 1.1
    until(lambda: engine.calls > 0)
    assert finer.data[0].waiting > 8
    viewer.close()
    until(lambda: finer.data[0].waiting <= 1)
    calls = engine.calls
    settle(0.4)
    assert engine.calls <= calls + 1


def test_a_closed_viewer_is_freed_while_a_tile_is_computed(
    slicing: bool, viewer: Any, source: Any, engine: Engine
) -> None:
    """A tile of a slow model takes minutes; until then a window would hold all of its layers."""
    from napari._qt.qt_viewer import QtViewer

    engine.may_end.clear()
    finer = viewer.add_layer(upscale_layer(source, "bicubic", scale=4))
    camera(viewer).zoom = 2 * 1.1
    until(lambda: engine.calls > 0)
    viewer.close()
    settle()
    gc.collect()
    assert not len(QtViewer._instances)
    calls = engine.calls
    assert finer.data[0].waiting == min(calls, threads_for("cpu"))
    engine.may_end.set()
    until(lambda: finer.data[0].waiting == 0)
    assert engine.calls == calls


def test_stale_cells_are_dropped_when_one_zooms_out(
    slicing: bool, viewer: Any, source: Any, engine: Engine
) -> None:
    """A processor at work for nobody makes everything else slow."""
    engine.seconds = 0.2
    finer = viewer.add_layer(upscale_layer(source, "bicubic", scale=4))
    zoom_in(viewer, 4)
    until(lambda: engine.calls > 0)
    camera(viewer).zoom /= 4
    until(lambda: finer.data_level == 1 and finer.data[0].waiting <= 1)
    zoom_in(viewer, 4)
    until(lambda: finer.data_level == 0)
    finer.visible = False
    until(lambda: finer.data[0].waiting <= 1)


def test_volumes_show_the_source(slicing: bool, viewer: Any, source: Any, engine: Engine) -> None:
    """Three dimensions would need every pixel of the result at once."""
    finer = viewer.add_layer(upscale_layer(source, "bicubic", scale=4))
    viewer.dims.ndisplay = 3
    settle(0.2)
    assert finer.data_level == 1
    assert engine.calls == 0


def test_source_may_be_removed(viewer: Any, source: Any, engine: Engine) -> None:
    """The result needs the source's pixels, not its layer."""
    finer = viewer.add_layer(upscale_layer(source, "bicubic", scale=4))
    viewer.layers.remove(source)
    zoom_in(viewer)
    until(lambda: engine.calls > 0 and finer.data[0].waiting == 0)


def test_two_layers_of_one_name_stay_two(viewer: Any, source: Any) -> None:
    """A result that takes another layer's name must not take its place."""
    first = viewer.add_layer(upscale_layer(source, "bicubic"))
    second = viewer.add_layer(upscale_layer(source, "bicubic"))
    assert len(viewer.layers) == 3
    assert first.name != second.name


def test_a_model_that_fails_says_so_once(
    viewer: Any, source: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each view asks again; nobody reads the same sentence ten times."""
    said: list[str] = []
    monkeypatch.setattr("napari_superres.plugin.refresh.show_error", said.append)
    engine.error = WeightsError("The weights are gone.", "Get them back.")
    finer = viewer.add_layer(upscale_layer(source, "bicubic", scale=4))
    zoom_in(viewer)
    until(lambda: bool(said))
    viewer.dims.set_point(0, 0)
    settle(0.3)
    assert said == ["The weights are gone. Get them back."]
    assert finer in viewer.layers


def test_result_of_a_result_works(viewer: Any, source: Any) -> None:
    """x2 and x2 again."""
    once = viewer.add_layer(upscale_layer(source, "bicubic", scale=2))
    twice = viewer.add_layer(upscale_layer(once, "bicubic", scale=2))
    assert [level.shape for level in twice.data] == [
        (4, 3600, 4800),
        (4, 1800, 2400),
        (4, 900, 1200),
    ]
    zoom_in(viewer, 16)
    until(lambda: twice.data_level == 0 and twice.data[0].waiting == 0)
    assert canvas(viewer).any()
