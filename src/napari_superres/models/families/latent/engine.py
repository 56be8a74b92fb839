"""The loop of the latent diffusion upscalers; see `latent`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)

from napari_superres.errors import WeightsError
from napari_superres.models import strips
from napari_superres.models.families.latent import MULTIPLE, base_place
from napari_superres.models.families.supir.text import encode, open_encoder
from napari_superres.models.latent_tiles import lay_tiles
from napari_superres.models.parts import build_part, check_room, open_part, read_config
from napari_superres.models.plane_engine import (
    PlaneEngine,
    continued,
    enough_memory,
    stoppable,
)
from napari_superres.models.precision import torch_type
from napari_superres.models.workload import step_words
from napari_superres.progress import tick

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from napari_superres.models.catalog import ModelSpec
    from napari_superres.models.engine import Setting
    from napari_superres.models.families.latent import Settings
    from napari_superres.models.noise import PlaneNoise
    from napari_superres.models.plane_engine import Place


class Parts(NamedTuple):
    """A loaded model.

    Parameters
    ----------
    network, decoder : Module
        Denoises latents; turns them into pictures.
    schedule : DDIMScheduler
        Its settings; every plane has a copy of its own.
    words : Tensor, shape (2, tokens, width), or None
        Without and with the prompt; None for a model without words.
    degrade : DDPMScheduler or None
        Adds noise to the source.
    """

    network: Any
    decoder: Any
    schedule: Any
    words: Tensor | None = None
    degrade: Any = None


class LatentEngine(PlaneEngine):
    """A latent diffusion upscaler on a device.

    Parameters
    ----------
    name : str
    scale : int
    parts : Parts
    settings : Settings
    device : torch.device
    """

    advice = "Use a smaller latent_tile, or precision='bfloat16'."

    def __init__(
        self, name: str, scale: int, parts: Parts, settings: Settings, device: torch.device
    ) -> None:
        super().__init__(name, scale, device)
        self.parts = parts
        self.settings = settings

    def restore(self, plane: Tensor, noise: PlaneNoise, place: Place) -> Tensor:
        """Return a finer plane. See `PlaneEngine`."""
        height, width = plane.shape[1:]
        source = continued(plane[None] * 2 - 1, MULTIPLE)
        rows, columns = (
            slice(start, start + length)
            for start, length in zip((place.y, place.x), source.shape[-2:], strict=True)
        )

        def draw(purpose: str, step: int, channels: int) -> Tensor:
            values = noise.window(purpose, step, channels, rows, columns)
            return torch.from_numpy(values)[None].to(self.device)

        latent = self._sample(source.to(self.device), draw)
        fine = self._decode(latent).float().cpu()
        fine = (fine[0] + 1) / 2
        return fine[:, : self.scale * height, : self.scale * width]

    def _decode(self, latent: Tensor) -> Tensor:
        part = self.parts.decoder
        dtype = part.post_quant_conv.weight.dtype
        if isinstance(part, VQModel):
            latent = part.quantize(latent.to(dtype))[0]
        else:
            latent = (latent / part.config.scaling_factor).to(dtype)
        return strips.decode(part.decoder, part.post_quant_conv(latent))

    def _sample(self, source: Tensor, draw: Callable[[str, int, int], Tensor]) -> Tensor:
        settings = self.settings
        schedule = DDIMScheduler.from_config(self.parts.schedule.config)
        schedule.set_timesteps(settings.steps)
        level = None
        if self.parts.degrade is not None:
            level = torch.tensor([settings.noise_level], device=self.device)
            source = self.parts.degrade.add_noise(source, draw("degrade", 0, 3), level)
        channels = self.parts.network.config.in_channels - 3
        latent = draw("start", 0, channels) * schedule.init_noise_sigma
        height, width = latent.shape[-2:]
        tiles = lay_tiles(height, width, settings.latent_tile, settings.latent_stride)
        for index, t in enumerate(schedule.timesteps):
            scaled = torch.cat([schedule.scale_model_input(latent, t), source], dim=1)
            seen = torch.zeros_like(latent)
            for number, tile in enumerate(tiles):
                words = step_words(index, settings.steps, number, len(tiles))
                tick(index * len(tiles) + number, settings.steps * len(tiles), words)
                cut = (..., tile.rows, tile.columns)
                seen[cut] += self._predict(scaled[cut], t, level) * tile.weights.to(self.device)
            fresh = draw("step", index, channels) if settings.eta > 0 else None
            latent = schedule.step(
                seen, t, latent, eta=settings.eta, variance_noise=fresh, return_dict=False
            )[0]
        return latent

    def _predict(self, x: Tensor, t: Tensor, level: Tensor | None) -> Tensor:
        """Return what the network makes of one tile, guided by the words if it knows any."""
        network = self.parts.network
        x = x.to(next(network.parameters()).dtype)
        words = self.parts.words
        if words is None:
            return network(x, t).sample.float()
        words = words.to(x.device, x.dtype)
        assert level is not None, "models with words add noise to the source"
        if self.settings.guidance == 1:
            told = network(x, t, encoder_hidden_states=words[1:], class_labels=level)
            return told.sample.float()
        both = network(
            x.repeat(2, 1, 1, 1), t, encoder_hidden_states=words, class_labels=level.repeat(2)
        )
        without, told = both.sample.float().chunk(2)
        return without + (told - without) * self.settings.guidance


def load_latent(spec: ModelSpec, settings: Settings, setting: Setting) -> LatentEngine:
    """Return the upscaler of a row.

    Parameters
    ----------
    spec : ModelSpec
        The one named ``ldm-sr-x4`` has no words, the others have.
    settings : Settings
    setting : Setting
        Device and precision.

    Raises
    ------
    WeightsError
        If the model is not on this computer, or incomplete.
    ResourceError
        If memory does not suffice.
    """
    dtype = torch_type(setting.device, setting.precision)
    device = torch.device(setting.device)
    plain = spec.name.startswith("ldm-sr")
    folder = base_place(spec, setting.options)
    parts = _plain(folder, dtype) if plain else _worded(folder, settings, dtype)
    with enough_memory(spec.name, "its weights", device, LatentEngine.advice):
        for part in (parts.network.to(device), parts.decoder.to(device)):
            stoppable(part)
    return LatentEngine(spec.name, spec.scale, parts, settings, device)


def _plain(folder: Path, dtype: torch.dtype) -> Parts:
    schedule = _schedule(folder, "scheduler", DDIMScheduler)
    unet, vqvae = (open_part(folder, name) for name in ("unet", "vqvae"))
    check_room("LDM-SR", unet.numbers + vqvae.numbers, dtype)
    return Parts(build_part(unet, UNet2DModel, dtype), build_part(vqvae, VQModel, dtype), schedule)


def _worded(folder: Path, settings: Settings, dtype: torch.dtype) -> Parts:
    half = dtype != torch.float32
    schedule = _schedule(folder, "scheduler", DDIMScheduler)
    degrade = _schedule(folder, "low_res_scheduler", DDPMScheduler)
    unet, vae = (open_part(folder, name, half=half) for name in ("unet", "vae"))
    words = open_encoder(folder, half=half)
    check_room("Stable Diffusion x4", sum(p.numbers for p in (unet, vae, words)), dtype)
    # Stable Diffusion's autoencoders overflow in float16.
    careful = torch.bfloat16 if dtype == torch.float16 else dtype
    return Parts(
        build_part(unet, UNet2DConditionModel, dtype),
        build_part(vae, AutoencoderKL, careful),
        schedule,
        encode(words, (settings.negative_prompt, settings.prompt), dtype),
        degrade,
    )


def _schedule(folder: Path, name: str, kind: Any) -> Any:
    config = folder / name / "scheduler_config.json"
    if not config.is_file():
        raise WeightsError(
            f"'{folder}' is not a complete model: it lacks '{name}/scheduler_config.json'.",
            "Fetch the whole folder again.",
        )
    return kind.from_config(read_config(config))
