"""From a plane to its restored, finer plane."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_superres.models.families.supir.colour import FIXES
from napari_superres.models.families.supir.denoising import Guidance, WordGuided
from napari_superres.models.families.supir.samplers import SAMPLERS, Course
from napari_superres.models.families.supir.sizes import MULTIPLE, working_size
from napari_superres.models.latent_tiles import lay_tiles
from napari_superres.models.plane_engine import Place, continued, resize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from napari_superres.models.families.supir.autoencoder import DoubleAutoencoder
    from napari_superres.models.families.supir.network import Conditioning, Network
    from napari_superres.models.families.supir.settings import Settings
    from napari_superres.models.noise import PlaneNoise


@dataclass(frozen=True)
class Pipeline:
    """SUPIR on a device.

    Parameters
    ----------
    network : Network
    autoencoder : DoubleAutoencoder
    settings : Settings
    device : torch.device
    factor, latent : int
        Pixels along an edge of a latent, and its channels.
    words : callable
        From a text to its conditioning.
    """

    network: Network
    autoencoder: DoubleAutoencoder
    settings: Settings
    device: torch.device
    factor: int
    latent: int
    words: Callable[[str], Conditioning]

    def restore(
        self,
        plane: Tensor,
        scale: int,
        noise: PlaneNoise,
        place: Place,
        describe: Callable[[Tensor], str] | None = None,
    ) -> Tensor:
        """Return a plane `scale` times finer.

        Parameters
        ----------
        plane : Tensor, shape (3, y, x), float32
            Between 0 and 1.
        scale : int
        noise : PlaneNoise
            Where all random numbers come from.
        place : Place
        describe : callable, optional
            From the picture of stage 1, shape (1, 3, y, x) between -1 and 1, to words that go
            before the prompt.

        Returns
        -------
        Tensor, shape (3, scale * y, scale * x), float32
            About between 0 and 1, not clipped; on the CPU.

        Raises
        ------
        Cancelled
            Between two calls of the network, if whoever listens to `tick` wants it.
        """
        image = enlarged(plane, scale, self.settings.smallest, part=place.part).to(self.device)
        # Parts begin at whole latents: their lattice is one of `ModelSpec.multiple` pixels.
        first = place.y * scale // self.factor, place.x * scale // self.factor
        draw = self._drawing(noise, first, image.shape[-2:])
        hint, picture, centre = self._first_stage(image, draw, describe is not None)
        text = describe(picture) if describe is not None and picture is not None else ""
        latent = self._sample(hint, centre, draw, text)
        with self._at_work(self.autoencoder):
            result = self.autoencoder.decode(latent)
        reference = image if picture is None or self.settings.reference == "input" else picture
        if self.settings.colour in FIXES:
            result = FIXES[self.settings.colour](result, reference)
        return brought_back(result, plane, scale, part=place.part)

    def _first_stage(
        self, image: Tensor, draw: Callable[[str, int], Tensor], described: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return hint, picture and centre; what the settings do not need is not computed."""
        settings = self.settings
        with self._at_work(self.autoencoder):
            hint = self.autoencoder.hint(image)
            if settings.restoration <= 0 and settings.reference == "input" and not described:
                return hint, None, None
            picture = self.autoencoder.decode(hint)
            centre = self.autoencoder.sample(picture, draw("posterior", 0))
        return hint, picture, centre

    def _sample(
        self,
        hint: Tensor,
        centre: Tensor | None,
        draw: Callable[[str, int], Tensor],
        text: str,
    ) -> Tensor:
        settings = self.settings
        height, width = hint.shape[-2:]
        denoise = WordGuided(
            self.network,
            hint,
            # Nothing between caption and prompt, as in the original.
            self.words(text + settings.positive),
            self.words(settings.negative),
            Guidance(settings.guidance, settings.guidance_start),
            lay_tiles(height, width, settings.latent_tile, settings.latent_stride),
            settings.steps,
        )
        course = Course(
            steps=settings.steps,
            churn=settings.churn,
            churn_noise=settings.churn_noise,
            control=settings.control,
            control_start=settings.control_start,
            restoration=settings.restoration,
            eta=settings.eta,
        )
        sampler = SAMPLERS[settings.sampler]
        with self._at_work(self.network):
            return sampler(
                draw("start", 0), denoise, lambda step: draw("churn", step), course, centre
            )

    def _drawing(
        self, noise: PlaneNoise, first: tuple[int, int], size: Sequence[int]
    ) -> Callable[[str, int], Tensor]:
        """Return a function that draws the noise of all latents for a purpose and a step."""
        rows, columns = (
            slice(start, start + length // self.factor)
            for start, length in zip(first, size, strict=True)
        )

        def draw(purpose: str, step: int) -> Tensor:
            values = noise.window(purpose, step, self.latent, rows, columns)
            return torch.from_numpy(values)[None].to(self.device)

        return draw

    @contextmanager
    def _at_work(self, part: nn.Module) -> Iterator[None]:
        """Keep a part on the device only while it is used, if it waits in main memory."""
        waits = self.settings.offload == "parts" or (
            self.settings.offload == "layers" and part is self.autoencoder
        )
        if waits:
            part.to(self.device)
        try:
            yield
        finally:
            if waits:
                part.to("cpu")


def enlarged(plane: Tensor, scale: int, smallest: int, *, part: bool) -> Tensor:
    """Return a plane as the network sees it.

    A whole plane in its `working_size`. A part of a larger one exactly `scale` times finer and
    continued by reflection, so that its latents lie where those of its neighbours do.

    Parameters
    ----------
    plane : Tensor, shape (3, y, x), float32
        Between 0 and 1.
    scale, smallest : int
        As for `working_size`.
    part : bool

    Returns
    -------
    Tensor, shape (1, 3, y', x'), float32
        Between -1 and 1.
    """
    image = plane[None] * 2 - 1
    if part:
        image, smallest = continued(image, MULTIPLE // scale), 0
    height, width = image.shape[-2:]
    return resize(image, working_size(height, width, scale, smallest)).clamp(-1, 1)


def brought_back(result: Tensor, plane: Tensor, scale: int, *, part: bool) -> Tensor:
    """Return what the network made of a plane, `scale` times as long as the plane.

    Parameters
    ----------
    result : Tensor, shape (1, 3, y', x'), float32
        Between about -1 and 1, of the size of what `enlarged` returns.
    plane : Tensor, shape (3, y, x)
    scale : int
    part : bool

    Returns
    -------
    Tensor, shape (3, scale * y, scale * x), float32
        Between about 0 and 1; on the CPU.
    """
    height, width = (scale * length for length in plane.shape[1:])
    result = result.cpu()
    fine = result[..., :height, :width] if part else resize(result, (height, width))
    return (fine[0] + 1) / 2
