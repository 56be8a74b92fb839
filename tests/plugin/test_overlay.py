"""A result lies over its source to the pixel: the canvas with one is the canvas with the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_superres.plugin import upscale_layer
from tests.plugin.conftest import canvas, settle, until

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Any]) -> Any:
    """Return a viewer whose canvas keeps its size, whatever the controls beside it need."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(900, 720)
    settle()
    return viewer


PLACES: dict[str, dict[str, Any]] = {
    "a picture": {"scale": (0.3, 0.3)},
    "in micrometres": {"scale": (0.25, 0.5), "units": ("um", "um"), "translate": (3, 4)},
    "turned": {"rotate": 30, "translate": (5, 5)},
    "sheared": {"shear": [0.4], "scale": (1.5, 0.5)},
    "by an affine": {"affine": [[0.8, 0.3, 4], [-0.2, 1.1, 9], [0, 0, 1]], "scale": (2, 1)},
    "all of it": {
        "rotate": -20,
        "shear": [-0.3],
        "scale": (0.5, 2),
        "translate": (1, 2),
        "affine": [[1.2, 0.1, 0], [0.3, 0.9, 2], [0, 0, 1]],
        "axis_labels": ("y", "x"),
    },
}


def test_nearest_looks_the_same_as_its_source(viewer: Any) -> None:
    """Half a pixel aside is visible, and wrong wherever structures are compared."""
    pixels = np.random.default_rng(3).integers(0, 255, (21, 34), dtype=np.uint8)
    colours = np.random.default_rng(3).integers(0, 255, (21, 34, 3), dtype=np.uint8)
    for name, place in PLACES.items():
        viewer.layers.clear()
        if name == "a picture":
            source = viewer.add_image(colours, rgb=True, **place)
        else:
            source = viewer.add_image(pixels, contrast_limits=(0, 255), colormap="viridis", **place)
        viewer.reset_view()
        before = canvas(viewer)
        assert before.std() > 30  # the image is on the canvas
        finer = viewer.add_layer(upscale_layer(source, "nearest", scale=4))
        source.visible = False
        until(lambda layer=finer: layer.data_level == 0 and layer.data[0].waiting == 0)
        settle(0.2)
        different = (before != canvas(viewer)).any(axis=-1).mean()
        # On slanted borders, rounding decides about a screen pixel whose middle is on the border.
        slanted = name not in ("a picture", "in micrometres")
        assert different <= (2e-3 if slanted else 0), name


def test_a_result_half_a_pixel_aside_would_be_noticed(viewer: Any) -> None:
    """The comparison above can fail: without the shift it does."""
    pixels = np.random.default_rng(3).integers(0, 255, (21, 34), dtype=np.uint8)
    source = viewer.add_image(pixels, contrast_limits=(0, 255))
    viewer.reset_view()
    before = canvas(viewer)
    source.translate = (0.375, 0.375)
    assert (before != canvas(viewer)).any(axis=-1).mean() > 0.2


def test_switching_levels_moves_nothing(viewer: Any) -> None:
    """At the zoom where the finer level takes over, structures must stay where they are."""
    rng = np.random.default_rng(4)
    pixels = np.kron(rng.integers(0, 255, (40, 50)), np.ones((4, 4))).astype(np.uint8)
    source = viewer.add_image(pixels, contrast_limits=(0, 255))
    finer = viewer.add_layer(upscale_layer(source, "nearest", scale=4))
    pictures = []
    for level in (0, 1):
        finer.locked_data_level = level
        settle(0.3)
        pictures.append(canvas(viewer))
    assert np.array_equal(*pictures)
