"""Sample images, simulated when they are opened: nothing is downloaded."""

from __future__ import annotations

from functools import cache

import dask.array as da
import numpy as np

from napari_superres.image import Channel, Image
from napari_superres.plugin.layer_tuples import LayerTuple, image_to_layer_data
from napari_superres.training.camera import Camera
from napari_superres.training.optics import Optics
from napari_superres.training.simulate import Scene, simulate
from napari_superres.training.volume import cell_stack


def cells() -> list[LayerTuple]:
    """Return a confocal focal series of cells: nuclei and microtubules, 8 planes."""
    return image_to_layer_data(_cells())


def filaments() -> list[LayerTuple]:
    """Return filaments seen by a coarse, noisy camera, and their truth on pixels a quarter as wide.

    The truth starts hidden, so that a result can be judged before it is compared.
    """
    coarse, true = _filaments()
    (data, kwargs, kind), *_ = image_to_layer_data(true)
    return [*image_to_layer_data(coarse), (data, {**kwargs, "visible": False}, kind)]


@cache
def _cells() -> Image:
    pixel, step = 0.16, 0.5
    stack = cell_stack(
        (8, 256, 256),
        seed=7,
        step=step,
        optics=[
            Optics("confocal", na=1.2, wavelength=0.46, excitation=0.405, pixel_size=pixel),
            Optics("confocal", na=1.2, wavelength=0.6, excitation=0.561, pixel_size=pixel),
        ],
        cameras=[Camera(photons=150, gain=4.0), Camera(photons=40, gain=4.0)],
        cells=7,
    ).astype(np.uint16)
    return Image(
        da.from_array(stack, chunks=(1, 1, -1, -1)),
        "czyx",
        pixel_size=(1.0, step, pixel, pixel),
        units=(None, *("micrometer",) * 3),
        channels=(
            Channel("DNA", "00FFFF", _window(stack[0])),
            Channel("microtubules", "FF00FF", _window(stack[1])),
        ),
        name="Cells",
    )


@cache
def _filaments() -> tuple[Image, Image]:
    fine, scale = 0.05, 4
    optics = Optics("widefield", na=1.3, wavelength=0.52, pixel_size=fine)
    scene = Scene("filaments", size=1.2, optics=optics, background=0.05)
    pair = simulate(shape=(192, 192), seed=35, scale=scale, scene=scene, camera=Camera(photons=400))
    source, truth = (np.rint(part).astype(np.uint16) for part in (pair.source, pair.truth))
    coarse = Image(
        da.from_array(source),
        "yx",
        pixel_size=(fine * scale,) * 2,
        units=("micrometer",) * 2,
        channels=(Channel("microtubules", "00FF00", _window(source)),),
        name="Filaments",
    )
    true = coarse.rescaled(scale, da.from_array(truth), name="Filaments, truth")
    return coarse, true


def _window(pixels: np.ndarray) -> tuple[float, float]:
    """Return contrast limits that show the structures, not the brightest speck."""
    low, high = np.percentile(pixels, (1, 99.8))
    return float(low), float(high)
