"""What Hypothesis draws: sizes, lattices, regions and pixels that users have."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_superres.tiles import Lattice


@st.composite
def lattices(draw: st.DrawFn) -> Lattice:
    """Draw tiles along an axis, many, one or less than one of them."""
    step = draw(st.integers(1, 40))
    return Lattice(
        length=draw(st.integers(1, 200)),
        step=step,
        halo=draw(st.integers(0, 50)),
        feather=draw(st.integers(0, step)),
    )


def slices(size: int) -> st.SearchStrategy[slice]:
    """Draw part of an axis, with steps and backwards too, empty too."""
    return st.slices(size)


@st.composite
def regions(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[int | slice, ...]:
    """Draw what may stand between the brackets of an array."""
    return tuple(
        draw(st.one_of(st.integers(-size, size - 1), slices(size), st.just(slice(None))))
        for size in shape
    )


def pixels(
    shape: tuple[int, ...] | st.SearchStrategy[tuple[int, ...]], dtype: Any
) -> st.SearchStrategy[np.ndarray]:
    """Draw an array of intensities that a camera or a computation may give."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        elements = hnp.from_dtype(
            dtype, allow_nan=False, allow_infinity=False, min_value=-1e4, max_value=1e4
        )
    else:
        elements = hnp.from_dtype(dtype)
    return hnp.arrays(dtype, shape, elements=elements)
