"""How a user's sharp images lose detail and gain noise: as said, or as a coarse image shows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_superres.errors import SettingError
from napari_superres.planning import canonical_axes
from napari_superres.training.finite import check_finite
from napari_superres.training.likeness import DOUBT, from_coarse
from napari_superres.training.own_images import gather, light_camera
from napari_superres.training.recording import Pair, area_mean, centres, degrade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.image import Image
    from napari_superres.training.camera import Camera
    from napari_superres.training.own_images import Piece

FAITHFUL, RESTORING = "faithful", "restoring"
"""Cases: a coarser grid alone, with `denoise=0`; and blur or noise too, the noise known."""

# As in the training of the embedded models, where nothing better is known.
_USUAL_BLUR, _USUAL_SPREAD = 0.6, 0.12
_USUAL_PHOTONS, _USUAL_READ_NOISE = (30.0, 20000.0), 1.6
# Noise below this, where light is 0.5, tells that an image was averaged or cleaned, and nothing of
# how a coarse one would be.
_CLEAN = 0.005


@dataclass(frozen=True)
class Degrading:
    """What is done to sharp images.

    Parameters
    ----------
    blur : float
        Standard deviation of the blur in source pixels, before sampling.
    blur_spread : float
        How far it varies from example to example.
    photons : tuple of float, or None
        Fewest and most photons in bright parts. None: as many as the sharp image's own noise
        tells, within a factor of three; for images without noise as in the embedded models'
        training.
    read_noise : float
        In electrons of a camera with these `photons`; used where they are given.
    noisy : bool
        Whether noise is added at all.
    faithful : float
        Share of examples without blur and added noise, for `denoise=0`.
    anyhow : float
        Share of the other examples with any noise, as in the embedded models' training, so that
        the result stays good at what it was good at.
    scanned : bool
        Whether a source pixel is the light at its centre, as where a confocal scans with wider
        steps, and not the mean over its area.
    """

    blur: float = _USUAL_BLUR
    blur_spread: float = _USUAL_SPREAD
    photons: tuple[float, float] | None = None
    read_noise: float = _USUAL_READ_NOISE
    noisy: bool = True
    faithful: float = 0.45
    anyhow: float = 0.25
    scanned: bool = False

    def __post_init__(self) -> None:
        check_finite(vars(self))
        if not 0 <= self.faithful <= 1:
            raise SettingError(f"faithful={self.faithful} must lie between 0 and 1.")
        if not 0 <= self.blur <= 2:
            raise SettingError(f"blur={self.blur} must lie between 0 and 2 source pixels.")
        if self.photons is not None and not 0 < self.photons[0] <= self.photons[1] < math.inf:
            raise SettingError(
                f"photons={self.photons} must be finite and greater than 0, the fewest before the "
                "most."
            )

    def __str__(self) -> str:
        """Say what is done."""
        parts = ["sampling at the centres of wider pixels"] * self.scanned
        if self.blur or not self.scanned:
            parts.append(f"a blur of {self.blur:.2f} source pixels")
        if not self.noisy:
            parts.append("no noise")
        elif self.photons is None:
            parts.append("about as much noise as they hold")
        else:
            parts.append("noise of {:.3g} to {:.3g} photons".format(*self.photons))
            if self.read_noise**2 > 0.5 * math.sqrt(math.prod(self.photons)):
                parts.append(f"which {self.read_noise:.3g} electrons of other noise exceed")
        share = f"{100 * self.faithful:.0f} % of the examples"
        parts.append(f"and in {share} by a coarser {self._grid} alone")
        return ", ".join(parts) + "."

    @property
    def cases(self) -> tuple[str, ...]:
        """Return what a model learns and is judged by."""
        restores = self.faithful < 1 and (self.noisy or self.blur > 0)
        return (FAITHFUL,) * (self.faithful > 0 or not restores) + (RESTORING,) * restores

    @property
    def described(self) -> dict[str, str]:
        """Return the cases in words that follow "a gain of so much"."""
        lost = " and ".join(["blur"] * (self.blur > 0) + ["noise"] * self.noisy)
        words = {FAITHFUL: f"on a coarser {self._grid} alone", RESTORING: f"with {lost}"}
        return {case: words[case] for case in self.cases}

    @property
    def _grid(self) -> str:
        return "scan" if self.scanned else "grid"

    def camera(self, piece: Piece, rng: np.random.Generator | None = None) -> Camera:
        """Return a camera for a piece; the middle of its range if nothing random is wanted."""
        if not self.noisy:
            return light_camera(None)
        few, many, read_noise = *(self.photons or _USUAL_PHOTONS), self.read_noise
        if self.photons is None and _std(piece.camera) >= _CLEAN:
            assert piece.camera.photons is not None
            few, many = piece.camera.photons / DOUBT, piece.camera.photons * DOUBT
            read_noise = piece.camera.read_noise
        share = 0.5 if rng is None else float(rng.random())
        photons = float(np.exp(np.log(few) + share * np.log(many / few)))
        return light_camera(photons, read_noise)

    def restoring(self, piece: Piece, scale: int, rng: np.random.Generator) -> Pair:
        """Return the pair by which a model is judged: the middle blur, the middle camera."""
        return self._lost(piece.light, scale, rng, self.camera(piece), self.blur)

    def random(self, light: np.ndarray, piece: Piece, scale: int, rng: np.random.Generator) -> Pair:
        """Return a pair to learn from, of a part of a piece."""
        if rng.random() < self.faithful:
            return self.coarser(light, scale)
        sigma = float(np.clip(rng.normal(self.blur, self.blur_spread), 0, 2))
        camera = self.camera(piece, rng)
        if rng.random() < self.anyhow:
            usual = Degrading(photons=_USUAL_PHOTONS)
            camera = usual.camera(piece, rng)
        return self._lost(light, scale, rng, camera, sigma)

    def coarser(self, light: np.ndarray, scale: int) -> Pair:
        """Return the pair of a coarser grid alone: no blur, no noise but the sharp image's own."""
        return Pair(self.sampled(light, scale), light, scale, 0.0)

    def sampled(self, light: np.ndarray, scale: int) -> np.ndarray:
        """Return light on the coarser grid."""
        if not self.scanned:
            return area_mean(light, scale)
        dark = min(float(light.min()), 0.0)  # `centres` knows no negative light
        return centres(light - dark, scale) + np.float32(dark)

    def _lost(
        self,
        light: np.ndarray,
        scale: int,
        rng: np.random.Generator,
        camera: Camera,
        sigma: float,
    ) -> Pair:
        return degrade(light, scale, rng, camera=camera, blur_sigma=sigma, scanned=self.scanned)


def degrading_for(
    images: Sequence[Image],
    scale: int,
    *,
    like: Sequence[Image] = (),
    blur: float | None = None,
    photons: tuple[float, float] | Literal["none"] | None = None,
    faithful: float | None = None,
    scanned: bool = False,
) -> Degrading:
    """Return how sharp images are degraded: as is usual, as a coarse image shows, or as is said.

    Parameters
    ----------
    images : sequence of Image
        Sharp.
    scale : int
        Scale factor that is to be learned.
    like : sequence of Image
        Real coarse images of such specimens, see `likeness`.
    blur : float, optional
        In source pixels.
    photons : (float, float) or "none", optional
        Fewest and most in bright parts.
    faithful : float, optional
        Share of examples on a coarser grid alone.
    scanned : bool
        Whether coarse images are scans with wider steps, through the same optics: sampled at the
        centres of pixels, and not blurred unless `blur` says so.

    Returns
    -------
    Degrading
    """
    found = Degrading(blur=0.0, blur_spread=0.0, scanned=True) if scanned else Degrading()
    if like:
        coarse = [image.transposed(canonical_axes(image.axes)) for image in like]
        found = from_coarse(coarse, gather(images, scale, 0).training, scale, found)
    if blur is not None:
        found = replace(found, blur=blur, blur_spread=min(_USUAL_SPREAD, 0.1 * blur))
    if photons == "none":
        # Told of no noise, a network cannot know whether it shall remove blur.
        found = replace(found, noisy=False, faithful=0.0 if found.blur else 1.0, anyhow=0.0)
    elif photons is not None:
        found = replace(found, photons=photons, read_noise=_USUAL_READ_NOISE, anyhow=0.0)
    return found if faithful is None else replace(found, faithful=faithful)


def _std(camera: Camera) -> float:
    """Return the noise of a camera where light is 0.5."""
    assert camera.photons is not None
    return float(np.sqrt(0.5 * camera.photons + camera.read_noise**2) / camera.photons)
