"""A result beside what it is compared with, and afterwards everything as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("napari")

import napari_superres as sr
from napari_superres.errors import InputError
from napari_superres.plugin.compare import BLINK, OFF, SIDE_BY_SIDE, SWIPE, grid_of
from napari_superres.plugin.writer import write_image
from tests.plugin.conftest import canvas, choose_output, finished, settle, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_swipe_blink_and_side_by_side(viewer: Any, noise: Any, panel: Any, qtbot: Any) -> None:
    """One story in one viewer: opening a viewer takes longest."""
    panel.form.choose("nearest", 2)
    panel.preview()
    finished(panel)
    assert panel.compare.comparison.mode == SWIPE  # at once, beside plain interpolation
    panel.compare.compare(OFF)
    plain, model = viewer.layers[-2:]
    whole, simple = np.asarray(model.data), np.asarray(plain.data)
    place = model.data_to_world((0, 0, 7))
    seen = {mode: _picture(panel, viewer, mode) for mode in (OFF, SWIPE)}

    # Left of the line the interpolation, right of it the model, at the pixel.
    panel.compare.compare(SWIPE)
    panel.compare.line.setValue(250)
    width = whole.shape[-1]
    until(lambda: plain.data.shape[-1] == round(width / 4))
    at = plain.data.shape[-1]
    assert np.array_equal(plain.data, simple[..., :at])
    assert np.array_equal(model.data, whole[..., at:])
    np.testing.assert_allclose(model.data_to_world((0, 0, 7 - at)), place)
    middle = seen[OFF].shape[1] // 2
    changed = (np.abs(seen[OFF].astype(int) - seen[SWIPE]) > 20).any(axis=2)
    assert changed[:, : middle - 40].mean() > 0.1
    # A row or a column of the screen may lie between two of the image; there rounding decides.
    assert changed[:, middle + 10 :].mean() < 0.02
    for value, visible in ((0, (False, True)), (1000, (True, False))):
        panel.compare.line.setValue(value)
        until(lambda shown=visible: (plain.visible, model.visible) == shown)

    # One and the other in turn; never none.
    panel.compare.compare(BLINK)
    assert np.array_equal(model.data, whole)
    assert (plain.visible, model.visible) == (False, True)
    until(lambda: (plain.visible, model.visible) == (True, False))
    until(lambda: (plain.visible, model.visible) == (False, True))
    assert panel.compare.mode.currentData() == BLINK

    # Two views, interpolation to the left; other layers are out of the way.
    panel.compare.compare(SIDE_BY_SIDE)
    grid = grid_of(viewer)
    assert grid.enabled
    assert not noise.visible
    assert grid.position(viewer.layers.index(plain), viewer.layers) == (0, 0)
    assert grid.position(viewer.layers.index(model), viewer.layers) == (0, 1)
    settle(0.4)
    panel.compare.compare(OFF)
    assert not grid.enabled
    assert (noise.visible, plain.visible, model.visible) == (True, False, True)
    assert np.array_equal(model.data, whole)
    assert np.array_equal(_picture(panel, viewer, OFF), seen[OFF])

    # A layer that goes ends it.
    panel.compare.compare(SWIPE)
    viewer.layers.remove(plain)
    assert panel.compare.comparison.mode == OFF
    assert np.array_equal(model.data, whole)
    assert panel.compare.mode.currentData() == OFF


def test_a_swiped_preview_is_exported_whole_or_not_saved(
    viewer: Any, noise: Any, panel: Any, tmp_path: Path
) -> None:
    """Half of an image in a file looks like all of it, when nobody remembers the line."""
    panel.preview()
    finished(panel)
    assert panel.compare.comparison.mode == SWIPE
    shown = viewer.layers[-1]
    viewer.layers.selection = {shown}
    path = str(tmp_path / "preview.ome.tif")
    with pytest.raises(InputError, match="cut off by a comparison"):
        write_image(path, [shown.as_layer_data_tuple()])  # as File > Save does
    panel.export(path)
    finished(panel)
    assert panel.compare.comparison.mode == OFF
    assert np.array_equal(sr.read(path).data.compute().squeeze(), shown.data.squeeze())
    x = noise.corner_pixels[:, 2]
    assert shown.data.shape[-1] == 2 * (x[1] - x[0] + 1)
    # Whole again, it can be saved.
    path = str(tmp_path / "again.ome.tif")
    write_image(path, [shown.as_layer_data_tuple()])
    assert np.array_equal(sr.read(path).data.compute().squeeze(), shown.data.squeeze())


def test_result_is_compared_with_its_source(
    viewer: Any, noise: Any, panel: Any, said: list[str]
) -> None:
    """Without a preview there is the source, and no line to swipe."""
    panel.compare.blink()
    assert said == ["There is nothing to compare yet. Press 'Preview view' first."]
    choose_output(panel, "memory")
    panel.run()
    finished(panel)
    panel.compare.blink()
    result = viewer.layers[-1]
    assert panel.compare.comparison.mode == BLINK
    until(lambda: not result.visible)
    assert noise.visible
    panel.compare.blink()
    assert panel.compare.comparison.mode == OFF
    assert result.visible
    panel.compare.mode.setCurrentIndex(panel.compare.mode.findData(SWIPE))
    panel.compare.mode.activated.emit(panel.compare.mode.currentIndex())
    assert said[-1] == "Only previews can be swiped. Press 'Preview view' first."
    assert panel.compare.mode.currentData() == OFF


def test_an_older_result_is_not_taken_for_the_source(viewer: Any, noise: Any, panel: Any) -> None:
    """Two models that agree would look as if the newer one had changed nothing."""
    choose_output(panel, "memory")
    for model in ("lanczos", "bicubic"):
        panel.form.choose(model, 2)
        panel.run()
        finished(panel)
    _, older, newer = viewer.layers
    panel.compare.blink()
    assert (noise.visible, older.visible, newer.visible) == (False, False, True)
    until(lambda: not newer.visible)
    assert (noise.visible, older.visible) == (True, False)
    panel.compare.blink()
    assert (noise.visible, older.visible, newer.visible) == (True, True, True)


def test_the_way_that_was_chosen_is_remembered(
    make_napari_viewer: Callable[..., Any], noise: Any, panel: Any, viewer: Any
) -> None:
    """Who likes to blink blinks again tomorrow."""
    panel.preview()
    finished(panel)
    panel.compare.mode.setCurrentIndex(panel.compare.mode.findData(OFF))
    panel.compare.mode.activated.emit(panel.compare.mode.currentIndex())
    panel.preview()
    finished(panel)
    assert panel.compare.comparison.mode == OFF
    # Two channels are compared together.
    other = viewer.add_image(noise.data, name="other", axis_labels=("z", "y", "x"))
    other.scale, other.units = noise.scale, noise.units
    panel.layers.choose(noise, other)
    panel.preview()
    finished(panel)
    panel.compare.compare(SWIPE)
    assert len(panel.compare.comparison._pairs) == 2


def _picture(panel: Any, viewer: Any, mode: str) -> np.ndarray:
    panel.compare.compare(mode)
    settle(0.3)
    pictures = [canvas(viewer)]

    def steady() -> bool:
        settle(0.2)
        pictures.append(canvas(viewer))
        return np.array_equal(*pictures[-2:])

    until(steady)  # a busy machine draws late
    return pictures[-1]
