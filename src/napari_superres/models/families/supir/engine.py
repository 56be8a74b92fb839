"""SUPIR as an engine: planes in, finer planes out, one at a time on a device."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from napari_superres.errors import SettingError
from napari_superres.models.captions import parse_captions, reviewed
from napari_superres.models.families.supir.caption import (
    Captioner,
    TransformersCaptioner,
    as_picture,
)
from napari_superres.models.families.supir.loading import load_supir
from napari_superres.models.families.supir.pipeline import Pipeline
from napari_superres.models.plane_engine import (
    PlaneEngine,
    enough_memory,
    stoppable,
)
from napari_superres.models.precision import torch_type

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from napari_superres.models.families.supir.autoencoder import DoubleAutoencoder
    from napari_superres.models.families.supir.loading import Loaded
    from napari_superres.models.families.supir.network import Conditioning, Network
    from napari_superres.models.families.supir.settings import Settings
    from napari_superres.models.noise import PlaneNoise
    from napari_superres.models.plane_engine import Place


class SupirEngine(PlaneEngine):
    """SUPIR on a device.

    Parameters
    ----------
    pipeline : Pipeline
    scale : int
    captioner : Captioner, optional
        Describes each plane once, if it is not in the settings' `captions`.
    """

    advice = (
        "Use options offload='parts', then offload='layers', then a smaller latent_tile; or "
        "precision='bfloat16'."
    )

    def __init__(self, pipeline: Pipeline, scale: int, captioner: Captioner | None = None) -> None:
        super().__init__("SUPIR", scale, pipeline.device)
        self.pipeline = pipeline
        self.captioner = captioner
        self._given = parse_captions(pipeline.settings.captions)
        self._captions: dict[bytes, str] = {}

    def restore(self, plane: Tensor, noise: PlaneNoise, place: Place) -> Tensor:
        """Return a restored plane. See `PlaneEngine`."""
        return self.pipeline.restore(plane, self.scale, noise, place, self._describing(place))

    def _describing(self, place: Place) -> Callable[[Tensor], str] | None:
        """Return what describes a plane, if anything does."""
        if place.plane in self._given:
            return lambda picture: self._given[place.plane]
        captioner = self.captioner
        if captioner is None:
            return None
        if place.part:
            raise SettingError(
                "A captioner describes whole planes, and this one is restored in parts.",
                "Leave captioner out, and describe the planes with the option captions.",
            )

        def describe(picture: Tensor) -> str:
            shown = as_picture(picture)
            # An engine serves many images: a plane's number alone does not tell it from another's.
            key = hashlib.sha256(shown.tobytes()).digest()
            if key not in self._captions:
                self._captions[key] = captioner(shown)
            return reviewed(place.plane, self._captions[key])

        return describe


def load_engine(
    path: Path, settings: Settings, *, scale: int, device: str, precision: str
) -> SupirEngine:
    """Return SUPIR as an engine.

    Parameters
    ----------
    path : Path
        The SUPIR file.
    settings : Settings
    scale : int
    device, precision : str
        As in `Setting`.

    Raises
    ------
    WeightsError
        If a file is missing or incomplete.
    SettingError
        If a CPU should compute in float16.
    ResourceError
        If memory does not suffice.
    """
    dtype = torch_type(device, precision)
    captioner = None
    if settings.captioner:
        captioner = TransformersCaptioner(settings.captioner, device, dtype)
    loaded = load_supir(path, settings.base, settings.tokenizer, dtype)
    with enough_memory("SUPIR", "its weights", device, SupirEngine.advice):
        place(loaded.network, loaded.autoencoder, settings.offload, device)
    pipeline = Pipeline(
        loaded.network,
        loaded.autoencoder,
        settings,
        torch.device(device),
        loaded.layout.factor,
        loaded.layout.latent,
        _worded(loaded, settings, stays=captioner is not None or bool(settings.captions)),
    )
    for part in (loaded.network, loaded.autoencoder):
        stoppable(part)
    return SupirEngine(pipeline, scale, captioner)


def place(network: Network, autoencoder: DoubleAutoencoder, offload: str, device: str) -> None:
    """Put the parts where they belong between two calls.

    Parameters
    ----------
    network, autoencoder : Module
    offload : {"none", "parts", "layers"}
    device : str
    """
    if offload == "none":
        autoencoder.to(device)
        network.to(device)
    elif offload == "layers":
        from accelerate import cpu_offload

        for part in network.children():
            cpu_offload(part, execution_device=torch.device(device))


def _worded(loaded: Loaded, settings: Settings, *, stays: bool) -> Callable[[str], Conditioning]:
    """Return the text encoders, or what they say of the only two texts, so that they can go."""
    if stays:
        return lru_cache(maxsize=64)(loaded.encoders)
    known = {text: loaded.encoders(text) for text in (settings.positive, settings.negative)}
    return known.__getitem__
