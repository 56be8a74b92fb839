"""Make the small images in ``sample_data/`` with the simulator.

Seeds are fixed, so the pixels are always the same. Three specimens:

* ``cells_2ch_zstack.ome.tif``: a confocal focal series of cells, nuclei and microtubules.
* ``filaments_lowres.ome.tif`` and ``filaments_truth.ome.tif``: the same filaments seen by a coarse
  and noisy camera, and without noise on pixels a quarter as wide.
* ``nuclei.ome.zarr``: nuclei in a light sheet, OME-Zarr 0.5.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np

import napari_superres as sr
from napari_superres.training.camera import Camera
from napari_superres.training.optics import Optics
from napari_superres.training.pairs import PairSettings, described, simulate_images
from napari_superres.training.simulate import Scene
from napari_superres.training.volume import cell_stack

FOLDER = Path(__file__).resolve().parent.parent / "sample_data"


def main() -> None:
    """Write every file."""
    FOLDER.mkdir(exist_ok=True)
    cells()
    filaments()
    nuclei()


def cells() -> None:
    """Write the two-channel focal series."""
    pixel, step = 0.16, 0.5
    optics = [
        Optics("confocal", na=1.2, wavelength=0.46, excitation=0.405, pixel_size=pixel),
        Optics("confocal", na=1.2, wavelength=0.6, excitation=0.561, pixel_size=pixel),
    ]
    cameras = [Camera(photons=150, gain=4.0), Camera(photons=40, gain=4.0)]
    stack = cell_stack((10, 144, 144), seed=7, step=step, optics=optics, cameras=cameras, cells=3)
    channels = [("DNA", "00FFFF", optics[0]), ("microtubules", "FF00FF", optics[1])]
    image = described(stack.astype(np.uint16), "czyx", pixel, channels, step=step)
    save(replace(image, name="Cells, confocal z-stack"), "cells_2ch_zstack.ome.tif")


def filaments() -> None:
    """Write the pair with known truth."""
    optics = Optics("widefield", na=1.3, wavelength=0.52, pixel_size=0.05)
    scene = Scene("filaments", size=1.2, optics=optics, background=0.05)
    settings = PairSettings((112, 112), scale=4, scene=scene, camera=Camera(photons=400))
    pair = simulate_images(settings, seed=35)
    rounded = da.rint(pair.truth.data).astype(np.uint16)
    for image, part in ((pair.source, "lowres"), (replace(pair.truth, data=rounded), "truth")):
        save(replace(image, name=f"Filaments, {part}"), f"filaments_{part}.ome.tif")


def nuclei() -> None:
    """Write the OME-Zarr."""
    pixel, step = 0.4, 1.5
    optics = Optics(
        "light-sheet", na=0.6, wavelength=0.52, refractive_index=1.33, pixel_size=pixel, sheet=3.0
    )
    stack = cell_stack(
        (6, 160, 160),
        seed=3,
        step=step,
        optics=[optics] * 2,
        cameras=[Camera(photons=150, pixel_spread=0.3)] * 2,
        cells=30,
    )
    pixels = stack[:1].astype(np.uint16)
    image = described(pixels, "czyx", pixel, [("H2B-GFP", "00FF00", optics)], step=step)
    save(replace(image, name="Nuclei, light sheet"), "nuclei.ome.zarr")


def save(image: sr.Image, name: str) -> None:
    """Write one file as any result is written."""
    sr.write(image, FOLDER / name, overwrite=True)


if __name__ == "__main__":
    main()
