"""The panel, used as its users use it."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt

import napari_superres as sr
from napari_superres.models.catalog import WeightFile, default_model
from napari_superres.plugin import widget as widget_module
from napari_superres.plugin.commands import open_panel, upscale_active_layer
from tests.plugin.conftest import settle

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Engine


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the sentences that were shown as notifications."""
    sentences: list[str] = []
    monkeypatch.setattr("napari_superres.plugin.notify.show_error", sentences.append)
    return sentences


@pytest.fixture
def source(viewer: Any) -> Any:
    """Return a stack of noise in the viewer."""
    rng = np.random.default_rng(5)
    stack = rng.integers(100, 4000, (3, 400, 500), dtype=np.uint16)
    return viewer.add_image(
        stack,
        name="noise",
        axis_labels=("z", "y", "x"),
        scale=(2, 0.5, 0.5),
        units=("um", "um", "um"),
        colormap="green",
        contrast_limits=(0, 5000),
    )


def click(qtbot: Any, button: Any) -> None:
    """Click as a user does: nothing happens when the button is disabled."""
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def finished(qtbot: Any, panel: Any) -> None:
    """Wait until nothing runs any more."""
    qtbot.waitUntil(lambda: panel.progress.work is None, timeout=20_000)
    settle()


def choose_output(panel: Any, output: str) -> None:
    """Choose where the result goes."""
    panel.output.setCurrentIndex(panel.output.findData(output))


def test_preview_shows_the_results_pixels_over_the_part_on_the_screen(
    viewer: Any, source: Any, panel: Any, qtbot: Any
) -> None:
    """A preview that differs from the file decides nothing."""
    panel.form.choose("lanczos", 4)
    viewer.dims.set_point(0, 2.0)
    camera = getattr(viewer, "scene", viewer).camera
    camera.zoom *= 3
    settle()
    click(qtbot, panel.preview_button)
    assert not panel.run_button.isEnabled()
    finished(qtbot, panel)
    (shown,) = [layer for layer in viewer.layers if layer is not source]
    assert shown.name == "noise [x4 lanczos, preview]"
    # The layer's corner tells which part it is.
    first = np.round(source.world_to_data(shown.data_to_world((-0.5,) * 3)) + 0.5).astype(int)
    assert first[0] == 1
    whole = sr.upscale(source.data, "lanczos", scale=4, axes="zyx")
    y, x = 4 * first[1:]
    height, width = shown.data.shape[1:]
    assert np.array_equal(shown.data[0], whole[1, y : y + height, x : x + width])
    top, bottom = source.corner_pixels[:, 1]
    assert (first[1], height) == (top, 4 * (bottom - top + 1))
    assert shown.colormap.name == "green"
    assert shown.units == source.units
    assert viewer.layers.selection.active is source
    # The next one takes its place.
    panel.form.choose("bicubic", 2)
    click(qtbot, panel.preview_button)
    finished(qtbot, panel)
    assert len(viewer.layers) == 2
    assert shown.name == "noise [x2 bicubic, preview]"
    assert shown.data.shape[1:] == (height // 2, width // 2)


def test_a_view_that_cannot_be_previewed_is_explained(
    viewer: Any, source: Any, panel: Any, said: list[str]
) -> None:
    """Volumes, and planes across z, are not what the models work on."""
    viewer.dims.ndisplay = 3
    assert panel.preview() is None
    assert panel.progress.line.text() == said[-1]
    assert "2-D view" in said[-1]
    viewer.dims.ndisplay = 2
    viewer.dims.order = (1, 0, 2)
    settle()
    panel.preview()
    assert said[-1].startswith("The view shows z and x of 'noise'")


def test_run_into_memory_gives_the_whole_result(
    viewer: Any, source: Any, panel: Any, qtbot: Any
) -> None:
    """Other plugins measure on arrays in memory."""
    panel.form.choose("bicubic", 2)
    choose_output(panel, "memory")
    click(qtbot, panel.run_button)
    finished(qtbot, panel)
    result = viewer.layers["noise [x2 bicubic]"]
    assert np.array_equal(result.data, sr.upscale(source.data, "bicubic", scale=2, axes="zyx"))
    assert result.metadata["superres"]["model"] == "bicubic"
    assert result.contrast_limits == source.contrast_limits
    corner = (-0.5, -0.5, -0.5)
    np.testing.assert_allclose(result.data_to_world(corner), source.data_to_world(corner))


def test_run_writes_a_file_and_shows_it(
    viewer: Any,
    source: Any,
    panel: Any,
    qtbot: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The way to keep a result."""
    path = tmp_path / "noise_x2"
    monkeypatch.setattr(widget_module.QFileDialog, "getSaveFileName", lambda *args: (str(path), ""))
    panel.form.choose("bicubic", 2)
    choose_output(panel, "file")
    click(qtbot, panel.run_button)
    finished(qtbot, panel)
    image = sr.read(f"{path}.ome.zarr")
    expected = sr.upscale(source.data, "bicubic", scale=2, axes="zyx")
    assert np.array_equal(image.data.compute(), expected)
    result = viewer.layers["noise [x2 bicubic]"]
    assert result.multiscale
    assert result.colormap.name == "green"
    assert str(path) in panel.progress.line.text()


def test_denoising_is_left_to_the_model_unless_it_is_set(viewer: Any, panel: Any) -> None:
    """A zero that nobody chose would switch off what the model was trained to do."""
    panel.form.choose("microscopy-x2")
    assert panel.form.denoise.text() == "Automatic"
    assert "denoise" not in panel.form.settings()
    panel.form.denoise.setValue(0.3)
    assert panel.form.settings()["denoise"] == 0.3
    panel.form.choose("realesr-general-x4v3")
    assert panel.form.settings()["denoise"] == 1.0
    panel.form.choose("lanczos")
    assert "denoise" not in panel.form.settings()


def test_run_on_demand_is_the_first_choice(
    viewer: Any, source: Any, panel: Any, qtbot: Any, engine: Engine
) -> None:
    """The result that costs nothing until one looks."""
    click(qtbot, panel.run_button)
    finished(qtbot, panel)
    assert viewer.layers[-1].name == "noise [x2 lanczos]"
    assert panel.layers.layer is source


@pytest.mark.parametrize("output", ["memory", "file"])
def test_cancel_stops_within_a_tile(
    viewer: Any,
    source: Any,
    panel: Any,
    qtbot: Any,
    engine: Engine,
    output: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A button that only drops the result leaves the machine busy for hours."""
    path = tmp_path / "x.ome.zarr"
    monkeypatch.setattr(widget_module.QFileDialog, "getSaveFileName", lambda *args: (str(path), ""))
    engine.seconds = 0.1
    real = panel.form.settings
    monkeypatch.setattr(panel.form, "settings", lambda: {**real(), "tile": 40})
    choose_output(panel, output)
    click(qtbot, panel.run_button)
    qtbot.waitUntil(lambda: engine.calls > 2)
    assert panel.progress.cancel.isVisible()
    assert "tile" in panel.progress.line.text() or "loading" in panel.progress.line.text()
    calls = engine.calls
    click(qtbot, panel.progress.cancel)
    assert panel.progress.cancel.text() == "Cancelling..."
    finished(qtbot, panel)
    workers = widget_module.steps.threads_for("cpu")
    assert engine.calls <= calls + 2 * workers
    settle(0.3)
    assert engine.calls <= calls + 2 * workers
    assert panel.progress.line.text() == "Cancelled."
    assert list(viewer.layers) == [source]
    assert panel.run_button.isEnabled()
    assert not path.exists()


def test_source_removed_while_running(
    viewer: Any, source: Any, panel: Any, qtbot: Any, engine: Engine
) -> None:
    """What was computed is kept; a preview without its source is not shown."""
    engine.seconds = 0.1
    choose_output(panel, "memory")
    click(qtbot, panel.run_button)
    qtbot.waitUntil(lambda: engine.calls > 0)
    viewer.layers.remove(source)
    finished(qtbot, panel)
    assert [layer.name for layer in viewer.layers] == ["noise [x2 lanczos]"]
    viewer.layers.clear()
    assert not panel.run_button.isEnabled()
    assert panel.input.text() == "Open an image to begin."
    viewer.add_image(np.zeros((300, 300), np.uint16), name="other")
    panel.preview()
    viewer.layers.clear()
    finished(qtbot, panel)
    assert not len(viewer.layers)
    assert "was removed" in panel.progress.line.text()


def test_closing_the_viewer_stops_the_work(
    viewer: Any, source: Any, panel: Any, qtbot: Any, engine: Engine
) -> None:
    """A closed window that computes on keeps the machine busy, unseen."""
    engine.seconds = 0.1
    choose_output(panel, "memory")
    work = panel.run()
    qtbot.waitUntil(lambda: engine.calls > 0)
    viewer.close()
    qtbot.waitUntil(lambda: not work._worker.is_running)
    calls = engine.calls
    settle(0.3)
    assert engine.calls == calls


def test_labels_and_points_are_refused_in_words(viewer: Any, panel: Any, qtbot: Any) -> None:
    """People click on what they see; the answer is a sentence."""
    viewer.add_points([[0, 0]], name="marks")
    assert panel.layers.layer is None
    labels = viewer.add_labels(np.eye(40, dtype=int), name="cells")
    panel.form.choose("lanczos", 2)
    assert "'cells' is a label image" in panel.result.text()
    assert not panel.run_button.isEnabled()
    panel.form.choose("nearest", 2)
    click(qtbot, panel.run_button)
    finished(qtbot, panel)
    assert type(viewer.layers[-1]) is type(labels)


def test_axes_without_names_are_asked_for(viewer: Any, panel: Any, qtbot: Any) -> None:
    """Three planes may be channels, depth or time."""
    layer = viewer.add_image(np.zeros((3, 50, 60), np.uint8), name="stack")
    assert panel.axes.isVisible()
    assert "Which axis is which" in panel.input.text()
    assert not panel.run_button.isEnabled()
    qtbot.keyClicks(panel.axes, "zyx")
    qtbot.keyClick(panel.axes, Qt.Key.Key_Return)
    assert layer.axis_labels == ("z", "y", "x")
    assert not panel.axes.isVisible()
    assert panel.run_button.isEnabled()


def test_weights_that_are_missing_are_one_sentence_with_ways_out(
    viewer: Any, source: Any, panel: Any, qtbot: Any, said: list[str]
) -> None:
    """Never a traceback, never a download that nobody asked for."""
    panel.form.choose("realesr-general-x4v3")
    assert panel.form.chip.text() == "Not on this computer"
    assert panel.form.download.isVisible()
    assert panel.form.download.text() == "Download 5 MB"
    assert panel.form.denoise.isVisible()
    click(qtbot, panel.preview_button)
    assert panel.progress.work is None
    assert said == [
        "The weights of 'realesr-general-x4v3' are not on this computer, and nothing is downloaded "
        "unasked. Press 'Download 5 MB'; without a network, 'superres models download "
        "realesr-general-x4v3' names other ways."
    ]
    assert panel.progress.line.text() == said[-1]
    panel.form.choose("bicubic")
    assert not panel.form.download.isVisible()
    assert not panel.form.denoise.isVisible()
    assert panel.form.chip.text() == "Ready"


def test_download_fetches_the_weights(
    viewer: Any, panel: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One click, with progress, from a real server."""
    content = bytes(range(256)) * 4000

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/w.pth"
        monkeypatch.setenv("NO_PROXY", "*")
        panel.form.choose("realesr-animevideov3")
        sha256 = hashlib.sha256(content).hexdigest()
        file = WeightFile("realesr-animevideov3.pth", sha256, len(content), (url,))
        panel.form._spec = dataclasses.replace(panel.form.spec, weights=(file,))
        click(qtbot, panel.form.download)
        finished(qtbot, panel)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert panel.progress.line.text() == (
        "The weights of realesr-animevideov3 are on this computer now."
    )
    assert panel.form.chip.text() == "Ready"


def test_light_on_light_is_not_shown_twice(
    viewer: Any, source: Any, panel: Any, qtbot: Any
) -> None:
    """With additive colours a result on top of its source would look twice as bright."""
    source.blending = "additive"
    click(qtbot, panel.run_button)
    finished(qtbot, panel)
    assert not source.visible
    viewer.layers.remove(viewer.layers[-1])
    assert source.visible


def test_commands_do_what_the_panel_does(
    viewer: Any, source: Any, qtbot: Any, said: list[str]
) -> None:
    """Menu and command palette."""
    panel = open_panel(viewer)
    assert open_panel(viewer) is panel
    assert panel.form.model.currentData() == default_model(2)
    upscale_active_layer(viewer)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=20_000)
    assert viewer.layers[-1].name == f"noise [x2 {default_model(2)}]"
    viewer.layers.selection.active = None
    upscale_active_layer(viewer)
    assert said == ["No layer is selected. Select one image in the layer list."]


def test_menu_is_where_the_documentation_says(viewer: Any) -> None:
    """Layers > Filter > Super-resolution."""
    from napari._app_model import get_app_model

    menus = get_app_model().menus
    submenus = [getattr(i, "title", "") for i in menus.get_menu("napari/layers/filter")]
    assert "Super-resolution" in submenus
    commands = [i.command.id for i in menus.get_menu("napari-superres/super-resolution")]
    assert "napari-superres.upscale_active_layer" in commands


def test_what_the_panel_shows_fits_its_width(viewer: Any, source: Any, panel: Any) -> None:
    """Words that are cut off at 300 pixels are not there."""
    for model in ("lanczos", "realesrgan-x4plus", "realesr-general-x4v3"):
        panel.form.choose(model)
        settle()
        inside = panel.scroll.widget()
        assert inside.minimumSizeHint().width() <= panel.scroll.viewport().width(), model
