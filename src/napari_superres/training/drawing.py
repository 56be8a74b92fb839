"""Drawing tools of the simulator: points, curves, outlines and noise with a length scale.

All work on periodic canvases in pixels, with every number from the generator that is handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, ndimage
from scipy.spatial import cKDTree

from napari_superres.training.optics import gaussian_blur

if TYPE_CHECKING:
    from collections.abc import Mapping


def splat(
    shape: tuple[int, int], y: np.ndarray, x: np.ndarray, weights: np.ndarray | float
) -> np.ndarray:
    """Return a canvas with points of light, each shared between its four nearest pixels.

    Parameters
    ----------
    shape : tuple of int
        Canvas, (y, x).
    y, x : np.ndarray, shape (n,)
        Positions in pixels; those outside come back in on the other side.
    weights : np.ndarray, shape (n,), or float
        Light of each point.

    Returns
    -------
    np.ndarray, shape (y, x), float32
        Its sum is the sum of the weights.
    """
    height, width = shape
    top, left = np.floor(y), np.floor(x)
    fy, fx = y - top, x - left
    rows, columns = top.astype(np.int64), left.astype(np.int64)
    light = np.broadcast_to(np.asarray(weights, np.float64), y.shape)
    canvas = np.zeros(height * width)
    for dy, share_y in ((0, 1 - fy), (1, fy)):
        for dx, share_x in ((0, 1 - fx), (1, fx)):
            index = ((rows + dy) % height) * width + (columns + dx) % width
            canvas += np.bincount(index, light * share_y * share_x, minlength=height * width)
    return canvas.reshape(shape).astype(np.float32)


def walks(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    count: int,
    length: int,
    persistence: float,
    step: float = 0.5,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of persistent random walks, the shape of a stiff polymer.

    Parameters
    ----------
    shape : tuple of int
        Canvas on which the walks begin, (y, x).
    rng : np.random.Generator
        Source of randomness.
    count, length : int
        Number of walks, and of steps in each.
    persistence : float
        Length in pixels over which a walk forgets its direction.
    step : float
        Length of a step in pixels.

    Returns
    -------
    y, x : np.ndarray, shape (count, length), float64
    """
    start = rng.uniform(0, 1, (2, count, 1)) * np.array(shape).reshape(2, 1, 1)
    # In two dimensions the tangent's angle diffuses with variance 2 ds / (2 persistence).
    turns = rng.normal(0, np.sqrt(step / persistence), (count, length))
    turns[:, 0] = rng.uniform(0, 2 * np.pi, count)
    angle = np.cumsum(turns, axis=1)
    y = start[0] + step * np.cumsum(np.sin(angle), axis=1)
    x = start[1] + step * np.cumsum(np.cos(angle), axis=1)
    return y, x


def smooth_noise(shape: tuple[int, int], rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Return Gaussian noise of mean 0 and variance 1, correlated over about `sigma` pixels."""
    return _standardised(gaussian_blur(rng.standard_normal(shape, np.float32), sigma))


def power_noise(
    shape: tuple[int, int], rng: np.random.Generator, *, exponent: float, longest: float
) -> np.ndarray:
    """Return noise whose amplitude falls as frequency to the power of minus `exponent`.

    Parameters
    ----------
    shape : tuple of int
        Canvas, (y, x).
    rng : np.random.Generator
        Source of randomness.
    exponent : float
        0 is white; 1 is the texture of many natural images; 2 is smooth.
    longest : float
        Wavelength in pixels above which the spectrum is flat.

    Returns
    -------
    np.ndarray, shape (y, x), float32
        Mean 0, variance 1.
    """
    fy, fx = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :]
    fall = (fy**2 + fx**2 + longest**-2) ** (-exponent / 2)
    spectrum = fft.rfft2(rng.standard_normal(shape, np.float32)) * fall.astype(np.float32)
    return _standardised(fft.irfft2(spectrum, s=shape))


def warped_grid(
    shape: tuple[int, int], rng: np.random.Generator, *, strength: float, sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixel coordinates displaced by smooth noise of the given strength, in pixels."""
    y, x = np.indices(shape, dtype=np.float32)
    y += strength * smooth_noise(shape, rng, sigma)
    x += strength * smooth_noise(shape, rng, sigma)
    return y, x


def cell_walls(
    shape: tuple[int, int], rng: np.random.Generator, *, spacing: float, warp: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance to the nearest wall between random cells, and which cell it is.

    Parameters
    ----------
    shape : tuple of int
        Canvas, (y, x).
    rng : np.random.Generator
        Source of randomness.
    spacing : float
        Mean distance between cell centres in pixels.
    warp : float
        How far walls bend, as a share of `spacing`.

    Returns
    -------
    distance : np.ndarray, shape (y, x), float32
        In pixels, about half the difference between the distances to the two nearest centres.
    cell : np.ndarray, shape (y, x), int64
    """
    y, x = warped_grid(shape, rng, strength=warp * spacing, sigma=0.5 * spacing)
    count = max(2, int(np.prod([edge / spacing + 2 for edge in shape])))
    low, high = -spacing, np.array(shape) + spacing
    centres = rng.uniform(low, high, (count, 2))
    points = np.stack([y.ravel(), x.ravel()], axis=1)
    distances, nearest = cKDTree(centres).query(points, k=2)
    wall = (distances[:, 1] - distances[:, 0]) / 2
    return wall.reshape(shape).astype(np.float32), nearest[:, 0].reshape(shape)


def blobs(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    count: int,
    radius: tuple[float, float],
    roughness: float = 0.15,
    elongation: float = 1.6,
    apart: bool = False,
) -> list[tuple[tuple[slice, slice], np.ndarray]]:
    """Return rounded outlines, each in its own window, as depth below the outline in pixels.

    Parameters
    ----------
    shape : tuple of int
        Canvas, (y, x).
    rng : np.random.Generator
        Source of randomness.
    count : int
        How many to try.
    radius : tuple of float
        Smallest and largest mean radius in pixels; small ones are as likely as large ones.
    roughness : float
        How much the outline departs from an ellipse.
    elongation : float
        Largest ratio of the axes.
    apart : bool
        Whether outlines that would overlap are left out.

    Returns
    -------
    list of (window, depth)
        `depth` (float32) is positive inside; `window` cuts its place out of the canvas.
    """
    drawn = []
    placed = np.zeros((0, 3))
    for _ in range(count):
        r = float(rng.uniform(*radius))
        stretch = float(np.sqrt(rng.uniform(1, elongation)))
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        reach = r * stretch * (1 + 2 * roughness) + 2
        if apart:
            gaps = np.hypot(placed[:, 0] - y, placed[:, 1] - x) - placed[:, 2] - r * 1.1
            if (gaps < 0).any():
                continue
            placed = np.vstack([placed, (y, x, r)])
        window = (
            slice(max(0, int(y - reach)), min(shape[0], int(y + reach) + 1)),
            slice(max(0, int(x - reach)), min(shape[1], int(x + reach) + 1)),
        )
        dy, dx = np.mgrid[window[0], window[1]].astype(np.float32)
        dy, dx = dy - np.float32(y), dx - np.float32(x)
        turn = rng.uniform(0, np.pi)
        along = (dy * np.sin(turn) + dx * np.cos(turn)) / stretch
        across = (dy * np.cos(turn) - dx * np.sin(turn)) * stretch
        distance, angle = np.hypot(along, across), np.arctan2(across, along)
        outline = np.ones_like(distance)
        for order in (2, 3, 4, 5):
            phase = rng.uniform(0, 2 * np.pi)
            outline += roughness * rng.normal() / order * np.cos(order * angle + phase)
        drawn.append((window, np.asarray(r * outline - distance, np.float32)))
    return drawn


def choose(rng: np.random.Generator, style: str | None, shares: Mapping[str, float]) -> str:
    """Return a style, or one by chance; one number is drawn either way.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness.
    style : str or None
        One of the keys, or None to leave it to chance.
    shares : mapping of str to float
        How often each is chosen; together 1.

    Returns
    -------
    str
    """
    chance, reached = float(rng.random()), 0.0
    if style is not None:
        return style
    for name, share in shares.items():
        reached += share
        if chance < reached:
            return name
    return list(shares)[-1]


def soft_edge(depth: np.ndarray, width: float = 0.7) -> np.ndarray:
    """Return 1 inside and 0 outside an outline, the step spread over `width` pixels."""
    return np.asarray(1 / (1 + np.exp(-np.clip(depth / width, -30, 30))), dtype=np.float32)


def stretched(image: np.ndarray, low: float = 0.0, high: float = 99.9) -> np.ndarray:
    """Return an image with the two percentiles mapped to 0 and 1, and nothing below 0."""
    bottom, top = np.percentile(image, (low, high))
    return np.asarray(np.maximum(image - bottom, 0) / max(top - bottom, 1e-6), dtype=np.float32)


def thickened(lines: np.ndarray, radius: float) -> np.ndarray:
    """Return lines drawn as flat tubes: 1 within about `radius` pixels, falling to 0 outside."""
    spread = ndimage.gaussian_filter(lines, max(radius * 0.7, 0.4), mode="wrap", truncate=3)
    return np.asarray(1 - np.exp(-4 * spread / max(float(spread.max()) * 0.35, 1e-6)), np.float32)


def _standardised(noise: np.ndarray) -> np.ndarray:
    noise = noise - noise.mean()
    return np.asarray(noise / max(float(noise.std()), 1e-12), dtype=np.float32)
