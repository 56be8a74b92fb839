"""A result lies over its source to the pixel: the canvas with one is the canvas with the other."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import xarray
import zarr

pytest.importorskip("napari")

from napari_superres.plugin import steps, upscale_layer
from tests.plugin.conftest import canvas, choose_output, finished, settle, until

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path


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


def sources(pixels: np.ndarray, folder: Path) -> dict[str, Any]:
    """Return the same plane as readers of all kinds hand it to napari."""
    stored = zarr.create_array(folder / "a.zarr", data=pixels, chunks=(8, 16))
    return {
        "dask": da.from_array(pixels, chunks=(10, 13)),
        "zarr": stored,
        "xarray": xarray.DataArray(pixels, dims=("row", "column")),
        "multiscale": [pixels, pixels[::2, ::2]],
        "multiscale dask": [da.from_array(pixels, chunks=8), da.from_array(pixels[::2, ::2])],
    }


def test_layers_of_any_reader_are_covered_exactly(viewer: Any, tmp_path: Path) -> None:
    """CZI, ND2 and LIF arrive as dask, Zarr or xarray arrays, with or without a pyramid."""
    pixels = np.random.default_rng(3).integers(0, 255, (20, 34), dtype=np.uint8)
    place = {"scale": (0.5, 0.25), "units": ("um", "um"), "translate": (3, 4), "rotate": 15}
    look = {"contrast_limits": (0, 255), "colormap": "viridis"}
    expected = None
    for name, data in sources(pixels, tmp_path).items():
        viewer.layers.clear()
        several = isinstance(data, list)
        source = viewer.add_image(data, multiscale=several, axis_labels=("y", "x"), **look, **place)
        viewer.reset_view()
        finer = viewer.add_layer(upscale_layer(source, "nearest", scale=4))
        assert finer.axis_labels == ("y", "x"), name
        source.visible = False
        until(lambda layer=finer: layer.data_level == 0 and layer.data[0].waiting == 0)
        settle(0.2)
        shown = canvas(viewer)
        expected = shown if expected is None else expected
        assert expected.std() > 30
        assert np.array_equal(shown, expected), name


def test_each_plane_of_a_turned_stack_lies_over_its_own(viewer: Any) -> None:
    """Also in physical units, and where y and x are not the last axes."""
    rng = np.random.default_rng(6)
    stacks = {
        "zyx": (rng.integers(0, 255, (3, 21, 34), dtype=np.uint8), (2.0, 0.5, 0.5), (0, 1, 2)),
        "yzx": (rng.integers(0, 255, (21, 3, 34), dtype=np.uint8), (0.5, 2.0, 0.5), (1, 0, 2)),
    }
    for axes, (stack, scale, order) in stacks.items():
        viewer.layers.clear()
        source = viewer.add_image(
            stack,
            axis_labels=tuple(axes),
            scale=scale,
            units=("um",) * 3,
            translate=(5, 6, 7),
            contrast_limits=(0, 255),
        )
        viewer.dims.order = order
        # Both from the beginning: the controls of another layer would make the canvas narrower.
        finer = viewer.add_layer(upscale_layer(source, "nearest", scale=3))
        viewer.reset_view()
        for plane in (0, 2):
            viewer.dims.set_current_step(axes.index("z"), plane)
            finer.visible, source.visible = False, True
            before = canvas(viewer)
            assert before.std() > 30
            finer.visible, source.visible = True, False
            until(lambda layer=finer: layer.data_level == 0 and layer.data[0].waiting == 0)
            settle(0.2)
            assert np.array_equal(before, canvas(viewer)), (axes, plane)
    viewer.dims.order = (0, 1, 2)


def test_labels_lie_over_their_source(viewer: Any) -> None:
    """A mask half a pixel aside counts the wrong pixels."""
    masks = np.kron(np.arange(1, 21).reshape(4, 5), np.ones((5, 6), int))
    source = viewer.add_labels(masks, scale=(0.5, 1.5), rotate=90, opacity=1)
    viewer.reset_view()
    before = canvas(viewer)
    viewer.add_layer(upscale_layer(source, "nearest", scale=4))
    source.visible = False
    settle(0.3)
    assert before.std() > 30
    assert np.array_equal(before, canvas(viewer))


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


def test_the_same_light_is_shown_once_and_never_lost(
    viewer: Any, panel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Channels that go black or twice as bright are taken for what the model did."""
    panel.form.choose("nearest", 2)
    choose_output(panel, "memory")
    stack = np.random.default_rng(3).integers(20, 120, (2, 3, 30, 40), dtype=np.uint8)
    channels = [
        viewer.add_image(
            pixels,
            name=name,
            blending="additive",
            colormap=name,
            axis_labels=("z", "y", "x"),
            contrast_limits=(0, 255),
        )
        for pixels, name in zip(stack, ("green", "magenta"), strict=True)
    ]
    panel.layers.choose(*channels)
    camera = getattr(viewer, "scene", viewer).camera
    viewer.dims.set_current_step(0, 1)
    settle()
    views = [(z, zoom) for z in (1, 2) for zoom in (camera.zoom, 4 * camera.zoom)]

    def shown() -> list[np.ndarray]:
        panel.compare.end()
        pictures = []
        for z, zoom in views:
            viewer.dims.set_current_step(0, z)
            camera.zoom = zoom
            settle()
            pictures.append(canvas(viewer))
        return pictures

    def agree(pictures: list[np.ndarray]) -> bool:
        # On the border of a preview, rounding decides about screen pixels whose middle is on it.
        different = [(a != b).any(axis=-1) for a, b in zip(pictures, expected, strict=True)]
        return max(picture.mean() for picture in different) < 2e-3

    expected = shown()
    assert all(picture.std() > 10 for picture in expected)
    viewer.dims.set_current_step(0, 1)
    for act in (panel.preview, panel.preview, panel.run, panel.run, panel.preview):
        act()
        finished(panel)
        assert agree(shown()), act
        viewer.dims.set_current_step(0, 1)
    # Whatever goes, what is left is seen, once; first the first run, then the second.
    for name in ("green [x2 nearest]", "green [x2 nearest] [1]"):
        viewer.layers.remove(name)
        assert agree(shown()), name
    # A comparison that is begun while something runs must not show again what the result hides.
    may_end, into_memory = threading.Event(), steps.into_memory

    def held(*args: Any) -> Generator[object, None, Any]:
        while not may_end.wait(0.01):
            yield None
        return (yield from into_memory(*args))

    monkeypatch.setattr(steps, "into_memory", held)
    for mode in ("swipe", "blink"):
        may_end.clear()
        for act in (panel.preview, panel.run):
            until(lambda: panel.progress.work is None)
            act()
        settle()
        panel.compare.compare(mode)
        may_end.set()
        finished(panel)
        assert agree(shown()), mode
