"""The panel without a window around it: what it does with layers, files and models."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from qtpy.QtCore import Qt

import napari_superres as sr
from napari_superres.models.catalog import MODELS, WeightFile
from napari_superres.plugin import files
from napari_superres.plugin.widget import SuperresWidget
from tests.plugin.conftest import choose_output, click, finished, until, words

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Engine


@pytest.fixture
def viewer() -> Any:
    """Return the model of a viewer: layers and sliders, and nothing on the screen."""
    return ViewerModel()


@pytest.fixture
def panel(viewer: Any, qtbot: Any) -> Any:
    """Return the panel as a window of its own."""
    panel = SuperresWidget(viewer)
    qtbot.addWidget(panel)
    panel.form.choose("lanczos", 2)  # needs no weights
    panel.show()
    return panel


def test_run_into_memory_gives_the_whole_result(
    viewer: Any, noise: Any, panel: Any, qtbot: Any
) -> None:
    """Other plugins measure on arrays in memory."""
    panel.form.choose("bicubic", 2)
    choose_output(panel, "memory")
    click(qtbot, panel.run_button)
    finished(panel)
    result = viewer.layers["noise [x2 bicubic]"]
    assert np.array_equal(result.data, sr.upscale(noise.data, "bicubic", scale=2, axes="zyx"))
    assert result.metadata["superres"]["model"] == "bicubic"
    assert result.contrast_limits == noise.contrast_limits
    corner = (-0.5, -0.5, -0.5)
    np.testing.assert_allclose(result.data_to_world(corner), noise.data_to_world(corner))


def test_run_writes_a_file_and_shows_it(
    viewer: Any,
    noise: Any,
    panel: Any,
    qtbot: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The way to keep a result."""
    path = tmp_path / "noise_x2"
    monkeypatch.setattr(
        files.QFileDialog, "getSaveFileName", lambda *args, **options: (str(path), "")
    )
    panel.form.choose("bicubic", 2)
    choose_output(panel, "file")
    click(qtbot, panel.run_button)
    finished(panel)
    image = sr.read(f"{path}.ome.zarr")
    expected = sr.upscale(noise.data, "bicubic", scale=2, axes="zyx")
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


def test_source_removed_while_running(
    viewer: Any, noise: Any, panel: Any, qtbot: Any, engine: Engine
) -> None:
    """What was computed is kept; a preview without its source is not shown."""
    engine.seconds = 0.1
    choose_output(panel, "memory")
    click(qtbot, panel.run_button)
    until(lambda: engine.calls > 0)
    viewer.layers.remove(noise)
    finished(panel)
    assert [layer.name for layer in viewer.layers] == ["noise [x2 lanczos]"]
    viewer.layers.clear()
    assert not panel.run_button.isEnabled()
    assert panel.input.text() == "Open an image to begin."
    viewer.add_image(np.zeros((300, 300), np.uint16), name="other")
    panel.preview()
    viewer.layers.clear()
    finished(panel)
    assert not len(viewer.layers)
    assert "was removed" in panel.progress.line.text()


def test_what_was_run_is_selected_whatever_is_ticked_by_then(
    viewer: Any, noise: Any, panel: Any, engine: Engine
) -> None:
    """Export wrote another layer's old result."""
    other = viewer.add_image(np.zeros((30, 40), np.uint16), name="other")
    choose_output(panel, "memory")
    panel.layers.choose(other)
    panel.run()
    finished(panel)
    panel.layers.choose(noise)
    engine.may_end.clear()
    panel.run()
    panel.layers.choose(other)
    engine.may_end.set()
    finished(panel)
    assert [layer.name for layer in panel.results.selected()] == ["noise [x2 lanczos]"]
    # What was refused leaves the selection as it is.
    choose_output(panel, "on demand")
    viewer.layers.selection = {other}
    panel.layers.choose(noise)
    panel.run()
    noise.data = noise.data[1:]
    finished(panel)
    assert "was changed meanwhile" in panel.progress.line.text()
    assert set(viewer.layers.selection) == {other}


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
    finished(panel)
    assert type(viewer.layers[-1]) is type(labels)


def test_new_labels_do_not_take_the_images_place(viewer: Any, noise: Any, panel: Any) -> None:
    """Who adds labels to paint on goes on with the image; labels alone are still taken."""
    labels = viewer.add_labels(np.zeros((400, 500), int))
    assert panel.layers.layers == [noise]
    assert panel.run_button.isEnabled()
    viewer.layers.remove(noise)
    assert panel.layers.layers == [labels]


def test_axes_without_names_are_asked_for(viewer: Any, panel: Any, qtbot: Any) -> None:
    """Three planes may be channels, depth or time."""
    layer = viewer.add_image(np.zeros((3, 50, 60), np.uint8), name="stack")
    assert panel.axes.isVisible()
    assert panel.axes.text() == ""
    assert "Which axis is which" in panel.input.text()
    assert not panel.run_button.isEnabled()
    qtbot.keyClicks(panel.axes, "zyx")
    qtbot.keyClick(panel.axes, Qt.Key.Key_Return)
    assert layer.axis_labels == ("z", "y", "x")
    # And they can be corrected later.
    assert panel.axes.text() == "zyx"
    qtbot.keyClicks(panel.axes, "\b\b\btyx")
    qtbot.keyClick(panel.axes, Qt.Key.Key_Return)
    assert layer.axis_labels == ("t", "y", "x")
    assert panel.run_button.isEnabled()


def test_axes_are_named_only_by_somebody_who_writes_them(
    viewer: Any, panel: Any, qtbot: Any
) -> None:
    """A film becomes a stack when one merely tabs through the panel, and is upscaled as one."""
    stack, film, unnamed = (
        viewer.add_image(np.zeros((3, 50, 60), np.uint8), name=name) for name in "abc"
    )
    stack.axis_labels, film.axis_labels = ("z", "y", "x"), ("time", "height", "width")
    panel.layers.choose(stack, film, unnamed)
    panel.layers.setCurrentRow(2)
    assert panel.layers.layer is stack
    panel.axes.editingFinished.emit()  # as when the focus goes elsewhere
    assert unnamed.axis_labels == ("-3", "-2", "-1")
    assert film.axis_labels == ("time", "height", "width")
    qtbot.keyClicks(panel.axes, "\b\b\bcyx")
    qtbot.keyClick(panel.axes, Qt.Key.Key_Return)
    assert stack.axis_labels == unnamed.axis_labels == ("c", "y", "x")
    assert film.axis_labels == ("time", "height", "width")


def test_weights_that_are_missing_are_one_sentence_with_ways_out(
    viewer: Any, noise: Any, panel: Any, qtbot: Any, said: list[str]
) -> None:
    """Never a traceback, never a download that nobody asked for."""
    panel.form.choose("realesr-general-x4v3")
    assert panel.form.chip.text() == "↓ Needs download"
    assert panel.form.download.isVisible()
    assert panel.form.download.text() == "Download 5 MB"
    assert panel.form.denoise.isVisibleTo(panel.form.intensity.inside)
    click(qtbot, panel.preview_button)
    assert panel.progress.work is None
    assert said == [
        "The weights of 'realesr-general-x4v3' are not on this computer. Press 'Download 5 MB'; "
        "without a network, add the file under 'Models...'."
    ]
    assert panel.progress.line.text() == said[-1]
    panel.form.choose("bicubic")
    assert panel.progress.line.text() == ""
    assert not panel.form.download.isVisible()
    assert panel.form.intensity.form.rowCount() == 6
    assert not panel.form.denoise.isVisibleTo(panel.form.intensity.inside)
    assert panel.form.chip.text() == "✓ On this computer"


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
        panel.form.models._spec = dataclasses.replace(panel.form.spec, weights=(file,))
        click(qtbot, panel.form.download)
        finished(panel)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert panel.progress.line.text() == (
        "The weights of realesr-animevideov3 are on this computer now."
    )
    assert panel.form.chip.text() == "✓ On this computer"


def test_light_on_light_is_not_shown_twice(viewer: Any, noise: Any, panel: Any, qtbot: Any) -> None:
    """With additive colours a result on top of its source would look twice as bright."""
    noise.blending = "additive"
    click(qtbot, panel.run_button)
    finished(panel)
    assert not noise.visible
    viewer.layers.remove(viewer.layers[-1])
    assert noise.visible


def test_every_model_says_what_it_would_give(noise: Any, panel: Any) -> None:
    """A model whose settings are found in the image must not be refused before it is looked at."""
    for model in MODELS:
        panel.form.choose(model)
        scale = panel.form.settings()["scale"]
        expected = f"3 x {400 * scale} x {500 * scale} · uint16"
        assert words(panel.result).startswith(expected), model
        assert panel.run_button.isEnabled(), model


@pytest.mark.parametrize("output", ["memory", "on demand"])
def test_a_failure_names_its_layer(
    viewer: Any, panel: Any, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several layers one would not know which to leave out."""
    said: list[str] = []
    for module in ("notify", "refresh"):
        monkeypatch.setattr(f"napari_superres.plugin.{module}.show_error", said.append)
    viewer.add_image(np.full((20, 20), 2**28, np.uint32), name="deep", contrast_limits=(0, 2**29))
    panel.form.choose("lanczos", 2)
    choose_output(panel, output)
    panel.run()
    finished(panel)
    if output == "on demand":
        level = viewer.layers[-1].data[0]
        level.show((range(40), range(40)))
        until(lambda: bool(said))
    assert said[0].startswith("'deep' has pixels of type uint32")
