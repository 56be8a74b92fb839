"""Layers as images: axes, units, laziness, and kind refusals."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image as ImageLayer
from napari.layers import Labels as LabelsLayer
from napari.layers import Points, Shapes
from napari.layers._source import layer_source

import napari_superres as sr
from napari_superres.arrays import as_image
from napari_superres.errors import AxesError, InputError
from napari_superres.image import Channel, Image
from napari_superres.plugin import layer_to_image, upscale_layer
from napari_superres.plugin.layer_axes import layer_axes, name_axes
from napari_superres.plugin.layer_choice import LayerChoice
from napari_superres.plugin.layer_history import history_metadata, history_of
from napari_superres.plugin.layer_tuples import (
    image_from_layer_data,
    image_to_layer_data,
    joined,
)
from napari_superres.plugin.reader import open_layers
from napari_superres.selection import select

if TYPE_CHECKING:
    from pathlib import Path


class Untouchable:
    """An array that must not be read."""

    shape = (4, 30, 20)
    dtype = np.dtype(np.uint16)
    ndim = 3

    def __getitem__(self, key: Any) -> np.ndarray:
        raise AssertionError("somebody looked at a pixel")


class Slotted:
    """An array that cannot be referred to weakly."""

    __slots__ = ("pixels",)

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pixels, name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.pixels, dtype)

    def __getitem__(self, key: Any) -> Slotted:
        return Slotted(self.pixels[key])


def lazy() -> da.Array:
    """Return a stack that must not be read."""
    return da.from_array(Untouchable(), chunks=(1, 30, 20), meta=np.empty((0, 0, 0), np.uint16))


@pytest.mark.parametrize(
    ("labels", "axes"),
    [
        (("z", "y", "x"), "zyx"),
        (("Time", "Y", "X"), "tyx"),
        (("channel", "row", "column"), "cyx"),
        (("p", "y", "x"), "pyx"),
    ],
)
def test_axes_are_what_the_layer_says(labels: tuple[str, ...], axes: str) -> None:
    """A channel axis taken for depth would get one pair of intensity limits for all channels."""
    assert layer_axes(ImageLayer(np.zeros((2, 3, 4)), axis_labels=labels)) == axes


def test_axes_without_names_are_asked_for_and_not_guessed() -> None:
    """Three planes may be channels, depth or time: only the user knows."""
    layer = ImageLayer(np.zeros((3, 8, 8)), name="stack")
    with pytest.raises(AxesError, match=r"Which axis is which in the layer 'stack' \(3 x 8 x 8\)"):
        layer_to_image(layer)
    assert layer_to_image(layer, "zyx").axes == "zyx"
    with pytest.raises(AxesError):
        name_axes(layer, "zy")
    name_axes(layer, "cyx")
    assert layer_to_image(layer).axes == "cyx"


def test_two_axes_need_no_names() -> None:
    """The simplest image must work at once."""
    assert layer_axes(ImageLayer(np.zeros((3, 4)))) == "yx"
    assert layer_axes(ImageLayer(np.zeros((3, 4, 3)), rgb=True)) == "yxs"


def test_no_pixel_is_read() -> None:
    """Choosing a layer of a terabyte must not read a terabyte."""
    layer = ImageLayer(
        [lazy(), lazy()[:, ::2, ::2]],
        multiscale=True,
        axis_labels=("z", "y", "x"),
        units=("um", "um", "um"),
        scale=(2, 0.5, 0.5),
        translate=(1, 2, 3),
        contrast_limits=(0, 1),
        colormap="green",
        visible=False,  # napari reads what it shows
    )
    image = layer_to_image(layer)
    assert image.shape == (4, 30, 20)
    assert [level.shape for level in image.levels] == [(4, 15, 10)]
    assert image.units == ("micrometer",) * 3
    assert image.pixel_size == (2, 0.5, 0.5)
    assert image.translation == (1, 2, 3)
    assert image.channels == (Channel(layer.name, "00FF00", (0.0, 1.0)),)


@pytest.mark.parametrize("kind", [Points, Shapes])
def test_layers_without_pixels_are_refused_in_words(kind: Any) -> None:
    """A traceback from deep inside tells nobody that points have no pixels."""
    with pytest.raises(InputError, match=r"has no pixels to make finer. Choose an image layer"):
        upscale_layer(kind(name="marks"))


def test_labels_go_through_no_model() -> None:
    """A model would invent labels between labels."""
    layer = LabelsLayer(np.zeros((4, 4), int), name="cells")
    with pytest.raises(InputError, match=r"'cells' is a label image: .* Use the model 'nearest'"):
        upscale_layer(layer, "lanczos")


def test_history_survives_a_layer() -> None:
    """What made a result must stay with it through several upscalings."""
    first, second, third = ({"model": name} for name in "abc")
    for history in ((), (first,), (first, second), (first, second, third)):
        assert history_of(history_metadata(history)) == tuple(history)
    layer = ImageLayer(np.zeros((4, 4), np.uint8))
    twice = upscale_layer(upscale_layer(layer, "bicubic"), "lanczos")
    assert [record["model"] for record in history_of(twice.metadata)] == ["bicubic", "lanczos"]
    image = layer_to_image(twice)
    assert [record["model"] for record in image.history] == ["bicubic", "lanczos"]
    assert image.levels == ()  # the source below it is another image


def test_channels_become_layers_and_layers_channels() -> None:
    """Opening and saving must not lose colours, names, contrast, units or place."""
    image = Image(
        da.from_array(np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(3, 2, 4, 5)),
        "zcyx",
        pixel_size=(2.0, 1.0, 0.5, 0.5),
        units=("micrometer", None, "micrometer", "micrometer"),
        translation=(5.0, 0.0, 1.0, 2.0),
        channels=(Channel("DNA", "00FFFF", (3, 50)), Channel("actin", "FF8000", (0, 90))),
        name="cells",
    )
    tuples = image_to_layer_data(image)
    assert [kwargs["name"] for _, kwargs, _ in tuples] == ["DNA", "actin"]
    assert [kwargs["colormap"] for _, kwargs, _ in tuples] == ["cyan", "#FF8000"]
    assert {kwargs["blending"] for _, kwargs, _ in tuples} == {"additive"}
    back = image_from_layer_data([ImageLayer(d, **k).as_layer_data_tuple() for d, k, _ in tuples])
    assert back.axes == "czyx"
    back = back.transposed("zcyx")
    assert np.array_equal(back.data.compute(), image.data.compute())
    for key in ("pixel_size", "units", "translation", "channels"):
        assert getattr(back, key) == getattr(image, key), key


def test_a_result_of_a_result_is_saved_with_the_history_that_it_was_opened_with(
    tmp_path: Path,
) -> None:
    """Saved again from napari, its channels were said to be made in different ways."""
    stack = np.random.default_rng(1).integers(0, 900, (2, 20, 24), np.uint16)
    sr.write(as_image(stack, "cyx"), tmp_path / "1.ome.tif")
    for n in (1, 2):
        finer = sr.upscale(sr.read(tmp_path / f"{n}.ome.tif"), "nearest", scale=2)
        sr.write(finer, tmp_path / f"{n + 1}.ome.tif")
    image = sr.read(tmp_path / "3.ome.tif")
    assert len(image.history) == 2
    assert image_from_layer_data(image_to_layer_data(image)).history == image.history


def test_channels_in_another_order_bring_their_own_histories(tmp_path: Path) -> None:
    """The layer of one dye said that it was made with the model of the other."""
    stack = np.random.default_rng(1).integers(0, 900, (2, 20, 24), np.uint16)
    sr.write(as_image(stack, "cyx"), tmp_path / "two.ome.tif")
    layers = [ImageLayer(data, **k) for data, k, _ in open_layers(str(tmp_path / "two.ome.tif"))]
    finer = [
        upscale_layer(x, model, scale=2)
        for x, model in zip(layers, ("bicubic", "lanczos"), strict=True)
    ]
    made = [layer_to_image(layer) for layer in finer]
    image = joined(made)
    assert [record["channel"] for record in image.history] == [0, 1]
    swapped = select(image, channels=[1, 0])
    found = [history_of(k["metadata"]) for _, k, _ in image_to_layer_data(swapped)]
    assert found == [made[1].history, made[0].history]
    assert select(image, channels=[1]).history == made[1].history


@pytest.mark.parametrize("opened", [np.asarray, da.from_array, Slotted])
def test_a_layer_with_other_pixels_is_not_taken_for_the_file_of_another_reader(opened: Any) -> None:
    """The copied command made the whole file finer, and said that these are the same pixels."""
    with layer_source(path="a.tif", reader_plugin="napari"):
        layer = ImageLayer(opened(np.zeros((5, 8, 9), np.uint16)), axis_labels=("z", "y", "x"))
    before = layer.data
    assert layer_to_image(layer).source == {"path": "a.tif", "axes": "zyx"}
    layer.data = layer.data[1:]
    assert layer_to_image(layer).source == {}
    layer.data = before
    assert layer_to_image(layer).source["path"] == "a.tif"


def test_other_pixels_are_noticed_from_when_the_panel_first_lists_a_layer(qtbot: Any) -> None:
    """Who opens, crops and then upscales has done nothing that asks for the layer's file before."""
    viewer = ViewerModel()
    choice = LayerChoice(viewer)
    qtbot.addWidget(choice)
    with layer_source(path="a.tif", reader_plugin="napari"):
        layer = viewer.add_image(np.zeros((8, 9), np.uint16))
    pixels = weakref.ref(layer.data)
    layer.data = layer.data[1:, 1:].copy()
    assert layer_to_image(layer).source == {}
    assert pixels() is None  # nothing of ours keeps what the user has dropped


def test_layers_of_different_size_are_not_one_image() -> None:
    """Channels that do not fit would be stored at the wrong place."""
    layers = [ImageLayer(np.zeros((4, n), np.uint8), name=f"w{n}") for n in (4, 6)]
    with pytest.raises(InputError, match=r"'w4' and 'w6' differ in shape.*Save them one by one"):
        image_from_layer_data([layer.as_layer_data_tuple() for layer in layers])
