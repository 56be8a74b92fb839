"""The endless stream of training examples: what step number n is trained on.

Everything follows from ``(seed, number)``: scene 17 is the same scene in every run, and step 400
sees the same batch whether the training was interrupted or not. Scenes are drawn once and kept on
disk; each is then degraded afresh, many times, with another crop, blur and camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_superres.models.camera_noise import measure_noise
from napari_superres.models.noise_line import noise_map
from napari_superres.training.camera import Camera, expose
from napari_superres.training.optics import MODALITIES, Optics
from napari_superres.training.recording import Pair, area_mean, degrade
from napari_superres.training.simulate import FLUORESCENT, Scene, draw

# How often each kind is drawn. Granular and EM-like textures are over-represented on purpose:
# networks trained without them smooth such textures away.
_KINDS = {
    "filaments": 0.11,
    "nuclei": 0.13,
    "puncta": 0.07,
    "membranes": 0.08,
    "mitochondria": 0.07,
    "reticulum": 0.04,
    "rods": 0.04,
    "phase-contrast": 0.06,
    "transmission": 0.05,
    "tissue": 0.06,
    "electron": 0.10,
    "granular": 0.09,
    "fragments": 0.07,
    "lines": 0.03,
}
_SCENE_STREAM, _STEP_STREAM = 1, 2
LOCALLY = 0.85
"""Usual share of noisy examples that are told the noise around each pixel. The others are told one
number, as images are whose noise hardly grows with brightness."""
MEASURED = 0.3
"""Usual share of noisy examples whose noise is measured, as that of a user's image is. On a coarse
scan, where folded detail looks like noise, that is up to three times too much; the others are told
about as much noise as there is."""
BEFORE = {"scanned": 0.0, "locally_told": 0.0, "measured": 0.0}
"""What older checkpoints do not say of their examples."""


@dataclass(frozen=True)
class StreamSettings:
    """What the stream is made of.

    Parameters
    ----------
    seed : int
        Of everything.
    patch : int
        Edge of a source patch, in source pixels.
    batch : int
        Examples for each scale factor in a step.
    scales : tuple of int
        Scale factors.
    edge : int
        Edge of a scene in truth pixels; at least `patch` times the largest scale factor.
    first_scenes : int
        How many scenes step 0 chooses from.
    scenes_a_step : float
        By how many that number grows with each step.
    most_scenes : int
        Where it stops growing.
    faithful : float
        Share of examples without blur whose noise belongs to the target.
    sharp : float
        Share of the other examples that are not blurred either, but are noisy.
    scanned : float
        Share of the other examples that are sampled at the centres of pixels, without blur, as
        where a confocal scans with wider steps; detail finer than the steps folds into coarser.
    measured : float
        Share of the other examples that are told the noise that is measured.
    locally_told : float
        Share of those that are not that are told the noise around each pixel, not one number.
    blur : tuple of float
        Mean and standard deviation of the blur's sigma in source pixels, where there is one. A
        sharp specimen behind a wide PSF and a smooth one behind a narrow PSF can give the same
        image: this is what decides between them. 0.6 is a PSF sampled about as Nyquist asks.
    """

    seed: int = 0
    patch: int = 96
    batch: int = 3
    scales: tuple[int, ...] = (2, 4)
    edge: int = 384
    first_scenes: int = 256
    scenes_a_step: float = 0.25
    most_scenes: int = 12000
    faithful: float = 0.45
    sharp: float = 0.2
    scanned: float = 0.12
    measured: float = MEASURED
    locally_told: float = LOCALLY
    blur: tuple[float, float] = (0.6, 0.12)


@dataclass(frozen=True)
class Batch:
    """Examples for one scale factor, each in units of its source's standard deviation.

    Parameters
    ----------
    source : np.ndarray, shape (n, 1, y, x), float32
        Mean 0 and standard deviation 1 each.
    noise : np.ndarray, shape (n, 1, y, x), float32
        What the network is told about the noise around each pixel; 0 for a faithful
        reconstruction.
    truth : np.ndarray, shape (n, 1, scale * y, scale * x), float32
        The target, in the same units.
    scale : int
        Scale factor.
    """

    source: np.ndarray
    noise: np.ndarray
    truth: np.ndarray
    scale: int


def make_step(settings: StreamSettings, step: int, folder: str) -> list[Batch]:
    """Return what a step is trained on, one batch for each scale factor.

    Parameters
    ----------
    settings : StreamSettings
        The stream.
    step : int
        Number of the step.
    folder : str
        Where scenes are kept.

    Returns
    -------
    list of Batch
    """
    rng = np.random.default_rng([settings.seed, _STEP_STREAM, step])
    grown = settings.first_scenes + int(step * settings.scenes_a_step)
    available = min(settings.most_scenes, grown)
    batches = []
    for scale in settings.scales:
        examples = []
        for _ in range(settings.batch):
            light = scene(settings, int(rng.integers(available)), Path(folder))
            light = _crop(light, settings.patch * scale, rng)
            faithful = rng.random() < settings.faithful
            scanned, sigma = (False, 0.0) if faithful else _sampling(settings, rng)
            examples.append(
                example(
                    light,
                    scale,
                    faithful=faithful,
                    blur_sigma=sigma,
                    scanned=scanned,
                    measured=settings.measured,
                    locally=settings.locally_told,
                    rng=rng,
                )
            )
        source, noise, truth = (np.stack(part) for part in zip(*examples, strict=True))
        batches.append(Batch(source[:, None], noise[:, None], truth[:, None], scale))
    return batches


def scene(settings: StreamSettings, number: int, folder: Path) -> np.ndarray:
    """Return a scene's light, from disk if it has been drawn before.

    Parameters
    ----------
    settings : StreamSettings
        The stream.
    number : int
        Which scene.
    folder : Path
        Where scenes are kept.

    Returns
    -------
    np.ndarray, shape (edge, edge), float32
    """
    path = folder / f"scene-{settings.seed}-{settings.edge}-{number:06d}.npy"
    if path.exists():
        return np.asarray(np.load(path), dtype=np.float32)
    rng = np.random.default_rng([settings.seed, _SCENE_STREAM, number])
    light = draw(random_scene(rng), (settings.edge, settings.edge), rng).astype(np.float16)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part.npy")
    np.save(unfinished, light)
    unfinished.replace(path)
    return light.astype(np.float32)


def random_scene(rng: np.random.Generator, kind: str | None = None) -> Scene:
    """Return a scene as found in laboratories: any specimen, objective, pixel size and haze.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness.
    kind : str or None
        What to draw; None leaves it to chance.

    Returns
    -------
    Scene
    """
    if kind is None:
        weights = np.array(list(_KINDS.values()))
        kind = str(rng.choice(list(_KINDS), p=weights / weights.sum()))
    optics = random_optics(rng) if rng.random() < 0.9 else None
    planes: list[float] = []
    if optics is not None and rng.random() < 0.5:
        # Depth of field: about wavelength * index / NA^2.
        depth = optics.wavelength * optics.refractive_index / optics.na**2
        planes = list(depth * rng.uniform(0.7, 3.0, rng.integers(1, 3)) * rng.choice([-1, 1]))
    fluorescent = kind in FLUORESCENT
    return Scene(
        kind=kind,
        size=float(np.exp(rng.uniform(np.log(0.7), np.log(3.0)))),
        optics=optics,
        planes=planes,
        background=float(rng.choice([0.0, 0.02, 0.1, 0.3], p=[0.2, 0.4, 0.3, 0.1])),
        haze=float(rng.uniform(0, 0.5)) if rng.random() < 0.3 else 0.0,
        gradient=float(rng.uniform(0, 0.6)) if rng.random() < 0.3 else 0.0,
        inverted=bool(rng.random() < (0.05 if fluorescent else 0.25)),
    )


def random_optics(rng: np.random.Generator) -> Optics:
    """Return an objective, a wavelength and a truth pixel that samples them well or badly."""
    na = float(rng.choice([0.3, 0.5, 0.75, 0.95, 1.2, 1.4, 1.49]))
    index = 1.0 if na < 1 else (1.33 if na == 1.2 else 1.515)
    wavelength = float(rng.uniform(0.45, 0.7))
    fwhm = float(np.exp(rng.uniform(np.log(1.0), np.log(5.0))))  # in truth pixels
    names = ("astigmatism", "coma", "spherical", "trefoil")
    wrong = {name: float(rng.normal(0, 0.05)) for name in names} if rng.random() < 0.5 else {}
    return Optics(
        modality=str(rng.choice(MODALITIES, p=[0.5, 0.35, 0.15])),
        na=na,
        wavelength=wavelength,
        pixel_size=0.51 * wavelength / na / fwhm,
        refractive_index=index,
        excitation=0.92 * wavelength,
        pinhole=float(rng.uniform(0.5, 2.0)),
        sheet=float(rng.uniform(1, 5)) * wavelength * index / na**2,
        aberrations=wrong,
    )


def random_camera(rng: np.random.Generator, fewest: float, most: float) -> Camera:
    """Return a camera; photons are as likely between 10 and 100 as between 100 and 1000."""
    electron_multiplying = rng.random() < 0.1
    return Camera(
        photons=float(np.exp(rng.uniform(np.log(fewest), np.log(most)))),
        read_noise=float(rng.uniform(0.2, 0.8) if electron_multiplying else rng.uniform(0.8, 4.0)),
        gain=2.0,
        offset=100.0,
        bits=None if rng.random() < 0.3 else 16,
        pixel_spread=0.3 if rng.random() < 0.3 else 0.0,
        multiplication=float(np.sqrt(2)) if electron_multiplying else 1.0,
        hot_pixels=1e-4 if rng.random() < 0.05 else 0.0,
    )


def example(
    light: np.ndarray,
    scale: int,
    *,
    faithful: bool,
    blur_sigma: float,
    scanned: bool,
    measured: float,
    locally: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a source, what is told about its noise, and the target.

    Parameters
    ----------
    light : np.ndarray, shape (scale * y, scale * x), float32
        A sharp image.
    scale : int
        Scale factor.
    faithful : bool
        True: the target is a picture with its camera's noise, the source its area mean, and the
        network is told that there is nothing to remove.
        False: the source is blurred and noisy.
    blur_sigma : float
        In source pixels; not used for a faithful example.
    scanned : bool
        Whether it is sampled at the centres of pixels; not used for a faithful example.
    measured, locally : float
        As for `told`; not used for a faithful example.
    rng : np.random.Generator
        Source of randomness.

    Returns
    -------
    source, noise, truth
        In units in which the source has mean 0 and standard deviation 1. The noise has the shape
        of the source.
    """
    noisy_truth = rng.random() < (0.7 if faithful else 0.4)
    if noisy_truth:
        # A sharp micrograph that somebody took: its grain is part of what was there.
        camera = random_camera(rng, 50 if faithful else 150, 6000)
        recorded = expose(light, camera, rng)
        light = (recorded - camera.offset) / camera.levels_per_unit
    if faithful:
        source, truth = area_mean(light, scale), light
        noise = np.zeros_like(source)
        if rng.random() < 0.3:  # stored in 8 bits
            step = max(float(np.ptp(source)), 1e-6) / rng.uniform(100, 255)
            source = np.rint(source / step) * step
    else:
        camera = random_camera(rng, 30, 20000)
        pair = degrade(light, scale, rng, camera=camera, blur_sigma=blur_sigma, scanned=scanned)
        source, truth = pair.source, pair.truth
        noise = told(pair, rng, measured, locally)
    return in_own_units(source, noise, truth)


def told(
    pair: Pair, rng: np.random.Generator, measured: float = MEASURED, locally: float = LOCALLY
) -> np.ndarray:
    """Return the noise of a source as well as it can be known from one image.

    Parameters
    ----------
    pair : Pair
        Of one plane. Where no noise was added, none is told.
    rng : np.random.Generator
        Source of randomness.
    measured : float
        How likely it is what `measure_noise` finds, and not about what there is.
    locally : float
        If not, how likely it is that around each pixel; otherwise it is the same everywhere.

    Returns
    -------
    np.ndarray, shape (y, x), float32
    """
    if pair.noise and rng.random() < measured:
        found = measure_noise([pair.source])
        if found.std:
            return noise_map(pair.source, found.std, found.line)
    doubt = float(np.exp(rng.normal(0, 0.15)))
    line = pair.line
    if line is None or rng.random() >= locally:
        return noise_map(pair.source, doubt * pair.noise, None)
    line = line._replace(floor=line.floor * float(np.exp(rng.normal(0, 0.3))))
    return noise_map(pair.source, doubt * pair.noise, line)


def in_own_units(
    source: np.ndarray, noise: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an example in units in which its source has mean 0 and standard deviation 1."""
    spread = max(float(source.std()), 1e-6)
    mean = np.float32(source.mean())
    return (
        ((source - mean) / spread).astype(np.float32),
        (noise / spread).astype(np.float32),
        ((truth - mean) / spread).astype(np.float32),
    )


def _sampling(settings: StreamSettings, rng: np.random.Generator) -> tuple[bool, float]:
    """Return whether a restoring example is scanned, and the sigma of its blur."""
    way = rng.random()
    if way < settings.scanned + settings.sharp:
        return way < settings.scanned, 0.0
    return False, float(np.clip(rng.normal(*settings.blur), 0.3, 0.9))


def _crop(light: np.ndarray, edge: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random square, turned and mirrored at random."""
    top, left = rng.integers(0, np.array(light.shape) - edge + 1)
    square = light[top : top + edge, left : left + edge]
    square = np.rot90(square, int(rng.integers(4)))
    return np.ascontiguousarray(square[::-1] if rng.random() < 0.5 else square)
