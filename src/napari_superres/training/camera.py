"""Cameras: from expected photons to the numbers in a file.

The chain is photons -> electrons (Poisson) -> amplification -> read noise -> gain and offset ->
rounding and saturation. See the EMVA 1288 standard for the model, and F. Huang et al., Nature
Methods 10, 653 (2013) for sCMOS sensors whose pixels differ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres.errors import SettingError
from napari_superres.models.noise_line import NoiseLine, noise_line
from napari_superres.training.finite import check_finite

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Camera:
    """How a sensor turns light into numbers.

    Parameters
    ----------
    photons : float or None
        Expected photo-electrons where the image equals 1. None is a camera without any noise.
    read_noise : float
        Standard deviation in electrons (median over pixels if they differ).
    gain : float
        Grey levels an electron.
    offset : float
        Grey levels without light.
    bits : int or None
        8, 12 or 16: rounded and saturated. None keeps fractions and does not saturate.
    pixel_spread : float
        0 for a CCD. For an sCMOS sensor, about 0.3: spread of the read noise's logarithm; gain and
        offset then differ from pixel to pixel too (1 % and half the read noise, times this
        number over 0.3).
    multiplication : float
        1 for ordinary sensors; about 1.41 for an EMCCD, whose amplifier adds noise.
    hot_pixels : float
        Share of pixels that are far too bright.

    Raises
    ------
    SettingError
        If a number is negative or not finite, or `bits` is none of the four choices.
    """

    photons: float | None = 1000.0
    read_noise: float = 1.6
    gain: float = 2.0
    offset: float = 100.0
    bits: int | None = 16
    pixel_spread: float = 0.0
    multiplication: float = 1.0
    hot_pixels: float = 0.0

    def __post_init__(self) -> None:
        check_finite(vars(self))
        if self.bits not in (None, 8, 12, 16):
            msg = f"bits={self.bits} is no camera's: use 8, 12, 16, or None for no rounding."
            raise SettingError(msg)
        if self.photons is not None and self.photons <= 0:
            msg = f"photons={self.photons} must be greater than 0, or None for no noise."
            raise SettingError(msg)
        if min(self.read_noise, self.pixel_spread, self.hot_pixels) < 0 or self.gain <= 0:
            msg = "read_noise, pixel_spread and hot_pixels must not be negative, gain must be > 0."
            raise SettingError(msg)
        if self.multiplication < 1:
            msg = f"multiplication={self.multiplication} must be at least 1."
            raise SettingError(msg)

    @property
    def levels_per_unit(self) -> float:
        """Return by how many grey levels an image value of 1 lies above an image value of 0."""
        return self.gain * (1000.0 if self.photons is None else self.photons)


CAMERAS: Mapping[str, Camera] = MappingProxyType(
    {
        "ccd": Camera(),
        "scmos": Camera(pixel_spread=0.3),
        "emccd": Camera(read_noise=0.5, multiplication=float(np.sqrt(2))),
        "ideal": Camera(photons=None, bits=None),
    }
)
"""Usual cameras by name; ``"ideal"`` has no noise and does not round."""

_FILLED = 0.8


def make_camera(name: str, **changes: Any) -> Camera:
    """Return a usual camera with some of its numbers changed.

    Parameters
    ----------
    name : str
        A key of `CAMERAS`.
    **changes
        Fields of `Camera`. Where `bits` is 8 or 12 and no `gain` is given, the gain is set so that
        an image value of 1 reaches 80 % of the range: what a careful user would do.

    Returns
    -------
    Camera

    Raises
    ------
    SettingError
        If there is no such camera, or a number is impossible.
    """
    if name not in CAMERAS:
        raise SettingError(f"camera={name!r} is unknown.", f"Use one of {', '.join(CAMERAS)}.")
    if changes.get("bits") in (8, 12):
        # A pedestal of 100 would be most of an 8-bit range.
        changes = {"offset": 10.0 if changes["bits"] == 8 else 100.0, **changes}
    camera = replace(CAMERAS[name], **changes)
    if camera.bits in (8, 12) and "gain" not in changes:
        room = _FILLED * (2**camera.bits - 1) - camera.offset
        if room <= 0:
            raise SettingError(
                f"offset={camera.offset:g} leaves no room for light in {camera.bits} bits.",
                "Use a smaller one.",
            )
        camera = replace(camera, gain=camera.gain * room / camera.levels_per_unit)
    return camera


def expose(image: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Return what a camera records of an image.

    Parameters
    ----------
    image : np.ndarray, shape (..., y, x)
        Expected light; 1 receives `camera.photons` photo-electrons. Negative light counts as none.
    camera : Camera
        The sensor.
    rng : np.random.Generator
        Source of all randomness, the sensor's own pixel maps included.

    Returns
    -------
    np.ndarray, shape (..., y, x), float32
        Grey levels; whole numbers within the range of `camera.bits` unless that is None.
    """
    levels = camera.gain * _electrons(image, camera, rng)
    if camera.pixel_spread and camera.photons is not None:
        strength = camera.pixel_spread / 0.3
        shape = image.shape[-2:]
        levels = levels * (1 + 0.01 * strength * rng.standard_normal(shape, np.float32))
        spread = 0.5 * strength * camera.read_noise * camera.gain
        levels = levels + spread * rng.standard_normal(shape, np.float32)
    levels = levels + camera.offset
    if camera.hot_pixels:
        hot = rng.random(image.shape[-2:], np.float32) < camera.hot_pixels
        excess = camera.levels_per_unit * rng.uniform(0.5, 5.0, image.shape[-2:])
        levels = np.where(hot, levels + excess, levels)
    if camera.bits is not None:
        levels = np.clip(np.rint(levels), 0, 2**camera.bits - 1)
    return np.asarray(levels, dtype=np.float32)


def noise_std(image: np.ndarray, camera: Camera) -> float:
    """Return the root-mean-square noise of a recorded image, in grey levels, as one expects it.

    Parameters
    ----------
    image : np.ndarray
        Expected light, as given to `expose`.
    camera : Camera
        The sensor.

    Returns
    -------
    float
        Of photons, amplification and read-out, which differ from exposure to exposure; 0 for a
        camera without noise. Hot pixels, the fixed pattern of an sCMOS sensor's gains and offsets,
        rounding and saturation are not counted.
    """
    if camera.photons is None:
        return 0.0
    shot = camera.multiplication**2 * camera.photons * float(np.mean(np.maximum(image, 0)))
    return float(np.sqrt(camera.gain**2 * shot + _read_variance(camera)))


def line_of(image: np.ndarray, camera: Camera) -> NoiseLine | None:
    """Return how the noise of a recorded image, as `noise_std` counts it, grows with brightness.

    Parameters
    ----------
    image : np.ndarray
        Expected light, as given to `expose`.
    camera : Camera
        The sensor.

    Returns
    -------
    NoiseLine or None
        None for a camera without noise.
    """
    slope = camera.gain * camera.multiplication**2
    mean = noise_std(image, camera) ** 2
    return noise_line(camera.offset, _read_variance(camera), slope, mean)


def _read_variance(camera: Camera) -> float:
    """Return the variance of the read noise in squared grey levels."""
    # The read noise of an sCMOS sensor is log-normal: its mean square exceeds the median's square.
    median = camera.gain * camera.read_noise
    return median**2 * float(np.exp(2 * camera.pixel_spread**2))


def _electrons(image: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Return amplified electrons with shot noise, excess noise and read noise."""
    light = np.maximum(image, 0)
    if camera.photons is None:
        return np.asarray(light * 1000.0, dtype=np.float32)
    electrons = rng.poisson(light * camera.photons).astype(np.float32)
    excess = camera.multiplication**2 - 1
    if excess > 0:
        # Each electron leaves the register as an exponential number of mean 1 (excess 1), so n of
        # them as a gamma number: M. Hirsch et al., PLoS ONE 8, e53671 (2013).
        electrons = rng.gamma(np.maximum(electrons, 1e-6) / excess, excess).astype(np.float32)
    read = np.float32(camera.read_noise)
    if camera.pixel_spread:
        shape = image.shape[-2:]
        read = read * np.exp(camera.pixel_spread * rng.standard_normal(shape, np.float32))
    noise = rng.standard_normal(image.shape, np.float32)
    return np.asarray(electrons + read * noise, dtype=np.float32)
