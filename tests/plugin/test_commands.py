"""The commands as napari's menus and its palette call them: without arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("napari")

import npe2
from napari._app_model import get_app_model

from napari_superres.plugin import keep_row
from napari_superres.plugin.widget import SuperresWidget
from tests.plugin.conftest import finished, until

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = "napari-superres"


def offered() -> list[str]:
    """Return the commands of our entries in napari's menus, each once."""
    menus = npe2.PluginManifest.from_distribution(PLUGIN).contributions.menus
    entries = [entry for menu in menus.values() for entry in menu]
    return list(dict.fromkeys(e.command for e in entries if hasattr(e, "command")))


def execute(command: str) -> Any:
    """Do what a click on a menu's entry does, and return what comes of it."""
    return get_app_model().commands.execute_command(command).result()


def panels(viewer: Any) -> list[SuperresWidget]:
    """Return the panels of ours that are docked."""
    docked = viewer.window.dock_widgets.values()
    return [widget for widget in docked if isinstance(widget, SuperresWidget)]


def test_every_entry_of_the_menus_works(
    viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """An entry that ends in a traceback is all that a new user sees of the plugin."""
    path = str(tmp_path / "r.ome.zarr")
    monkeypatch.setattr(keep_row.QFileDialog, "getSaveFileName", lambda *a, **k: (path, ""))
    pixels = np.random.default_rng(1).integers(0, 900, (40, 50), dtype=np.uint16)
    source = viewer.add_image(pixels, name="a", contrast_limits=(0, 900))
    execute(f"{PLUGIN}.open_panel")
    (panel,) = panels(viewer)
    panel.form.choose("lanczos", 2)
    for command in offered():
        viewer.layers.selection.active = source
        execute(command)
        until(lambda: panel.trust.progress.work is None)
        finished(panel)
        assert panels(viewer) == [panel], command
    # What cannot be done for this image is said in words.
    assert all("result" in words or "opened from a file" in words for words in said), said
    panel.compare.end()


def test_the_active_layer_is_made_finer_from_the_menu(viewer: Any) -> None:
    """The viewer that napari hands in gives its layers wrapped."""
    viewer.add_image(np.zeros((40, 50), np.uint16), name="a", contrast_limits=(0, 9))
    execute(f"{PLUGIN}.upscale_active_layer")
    until(lambda: len(viewer.layers) == 2)
    assert viewer.layers[1].name.startswith("a [x2 ")


def test_a_result_from_the_menu_ends_a_comparison(viewer: Any) -> None:
    """With additive colours, source and result were seen together when it ended later."""
    pixels = np.full((40, 50), 90, np.uint8)
    source = viewer.add_image(pixels, name="a", contrast_limits=(0, 255), blending="additive")
    execute(f"{PLUGIN}.open_panel")
    (panel,) = panels(viewer)
    panel.form.choose("lanczos", 2)
    panel.preview()
    finished(panel)
    count = len(viewer.layers)
    assert panel.compare.comparison.mode == "swipe"
    viewer.layers.selection.active = source
    execute(f"{PLUGIN}.upscale_active_layer")
    until(lambda: len(viewer.layers) > count)
    assert panel.compare.mode.currentData() == "off"
    panel.compare.end()
    assert [layer for layer in viewer.layers if layer.visible] == [viewer.layers[-1]]


@pytest.mark.parametrize(("sample", "count"), [("cells", 2), ("filaments", 2)])
def test_samples_open_from_the_menu(viewer: Any, sample: str, count: int) -> None:
    """File > Open Sample is where one tries a plugin first."""
    execute(f"{PLUGIN}.{sample}")
    assert len(viewer.layers) == count


def test_the_palette_offers_nothing_that_needs_a_path() -> None:
    """The reader and the writers are called by napari, and fail without a path."""
    manifest = npe2.PluginManifest.from_distribution(PLUGIN).contributions
    called = {entry.command for entry in (*manifest.readers, *manifest.writers)}
    assert {c.id for c in manifest.commands if c.enablement == "False"} == called
