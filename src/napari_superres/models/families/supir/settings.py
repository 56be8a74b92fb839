"""The options of SUPIR, as one value."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_superres.errors import SettingError
from napari_superres.models.captions import parse_captions
from napari_superres.models.families.supir.prompts import PRESETS

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Settings:
    """What SUPIR is told beside an image. Names and defaults are those of the options of its rows.

    Parameters
    ----------
    preset : {"microscopy", "photo"}
        Prompts to start from, and whether colours come from the input or from stage 1.
    prompt, negative_prompt : str
        In place of the preset's, unless empty.
    captioner : str
        A transformers model that describes each plane, by folder or id; its text goes before the
        prompt. Empty for none.
    captions : str
        Texts for planes, in place of what the captioner would say: see `captions.parse_captions`.
    steps : int
        Calls of the network.
    sampler : {"edm", "dpmpp2m"}
        The second needs fewer steps.
    guidance, guidance_start : float
        How much the words count, at the end and at the beginning.
    control, control_start : float
        How much the degraded image counts, at the end and at the beginning.
    restoration : float
        How soon the pull towards the picture of stage 1 fades; 0 for no pull.
    churn, churn_noise : float
        Noise added during sampling with ``edm``, and its factor.
    eta : float
        Share of fresh noise in sampling with ``dpmpp2m``.
    latent_tile, latent_stride : int
        Tiles fused at every step, in latents (8 pixels each).
    smallest : int
        Smaller planes are enlarged to this short side for the network and reduced afterwards.
    colour : {"wavelet", "adain", "none"}
        How colours are taken over from the reference.
    base, tokenizer : str
        SDXL checkpoint (file, folder or id) and folder or id of its tokenizer. Empty looks in the
        usual places.
    offload : {"none", "parts", "layers"}
        What waits in main memory: nothing, parts that have nothing to do, or each layer.
    """

    preset: str = "microscopy"
    prompt: str = ""
    negative_prompt: str = ""
    captioner: str = ""
    captions: str = ""
    steps: int = 50
    sampler: str = "edm"
    guidance: float = 4.0
    guidance_start: float = 1.0
    control: float = 1.0
    control_start: float = 1.0
    restoration: float = 4.0
    churn: float = 5.0
    churn_noise: float = 1.01
    eta: float = 1.0
    latent_tile: int = 128
    latent_stride: int = 64
    smallest: int = 1024
    colour: str = "wavelet"
    base: str = ""
    tokenizer: str = ""
    offload: str = "none"

    @property
    def positive(self) -> str:
        """What the picture should look like."""
        return self.prompt or PRESETS[self.preset].positive

    @property
    def negative(self) -> str:
        """What it should not look like."""
        return self.negative_prompt or PRESETS[self.preset].negative

    @property
    def reference(self) -> str:
        """Whether colours come from the ``"input"`` or from ``"stage1"``."""
        return PRESETS[self.preset].reference


CHOICES = {
    "preset": tuple(PRESETS),
    "sampler": ("edm", "dpmpp2m"),
    "colour": ("wavelet", "adain", "none"),
    "offload": ("none", "parts", "layers"),
}
"""The words that an option takes."""


def settings_from(options: Sequence[tuple[str, Any]]) -> Settings:
    """Return the settings for a model's options; what is not given has its default.

    Raises
    ------
    SettingError
        If an option is not known or a word is not one of its choices.
    """
    known = {field.name for field in dataclasses.fields(Settings)}
    for name, value in options:
        if name not in known:
            raise SettingError(f"SUPIR has no option '{name}'.", f"It takes {', '.join(known)}.")
        if name in CHOICES and value not in CHOICES[name]:
            raise SettingError(
                f"option {name}='{value}' of SUPIR is not allowed.",
                f"Use one of: {', '.join(CHOICES[name])}.",
            )
    settings = Settings(**dict(options))
    parse_captions(settings.captions)
    if settings.steps < 1:
        raise SettingError("SUPIR has no work to do with steps=0 or less.", "Use 1 or more.")
    if not 0 < settings.latent_stride <= settings.latent_tile:
        raise SettingError(
            f"latent_stride={settings.latent_stride} leaves gaps between tiles of "
            f"latent_tile={settings.latent_tile}.",
            "Use a stride of 1 to latent_tile.",
        )
    return settings
