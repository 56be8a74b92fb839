"""What must be known of the pixels before planning, from a fixed sample of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from dask.local import get_sync

from napari_superres.errors import InputError
from napari_superres.models.camera_noise import Noise, measure_noise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_superres.image import Image

WINDOW = 256
"""Edge of a window, in source pixels."""

WINDOWS = 64
"""Most windows that are read of one channel."""

PERCENTILES = (0.1, 99.9)
"""Intensities below and above these are not shown to a model that needs limits."""


@dataclass(frozen=True)
class Survey:
    """Facts about an image's pixels.

    Parameters
    ----------
    limits : tuple of (float, float)
        One pair a channel, which the colours of a picture share.
    noise : tuple of Noise
        The camera's noise, one a channel, which the colours of a picture share.
    windows : int
        How many windows of each channel were read.
    pixels : int
        How many pixels were read in all.
    """

    limits: tuple[tuple[float, float], ...]
    noise: tuple[Noise, ...]
    windows: int
    pixels: int


def survey(image: Image) -> Survey:
    """Return facts from at most 64 windows of 256 x 256 pixels of each channel.

    The windows lie at positions that depend on the shape alone, so the same image gives the same
    facts on any machine. Values that are not finite are left out.

    Parameters
    ----------
    image : Image
        Of any size. Only the windows are read.

    Returns
    -------
    Survey

    Raises
    ------
    InputError
        If no pixel of a channel is finite.
    """
    windows = list(sample_windows(image))
    limits, noise = [], []
    pixels = 0
    for channel in range(image.size("c", 1)):
        parts = [read_window(image, window, channel) for window in windows]
        values = np.concatenate([part.ravel() for part in parts])
        pixels += values.size
        values = values[np.isfinite(values)]
        if values.size == 0:
            raise InputError(
                f"Channel {channel} of '{image.called}' has no finite pixel in the sample.",
                "Give limits= and denoise= yourself, or check the image.",
            )
        low, high = np.percentile(values, PERCENTILES)
        limits.append((float(low), float(high)))
        noise.append(measure_noise(plane for part in parts for plane in part))
    return Survey(tuple(limits), tuple(noise), len(windows), pixels)


def sample_windows(
    image: Image, edge: int = WINDOW, most: int = WINDOWS
) -> Iterator[dict[str, slice]]:
    """Yield the windows of one channel, as a slice for each axis but ``c`` and ``s``.

    All of them when there are at most `most`; otherwise planes at even distances, and places in
    them along the two-dimensional golden-ratio sequence (Roberts 2018), which neither clusters nor
    falls into step with a sample holder's grid.

    Parameters
    ----------
    image : Image
        Its shape alone counts.
    edge : int
        Of a window, in pixels.
    most : int
        How many windows at most.

    Yields
    ------
    dict of str to slice
    """
    axes = [a for a in image.axes if a not in "csyx"]
    sizes = [image.size(a) for a in axes]
    height, width = image.size("y"), image.size("x")
    across = [range(0, height, edge), range(0, width, edge)]
    n_planes = int(np.prod(sizes, dtype=np.int64))
    if n_planes * len(across[0]) * len(across[1]) <= most:
        for *plane, y, x in itertools.product(*map(range, sizes), *across):
            yield _window(axes, plane, y, x, edge)
        return
    for i in range(most):
        number = (2 * i + 1) * n_planes // (2 * most)
        plane = []
        for size in reversed(sizes):
            number, index = divmod(number, size)
            plane.insert(0, index)
        y = int((0.5 + 0.7548776662466927 * i) % 1 * max(1, height - edge + 1))
        x = int((0.5 + 0.5698402909980532 * i) % 1 * max(1, width - edge + 1))
        yield _window(axes, plane, y, x, edge)


def _window(axes: list[str], plane: list[int], y: int, x: int, edge: int) -> dict[str, slice]:
    window = {a: slice(i, i + 1) for a, i in zip(axes, plane, strict=True)}
    return {**window, "y": slice(y, y + edge), "x": slice(x, x + edge)}


def read_window(image: Image, window: dict[str, slice], channel: int) -> np.ndarray:
    """Return one window of a channel.

    Parameters
    ----------
    image : Image
    window : dict of str to slice
        As `sample_windows` yields them.
    channel : int
        Along axis ``c``.

    Returns
    -------
    np.ndarray, shape (planes, y, x), float64
        The planes of the window in their order; of an RGB picture one for each colour, those of
        one place together.
    """
    index = {**window, "c": slice(channel, channel + 1), "s": slice(0, 3)}
    part = image.data[tuple(index[a] for a in image.axes)]
    # The function itself: by its name, dask would first import all of distributed.
    values = np.asarray(part.compute(scheduler=get_sync, callbacks=[]), dtype=np.float64)
    last = [image.axes.index(axis) for axis in "syx" if axis in image.axes]
    values = np.moveaxis(values, last, range(-len(last), 0))
    return values.reshape(-1, *values.shape[-2:])
