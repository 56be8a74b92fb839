"""Pictures of a report: same crop, same contrast, as PNG inside the page."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

from napari_superres.pixels import resample_area

if TYPE_CHECKING:
    from napari_superres.comparing.records import Picture

SHOWN = 128
"""Longest edge of the crop that is shown, in source pixels."""

DETAIL = 4
"""How many times the detail is magnified over the crop."""

DIFFERENCE = 0.1
"""What is full red or blue in a difference map, as a share of the contrast."""

_MAP_EDGE = 256
_CONTRAST = (0.5, 99.8)
_RED, _BLUE = (178, 24, 43), (33, 102, 172)


@dataclass(frozen=True)
class View:
    """How one picture and all results of it are shown.

    Parameters
    ----------
    y, x : slice
        The square crop, in source pixels.
    low, high : float
        What is black and white.
    top, left : float
        Corner of the detail, as a share of the crop's edge.
    scale : int
        Result pixels a source pixel.
    """

    y: slice
    x: slice
    low: float
    high: float
    top: float
    left: float
    scale: int

    @property
    def edge(self) -> int:
        """Edge of the crop in source pixels."""
        return int(self.y.stop - self.y.start)

    def crop(self, pixels: np.ndarray, factor: int) -> np.ndarray:
        """Return the crop of an array that is `factor` times finer than the source."""
        y, x = (slice(cut.start * factor, cut.stop * factor) for cut in (self.y, self.x))
        return pixels[y, x]

    def png(self, pixels: np.ndarray, factor: int) -> str:
        """Return the crop with the common contrast, as a data URI."""
        values = self.crop(pixels, factor).astype(np.float64)
        values = 255 * (values - self.low) / (self.high - self.low)
        return _uri(np.clip(np.rint(values), 0, 255).astype(np.uint8))

    def difference(self, result: np.ndarray, other: np.ndarray) -> str:
        """Return a map of result minus other, red where the result is brighter, as a data URI."""
        values = [self.crop(a, self.scale).astype(np.float32) for a in (result, other)]
        share = (values[0] - values[1]) / (DIFFERENCE * (self.high - self.low))
        if share.ndim == 3:
            share = share.mean(axis=-1)
        step = next((s for s in (1, 2, 4) if share.shape[0] <= s * _MAP_EDGE), 4)
        if not share.shape[0] % step:
            share = resample_area(share, step, 1)
        red, blue = np.clip(share, 0, 1)[..., None], np.clip(-share, 0, 1)[..., None]
        colours = 255 - red * (255 - np.array(_RED)) - blue * (255 - np.array(_BLUE))
        return _uri(np.clip(np.rint(colours), 0, 255).astype(np.uint8))


def view_of(picture: Picture, scale: int) -> View:
    """Return how a picture is shown: its middle, and the part with the most structure as detail."""
    height, width = picture.source.shape[:2]
    edge = min(SHOWN, height, width)
    y, x = ((n - edge) // 2 for n in (height, width))
    shown = picture.source[y : y + edge, x : x + edge].astype(np.float64)
    best = picture.source if picture.truth is None else picture.truth
    low, high = (float(v) for v in np.percentile(best, _CONTRAST))
    part = edge // DETAIL
    starts = [round(i * (edge - part) / 12) for i in range(13)]
    top, left = max(
        ((a, b) for a in starts for b in starts),
        key=lambda at: float(shown[at[0] : at[0] + part, at[1] : at[1] + part].std()),
    )
    return View(
        slice(y, y + edge),
        slice(x, x + edge),
        low,
        high if high > low else low + 1,
        top / edge,
        left / edge,
        scale,
    )


def scale_bar(picture: Picture, edge: int) -> tuple[float, str]:
    """Return a round length of about a fourth of the crop, as a share of its edge, and its words.

    Parameters
    ----------
    picture : Picture
    edge : int
        Of the crop, in source pixels.
    """
    size, unit = (picture.pixel_size, picture.unit) if picture.unit else (1.0, "source pixels")
    most = edge * size / 3
    power = 10.0 ** math.floor(math.log10(most))
    length = max(step * power for step in (1, 2, 5) if step * power <= most)
    short = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm"}.get(unit, unit)
    return length / (edge * size), f"{length:g} {short}"


def _uri(pixels: np.ndarray) -> str:
    encoded = imagecodecs.png_encode(np.ascontiguousarray(pixels), level=9)
    return "data:image/png;base64," + base64.b64encode(encoded).decode("ascii")
