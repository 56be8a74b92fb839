"""Specimens in three dimensions, imaged plane by plane: layers of any kind, and a cell culture.

Every plane of the stack sees the whole volume: each layer of it is blurred by the PSF of its
distance from the focus, so planes differ as those of a real focal series do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, ndimage

from napari_superres.training.camera import Camera, expose
from napari_superres.training.drawing import blobs, power_noise, smooth_noise, soft_edge, walks
from napari_superres.training.optics import Optics, transfer
from napari_superres.training.specimens import draw_structure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.training.simulate import Scene

_PSF_SIZE = 65
_MARGIN = 16
# Thickness of a layer of a specimen in micrometres: about that of a nucleus' chromatin domains, a
# mitochondrion or a bundle of fibres.
_LAYER = 1.0


def cell_stack(
    shape: tuple[int, int, int],
    *,
    seed: int,
    step: float,
    optics: Sequence[Optics],
    cameras: Sequence[Camera],
    cells: int = 6,
) -> np.ndarray:
    """Return a two-channel focal series of cells: nuclei, and filaments around them.

    Parameters
    ----------
    shape : tuple of int
        Planes, rows and columns.
    seed : int
        Same seed, same stack.
    step : float
        Distance between planes in micrometres.
    optics : sequence of Optics, length 2
        Of the nuclei's and of the filaments' channel.
    cameras : sequence of Camera, length 2
        Likewise.
    cells : int
        How many cells to try to place without overlap.

    Returns
    -------
    np.ndarray, shape (2, z, y, x), float32
        Grey levels.
    """
    rng = np.random.default_rng(seed)
    light = draw_cells(shape, rng, step=step, optics=optics, cells=cells)
    return np.stack(
        [expose(seen, camera, rng) for seen, camera in zip(light, cameras, strict=True)]
    )


def draw_cells(
    shape: tuple[int, int, int],
    rng: np.random.Generator,
    *,
    step: float,
    optics: Sequence[Optics],
    cells: int,
) -> np.ndarray:
    """Return the expected light of `cell_stack`.

    Parameters
    ----------
    shape : tuple of int
        Planes, rows and columns.
    rng : np.random.Generator
        Source of all randomness.
    step : float
        Distance between planes in micrometres.
    optics : sequence of Optics, length 2
        Of the nuclei's and of the filaments' channel.
    cells : int
        How many cells to try to place without overlap.

    Returns
    -------
    np.ndarray, shape (2, z, y, x), float32
        Not negative; bright parts are about 1.
    """
    margin = max(_MARGIN, (_PSF_SIZE - min(shape[1:])) // 2 + 1)
    canvas = (shape[0], shape[1] + 2 * margin, shape[2] + 2 * margin)
    radius = 0.5 * np.sqrt(shape[1] * shape[2] / max(cells, 1))
    placed = blobs(
        canvas[1:], rng, count=8 * cells, radius=(0.5 * radius, 0.7 * radius), apart=True
    )
    volumes = (_nuclei(canvas, placed, rng), _filaments(canvas, placed, rng))
    inner = (slice(None), slice(margin, -margin), slice(margin, -margin))
    channels = []
    for volume, through in zip(volumes, optics, strict=True):
        seen = image_volume(volume, through, step)[inner]
        channels.append(seen / max(float(np.percentile(seen, 99.8)), 1e-6) + 0.01)
    return np.stack(channels)


def draw_layers(
    scene: Scene, shape: tuple[int, int, int], rng: np.random.Generator, step: float
) -> np.ndarray:
    """Return a specimen of any kind as layers that fade into each other along z.

    Parameters
    ----------
    scene : Scene
        Kind, style and size of detail.
    shape : tuple of int
        Planes, rows and columns.
    rng : np.random.Generator
        Source of all randomness.
    step : float
        Distance between planes in micrometres.

    Returns
    -------
    np.ndarray, shape (z, y, x), float32
        Light before any optics.
    """
    depth, *plane = shape
    canvas = (plane[0], plane[1])
    height = np.arange(depth) * step
    middles = np.arange(0, height[-1] + _LAYER, _LAYER)
    volume = np.zeros(shape, np.float32)
    for middle in middles:
        layer = draw_structure(scene.kind, canvas, rng, scene.size, scene.style)
        shares = np.maximum(1 - np.abs(height - middle) / _LAYER, 0)
        for z in np.flatnonzero(shares):
            volume[z] += np.float32(shares[z]) * layer
    return volume


def image_volume(volume: np.ndarray, optics: Optics, step: float) -> np.ndarray:
    """Return the focal series of a volume.

    Parameters
    ----------
    volume : np.ndarray, shape (z, y, x)
        Light of each layer; y and x repeat beyond the edges.
    optics : Optics
        The microscope.
    step : float
        Distance between layers, and between planes, in micrometres.

    Returns
    -------
    np.ndarray, shape (z, y, x), float32
    """
    depth, height, width = volume.shape
    layers = fft.rfft2(volume.astype(np.float32, copy=False))
    seen = np.zeros(layers.shape, np.complex64)
    for distance in range(1 - depth, depth):
        kernel = np.zeros((height, width), np.float32)
        half = _PSF_SIZE // 2
        psf = np.real(fft.ifft2(transfer(optics, _PSF_SIZE, distance * step)))
        kernel[:_PSF_SIZE, :_PSF_SIZE] = np.roll(psf, (half, half), (0, 1))
        response = fft.rfft2(np.roll(kernel, (-half, -half), (0, 1)))
        for plane in range(max(0, distance), min(depth, depth + distance)):
            seen[plane] += layers[plane - distance] * response
    return np.asarray(np.maximum(fft.irfft2(seen, s=(height, width)), 0), dtype=np.float32)


def _nuclei(
    shape: tuple[int, int, int],
    placed: list[tuple[tuple[slice, slice], np.ndarray]],
    rng: np.random.Generator,
) -> np.ndarray:
    """Return flattened ellipsoids with chromatin, nucleoli and a denser rim."""
    depth, *plane = shape
    texture = np.stack([_chromatin((plane[0], plane[1]), rng) for _ in range(depth)])
    texture = ndimage.gaussian_filter1d(texture, 0.8, axis=0)
    volume = np.zeros(shape, np.float32)
    # Seen from its edge, a single plane would miss every nucleus. Half a plane hardly matters to a
    # taller stack, which keeps the pixels that the sample data were made with.
    centre = 0.5 if depth < 3 else 0.0
    for window, below in placed:
        reach = float(below.max())
        middle, half_height = depth * rng.uniform(0.4, 0.6), depth * rng.uniform(0.28, 0.38)
        brightness = rng.lognormal(0, 0.2)
        for z in range(depth):
            height = (z + centre - middle) / half_height
            if abs(height) >= 1:
                continue
            inside = below - reach * (1 - np.sqrt(1 - height**2))
            rim = 0.35 * np.exp(-((inside / 1.5) ** 2))
            volume[(z, *window)] += brightness * (soft_edge(inside) * texture[(z, *window)] + rim)
    return volume


def _chromatin(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    fine = 1 + 0.3 * power_noise(shape, rng, exponent=1.2, longest=15)
    spots = 0.8 * np.maximum(smooth_noise(shape, rng, 1.8) - 1.7, 0)
    nucleoli = soft_edge(2.1 - smooth_noise(shape, rng, 3.5), 0.2)
    return np.asarray(np.maximum(fine, 0.1) * nucleoli + spots, dtype=np.float32)


def _filaments(
    shape: tuple[int, int, int],
    placed: list[tuple[tuple[slice, slice], np.ndarray]],
    rng: np.random.Generator,
) -> np.ndarray:
    """Return stiff fibres that start near each nucleus and run over and around it."""
    depth, height, width = shape
    volume = np.zeros(shape, np.float32)
    for window, below in placed:
        radius = float(below.max())
        y0 = (window[0].start + window[0].stop) / 2
        x0 = (window[1].start + window[1].stop) / 2
        count, length = 45, int(5 * radius)
        y, x = walks((1, 1), rng, count=count, length=length, persistence=60.0)
        angle = rng.uniform(0, 2 * np.pi, (count, 1))
        y = y + y0 + radius * np.sin(angle) * rng.uniform(0.3, 1.1, (count, 1))
        x = x + x0 + radius * np.cos(angle) * rng.uniform(0.3, 1.1, (count, 1))
        z = depth * rng.uniform(0.1, 0.75, (count, 1))
        z = z + np.cumsum(rng.normal(0, 0.02, (count, length)), axis=1)
        layer = np.clip(np.rint(z), 0, depth - 1).astype(np.int64)
        rows = np.rint(y).astype(np.int64) % height
        columns = np.rint(x).astype(np.int64) % width
        # Light fades with the distance from the cell, where fibres thin out.
        away = np.hypot(y - y0, x - x0) / radius
        np.add.at(volume, (layer, rows, columns), np.exp(-((away / 2.2) ** 2)))
    return volume
