"""A finer layer lies exactly over its source, whatever was done to the source."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("napari")

from napari.layers import Image as ImageLayer
from napari.layers import Labels as LabelsLayer

from napari_superres.plugin import layer_kwargs, upscale_layer

# What napari says when it shows a stack that is turned out of its planes.
pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")

numbers = st.floats(-5, 5).filter(lambda x: abs(x) > 0.05)


@st.composite
def layers(draw: st.DrawFn) -> Any:
    """Draw a small stack, moved, turned, sheared and stretched."""
    affine = np.eye(4)
    affine[:3] += draw(
        st.lists(st.floats(-0.4, 0.4), min_size=12, max_size=12).map(
            lambda values: np.array(values).reshape(3, 4)
        )
    )
    return ImageLayer(
        np.zeros((2, 5, 7), np.uint8),
        scale=[draw(st.floats(0.1, 4)) for _ in range(3)],
        translate=[draw(numbers) for _ in range(3)],
        rotate=[draw(st.floats(-80, 80)) for _ in range(3)],
        shear=[draw(st.floats(-0.5, 0.5)) for _ in range(3)],
        affine=affine,
    )


def corners(shape: tuple[int, ...]) -> list[tuple[float, ...]]:
    """Return the outer corners of an image: half a pixel beyond the centres of the corner ones."""
    return list(itertools.product(*((-0.5, n - 0.5) for n in shape)))


@settings(max_examples=40)
@given(layers(), st.integers(2, 8))
def test_corners_of_the_finer_image_are_those_of_its_source(layer: Any, scale: int) -> None:
    """Half a pixel of shift, or a shift along the wrong axis, is visible when one zooms in."""
    kwargs = layer_kwargs(layer, scale)
    finer = ImageLayer(np.zeros((2, 5 * scale, 7 * scale), np.uint8), **kwargs)
    for coarse, fine in zip(corners((2, 5, 7)), corners(finer.data.shape), strict=True):
        there, here = layer.data_to_world(coarse), finer.data_to_world(fine)
        np.testing.assert_allclose(here, there, atol=1e-9)


@settings(max_examples=40)
@given(
    layers(), st.integers(2, 4), st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(0, 6))
)
def test_a_crop_begins_where_its_first_source_pixel_begins(
    layer: Any, scale: int, start: tuple[int, int, int]
) -> None:
    """A preview that lies elsewhere shows detail where there is none."""
    finer = ImageLayer(
        np.zeros((1, scale, scale), np.uint8), **layer_kwargs(layer, scale, start=start)
    )
    here = finer.data_to_world((-0.5, -0.5, -0.5))
    there = layer.data_to_world(np.array(start) - 0.5)
    np.testing.assert_allclose(here, there, atol=1e-9)


def test_everything_that_a_layer_looks_like_is_kept() -> None:
    """Users notice a lost colour or contrast at once, a lost unit when it is in the paper."""
    layer = ImageLayer(
        np.arange(60, dtype=np.uint16).reshape(3, 4, 5),
        name="cells",
        axis_labels=("z", "y", "x"),
        units=("um", "nm", "nm"),
        colormap="magenta",
        contrast_limits=(3, 40),
        gamma=0.7,
        blending="additive",
        opacity=0.6,
        interpolation2d="linear",
        metadata={"microscope": "A"},
    )
    finer = upscale_layer(layer, "bicubic", scale=2)
    for key in (
        "axis_labels",
        "units",
        "gamma",
        "blending",
        "opacity",
        "interpolation2d",
        "rgb",
        "contrast_limits",
        "contrast_limits_range",
    ):
        assert getattr(finer, key) == getattr(layer, key), key
    assert finer.colormap.name == "magenta"
    assert finer.name == "cells [x2 bicubic]"
    assert finer.metadata["microscope"] == "A"
    assert finer.metadata["superres"]["model"] == "bicubic"
    assert finer.data[0].shape == (3, 8, 10)
    assert layer.name == "cells"


def test_picture_stays_a_picture() -> None:
    """RGB that became three channels, or the reverse, is unusable."""
    layer = ImageLayer(np.zeros((6, 5, 3), np.uint8), rgb=True)
    finer = upscale_layer(layer, "bicubic", scale=2)
    assert finer.rgb
    assert finer.data[0].shape == (12, 10, 3)
    with_alpha = ImageLayer(np.zeros((6, 5, 4), np.uint8), rgb=True)
    assert upscale_layer(with_alpha, "lanczos", scale=2).data[0].shape == (12, 10, 4)


def test_labels_are_repeated_and_stay_labels() -> None:
    """Interpolated labels are names of cells that do not exist."""
    layer = LabelsLayer(np.array([[0, 7], [900, 2]]), scale=(0.5, 0.5))
    finer = upscale_layer(layer, "nearest", scale=3)
    assert isinstance(finer, LabelsLayer)
    whole = np.asarray(finer.data[0])
    assert np.array_equal(whole, np.kron([[0, 7], [900, 2]], np.ones((3, 3), int)))


def test_axes_in_another_order_are_made_finer_where_y_and_x_are() -> None:
    """Napari shows any two axes; the model works on y and x."""
    layer = ImageLayer(np.zeros((4, 3, 5), np.uint8), axis_labels=("y", "z", "x"))
    finer = upscale_layer(layer, "bicubic", scale=2)
    assert finer.data[0].shape == (8, 3, 10)
    np.testing.assert_allclose(finer.scale, (0.5, 1, 0.5))
