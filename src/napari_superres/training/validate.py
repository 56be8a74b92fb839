"""Held-out simulated scenes, degraded, against the classical methods.

The degradations are those of the project's benchmark. Seeds are from a stream that training never
touches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_superres.training.camera import Camera, expose
from napari_superres.training.classical import (
    INTERPOLATIONS,
    interpolate,
    richardson_lucy,
    wiener,
)
from napari_superres.training.recording import Pair, degrade
from napari_superres.training.simulate import draw
from napari_superres.training.specimens import STRUCTURES
from napari_superres.training.stream import random_scene
from napari_superres.trust.similarity import psnr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari_superres.models.families.microscopy.network import MicroscopyNet

_VALIDATION_STREAM = 3


@dataclass(frozen=True)
class Degradation:
    """One way to lose detail.

    Parameters
    ----------
    name : str
        As in the benchmark's tables.
    blur_sigma : float
        In source pixels.
    photons : float or None
        At the truth's brightest; None is free of noise.
    iterations : tuple of int
        For Richardson-Lucy: numbers to try.
    slopes : tuple of float
        For Wiener: spectral slopes to try.
    scanned : bool
        Whether it is sampled at the centres of pixels, as by a spot that scans with wide steps.
    """

    name: str
    blur_sigma: float
    photons: float | None
    iterations: tuple[int, ...]
    slopes: tuple[float, ...] = (2.0, 2.5, 3.0)
    scanned: bool = False

    @property
    def camera(self) -> Camera:
        """Return the benchmark's camera."""
        return Camera(photons=self.photons, bits=None if self.photons is None else 16)


DEGRADATIONS = (
    Degradation("ideal", 0.0, None, (5, 10, 20), (2.5, 3.0, 4.0)),
    Degradation("psf_hi", 0.6, 1000, (3, 5, 10)),
    Degradation("psf_lo", 0.6, 100, (1, 2, 3)),
)
FURTHER = (
    Degradation("scan", 0.0, 100, (1, 2, 3), scanned=True),
    Degradation("scan_hi", 0.0, 1000, (1, 2, 3), scanned=True),
    Degradation("wide", 1.1, 500, (5, 10, 20)),
)
"""Beyond the benchmark: a coarse scan through the same optics, which has no blur that the
truth has not; and a PSF wider than any in training, as a confocal's is beside a STED's."""


def held_out(count: int, edge: int = 256, first: int = 0) -> dict[str, np.ndarray]:
    """Return sharp images by name, `count` of each kind, every second one with camera noise.

    Parameters
    ----------
    count : int
        How many of each kind.
    edge : int
        In truth pixels.
    first : int
        Number of the first: other numbers are other images.

    Returns
    -------
    dict of str to np.ndarray, shape (edge, edge), float32
        Not negative, 99.9th percentile 1.
    """
    images = {}
    for number in range(first, first + count):
        for index, kind in enumerate(STRUCTURES):
            rng = np.random.default_rng([0, _VALIDATION_STREAM, number, index])
            light = draw(random_scene(rng, kind), (edge, edge), rng)
            if (number + index) % 2:
                camera = Camera(photons=float(np.exp(rng.uniform(np.log(200), np.log(5000)))))
                light = (expose(light, camera, rng) - camera.offset) / camera.levels_per_unit
            light = np.maximum(light, 0)
            images[f"{kind}-{number}"] = light / max(float(np.percentile(light, 99.9)), 1e-6)
    return images


def degraded(light: np.ndarray, scale: int, how: Degradation, number: int) -> Pair:
    """Return the pair of a sharp image, cropped to a multiple of the scale factor.

    Parameters
    ----------
    light : np.ndarray, shape (y, x)
        Not negative, bright parts about 1.
    scale : int
        Scale factor.
    how : Degradation
        Blur and camera.
    number : int
        Seed of the noise.

    Returns
    -------
    Pair
    """
    height, width = (edge - edge % scale for edge in light.shape)
    rng = np.random.default_rng([1, _VALIDATION_STREAM, number, scale])
    sharp = light[:height, :width]
    return degrade(
        sharp, scale, rng, camera=how.camera, blur_sigma=how.blur_sigma, scanned=how.scanned
    )


def degraded_pairs(images: Mapping[str, np.ndarray], scale: int) -> dict[str, Pair]:
    """Return every image in every degradation, by ``image/degradation``."""
    return {
        f"{name}/{how.name}": degraded(light, scale, how, number)
        for number, (name, light) in enumerate(images.items())
        for how in DEGRADATIONS
    }


def classical_results(pair: Pair, how: Degradation) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and result of every classical method."""
    source, scale = pair.source, pair.scale
    for method in INTERPOLATIONS:
        yield method, interpolate(source, scale, method)
    # Where there is no noise, rounding errors of the model are what a tiny value stands for.
    noise = pair.noise or 1e-3 * float(source.std())
    for slope in how.slopes:
        sharp = wiener(source, scale, blur_sigma=how.blur_sigma, noise=noise, slope=slope)
        yield f"wiener-{slope:g}", sharp
    for iterations, sharp in richardson_lucy(
        source,
        scale,
        blur_sigma=how.blur_sigma,
        offset=how.camera.offset,
        iterations=how.iterations,
    ):
        yield f"richardson-lucy-{iterations}", sharp


def predict(
    network: MicroscopyNet, source: np.ndarray, noise: np.ndarray | float, scale: int
) -> np.ndarray:
    """Return the network's result for a whole plane, its border continued by reflection.

    Parameters
    ----------
    network : MicroscopyNet
        On the CPU.
    source : np.ndarray, shape (y, x)
        In any unit.
    noise : float or np.ndarray, shape (y, x)
        Standard deviation to remove, in the same unit, everywhere or around each pixel.
    scale : int
        Scale factor.

    Returns
    -------
    np.ndarray, shape (scale * y, scale * x), float32
    """
    x, level = padded(network, source), padded(network, np.broadcast_to(noise, source.shape))
    with torch.inference_mode():
        return np.asarray(network(x, level, scale)[0, 0].numpy())


def padded(network: MicroscopyNet, plane: np.ndarray) -> torch.Tensor:
    """Return a plane with the context that the network needs, shape (1, 1, y, x), float32."""
    continued = np.pad(plane.astype(np.float32), network.radius, mode="symmetric")
    return torch.from_numpy(continued)[None, None]


def evaluate(
    network: MicroscopyNet, images: Mapping[str, np.ndarray], scales: tuple[int, ...] = (2, 4)
) -> list[dict[str, Any]]:
    """Return the PSNR of every method on every degraded image.

    Parameters
    ----------
    network : MicroscopyNet
        What is judged, once told of no noise (``faithful``) and once of the true noise
        (``restore``).
    images : mapping of str to np.ndarray
        Sharp images, as from `held_out`; cropped to a multiple of the scale factor.
    scales : tuple of int
        Scale factors.

    Returns
    -------
    list of dict
        ``image``, ``degradation``, ``scale``, and ``psnr`` by method.
    """
    records = []
    for number, (name, light) in enumerate(images.items()):
        for scale in scales:
            for how in DEGRADATIONS:
                pair = degraded(light, scale, how, number)
                results = dict(classical_results(pair, how))
                results["faithful"] = predict(network, pair.source, 0.0, scale)
                if pair.noise:
                    results["restore"] = predict(network, pair.source, pair.local_noise, scale)
                gains = {
                    method: round(psnr(result, pair.truth), 3) for method, result in results.items()
                }
                records.append(
                    {"image": name, "degradation": how.name, "scale": scale, "psnr": gains}
                )
    return records
