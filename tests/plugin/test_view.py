"""Which part of a layer is on the screen, whatever its units."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest

pytest.importorskip("napari")

from napari_superres.errors import InputError
from napari_superres.plugin.view import plane_on_screen, visible_part
from tests.plugin.conftest import canvas, finished, settle


def test_preview_is_of_the_plane_on_the_screen_in_any_unit(
    viewer: Any, noise: Any, panel: Any
) -> None:
    """Sliders in nanometres, a stack in micrometres: another plane would look just as good."""
    if not hasattr(viewer.layers, "units"):
        pytest.skip("napari before 0.9 shows layers of all units in one")
    camera = viewer.scene.camera
    viewer.dims.set_current_step(0, 2)
    camera.zoom *= 3
    settle()
    camera.center = (0, 90, 110)
    settle()
    shown, part = canvas(viewer), visible_part(viewer, noise, "zyx")
    assert part.start[0] == 2
    zoom = camera.zoom
    # By the user, and as napari does for a layer of a smaller unit.
    for unit, per_micrometre in (("mm", 1e-3), ("nm", 1e3)):
        if unit == "nm":
            viewer.layers.units = None
            viewer.add_image(np.zeros((9, 9, 9)), name="finer", units=("nm",) * 3, visible=False)
        else:
            viewer.layers.units = (unit,) * 3
        viewer.dims.set_point(0, 4 * per_micrometre)
        camera.center = (0, 90 * per_micrometre, 110 * per_micrometre)
        camera.zoom = zoom / per_micrometre
        settle()
        assert np.array_equal(canvas(viewer), shown), unit
        assert plane_on_screen(viewer, noise, "zyx") == {"z": 2}, unit
        again = visible_part(viewer, noise, "zyx")
        # What lies half on the screen may count or not.
        assert np.abs(np.array(again[:2]) - part[:2]).max() <= 1, unit
    panel.layers.choose(noise)
    panel.preview()
    finished(panel)
    panel.compare.end()
    assert viewer.layers[-1].data_to_world((0, 0, 0))[0] == 4


def test_preview_of_a_stack_of_pyramids_takes_what_is_on_the_screen(viewer: Any) -> None:
    """Also above the lowest plane: else whole chunks are computed."""
    pixels = da.zeros((3, 1600, 2000), dtype=np.uint8, chunks=(1, 800, 1000))
    levels = [pixels, pixels[:, ::2, ::2]]
    layer = viewer.add_image(levels, multiscale=True, contrast_limits=(0, 255))
    camera = getattr(viewer, "scene", viewer).camera
    viewer.dims.set_current_step(0, 2)
    camera.center, camera.zoom = (0, 700, 900), 4
    settle()
    part = visible_part(viewer, layer, "zyx")
    if not hasattr(viewer, "canvas"):
        pytest.skip("napari before 0.9 does not tell")
    height, width = (n / 4 for n in viewer.canvas.size)
    assert np.abs(np.array(part.start) - (2, 700 - height / 2, 900 - width / 2)).max() < 2
    assert np.abs(np.array(part.stop) - (3, 700 + height / 2, 900 + width / 2)).max() < 2


def test_a_layer_beside_the_screen_is_not_previewed(viewer: Any) -> None:
    """A row of pixels at its border, far from where one looks, is nobody's preview."""
    if not hasattr(viewer, "canvas"):
        pytest.skip("napari before 0.9 does not tell")
    layer = viewer.add_image(np.zeros((100, 120), np.uint8), contrast_limits=(0, 255))
    camera = viewer.scene.camera
    camera.zoom = 8
    for center in ((50, 60), (50, 400), (-300, -300), (90, 110)):
        camera.center = center
        settle()
        if min(center) < 0 or max(center) > 120:
            with pytest.raises(InputError, match="Nothing of"):
                visible_part(viewer, layer, "yx")
        else:
            part = visible_part(viewer, layer, "yx")
            assert all(a <= c < b for a, c, b in zip(part.start, center, part.stop, strict=True))
