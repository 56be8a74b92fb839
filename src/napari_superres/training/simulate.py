"""Microscope images whose truth is known: specimen, optics, sampling, camera.

::

    structure --optics--> truth (fine pixels) --blur--> --area mean s x s--> --camera--> source

The last three steps are `recording`. All randomness comes from ``numpy.random.default_rng(seed)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.errors import SettingError
from napari_superres.training.camera import Camera
from napari_superres.training.drawing import smooth_noise
from napari_superres.training.finite import check_finite
from napari_superres.training.optics import Optics, blur, gaussian_blur, transfer
from napari_superres.training.recording import degrade
from napari_superres.training.specimens import STRUCTURES, STYLES, draw_structure
from napari_superres.training.volume import draw_layers, image_volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.training.recording import Pair

# Kinds that emit light: what lies above and below the focus adds a blurred glow to them.
FLUORESCENT = ("filaments", "nuclei", "puncta", "membranes", "mitochondria", "reticulum", "rods")

# Rendered around every scene and cut off, so that periodic canvases never show their far side.
_MARGIN = 24
_PSF_SIZE = 65
_DEFOCUSED_PSF_SIZE = 97
STEP = 0.5
"""Usual distance between the planes of a focal series, in micrometres."""


@dataclass(frozen=True)
class Scene:
    """What is in front of the microscope, and the microscope.

    Parameters
    ----------
    kind : str
        A key of `STRUCTURES`.
    style : str or None
        One of the kind's `STYLES`, such as ``"periodic"`` for filaments; None leaves it to chance.
    size : float
        Scale of the finest detail, in truth pixels.
    optics : Optics or None
        With the truth's pixel size. None draws the structure without diffraction.
    defocus : float
        How far the plane lies from the focus, in micrometres.
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

    Raises
    ------
    SettingError
        If a kind or style is unknown, or a number is out of range.
    """

    kind: str = "filaments"
    style: str | None = None
    size: float = 1.0
    optics: Optics | None = field(default_factory=Optics)
    defocus: float = 0.0
    planes: Sequence[float] = ()
    background: float = 0.02
    haze: float = 0.0
    gradient: float = 0.0
    inverted: bool = False

    def __post_init__(self) -> None:
        check_finite(vars(self))
        if self.kind not in STRUCTURES:
            msg = f"kind={self.kind!r} is unknown: use one of {', '.join(STRUCTURES)}."
            raise SettingError(msg)
        styles = STYLES.get(self.kind, ())
        if self.style is not None and self.style not in styles:
            msg = f"style={self.style!r} of {self.kind!r} is unknown."
            raise SettingError(
                msg, f"Use one of {', '.join(styles)}." if styles else "Leave it out."
            )
        if self.size <= 0:
            msg = f"size={self.size} must be greater than 0 pixels."
            raise SettingError(msg)
        if self.background < 0 or not 0 <= self.haze <= 1 or not 0 <= self.gradient <= 1:
            msg = "background must not be negative, haze and gradient must lie between 0 and 1."
            raise SettingError(msg)


def simulate(
    kind: str = "filaments",
    shape: tuple[int, ...] = (128, 128),
    *,
    seed: int,
    scale: int = 4,
    scene: Scene | None = None,
    camera: Camera | None = None,
    blur_sigma: float = 0.5,
    step: float = STEP,
    scanned: bool = False,
) -> Pair:
    """Return a simulated source image with its truth.

    Parameters
    ----------
    kind : str
        What to draw, a key of `STRUCTURES`; ignored if `scene` is given.
    shape : tuple of int
        Shape of the source, (y, x); or (z, y, x) for a focal series of a fluorescent kind.
    seed : int
        Same seed, same pair.
    scale : int
        How many truth pixels make a source pixel along each axis.
    scene : Scene or None
        None takes the kind with its usual optics: pixels a third as wide as the resolution.
    camera : Camera or None
        None takes a CCD with 1000 photons in bright parts, 16 bits.
    blur_sigma : float
        Standard deviation, in source pixels, of the further blur that the source suffered.
        0 samples the truth by area alone.
    step : float
        Distance between the planes of a focal series, in micrometres.
    scanned : bool
        Whether a source pixel is the light at its centre, as of a spot that scans with wide steps,
        and not the mean over its area; see `degrade`.

    Returns
    -------
    Pair

    Raises
    ------
    SettingError
        If the kind is unknown or has no focal series, the shape is empty, or scale, blur or step
        are out of range.
    """
    if scale < 1 or min(shape) < 1 or len(shape) not in (2, 3):
        msg = f"shape={shape} must be (y, x) or (z, y, x); with scale={scale} all at least 1."
        raise SettingError(msg)
    if blur_sigma < 0 or step <= 0:
        msg = f"blur_sigma={blur_sigma} must not be negative, step={step} must be greater than 0."
        raise SettingError(msg)
    rng = np.random.default_rng(seed)
    scene = Scene(kind) if scene is None else scene
    camera = Camera() if camera is None else camera
    fine = (scale * shape[-2], scale * shape[-1])
    light = (
        draw(scene, fine, rng) if len(shape) == 2 else draw_stack(scene, shape[0], fine, rng, step)
    )
    return degrade(light, scale, rng, camera=camera, blur_sigma=blur_sigma, scanned=scanned)


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
    canvas = _canvas(shape)
    image = draw_structure(scene.kind, canvas, rng, scene.size, scene.style)
    if scene.optics is not None:
        edge = _DEFOCUSED_PSF_SIZE if scene.defocus else _PSF_SIZE
        image = blur(image, transfer(scene.optics, edge, scene.defocus))
        # Thin structures lose their peak to the blur; bright parts are to be about 1 again.
        peak = max(float(np.percentile(image, 99.8)), 1e-6)
        if scene.kind in FLUORESCENT:
            image = image / peak
            for defocus in scene.planes:
                other = draw_structure(scene.kind, canvas, rng, scene.size, scene.style) / peak
                image = image + blur(other, transfer(scene.optics, _DEFOCUSED_PSF_SIZE, defocus))
    return _lit(image, scene, shape, rng)


def draw_stack(
    scene: Scene, depth: int, shape: tuple[int, int], rng: np.random.Generator, step: float
) -> np.ndarray:
    """Return the expected light of a focal series: every plane sees the glow of all others.

    Parameters
    ----------
    scene : Scene
        Specimen and optics; `defocus` and `planes` are not used.
    depth : int
        Number of planes.
    shape : tuple of int
        Shape of each plane, (y, x), in truth pixels.
    rng : np.random.Generator
        Source of all randomness.
    step : float
        Distance between planes in micrometres.

    Returns
    -------
    np.ndarray, shape (depth, y, x), float32
        Not negative; bright parts are about 1.

    Raises
    ------
    SettingError
        If the kind does not emit light.
    """
    if scene.kind not in FLUORESCENT:
        raise SettingError(
            f"A focal series of {scene.kind!r} is not simulated: light of its planes does not add.",
            f"Use one of {', '.join(FLUORESCENT)}, or a single plane.",
        )
    volume = draw_layers(scene, (depth, *_canvas(shape)), rng, step)
    if scene.optics is not None:
        volume = image_volume(volume, scene.optics, step)
    volume = volume / max(float(np.percentile(volume, 99.8)), 1e-6)
    return _lit(volume, scene, shape, rng)


def _canvas(shape: tuple[int, int]) -> tuple[int, int]:
    height, width = (max(edge + 2 * _MARGIN, _DEFOCUSED_PSF_SIZE) for edge in shape)
    return height, width


def _lit(
    image: np.ndarray, scene: Scene, shape: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Return an image or stack with its contrast, haze, illumination and background, cut out."""
    canvas = image.shape[-2:]
    if scene.inverted:
        image = max(float(image.max()), 1.0) - image
    if scene.haze:
        image = (1 - scene.haze) * image + scene.haze * gaussian_blur(image, 0.08 * max(canvas))
    if scene.gradient:
        image = image * (1 - scene.gradient * _shading((canvas[0], canvas[1]), rng))
    top, left = ((have - want) // 2 for have, want in zip(canvas, shape, strict=True))
    cut = image[..., top : top + shape[0], left : left + shape[1]]
    return np.maximum(cut + np.float32(scene.background), 0).astype(np.float32)


def _shading(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a smooth field between 0 and 1."""
    field_of_view = smooth_noise(shape, rng, 0.25 * max(shape))
    low, high = float(field_of_view.min()), float(field_of_view.max())
    return np.asarray((field_of_view - low) / max(high - low, 1e-6), dtype=np.float32)
