"""The panel, used as its users use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest

pytest.importorskip("napari")


import napari_superres as sr
from napari_superres.models.catalog import default_model
from napari_superres.plugin import files, steps
from napari_superres.plugin.commands import compare_result, open_panel, upscale_active_layer
from napari_superres.plugin.view import visible_part
from tests.plugin.conftest import choose_output, click, finished, settle, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Engine


def test_preview_shows_the_results_pixels_over_the_part_on_the_screen(
    viewer: Any, noise: Any, panel: Any, qtbot: Any
) -> None:
    """A preview that differs from the file decides nothing."""
    panel.form.choose("lanczos", 4)
    viewer.dims.set_point(0, 2.0)
    camera = getattr(viewer, "scene", viewer).camera
    camera.zoom *= 3
    settle()
    click(qtbot, panel.preview_button)
    assert not panel.run_button.isEnabled()
    finished(panel)
    assert panel.compare.comparison.mode == "swipe"
    panel.compare.compare("off")
    plain, shown = [layer for layer in viewer.layers if layer is not noise]
    assert not plain.visible
    assert plain.name == "noise [x4 bicubic, preview]"
    assert shown.name == "noise [x4 lanczos, preview]"
    # The layer's corner tells which part it is.
    first = np.round(noise.world_to_data(shown.data_to_world((-0.5,) * 3)) + 0.5).astype(int)
    assert first[0] == 1
    whole = sr.upscale(noise.data, "lanczos", scale=4, axes="zyx")
    y, x = 4 * first[1:]
    height, width = shown.data.shape[1:]
    assert np.array_equal(shown.data[0], whole[1, y : y + height, x : x + width])
    simple = sr.upscale(noise.data, "bicubic", scale=4, axes="zyx")
    assert np.array_equal(plain.data[0], simple[1, y : y + height, x : x + width])
    top, bottom = noise.corner_pixels[:, 1]
    assert (first[1], height) == (top, 4 * (bottom - top + 1))
    assert shown.colormap.name == "green"
    assert shown.units == noise.units
    assert viewer.layers.selection.active is noise
    # The next one takes its place.
    panel.form.choose("bicubic", 2)
    click(qtbot, panel.preview_button)
    finished(panel)
    panel.compare.compare("off")
    names = [layer.name for layer in viewer.layers]
    assert names == ["noise", "noise [x2 nearest, preview]", "noise [x2 bicubic, preview]"]
    assert viewer.layers[-1].data.shape[1:] == (height // 2, width // 2)


def test_preview_of_a_pyramid_takes_what_is_on_the_screen_and_no_more(
    viewer: Any, panel: Any
) -> None:
    """Whole chunks of a pyramid are drawn: computing them all would take many times longer."""
    pixels = da.from_array(np.zeros((1600, 2000), np.uint8), chunks=(800, 1000))
    layer = viewer.add_image([pixels, pixels[::2, ::2]], multiscale=True, contrast_limits=(0, 255))
    camera = getattr(viewer, "scene", viewer).camera
    camera.center, camera.zoom = (0, 700, 900), 4
    settle()
    part = visible_part(viewer, layer, "yx")
    height, width = (n / 4 for n in viewer.canvas.size)
    assert np.abs(np.array(part.start) - (700 - height / 2, 900 - width / 2)).max() < 2
    assert np.abs(np.array(part.stop) - (700 + height / 2, 900 + width / 2)).max() < 2
    camera.zoom = 0.2
    settle()
    part = visible_part(viewer, layer, "yx", most=500)
    assert not part.whole
    assert part.start == (550, 650)
    assert part.stop == (1050, 1150)


def test_a_view_that_cannot_be_previewed_is_explained(
    viewer: Any, noise: Any, panel: Any, said: list[str]
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


def test_run_on_demand_is_the_first_choice(
    viewer: Any, noise: Any, panel: Any, qtbot: Any, engine: Engine
) -> None:
    """The result that costs nothing until one looks."""
    click(qtbot, panel.run_button)
    finished(panel)
    assert viewer.layers[-1].name == "noise [x2 lanczos]"
    assert panel.layers.layer is noise


@pytest.mark.parametrize("output", ["memory", "file"])
def test_cancel_stops_within_a_tile(
    viewer: Any,
    noise: Any,
    panel: Any,
    qtbot: Any,
    engine: Engine,
    output: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A button that only drops the result leaves the machine busy for hours."""
    path = tmp_path / "x.ome.zarr"
    monkeypatch.setattr(
        files.QFileDialog, "getSaveFileName", lambda *args, **options: (str(path), "")
    )
    engine.seconds = 0.1
    real = panel.form.settings
    monkeypatch.setattr(panel.form, "settings", lambda *of: {**real(*of), "tile": 40})
    choose_output(panel, output)
    click(qtbot, panel.run_button)
    until(lambda: engine.calls > 2)
    assert panel.progress.cancel.isVisible()
    assert "tile" in panel.progress.line.text() or "loading" in panel.progress.line.text()
    calls = engine.calls
    click(qtbot, panel.progress.cancel)
    assert panel.progress.cancel.text() == "Cancelling..."
    finished(panel)
    workers = steps.threads_for("cpu")
    assert engine.calls <= calls + 2 * workers
    settle(0.3)
    assert engine.calls <= calls + 2 * workers
    assert panel.progress.line.text() == "Cancelled."
    assert list(viewer.layers) == [noise]
    assert panel.run_button.isEnabled()
    assert not path.exists()


def test_closing_the_viewer_stops_the_work(
    viewer: Any, noise: Any, panel: Any, engine: Engine
) -> None:
    """A closed window that computes on keeps the machine busy, unseen."""
    engine.seconds = 0.1
    choose_output(panel, "memory")
    work = panel.run()
    until(lambda: engine.calls > 0)
    viewer.close()
    until(lambda: not work._worker.is_running)
    calls = engine.calls
    settle(0.3)
    assert engine.calls == calls


def test_commands_do_what_the_panel_does(viewer: Any, noise: Any, said: list[str]) -> None:
    """Menu and command palette."""
    panel = open_panel(viewer)
    assert open_panel(viewer) is panel
    assert panel.form.model.currentData() == default_model(2)
    upscale_active_layer(viewer)
    until(lambda: len(viewer.layers) == 2)
    finer = viewer.layers[-1]
    assert finer.name == f"noise [x2 {default_model(2)}]"
    compare_result(viewer)
    assert panel.compare.comparison.mode == "blink"
    until(lambda: not finer.visible)
    panel.compare.end()
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


def test_what_the_panel_shows_fits_its_width(viewer: Any, noise: Any, panel: Any) -> None:
    """Words that are cut off at 300 pixels are not there."""
    for model in ("lanczos", "realesrgan-x4plus", "realesr-general-x4v3"):
        panel.form.choose(model)
        settle()
        inside = panel.scroll.widget()
        assert inside.minimumSizeHint().width() <= panel.scroll.viewport().width(), model


def test_a_closed_panel_is_gone_and_its_work_with_it(
    viewer: Any, noise: Any, panel: Any, qtbot: Any, engine: Engine
) -> None:
    """Work whose panel is gone could not be stopped."""
    engine.seconds = 0.1
    choose_output(panel, "memory")
    work = panel.run()
    until(lambda: engine.calls > 0)
    (dock,) = [dock for dock in viewer.window.dock_widgets if "Super" in dock]
    click(qtbot, viewer.window._wrapped_dock_widgets[dock].title.close_button)
    assert work.cancelling
    until(lambda: not work._worker.is_running)
    viewer.add_image(np.zeros((4, 4)))
    viewer.layers.remove(noise)
