"""Fluorescent structures: where light comes from in a labelled specimen.

Each function takes a canvas shape, a generator and `size`, the scale of its finest detail in
pixels, and returns light per pixel (float32, not negative, bright parts about 1) before any
optics. Those that come in several styles take the style too; None leaves it to chance.
`STRUCTURES` and `STYLES` in `specimens` name them all.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_superres.training.drawing import (
    blobs,
    cell_walls,
    choose,
    power_noise,
    smooth_noise,
    soft_edge,
    splat,
    stretched,
    thickened,
    walks,
)

# How often each style is drawn.
FILAMENTS = {"periodic": 0.25, "sparse": 0.25, "even": 0.5}
NUCLEI = {"rim": 0.4, "plain": 0.6}
MITOCHONDRIA = {"hollow": 0.4, "folded": 0.3, "filled": 0.3}
RODS = {"envelope": 0.4, "filled": 0.6}


def filaments(
    shape: tuple[int, int], rng: np.random.Generator, size: float, style: str | None = None
) -> np.ndarray:
    """Return thin stiff fibres, such as microtubules, some of them labelled periodically."""
    area = shape[0] * shape[1] / 256**2
    count = max(2, int(rng.integers(4, 70) * area / size))
    length = int(rng.uniform(1.0, 4.0) * max(shape))
    persistence = float(np.exp(rng.uniform(np.log(20), np.log(600)))) * size
    y, x = walks(shape, rng, count=count, length=length, persistence=persistence)
    light = np.repeat(rng.lognormal(0, 0.4, (count, 1)), length, axis=1)
    style = choose(rng, style, FILAMENTS)
    if style == "periodic":  # a ring of label every few pixels, as spectrin along an axon
        period = rng.uniform(2.5, 8.0) * size
        light = light * (1 + np.cos(np.arange(length) * 0.5 * 2 * np.pi / period))
    elif style == "sparse":  # label attached here and there
        light = light * (rng.random((count, length)) < rng.uniform(0.1, 0.6))
    image = splat(shape, y.ravel(), x.ravel(), light.ravel())
    if rng.random() < 0.5:
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.0) * size, mode="wrap")
    return stretched(image, 0, 99.8)


def nuclei(
    shape: tuple[int, int], rng: np.random.Generator, size: float, style: str | None = None
) -> np.ndarray:
    """Return cell nuclei with chromatin texture, bright spots, dark nucleoli and often a rim."""
    largest = float(rng.uniform(10, 45)) * size
    count = int(np.clip(shape[0] * shape[1] / largest**2 * rng.uniform(0.15, 0.6), 2, 250))
    apart = rng.random() < 0.7
    texture = power_noise(shape, rng, exponent=rng.uniform(0.8, 1.8), longest=12 * size)
    texture = 1 + rng.uniform(0.1, 0.5) * texture
    spots = np.maximum(smooth_noise(shape, rng, rng.uniform(1.0, 2.5) * size) - 1.6, 0)
    holes = soft_edge(2.0 - smooth_noise(shape, rng, rng.uniform(2, 4) * size), 0.15)
    inside = np.maximum(texture, 0.1) * holes + rng.uniform(0, 1.5) * spots
    rim = rng.uniform(0.3, 2.0) if choose(rng, style, NUCLEI) == "rim" else 0.0
    rim_width = rng.uniform(0.6, 1.5) * size
    image = np.zeros(shape, np.float32)
    for window, depth in blobs(
        shape, rng, count=count, radius=(0.55 * largest, largest), apart=apart
    ):
        body = soft_edge(depth, 0.6 * size) * inside[window]
        edge = rim * np.exp(-((depth / rim_width) ** 2))
        image[window] += np.float32(rng.lognormal(0, 0.35)) * (body + edge)
    return stretched(image)


def puncta(shape: tuple[int, int], rng: np.random.Generator, size: float) -> np.ndarray:
    """Return small spots in clusters: vesicles, RNA, pores."""
    area = shape[0] * shape[1] / 256**2
    clusters = int(rng.integers(5, 120) * area) + 1
    members = rng.poisson(rng.uniform(1, 25), clusters) + 1
    owner = np.repeat(np.arange(clusters), members)
    centre = rng.uniform(0, 1, (2, clusters)) * np.array(shape)[:, None]
    spread = rng.uniform(3, 30) * size * rng.lognormal(0, 0.5, clusters)
    y, x = centre[:, owner] + spread[owner] * rng.standard_normal((2, owner.size))
    light = rng.lognormal(0, rng.uniform(0.2, 0.9), owner.size)
    image = splat(shape, y, x, light)
    image = ndimage.gaussian_filter(image, rng.uniform(0.2, 1.4) * size, mode="wrap")
    return stretched(image, 0, 99.8)


def membranes(shape: tuple[int, int], rng: np.random.Generator, size: float) -> np.ndarray:
    """Return the outlines of a cell sheet, uneven in brightness, with a faint cytoplasm."""
    spacing = float(rng.uniform(12, 60)) * size
    wall, cell = cell_walls(shape, rng, spacing=spacing, warp=rng.uniform(0, 0.25))
    width = rng.uniform(0.5, 1.6) * size
    uneven = np.exp(rng.uniform(0, 0.5) * smooth_noise(shape, rng, rng.uniform(1.5, 8) * size))
    cytoplasm = rng.lognormal(-2.5, 0.8, int(cell.max()) + 1)[cell]
    grain = 1 + 0.3 * smooth_noise(shape, rng, rng.uniform(0.8, 3) * size)
    return stretched(np.exp(-((wall / width) ** 2)) * uneven + cytoplasm * np.maximum(grain, 0))


def mitochondria(
    shape: tuple[int, int], rng: np.random.Generator, size: float, style: str | None = None
) -> np.ndarray:
    """Return worm-like tubes, filled or hollow, the filled ones sometimes with inner folds."""
    area = shape[0] * shape[1] / 256**2
    radius = float(rng.uniform(1.5, 5.0)) * size
    count = max(3, int(rng.integers(10, 90) * area / size / (radius / 2.5)))
    length = int(rng.uniform(5, 35) * radius)
    y, x = walks(shape, rng, count=count, length=length, persistence=rng.uniform(6, 40) * radius)
    lines = np.minimum(splat(shape, y.ravel(), x.ravel(), 1.0), 1.0)
    tube = thickened(lines, radius)
    style = choose(rng, style, MITOCHONDRIA)
    if style == "hollow":  # label in the outer membrane
        core = thickened(lines, radius * rng.uniform(0.45, 0.65))
        tube = np.maximum(tube - rng.uniform(0.6, 0.95) * core * tube, 0)
    elif style == "folded":
        folds = smooth_noise(shape, rng, rng.uniform(0.7, 1.3) * size)
        tube = tube * np.maximum(1 + rng.uniform(0.2, 0.6) * folds, 0.05)
    brightness = np.exp(0.4 * smooth_noise(shape, rng, 4 * radius))
    return stretched(tube * brightness)


def reticulum(shape: tuple[int, int], rng: np.random.Generator, size: float) -> np.ndarray:
    """Return a net of tubes with sheets between some of them, as the endoplasmic reticulum."""
    spacing = float(rng.uniform(5, 16)) * size
    wall, cell = cell_walls(shape, rng, spacing=spacing, warp=rng.uniform(0.15, 0.4))
    tubes = np.exp(-((wall / (rng.uniform(0.5, 1.2) * size)) ** 2))
    filled = rng.random(int(cell.max()) + 1) < rng.uniform(0, 0.25)
    sheets = 0.6 * filled[cell] * (1 + 0.2 * smooth_noise(shape, rng, size))
    extent = soft_edge(smooth_noise(shape, rng, 0.2 * min(shape)) + rng.uniform(-0.5, 1.5), 0.2)
    return stretched(np.maximum(tubes, sheets) * extent)


def rods(
    shape: tuple[int, int], rng: np.random.Generator, size: float, style: str | None = None
) -> np.ndarray:
    """Return rod-shaped bacteria, filled or with bright envelopes."""
    thickness = capsules(shape, rng, size)
    radius = max(float(thickness.max()), 1e-6)
    if choose(rng, style, RODS) == "envelope":
        image = np.exp(-((thickness / (0.35 * radius)) ** 2)) * (thickness > 0)
    else:
        image = np.sqrt(np.clip(thickness / radius, 0, 1))
    return stretched(image * np.exp(0.3 * smooth_noise(shape, rng, 3 * radius)))


def capsules(shape: tuple[int, int], rng: np.random.Generator, size: float) -> np.ndarray:
    """Return the depth in pixels below the surface of the nearest of many rods, 0 outside."""
    radius = float(rng.uniform(2.5, 9)) * size
    count = int(np.clip(shape[0] * shape[1] / (radius**2 * 10) * rng.uniform(0.05, 0.5), 2, 300))
    depth = np.zeros(shape, np.float32)
    for _ in range(count):
        r = radius * rng.uniform(0.85, 1.15)
        half = r * rng.uniform(0.2, 4.0)
        reach = half + r + 2
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        window = (
            slice(max(0, int(y - reach)), min(shape[0], int(y + reach) + 1)),
            slice(max(0, int(x - reach)), min(shape[1], int(x + reach) + 1)),
        )
        dy, dx = np.mgrid[window[0], window[1]].astype(np.float32)
        dy, dx = dy - np.float32(y), dx - np.float32(x)
        turn = rng.uniform(0, np.pi)
        along = np.clip(dy * np.sin(turn) + dx * np.cos(turn), -half, half)
        distance = np.hypot(dy - along * np.sin(turn), dx - along * np.cos(turn))
        depth[window] = np.maximum(depth[window], r - distance)
    return depth
