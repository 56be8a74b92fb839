"""From fine light to a coarse recording of it: blur, sampling, camera.

Source and truth cover the same ground: source pixel (i, j) is the mean over truth pixels
``[s*i : s*(i+1), s*j : s*(j+1)]``, so their pixel centres are related as an upscaled image's are
to its source's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_superres.errors import SettingError
from napari_superres.models.noise_line import noise_map
from napari_superres.training.camera import expose, line_of, noise_std

if TYPE_CHECKING:
    from napari_superres.models.noise_line import NoiseLine
    from napari_superres.training.camera import Camera


@dataclass(frozen=True)
class Pair:
    """A source image and its truth, both in the source's grey levels.

    Parameters
    ----------
    source : np.ndarray, shape (y, x) or (z, y, x), float32
        What the camera recorded.
    truth : np.ndarray, shape (..., scale * y, scale * x), float32
        The light without blur and noise, on the same scale: a perfect result.
    scale : int
        Truth pixels a source pixel, along each axis.
    noise : float
        Root-mean-square noise of the source, in grey levels, as `noise_std` counts it.
    line : NoiseLine or None
        How it grows with brightness; None if it is the same everywhere.
    """

    source: np.ndarray
    truth: np.ndarray
    scale: int
    noise: float
    line: NoiseLine | None = None

    @property
    def local_noise(self) -> np.ndarray:
        """Return the noise around each pixel of the source; its shape, float32."""
        return noise_map(self.source, self.noise, self.line)


def degrade(
    light: np.ndarray,
    scale: int,
    rng: np.random.Generator,
    *,
    camera: Camera,
    blur_sigma: float = 0.0,
    scanned: bool = False,
) -> Pair:
    """Return the pair that a coarse camera, or a coarse scan, makes of a fine image.

    Parameters
    ----------
    light : np.ndarray, shape (..., scale * y, scale * x)
        Expected light; 1 receives `camera.photons` a source pixel.
    scale : int
        Truth pixels a source pixel, along each axis.
    rng : np.random.Generator
        Source of all randomness.
    camera : Camera
        The sensor, on the coarse grid.
    blur_sigma : float
        Gaussian blur before sampling, in source pixels.
    scanned : bool
        Whether a source pixel is the light at its centre, as where a spot scans with wide steps,
        and not the mean over its area. Detail finer than the steps then folds into coarser.

    Returns
    -------
    Pair

    Raises
    ------
    SettingError
        If `scale` does not divide the image.
    """
    seen = light
    if blur_sigma:
        seen = ndimage.gaussian_filter(
            light, blur_sigma * scale, mode="reflect", truncate=5, axes=(-2, -1)
        )
    coarse = centres(seen, scale) if scanned else area_mean(seen, scale)
    return Pair(
        source=expose(coarse, camera, rng),
        truth=(light * camera.levels_per_unit + camera.offset).astype(np.float32),
        scale=scale,
        noise=noise_std(coarse, camera),
        line=line_of(coarse, camera),
    )


def centres(image: np.ndarray, scale: int) -> np.ndarray:
    """Return the light at the centre of each block of ``scale * scale`` pixels.

    Parameters
    ----------
    image : np.ndarray, shape (..., scale * y, scale * x)
        Fine image, not negative.
    scale : int
        Pixels a block, along each axis. Between pixels, a cubic spline interpolates.

    Returns
    -------
    np.ndarray, shape (..., y, x), float32

    Raises
    ------
    SettingError
        If `scale` does not divide both edges.
    """
    middle = (scale - 1) / 2
    height, width = _blocked(image, scale)
    planes = image.reshape(-1, height, width)  # a spline must not pass through several
    seen = [ndimage.shift(one, -middle, mode="reflect")[::scale, ::scale] for one in planes]
    coarse = (*image.shape[:-2], height // scale, width // scale)
    return np.maximum(np.reshape(seen, coarse), 0).astype(np.float32)


def area_mean(image: np.ndarray, scale: int) -> np.ndarray:
    """Return the mean of each block of ``scale * scale`` pixels.

    Parameters
    ----------
    image : np.ndarray, shape (..., scale * y, scale * x)
        Fine image.
    scale : int
        Edge of a block.

    Returns
    -------
    np.ndarray, shape (..., y, x), of the image's floating type

    Raises
    ------
    SettingError
        If `scale` does not divide both edges.
    """
    height, width = _blocked(image, scale)
    leading = image.shape[:-2]
    blocks = image.reshape(*leading, height // scale, scale, width // scale, scale)
    return np.asarray(blocks.mean(axis=(-3, -1)))


def _blocked(image: np.ndarray, scale: int) -> tuple[int, int]:
    """Return height and width of an image that can be cut into blocks."""
    height, width = image.shape[-2:]
    if height % scale or width % scale:
        msg = f"a {height} x {width} image cannot be cut into blocks of {scale} x {scale} pixels."
        raise SettingError(msg)
    return height, width
