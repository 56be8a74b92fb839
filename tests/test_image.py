"""Geometry: a finer image lies exactly over its source."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_superres.errors import AxesError, InputError
from napari_superres.image import Channel, Image

LENGTHS = st.floats(1e-3, 1e3)


def _image(axes: str = "zyx", **fields: object) -> Image:
    sizes = {"t": 2, "c": 2, "z": 3, "y": 8, "x": 12, "s": 3}
    return Image(da.zeros([sizes[a] for a in axes], dtype=np.uint16), axes, **fields)  # type: ignore[arg-type]


def test_x4_of_a_tenth_of_a_micrometre_lies_where_the_arithmetic_says() -> None:
    """The numbers of the OME-Zarr convention, worked out by hand."""
    image = _image("yx", pixel_size=(0.1, 0.1))
    finer = image.rescaled(4, da.zeros((32, 48)))
    np.testing.assert_allclose(finer.pixel_size, (0.025, 0.025))
    np.testing.assert_allclose(finer.translation, (-0.0375, -0.0375))


@given(LENGTHS, st.floats(-1e3, 1e3), st.sampled_from([2, 3, 4, 8]))
def test_the_edges_of_the_field_of_view_do_not_move(size: float, start: float, factor: int) -> None:
    """Half a pixel of shift puts every structure beside itself."""
    image = _image("zyx", pixel_size=(1.0, size, size), translation=(5.0, start, start))
    finer = image.rescaled(factor, da.zeros((3, 8 * factor, 12 * factor)))
    assert finer.pixel_size[0] == 1.0
    assert finer.translation[0] == 5.0
    for i, n in ((1, 8), (2, 12)):
        left = image.translation[i] - image.pixel_size[i] / 2
        assert finer.translation[i] - finer.pixel_size[i] / 2 == pytest.approx(left, abs=1e-9)
        right = image.translation[i] + image.pixel_size[i] * (n - 0.5)
        far = finer.translation[i] + finer.pixel_size[i] * (n * factor - 0.5)
        assert far == pytest.approx(right, rel=1e-9, abs=1e-9)


def test_two_halvings_of_x4_give_the_sources_geometry_back_exactly() -> None:
    """Level 2 of a x4 result is the source's own grid."""
    image = _image("yx", pixel_size=(0.108, 0.108), translation=(7.0, -3.0))
    finer = image.rescaled(4, da.zeros((32, 48)))
    back = finer.rescaled(0.25, image.data)
    np.testing.assert_allclose(back.pixel_size, image.pixel_size, rtol=1e-15)
    np.testing.assert_allclose(back.translation, image.translation, rtol=1e-14)


def test_a_crop_keeps_its_place_and_its_channels() -> None:
    """A region of a result opens over the same cells."""
    image = _image(
        "cyx",
        pixel_size=(1.0, 0.5, 0.5),
        translation=(0.0, 10.0, 20.0),
        channels=(Channel("DNA"), Channel("actin")),
    )
    part = image.cropped((slice(1, 2), slice(2, 8, 2), slice(4, 12)))
    assert part.shape == (1, 3, 8)
    assert part.translation == (0.0, 11.0, 22.0), "channels are counted, not measured"
    assert part.pixel_size == (1.0, 1.0, 0.5)
    assert part.channels == (Channel("actin"),)


def test_transposing_moves_every_value_with_its_axis() -> None:
    """A pixel size that belongs to z must not end up on x."""
    image = _image("zyx", pixel_size=(3.0, 0.2, 0.1), units=("micrometer", None, None))
    turned = image.transposed("xyz")
    assert turned.pixel_size == (0.1, 0.2, 3.0)
    assert turned.units == (None, None, "micrometer")
    assert turned.shape == (12, 8, 3)
    with pytest.raises(AxesError, match="Use the same letters"):
        image.transposed("tyx")


@pytest.mark.parametrize(
    ("axes", "shape", "message"),
    [
        ("yx", (3, 4, 5), "names 2 axes, but"),
        ("zyy", (3, 4, 5), "different lower-case letters"),
        ("ZYX", (3, 4, 5), "different lower-case letters"),
        ("tcz", (3, 4, 5), "no 'y' and 'x'"),
        ("yxs", (3, 4, 5), "an RGB(A) picture has 3 or 4"),
    ],
)
def test_axes_that_cannot_be_are_refused(axes: str, shape: tuple[int, ...], message: str) -> None:
    """A wrong guess about axes spoils everything after it."""
    with pytest.raises(AxesError) as error:
        Image(da.zeros(shape), axes)
    assert message in str(error.value)


def test_values_that_are_not_one_an_axis_are_refused() -> None:
    """A pixel size short of an axis would shift all that follow."""
    with pytest.raises(AxesError, match="2 values of pixel_size"):
        _image("zyx", pixel_size=(1.0, 2.0))
    with pytest.raises(InputError, match="2 channels, but 1 are described"):
        _image("cyx", channels=(Channel("one"),))
