"""Make the small images in ``sample_data/`` with the simulator.

Seeds are fixed, so the pixels are always the same. Three specimens:

* ``cells_2ch_zstack.ome.tif``: a confocal focal series of cells, nuclei and microtubules.
* ``filaments_lowres.ome.tif`` and ``filaments_truth.ome.tif``: the same filaments seen by a coarse
  and noisy camera, and without noise on pixels a quarter as wide.
* ``nuclei.ome.zarr``: nuclei in a light sheet, OME-Zarr 0.5 with two levels.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import tifffile
import zarr

from napari_superres.training.camera import Camera
from napari_superres.training.optics import Optics
from napari_superres.training.simulate import Scene, area_mean, simulate
from napari_superres.training.volume import cell_stack

FOLDER = Path(__file__).resolve().parent.parent / "sample_data"

# OME stores colours as a signed 32-bit number, red in the highest byte and opacity in the lowest.
_OME_COLOURS = {"cyan": 0x00FFFFFF, "magenta": 0xFF00FFFF - 2**32, "green": 0x00FF00FF}


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
    names, colours = ["DNA", "microtubules"], ["cyan", "magenta"]
    write_tiff(
        FOLDER / "cells_2ch_zstack.ome.tif",
        stack.astype(np.uint16),
        axes="CZYX",
        name="Cells, confocal z-stack",
        pixel=pixel,
        z_step=step,
        channels=list(zip(names, colours, optics, strict=True)),
    )


def filaments() -> None:
    """Write the pair with known truth."""
    fine, scale = 0.05, 4
    optics = Optics("widefield", na=1.3, wavelength=0.52, pixel_size=fine)
    scene = Scene("filaments", size=1.2, optics=optics, background=0.05)
    camera = Camera(photons=400)
    pair = simulate(shape=(112, 112), seed=35, scale=scale, scene=scene, camera=camera)
    channel = [("microtubules", "green", optics)]
    for suffix, pixels, pixel, centre in (
        ("lowres", pair.source, fine * scale, 0.0),
        # The first truth pixel's centre lies (1/scale - 1) / 2 source pixels from the source's.
        ("truth", np.rint(pair.truth), fine, fine * scale * (1 / scale - 1) / 2),
    ):
        write_tiff(
            FOLDER / f"filaments_{suffix}.ome.tif",
            pixels.astype(np.uint16),
            axes="YX",
            name=f"Filaments, {suffix}",
            pixel=pixel,
            channels=channel,
            position=centre,
        )


def nuclei() -> None:
    """Write the OME-Zarr."""
    pixel, step = 0.4, 1.5
    optics = Optics(
        "light-sheet", na=0.6, wavelength=0.52, refractive_index=1.33, pixel_size=pixel, sheet=3.0
    )
    camera = Camera(photons=150, pixel_spread=0.3)
    stack = cell_stack(
        (6, 160, 160),
        seed=3,
        step=step,
        optics=[optics] * 2,
        cameras=[camera] * 2,
        cells=30,
    )[:1].astype(np.uint16)
    path = FOLDER / "nuclei.ome.zarr"
    shutil.rmtree(path, ignore_errors=True)
    low, high = (int(value) for value in np.percentile(stack, (1, 99.8)))
    group = zarr.create_group(path, zarr_format=3)
    levels = [stack, np.rint(area_mean(stack.astype(np.float64), 2)).astype(np.uint16)]
    datasets = []
    for level, pixels in enumerate(levels):
        group.create_array(
            str(level),
            data=pixels,
            chunks=(1, 1, 80, 80),
            dimension_names=["c", "z", "y", "x"],
        )
        size = pixel * 2**level
        centre = (size - pixel) / 2  # of the first pixel, from the centre of level 0's first
        datasets.append(
            {
                "path": str(level),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1.0, step, size, size]},
                    {"type": "translation", "translation": [0.0, 0.0, centre, centre]},
                ],
            }
        )
    space = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    window = {"min": 0, "max": 65535, "start": low, "end": high}
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "name": "Nuclei, light sheet",
                "axes": [{"name": "c", "type": "channel"}, *space],
                "datasets": datasets,
                "type": "mean",
            }
        ],
        "omero": {
            "channels": [{"label": "H2B-GFP", "color": "00FF00", "active": True, "window": window}]
        },
    }


def write_tiff(
    path: Path,
    pixels: np.ndarray,
    *,
    axes: str,
    name: str,
    pixel: float,
    channels: list[tuple[str, str, Optics]],
    z_step: float | None = None,
    position: float | None = None,
) -> None:
    """Write one OME-TIFF with pixel sizes, names, colours and wavelengths."""
    metadata: dict[str, object] = {
        "axes": axes,
        "Name": name,
        "PhysicalSizeX": pixel,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": pixel,
        "PhysicalSizeYUnit": "µm",
        "SignificantBits": 16,
        "Channel": {
            "Name": [label for label, _, _ in channels],
            "Color": [_OME_COLOURS[colour] for _, colour, _ in channels],
            "EmissionWavelength": [optics.wavelength * 1000 for _, _, optics in channels],
            "EmissionWavelengthUnit": ["nm"] * len(channels),
        },
    }
    if z_step is not None:
        metadata |= {"PhysicalSizeZ": z_step, "PhysicalSizeZUnit": "µm"}
    if position is not None:
        metadata["Plane"] = {
            "PositionX": [position],
            "PositionXUnit": ["µm"],
            "PositionY": [position],
            "PositionYUnit": ["µm"],
        }
    tifffile.imwrite(
        path,
        pixels,
        ome=True,
        metadata=metadata,
        photometric="minisblack",
        compression="zlib",
        predictor=True,
        software="napari-superres simulator",
        datetime=False,
    )


if __name__ == "__main__":
    main()
