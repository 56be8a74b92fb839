"""Microscope images whose truth is known: specimen, optics, sampling, camera.

::

    structure --optics--> truth (fine pixels) --blur--> --area mean s x s--> --camera--> source

Truth and source cover the same ground: source pixel (i, j) is the mean over truth pixels
``[s*i : s*(i+1), s*j : s*(j+1)]``, so their pixel centres are related as an upscaled image's are
to its source's. All randomness comes from ``numpy.random.default_rng(seed)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_superres.errors import SettingError
from napari_superres.training.camera import Camera, expose, noise_std
from napari_superres.training.drawing import smooth_noise
from napari_superres.training.optics import Optics, blur, gaussian_blur, transfer
from napari_superres.training.specimens import STRUCTURES

if TYPE_CHECKING:
    from collections.abc import Sequence

# Kinds that emit light: what lies above and below the focus adds a blurred glow to them.
FLUORESCENT = ("filaments", "nuclei", "puncta", "membranes", "mitochondria", "reticulum", "rods")

# Rendered around every scene and cut off, so that periodic canvases never show their far side.
_MARGIN = 24
_PSF_SIZE = 65
_DEFOCUSED_PSF_SIZE = 97


@dataclass(frozen=True)
class Scene:
    """What is in front of the microscope, and the microscope.

    Parameters
    ----------
    kind : str
        A key of `STRUCTURES`.
    size : float
        Scale of the finest detail, in truth pixels.
    optics : Optics or None
        With the truth's pixel size. None draws the structure without diffraction.
    planes : sequence of float
        Distances in micrometres of further planes of the same kind, seen out of focus.
        Ignored for kinds that are not fluorescent, and without optics.
    background : float
        Uniform light, as a share of the bright parts.
    haze : float
        Share of light that is spread over tens of pixels.
    gradient : float
        How far illumination falls off over the field, 0 to 1.
    inverted : bool
        Whether dark and bright change places.
    """

    kind: str = "filaments"
    size: float = 1.0
    optics: Optics | None = field(default_factory=Optics)
    planes: Sequence[float] = ()
    background: float = 0.02
    haze: float = 0.0
    gradient: float = 0.0
    inverted: bool = False

    def __post_init__(self) -> None:
        if self.kind not in STRUCTURES:
            msg = f"kind={self.kind!r} is unknown: use one of {', '.join(STRUCTURES)}."
            raise SettingError(msg)
        if self.size <= 0:
            msg = f"size={self.size} must be greater than 0 pixels."
            raise SettingError(msg)


@dataclass(frozen=True)
class Pair:
    """A source image and its truth, both in the source's grey levels.

    Parameters
    ----------
    source : np.ndarray, shape (y, x), float32
        What the camera recorded.
    truth : np.ndarray, shape (scale * y, scale * x), float32
        The light without blur and noise, on the same scale: a perfect result.
    scale : int
        Truth pixels a source pixel, along each axis.
    noise : float
        Root-mean-square noise of the source, in grey levels.
    """

    source: np.ndarray
    truth: np.ndarray
    scale: int
    noise: float


def simulate(
    kind: str = "filaments",
    shape: tuple[int, int] = (128, 128),
    *,
    seed: int,
    scale: int = 4,
    scene: Scene | None = None,
    camera: Camera | None = None,
    blur_sigma: float = 0.5,
) -> Pair:
    """Return a simulated source image with its truth.

    Parameters
    ----------
    kind : str
        What to draw, a key of `STRUCTURES`; ignored if `scene` is given.
    shape : tuple of int
        Shape of the source, (y, x).
    seed : int
        Same seed, same pair.
    scale : int
        How many truth pixels make a source pixel along each axis.
    scene : Scene or None
        None takes the kind with its usual optics: pixels a third as wide as the resolution.
    camera : Camera or None
        None takes an sCMOS-like camera with 1000 photons in bright parts, 16 bits.
    blur_sigma : float
        Standard deviation, in source pixels, of the further blur that the source suffered.
        0 samples the truth by area alone.

    Returns
    -------
    Pair

    Raises
    ------
    SettingError
        If the kind is unknown, the shape is empty, or scale or blur are out of range.
    """
    if scale < 1 or min(shape) < 1:
        msg = f"shape={shape} and scale={scale} must be at least 1."
        raise SettingError(msg)
    if blur_sigma < 0:
        msg = f"blur_sigma={blur_sigma} must not be negative."
        raise SettingError(msg)
    rng = np.random.default_rng(seed)
    scene = Scene(kind) if scene is None else scene
    camera = Camera() if camera is None else camera
    light = draw(scene, (scale * shape[0], scale * shape[1]), rng)
    return degrade(light, scale, rng, camera=camera, blur_sigma=blur_sigma)


def draw(scene: Scene, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the expected light of a scene on the truth's pixels.

    Parameters
    ----------
    scene : Scene
        Specimen and optics.
    shape : tuple of int
        Shape of the truth, (y, x).
    rng : np.random.Generator
        Source of all randomness.

    Returns
    -------
    np.ndarray, shape (y, x), float32
        Not negative; bright parts are about 1.
    """
    height, width = (max(edge + 2 * _MARGIN, _DEFOCUSED_PSF_SIZE) for edge in shape)
    canvas = (height, width)
    image = STRUCTURES[scene.kind](canvas, rng, scene.size)
    if scene.optics is not None:
        image = blur(image, transfer(scene.optics, _PSF_SIZE))
        # Thin structures lose their peak to the blur; bright parts are to be about 1 again.
        peak = max(float(np.percentile(image, 99.8)), 1e-6)
        if scene.kind in FLUORESCENT:
            image = image / peak
            for defocus in scene.planes:
                other = STRUCTURES[scene.kind](canvas, rng, scene.size) / peak
                image = image + blur(other, transfer(scene.optics, _DEFOCUSED_PSF_SIZE, defocus))
    if scene.inverted:
        image = max(float(image.max()), 1.0) - image
    if scene.haze:
        image = (1 - scene.haze) * image + scene.haze * gaussian_blur(image, 0.08 * max(canvas))
    if scene.gradient:
        image = image * (1 - scene.gradient * _shading(canvas, rng))
    top, left = ((have - want) // 2 for have, want in zip(canvas, shape, strict=True))
    cut = image[top : top + shape[0], left : left + shape[1]]
    return np.maximum(cut + np.float32(scene.background), 0).astype(np.float32)


def degrade(
    light: np.ndarray,
    scale: int,
    rng: np.random.Generator,
    *,
    camera: Camera,
    blur_sigma: float = 0.0,
) -> Pair:
    """Return the pair that a coarse camera makes of a fine image.

    Parameters
    ----------
    light : np.ndarray, shape (scale * y, scale * x)
        Expected light; 1 receives `camera.photons` a source pixel.
    scale : int
        Truth pixels a source pixel, along each axis.
    rng : np.random.Generator
        Source of all randomness.
    camera : Camera
        The sensor, on the coarse grid.
    blur_sigma : float
        Gaussian blur before sampling, in source pixels.

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
        seen = ndimage.gaussian_filter(light, blur_sigma * scale, mode="reflect", truncate=5)
    coarse = area_mean(seen, scale)
    return Pair(
        source=expose(coarse, camera, rng),
        truth=(light * camera.levels_per_unit + camera.offset).astype(np.float32),
        scale=scale,
        noise=noise_std(coarse, camera),
    )


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
    *leading, height, width = image.shape
    if height % scale or width % scale:
        msg = f"a {height} x {width} image cannot be cut into blocks of {scale} x {scale} pixels."
        raise SettingError(msg)
    blocks = image.reshape(*leading, height // scale, scale, width // scale, scale)
    return np.asarray(blocks.mean(axis=(-3, -1)))


def _shading(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a smooth field between 0 and 1."""
    field_of_view = smooth_noise(shape, rng, 0.25 * max(shape))
    low, high = float(field_of_view.min()), float(field_of_view.max())
    return np.asarray((field_of_view - low) / max(high - low, 1e-6), dtype=np.float32)
