"""Models compared on what is on the screen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image
from napari.layers._source import layer_source
from qtpy.QtGui import QDesktopServices

from napari_superres.plugin import commands
from napari_superres.plugin.compare_models import part_on_screen
from napari_superres.plugin.layers import layer_to_image
from tests.plugin.conftest import click, settle, until

if TYPE_CHECKING:
    from napari_superres.plugin.compare_models import ComparisonDialog


@pytest.fixture
def dialog(panel: Any, noise: Any, tmp_path: Path) -> ComparisonDialog:
    """Return the dialog, opened from the panel for the second plane of a stack."""
    panel.viewer.dims.set_point(0, 2.0)
    settle()
    dialog = panel.compare_models.open()
    dialog.folder.setText(str(tmp_path / "report"))
    dialog.select(["lanczos", "nearest", "sd-x4"])
    return dialog


def finished(dialog: ComparisonDialog) -> None:
    """Wait until nothing runs any more."""
    until(lambda: dialog.progress.work is None, seconds=240)
    settle()


def test_models_are_compared_on_the_pixels_on_the_screen(
    dialog: ComparisonDialog,
    noise: Any,
    viewer: Any,
    qtbot: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not on another plane or corner; what cannot be run says why; the report can be opened."""
    camera = getattr(viewer, "scene", viewer).camera
    camera.zoom *= 6
    camera.center = (camera.center[0], 100.0, 60.0)
    settle()
    part = part_on_screen(viewer, noise, layer_to_image(noise))
    rows, columns = part["region"]
    assert part["planes"] == {"z": 1}
    assert 32 <= rows.stop - rows.start < 200
    assert not dialog.open_button.isEnabled()
    click(qtbot, dialog.start_button)
    assert not dialog.start_button.isEnabled()
    finished(dialog)
    report = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    (picture,) = report["pictures"]
    assert picture["size"] == f"{rows.stop - rows.start} x {columns.stop - columns.start}"
    assert picture["pixel_size"] == 0.5
    states = {cell["model"]: cell["state"] for cell in report["cells"]}
    assert states == {"lanczos": "done", "nearest": "done", "sd-x4": "failed"}
    found = [np.load(path) for path in (tmp_path / "report" / "cells").glob("*/source.npy")]
    assert len(found) == 3
    for pixels in found:
        np.testing.assert_array_equal(pixels, noise.data[1, rows, columns])
    words = dialog.progress.line.text()
    assert "report.html" in words
    assert "sd-x4: " in words
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    click(qtbot, dialog.open_button)
    assert opened == [str(tmp_path / "report" / "report.html")]


def test_a_comparison_can_be_cancelled_and_goes_on_later(
    dialog: ComparisonDialog, qtbot: Any, tmp_path: Path
) -> None:
    """Models take minutes; what is finished is not computed again."""
    cells = tmp_path / "report" / "cells"
    click(qtbot, dialog.start_button)
    until(lambda: any(cells.glob("*/cell.json")), seconds=120)
    click(qtbot, dialog.progress.cancel)
    finished(dialog)
    assert dialog.progress.line.text() == "Cancelled."
    assert not (tmp_path / "report" / "report.html").exists()
    first = {path: path.stat().st_mtime_ns for path in cells.glob("*/cell.json")}
    dialog.select(["lanczos", "nearest"])
    click(qtbot, dialog.start_button)
    finished(dialog)
    assert (tmp_path / "report" / "report.html").is_file()
    kept = [path for path, time in first.items() if path.stat().st_mtime_ns == time]
    assert kept


def test_what_cannot_be_compared_is_explained(
    dialog: ComparisonDialog, viewer: Any, said: list[str]
) -> None:
    """A dialog that does nothing is a riddle."""
    dialog.select([])
    assert dialog.start() is None
    assert "no model" in said[-1]
    dialog.select(["lanczos"])
    viewer.dims.ndisplay = 3
    assert dialog.start() is None
    assert "2-D view" in said[-1]
    assert dialog.progress.line.text() == said[-1]


def test_the_command_opens_the_dialog_with_the_panels_model_ticked(viewer: Any, noise: Any) -> None:
    """From the menu as from the panel."""
    panel = commands.open_panel(viewer)
    panel.form.choose("bicubic", 2)
    commands.compare_models(viewer)
    dialog = panel.compare_models.open()
    assert dialog.isVisible()
    assert set(dialog.ticked) == {"lanczos", "microscopy-x4", "bicubic"}
    assert "'noise'" in dialog.about.text()
    assert dialog.folder.text().endswith("noise compared")


def test_the_report_of_an_image_on_a_server_goes_into_the_users_own_folder(
    viewer: Any, noise: Any, tmp_path: Path
) -> None:
    """A folder called 'https:' beside the program is found by nobody."""
    panel = commands.open_panel(viewer)
    for path, folder in (
        ("https://server.org/data/x.ome.zarr", Path.home()),
        (str(tmp_path / "x.ome.zarr"), tmp_path),
    ):
        with layer_source(path=path):
            layer = viewer.add_layer(Image(noise.data[0], name="x"))
        panel.layers.choose(layer)
        assert panel.compare_models.open().folder.text() == str(folder / "x compared")
        viewer.layers.remove(layer)
