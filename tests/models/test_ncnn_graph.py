"""Each layer that the graph writer knows does in ncnn what it does in torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from napari_superres.models.ncnn_engine import Network
from napari_superres.models.ncnn_graph import Blob, Graph

if TYPE_CHECKING:
    from collections.abc import Callable

TOLERANCE = 2e-5
"""Of sums of a few hundred products of numbers around one, in float32 and by Winograd's way."""

sides = st.integers(1, 23)
channels = st.sampled_from([1, 2, 3, 4, 8, 12, 16, 24, 64])


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(layer: Callable[..., Blob], *inputs: np.ndarray) -> np.ndarray:
    """Return the output of a graph of one layer, called with the graph and its inputs."""
    graph = Graph()
    blobs = [graph.input() for _ in inputs]
    graph.output(layer(graph, *blobs))
    return Network(graph)(*inputs)


def in_torch(function: Callable[..., torch.Tensor], *inputs: np.ndarray) -> np.ndarray:
    return function(*(torch.from_numpy(x)[None] for x in inputs))[0].numpy()


@settings(deadline=None, max_examples=40)
@given(
    c_in=channels,
    c_out=channels,
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size=st.tuples(sides, sides),
    pad=st.tuples(*[st.integers(0, 2)] * 4),
    biased=st.booleans(),
    slope=st.sampled_from([None, 0.2]),
)
def test_convolution_of_any_shape_and_padding(
    c_in: int,
    c_out: int,
    kernel: tuple[int, int],
    size: tuple[int, int],
    pad: tuple[int, int, int, int],
    biased: bool,
    slope: float | None,
) -> None:
    """All networks are made of these; each side of a tile is padded or not on its own."""
    top, bottom, left, right = pad
    height, width = (max(n, k) for n, k in zip(size, kernel, strict=True))
    x = numbers(c_in, height, width)
    weight = numbers(c_out, c_in, *kernel, seed=1) / np.float32(np.sqrt(c_in * 9))
    bias = numbers(c_out, seed=2) if biased else None
    result = run(lambda g, b: g.convolution(b, weight, bias, pad=pad, slope=slope), x)
    y = functional.pad(torch.from_numpy(x)[None], (left, right, top, bottom))
    y = functional.conv2d(
        y, torch.from_numpy(weight), None if bias is None else torch.from_numpy(bias)
    )
    expected = (y if slope is None else functional.leaky_relu(y, slope))[0].numpy()
    np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE)


@settings(deadline=None, max_examples=25)
@given(c=channels, y=sides, x=sides, scale=st.sampled_from([2, 3, 4]))
def test_layers_that_only_move_numbers_are_exact(c: int, y: int, x: int, scale: int) -> None:
    """A pixel shuffle in another order would scramble the picture."""
    values = numbers(c * scale**2, y, x)
    large = numbers(c, scale * y, scale * x)
    pairs = [
        (
            run(lambda g, b: g.pixel_shuffle(b, scale), values),
            in_torch(lambda t: functional.pixel_shuffle(t, scale), values),
        ),
        (
            run(lambda g, b: g.pixel_unshuffle(b, scale), large),
            in_torch(lambda t: functional.pixel_unshuffle(t, scale), large),
        ),
        (
            run(lambda g, b: g.nearest(b, scale), values),
            values.repeat(scale, axis=1).repeat(scale, axis=2),
        ),
        (
            run(lambda g, b: g.crop(b, 1), numbers(c, y + 2, x + 2)),
            numbers(c, y + 2, x + 2)[:, 1:-1, 1:-1],
        ),
        (run(lambda g, b: g.channels(b, 1, 3), values), values[1:3]),
        (run(lambda g, b: g.absolute(b), values), np.abs(values)),
        (
            run(lambda g, a, b: g.concat([a, b, a]), values, values[:c] + 1),
            np.concatenate([values, values[:c] + 1, values]),
        ),
    ]
    for result, expected in pairs:
        np.testing.assert_array_equal(result, expected)


@settings(deadline=None, max_examples=25)
@given(c=channels, y=sides, x=sides)
def test_arithmetic_layers(c: int, y: int, x: int) -> None:
    """Residual connections and activations stand between all convolutions."""
    one, two = numbers(c, y, x), numbers(c, y, x, seed=1)
    column, plane = numbers(c, 1, 1, seed=2), numbers(1, y, x, seed=3)
    slopes = numbers(c, seed=4)
    pairs = [
        (run(lambda g, a, b: g.add(a, b), one, two), one + two),
        (run(lambda g, a, b: g.add(a, b), one, column), one + column),
        (run(lambda g, a, b: g.multiply(a, b), one, plane), one * plane),
        (run(lambda g, a, b: g.multiply(a, b), one, column), one * column),
        (
            run(lambda g, a, b: g.scaled_sum([a, b], [0.2, 1.0]), one, two),
            np.float32(0.2) * one + two,
        ),
        (
            run(lambda g, b: g.prelu(b, slopes), one),
            np.where(one < 0, one * slopes[:, None, None], one),
        ),
        (
            run(lambda g, b: g.leaky_relu(b, 0.1), one),
            np.where(one < 0, one * np.float32(0.1), one),
        ),
        (
            run(lambda g, b: g.bilinear(b, 2), one),
            in_torch(lambda t: functional.interpolate(t, scale_factor=2, mode="bilinear"), one),
        ),
    ]
    for result, expected in pairs:
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


def test_blob_may_be_used_many_times() -> None:
    """Ncnn allows one consumer for each blob; a dense block uses its input five times."""
    x = numbers(3, 5, 6)
    result = run(lambda g, b: g.add(g.add(b, b), g.multiply(b, g.add(b, b))), x)
    np.testing.assert_allclose(result, x + x + x * (x + x), rtol=1e-6)


def test_graph_that_ncnn_does_not_know_is_refused() -> None:
    """Else a typing error in a layer would show as noise in an image."""
    graph = Graph()
    graph._add("NoSuchLayer", (graph.input(),), "")
    with pytest.raises(ValueError, match="refuses the network"):
        Network(graph)
