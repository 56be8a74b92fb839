"""Every state of the panel on the screen: nothing cut off, in both themes, at large fonts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("napari")

from tests.plugin.conftest import choose_output, finished, settle, until, words
from tests.plugin.looks import faults, look, unpainted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.plugin.conftest import Engine


@pytest.fixture
def appearance() -> Iterator[Any]:
    """Return napari's settings of looks, and set them back."""
    from napari.settings import get_settings

    looks = get_settings().appearance
    before = looks.theme, looks.font_size
    yield looks
    looks.theme, looks.font_size = before


@pytest.fixture(params=["dark", "light"])
def theme(request: pytest.FixtureRequest, appearance: Any, panel: Any) -> str:
    """Show the panel in napari's themes, in turn."""
    appearance.theme = request.param
    settle(0.3)
    return str(request.param)


def test_states(viewer: Any, panel: Any, theme: str, engine: Engine, said: list[str]) -> None:
    """As one meets them, in the narrowest panel."""
    viewer.window.resize(1000, 900)
    settle()
    assert panel.minimumWidth() <= 330
    look(panel, f"nothing to do, {theme}")
    viewer.add_points([[0, 0]], name="marks")
    look(panel, f"points alone, {theme}")
    stack = np.random.default_rng(4).gamma(2, 300, (3, 200, 240)).astype(np.uint16)
    layer = viewer.add_image(stack, name="stack of a name that is much too long for any list")
    viewer.add_image(np.zeros((50, 60, 3), np.uint8), name="photo", rgb=True)
    panel.layers.choose(layer)
    look(panel, f"axes without names, {theme}")
    layer.axis_labels = ("z", "y", "x")
    look(panel, f"ready, {theme}")
    panel.form.choose("realesrgan-x4plus")
    panel.preview()
    look(panel, f"needs download, {theme}")
    panel.form.intensity.heading.click()
    panel.form.intensity.limits.setCurrentIndex(2)
    panel.form.compute.heading.click()
    look(panel, f"sections open, {theme}")
    panel.form.intensity.limits.setCurrentIndex(0)
    panel.form.intensity.heading.click()
    panel.form.compute.heading.click()
    panel.form.choose("supir-v0q")
    panel.form.options.heading.click()
    look(panel, f"needs licence, options open, {theme}")
    panel.form.options.heading.click()
    panel.form.choose("lanczos", 2)
    engine.seconds = 0.3
    choose_output(panel, "memory")
    panel.run()
    until(lambda: engine.calls > 0)
    panel.progress.cancel.setFocus()
    look(panel, f"running, {theme}")
    panel.progress.cancel.click()
    look(panel, f"cancelling, {theme}")
    finished(panel)
    look(panel, f"cancelled, {theme}")
    engine.seconds = 0.0
    panel.preview()
    finished(panel)
    assert panel.progress.line.text().startswith("Preview of ")
    look(panel, f"previewed, swiping, {theme}")
    assert " · about " in words(panel.result)
    panel.compare.compare("off")
    engine.error = MemoryError()
    panel.run()
    finished(panel)
    look(panel, f"out of memory, {theme}")


def test_states_of_results(
    viewer: Any, noise: Any, panel: Any, theme: str, engine: Engine, said: list[str]
) -> None:
    """Previews, comparisons and results, and what is refused on the way."""
    viewer.window.resize(1000, 900)
    panel.layers.choose(viewer.add_labels(np.eye(40, dtype=int), name="cells"))
    look(panel, f"labels refused, {theme}")
    panel.form.choose("nearest", 2)
    look(panel, f"labels repeated, {theme}")
    panel.layers.choose(noise)
    panel.form.choose("lanczos", 2)
    engine.seconds = 0.3
    panel.preview()
    until(lambda: engine.calls > 0)
    look(panel, f"previewing, {theme}")
    engine.seconds = 0.0
    finished(panel)
    for mode in ("swipe", "blink", "side by side", "off"):
        panel.compare.compare(mode)
        look(panel, f"compare {mode}, {theme}")
    panel.run()
    finished(panel)
    assert panel.progress.line.text().startswith("Added 'noise [x2 lanczos]'.")
    look(panel, f"done, {theme}")
    panel.layers.choose(noise, viewer.add_image(noise.data, name="b", axis_labels=tuple("zyx")))
    choose_output(panel, "memory")
    engine.seconds, engine.calls = 0.3, 0
    panel.run()
    until(lambda: engine.calls > 0)
    look(panel, f"running, first of two, {theme}")
    panel.cancel()
    finished(panel)
    engine.error = ValueError("a bug")
    panel.run()
    finished(panel)
    assert panel.progress.line.text().startswith("Something went wrong (ValueError: a bug).")
    look(panel, f"failed, {theme}")


@pytest.mark.parametrize("percent", [125, 150, 200])
def test_large_fonts(viewer: Any, noise: Any, panel: Any, appearance: Any, percent: int) -> None:
    """Who needs large letters gets a wider panel, not cut words."""
    viewer.window.resize(1500, 1100)
    small = panel.layers.fontMetrics().height()
    appearance.font_size = round(appearance.font_size * percent / 100)
    until(lambda: panel.input.fontMetrics().height() > small * (1 + (percent - 100) / 200))
    settle(0.3)
    look(panel, f"font {percent}")
    for part in (panel.form.intensity, panel.form.compute):
        part.heading.click()
        assert part.heading.fontMetrics().height() >= panel.input.fontMetrics().height() - 1
    look(panel, f"font {percent}, sections open")
    row = panel.layers.visualItemRect(panel.layers.item(0)).height()
    assert row >= panel.layers.fontMetrics().height()
    assert panel.axes.fontMetrics().height() >= panel.input.fontMetrics().height() - 1


def test_light_theme(viewer: Any, noise: Any, panel: Any, appearance: Any) -> None:
    """Letters and ground change together."""
    dark = look(panel, "dark")
    appearance.theme = "light"
    settle(0.5)
    light = look(panel, "light")
    assert dark.mean() < 80
    assert light.mean() > 180
    # Letters stand out: the darkest pixels are far from the ground.
    assert np.median(light) - light.min() > 120


def test_what_is_blank_or_cut_off_is_noticed(viewer: Any, noise: Any, panel: Any) -> None:
    """The tests above look with the same eyes."""
    picture = look(panel, "as it should be")
    assert "Preview view" in unpainted(panel, np.zeros_like(picture))
    panel.compare.label.setFixedHeight(5)
    settle()
    assert "cut below: Compare" in faults(panel)
    panel.keep.export.setFixedWidth(20)
    settle()
    assert "cut: Export..." in faults(panel)


def test_the_model_manager(viewer: Any, panel: Any, theme: str) -> None:
    """The same, for the dialog."""
    dialog = panel.manage_models()
    settle(0.3)
    for row in (0, dialog.table.rowCount() - 1):
        dialog.table.selectRow(row)
        look(dialog, f"models {row}, {theme}")
    dialog.close()
