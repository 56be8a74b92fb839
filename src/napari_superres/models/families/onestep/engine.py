"""The one call of the one-step restorers; see the package."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from napari_superres.models import strips
from napari_superres.models.families.onestep import base_place
from napari_superres.models.families.onestep.lora import merge, read_changes
from napari_superres.models.families.supir.colour import FIXES
from napari_superres.models.families.supir.pipeline import brought_back, enlarged
from napari_superres.models.families.supir.text import encode, open_encoder
from napari_superres.models.latent_tiles import lay_tiles
from napari_superres.models.parts import build_part, check_room, open_part, open_tensors
from napari_superres.models.plane_engine import (
    PlaneEngine,
    enough_memory,
    stoppable,
)
from napari_superres.models.precision import torch_type
from napari_superres.models.workload import step_words
from napari_superres.progress import tick

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from napari_superres.models.catalog import ModelSpec
    from napari_superres.models.engine import Setting
    from napari_superres.models.families.onestep import Recipe, Settings
    from napari_superres.models.noise import PlaneNoise
    from napari_superres.models.plane_engine import Place


class OneStepEngine(PlaneEngine):
    """A one-step restorer on a device. Nothing is random: every sample is the same.

    Parameters
    ----------
    name : str
    scale : int
    networks : sequence of (Module, float)
        Networks, and how much what each sees is counted.
    autoencoder : AutoencoderKL
    words : Tensor, shape (1, tokens, width)
    step : int
        Time step that the networks are told.
    settings : Settings
    device : torch.device
    """

    advice = "Use a smaller latent_tile, or precision='bfloat16'."

    def __init__(
        self,
        name: str,
        scale: int,
        networks: list[tuple[Any, float]],
        autoencoder: Any,
        words: Tensor,
        step: int,
        settings: Settings,
        device: torch.device,
    ) -> None:
        super().__init__(name, scale, device)
        self.networks = networks
        self.autoencoder = autoencoder
        self.words = words
        self.step = step
        self.settings = settings

    def restore(self, plane: Tensor, noise: PlaneNoise, place: Place) -> Tensor:
        """Return a finer plane. See `PlaneEngine`."""
        image = enlarged(plane, self.scale, self.settings.smallest, part=place.part)
        image = image.to(self.device)
        dtype = self.autoencoder.post_quant_conv.weight.dtype
        scaling = self.autoencoder.config.scaling_factor
        # The likeliest latent and not a drawn one, so that a plane always has the same result.
        moments = self.autoencoder.quant_conv(strips.encode(self.autoencoder.encoder, image))
        latent = moments.chunk(2, dim=1)[0].float() * scaling
        clean = latent - self._seen(latent)
        decoded = self.autoencoder.post_quant_conv((clean / scaling).to(dtype))
        result = strips.decode(self.autoencoder.decoder, decoded).float()
        if self.settings.colour in FIXES:
            result = FIXES[self.settings.colour](result, image)
        return brought_back(result, plane, self.scale, part=place.part)

    def _seen(self, latent: Tensor) -> Tensor:
        """Return what the networks take for degradation, fused from tiles."""
        settings = self.settings
        height, width = latent.shape[-2:]
        tiles = lay_tiles(height, width, settings.latent_tile, settings.latent_stride)
        seen = torch.zeros_like(latent)
        t = torch.tensor([self.step], device=latent.device)
        calls = len(tiles) * len(self.networks)
        for number, tile in enumerate(tiles):
            cut = (..., tile.rows, tile.columns)
            for index, (network, share) in enumerate(self.networks):
                done = number * len(self.networks) + index
                tick(done, calls, step_words(0, 1, done, calls))
                dtype = network.conv_out.weight.dtype
                words = self.words.to(latent.device, dtype)
                found = network(latent[cut].to(dtype), t, encoder_hidden_states=words)
                seen[cut] += found.sample.float() * (tile.weights.to(latent.device) * share)
        return seen


def load_onestep(
    spec: ModelSpec, path: Path, recipe: Recipe, settings: Settings, setting: Setting
) -> OneStepEngine:
    """Return the restorer of a row.

    Parameters
    ----------
    spec : ModelSpec
    path : Path
        The published changes of weights; nothing in the file is executed.
    recipe : Recipe
    settings : Settings
    setting : Setting
        Device and precision.

    Raises
    ------
    WeightsError
        If a part is not on this computer, incomplete, or of another network.
    ResourceError
        If memory does not suffice.
    """
    dtype = torch_type(setting.device, setting.precision)
    device = torch.device(setting.device)
    tensors = open_tensors(path, recipe.under)
    changes = [read_changes(tensors, end, str(path)) for end in (recipe.fidelity, recipe.looks)]
    folder = base_place(spec, setting.options)
    half = dtype != torch.float32
    unet, vae = (open_part(folder, name, half=half) for name in ("unet", "vae"))
    words = open_encoder(folder, half=half)
    shares = _shares(settings)
    # Changes are added in float32, and one of two networks is a copy.
    numbers = unet.numbers * len(shares) + vae.numbers + words.numbers
    check_room(spec.name, numbers, torch.float32, halves=False)
    network = build_part(unet, UNet2DConditionModel, torch.float32)
    merge(network, changes[0], recipe.alpha, str(path))
    networks = []
    # Stable Diffusion's autoencoders overflow in float16.
    careful = torch.bfloat16 if dtype == torch.float16 else dtype
    with enough_memory(spec.name, "its weights", device, OneStepEngine.advice):
        for both, share in shares:
            own = network
            if both:
                merge(network, changes[1], recipe.alpha, str(path))
            elif len(shares) > 1:
                own = copy.deepcopy(network)
            networks.append((own.to(device, dtype), share))
        autoencoder = build_part(vae, AutoencoderKL, careful).to(device)
    told = encode(words, (settings.prompt,), dtype)
    for part in (autoencoder, *(network for network, _ in networks)):
        stoppable(part)
    return OneStepEngine(
        spec.name, spec.scale, networks, autoencoder, told, recipe.step, settings, device
    )


def _shares(settings: Settings) -> list[tuple[bool, float]]:
    """Return the networks that are needed (whether with both changes), and their shares.

    With p what the faithful network sees and b what the one with both changes sees, the result is
    fidelity * p + looks * (b - p); at equal dials the faithful one need not be called, and without
    looks the other one.
    """
    shares = [(False, settings.fidelity - settings.looks), (True, settings.looks)]
    return [(both, share) for both, share in shares if share != 0] or shares[:1]
