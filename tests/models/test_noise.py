"""Noise depends on where it is, and on nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_superres.models.noise import BLOCK, PlaneNoise

NOISE = PlaneNoise(seed=7, sample=0, plane=3)
FIRST = (1.352329134941101, -1.8050897121429443, -0.692444384098053)
WHOLE = NOISE.window("start", 0, 2, slice(0, 3 * BLOCK), slice(0, 3 * BLOCK))


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, 3 * BLOCK - 1)] * 4))
def test_window_of_noise_is_the_planes_window(corners: tuple[int, int, int, int]) -> None:
    """A crop would show other details than the whole image."""
    (top, bottom), (left, right) = sorted(corners[:2]), sorted(corners[2:])
    rows, columns = slice(top, bottom + 1), slice(left, right + 1)
    window = NOISE.window("start", 0, 2, rows, columns)
    np.testing.assert_array_equal(window, WHOLE[:, rows, columns])


def test_noise_is_standard_normal() -> None:
    """Noise of another spread or with a pattern would leave both in every result."""
    # 73728 numbers: a mean within 5 / sqrt(n), and no correlation between neighbours or blocks.
    assert WHOLE.dtype == np.float32
    limit = 5 / np.sqrt(WHOLE.size)
    assert abs(WHOLE.mean()) < limit
    assert abs(WHOLE.var() - 1) < limit * np.sqrt(2)
    assert abs((WHOLE[:, 1:] * WHOLE[:, :-1]).mean()) < limit
    assert abs((WHOLE[:, :BLOCK] * WHOLE[:, BLOCK : 2 * BLOCK]).mean()) < limit * np.sqrt(3)


def test_each_part_of_an_address_gives_other_noise() -> None:
    """Planes, samples or steps that share noise would share invented detail."""
    place = (slice(0, 8), slice(0, 8))
    noises = [
        NOISE.window("start", 0, 1, *place),
        NOISE.window("churn", 0, 1, *place),
        NOISE.window("start", 1, 1, *place),
        PlaneNoise(8, 0, 3).window("start", 0, 1, *place),
        PlaneNoise(7, 1, 3).window("start", 0, 1, *place),
        PlaneNoise(7, 0, 4).window("start", 0, 1, *place),
        # 2**32 apart: generators that keep 32 bits of a seed would repeat themselves.
        PlaneNoise(7 + 2**32, 0, 3).window("start", 0, 1, *place),
    ]
    assert len({noise.tobytes() for noise in noises}) == len(noises)


def test_noise_stays_the_same_between_releases() -> None:
    """A seed in the history of an old result would no longer make that result."""
    first = PlaneNoise(0, 0, 0).window("start", 0, 1, slice(0, 1), slice(0, 3))[0, 0]
    np.testing.assert_array_equal(first, np.float32(FIRST))
