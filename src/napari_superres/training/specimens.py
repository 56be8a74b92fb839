"""Specimens that are not points of light: stained tissue, phase objects, electron micrographs.

Same signature as in `structures`; here the image may be bright with dark structures, as such
pictures are. `STRUCTURES` is the table of every kind that the simulator can draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, ndimage

from napari_superres.training import structures
from napari_superres.training.drawing import (
    blobs,
    cell_walls,
    choose,
    power_noise,
    smooth_noise,
    soft_edge,
    splat,
    stretched,
    walks,
    warped_grid,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_PHASE = {"rods": 0.6, "cells": 0.4}


def tissue(shape: tuple[int, int], rng: np.random.Generator, size: float) -> np.ndarray:
    """Return a stained section in transmitted light, by the law of Beer and Lambert."""
    fibres = np.abs(np.sin(2 * np.pi * _bundles(shape, rng, rng.uniform(4, 14) * size)))
    stroma = 0.3 * fibres + 0.25 * power_noise(shape, rng, exponent=1.0, longest=30 * size)
    stain = np.maximum(stroma + rng.uniform(0, 0.6), 0)
    stain = stain + rng.uniform(0.8, 2.5) * structures.nuclei(shape, rng, 0.4 * size)
    lumen = soft_edge(smooth_noise(shape, rng, 25 * size) + rng.uniform(0.3, 2.0), 0.08)
    return np.asarray(np.exp(-rng.uniform(0.3, 1.2) * stain * lumen), dtype=np.float32)


def phase_contrast(
    shape: tuple[int, int], rng: np.random.Generator, size: float, style: str | None = None
) -> np.ndarray:
    """Return rods or cells in phase contrast, halos and shade-off included.

    The phase ring is applied where it lies, in the back focal plane: light that the specimen
    scattered little passes it, loses a quarter of a wave and most of its strength.
    """
    if choose(rng, style, _PHASE) == "rods":
        thickness = structures.capsules(shape, rng, size)
    else:
        thickness = np.zeros(shape, np.float32)
        for window, depth in blobs(shape, rng, count=25, radius=(6 * size, 20 * size)):
            thickness[window] += np.sqrt(np.maximum(depth, 0) * 8 * size)
    height = max(float(np.percentile(thickness, 99)), 1e-6)
    phase = rng.uniform(0.5, 1.4) * thickness / height
    phase = phase * (1 + rng.uniform(0, 0.25) * smooth_noise(shape, rng, rng.uniform(1, 3) * size))
    frequency = np.hypot(fft.fftfreq(shape[0])[:, None], fft.fftfreq(shape[1])[None, :])
    ring = frequency <= 1 / (rng.uniform(15, 60) * size)
    passed = np.where(ring, 1j * rng.choice([-1, 1]) * rng.uniform(0.3, 0.7), 1)
    field = fft.ifft2(fft.fft2(np.exp(1j * phase).astype(np.complex64)) * passed)
    return stretched(np.abs(field) ** 2, 0, 99.5)


def transmission(shape: tuple[int, int], rng: np.random.Generator, size: float) -> np.ndarray:
    """Return unstained cells in oblique light: relief, as in DIC or a slightly defocused field."""
    thickness = 0.3 * power_noise(shape, rng, exponent=1.6, longest=40 * size)
    for window, depth in blobs(shape, rng, count=30, radius=(3 * size, 22 * size)):
        thickness[window] += rng.uniform(0.3, 1.0) * np.sqrt(np.maximum(depth, 0) / size)
    angle = rng.uniform(0, 2 * np.pi)
    slope_y, slope_x = np.gradient(ndimage.gaussian_filter(thickness, 0.6 * size, mode="wrap"))
    relief = np.sin(angle) * slope_y + np.cos(angle) * slope_x
    bent = ndimage.laplace(thickness) * rng.uniform(0, 0.3)
    contrast = rng.uniform(0.1, 0.6)
    return stretched(1 + contrast * (relief - bent) / max(float(relief.std()), 1e-6) / 4)


def electron(shape: tuple[int, int], rng: np.random.Generator, size: float) -> np.ndarray:
    """Return a section as an electron microscope shows it: dark membranes, granular matrix."""
    spacing = float(rng.uniform(20, 70)) * size
    wall, cell = cell_walls(shape, rng, spacing=spacing, warp=rng.uniform(0.1, 0.35))
    width = rng.uniform(0.5, 1.2) * size
    gap = rng.uniform(0.8, 2.2) * size
    dark = np.exp(-(((wall - gap) / width) ** 2))
    matrix = rng.uniform(0, 0.25, int(cell.max()) + 1)[cell]
    grain = power_noise(shape, rng, exponent=rng.uniform(0.2, 1.0), longest=8 * size)
    stain = dark + matrix + rng.uniform(0.05, 0.25) * grain
    for window, depth in blobs(
        shape, rng, count=int(rng.integers(2, 16)), radius=(5 * size, 14 * size), elongation=2.5
    ):
        folds = np.sin(2 * np.pi * _bundles(shape, rng, rng.uniform(4, 7) * size)[window])
        inside = soft_edge(depth, 0.5 * size)
        rim = np.exp(-((depth / width) ** 2))
        stain[window] = (
            stain[window] * (1 - inside)
            + rim
            + inside * (0.35 + 0.45 * np.maximum(folds, 0) + 0.1 * grain[window])
        )
    for window, depth in blobs(
        shape, rng, count=int(rng.integers(0, 90)), radius=(1.5 * size, 3.5 * size), elongation=1.1
    ):
        stain[window] += 0.8 * np.exp(-((depth / (0.7 * size)) ** 2))
    count = int(rng.uniform(0, 0.012) * shape[0] * shape[1] / size**2)
    place = rng.uniform(0, 1, (2, count)) * np.array(shape)[:, None]
    ribosomes = splat(shape, place[0], place[1], rng.lognormal(0, 0.3, count) * size**2)
    stain += 1.5 * ndimage.gaussian_filter(ribosomes, 0.7 * size, mode="wrap")
    return stretched(-np.minimum(stain, 1.8), 0.1, 99.9)


def granular(shape: tuple[int, int], rng: np.random.Generator, size: float) -> np.ndarray:
    """Return a dense texture without outlines, over many length scales."""
    fine = power_noise(shape, rng, exponent=rng.uniform(0.3, 1.6), longest=rng.uniform(8, 80))
    if rng.random() < 0.5:
        fine = ndimage.gaussian_filter(fine, 0.5 * size, mode="wrap")
    coarse = smooth_noise(shape, rng, rng.uniform(6, 40) * size)
    contrast = rng.uniform(0.3, 1.2)
    style = rng.random()
    if style < 0.4:
        return stretched(np.exp(contrast * fine / max(float(fine.std()), 1e-6) + 0.4 * coarse))
    if style < 0.7:
        return stretched(np.abs(fine + 0.5 * coarse), 0, 99.5)
    return stretched(fine + coarse, 0.1, 99.9)


def fragments(shape: tuple[int, int], rng: np.random.Generator, size: float) -> np.ndarray:
    """Return opaque pieces of all sizes lying over each other: edges at every scale."""
    image = np.full(shape, rng.random(), np.float32)
    count = int(rng.integers(60, 300))
    # Areas that follow a power law give a scale-free picture (A. B. Lee et al., Int. J. Comput.
    # Vis. 41, 35, 2001).
    radii = 2.0 * size * rng.random(count) ** -0.6
    shade = rng.random(count)
    texture = power_noise(shape, rng, exponent=1.0, longest=20 * size)
    strength = rng.uniform(0, 0.15)
    for radius, value in zip(np.sort(radii)[::-1], shade, strict=True):
        edge = min(float(radius), 0.4 * min(shape))
        [(window, depth)] = blobs(shape, rng, count=1, radius=(edge, edge), elongation=3)
        inside = soft_edge(depth, 0.35)
        lit = value + strength * texture[window]
        image[window] = image[window] * (1 - inside) + inside * lit
    return np.maximum(image, 0)


def _bundles(shape: tuple[int, int], rng: np.random.Generator, period: float) -> np.ndarray:
    """Return the phase, in turns, of wavy stripes with the given period in pixels."""
    y, x = warped_grid(shape, rng, strength=0.8 * period, sigma=2.5 * period)
    angle = rng.uniform(0, 2 * np.pi)
    return np.asarray((np.sin(angle) * y + np.cos(angle) * x) / period, dtype=np.float32)


def lines(shape: tuple[int, int], rng: np.random.Generator, size: float) -> np.ndarray:
    """Return a test slide: pairs of straight lines with gaps that close, and curved fields."""
    y, x = warped_grid(shape, rng, strength=rng.choice([0.0, 3.0]) * size, sigma=20 * size)
    angle = rng.uniform(0, np.pi)
    along, across = np.sin(angle) * y + np.cos(angle) * x, np.cos(angle) * y - np.sin(angle) * x
    period = size * rng.uniform(3, 8) * (1 + rng.uniform(0, 2) * along / max(shape))
    stripes = 0.5 + 0.5 * np.cos(2 * np.pi * across / period)
    image = stripes ** rng.uniform(1, 8)
    fy, fx = walks(shape, rng, count=6, length=2 * max(shape), persistence=2000.0)
    image = image + stretched(splat(shape, fy.ravel(), fx.ravel(), 1.0))
    return stretched(image)


STRUCTURES: dict[str, Callable[..., np.ndarray]] = {
    "filaments": structures.filaments,
    "nuclei": structures.nuclei,
    "puncta": structures.puncta,
    "membranes": structures.membranes,
    "mitochondria": structures.mitochondria,
    "reticulum": structures.reticulum,
    "rods": structures.rods,
    "phase-contrast": phase_contrast,
    "transmission": transmission,
    "tissue": tissue,
    "electron": electron,
    "granular": granular,
    "fragments": fragments,
    "lines": lines,
}

STYLES: dict[str, tuple[str, ...]] = {
    "filaments": tuple(structures.FILAMENTS),
    "nuclei": tuple(structures.NUCLEI),
    "mitochondria": tuple(structures.MITOCHONDRIA),
    "rods": tuple(structures.RODS),
    "phase-contrast": tuple(_PHASE),
}
"""Of the kinds that come in several, which one can ask for."""

CELLS = "cells"
"""Not a structure: a culture in two channels, nuclei and filaments, see `volume`."""

ANY = "any"
"""Not a structure: kind, optics and camera by chance, as in the training's stream."""


def draw_structure(
    kind: str,
    shape: tuple[int, int],
    rng: np.random.Generator,
    size: float,
    style: str | None = None,
) -> np.ndarray:
    """Return a specimen of a kind and, where that has several, of a style.

    Parameters
    ----------
    kind : str
        A key of `STRUCTURES`.
    shape : tuple of int
        Canvas in pixels, (y, x).
    rng : np.random.Generator
        Source of all randomness.
    size : float
        Scale of the finest detail, in pixels.
    style : str or None
        One of the kind's `STYLES`; None leaves it to chance.

    Returns
    -------
    np.ndarray, shape (y, x), float32
        Light before any optics.
    """
    if style is None:
        return STRUCTURES[kind](shape, rng, size)
    return STRUCTURES[kind](shape, rng, size, style)
