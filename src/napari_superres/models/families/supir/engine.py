"""SUPIR as an engine: planes in, finer planes out, one at a time on a device."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_superres.errors import ResourceError, SettingError
from napari_superres.models.families.supir.caption import (
    Captioner,
    TransformersCaptioner,
    as_picture,
    reviewed,
)
from napari_superres.models.families.supir.loading import load_supir
from napari_superres.models.families.supir.pipeline import Pipeline
from napari_superres.models.noise import PlaneNoise
from napari_superres.models.threads import fixed_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from napari_superres.models.engine import Address, Halo
    from napari_superres.models.families.supir.loading import Loaded
    from napari_superres.models.families.supir.network import Conditioning
    from napari_superres.models.families.supir.settings import Settings


class SupirEngine:
    """SUPIR on a device. See `Engine`.

    Threads take turns: a plane keeps every core, or the GPU, busy for minutes. The number of
    threads is that of the time of loading, whoever calls, because the last bits depend on it.

    Parameters
    ----------
    pipeline : Pipeline
    scale : int
    captioner : Captioner, optional
        Describes each plane once.
    """

    def __init__(self, pipeline: Pipeline, scale: int, captioner: Captioner | None = None) -> None:
        self.pipeline = pipeline
        self.scale = scale
        self.captioner = captioner
        self.threads = torch.get_num_threads()
        self._turn = threading.Lock()
        self._captions: dict[tuple[int, int, int], str] = {}

    def __call__(self, tiles: np.ndarray, halo: Halo, at: Sequence[Address]) -> np.ndarray:
        """Return finer planes, the halo dropped.

        Parameters
        ----------
        tiles : np.ndarray, shape (n, 3, y, x), float32
            In [0, 1]. Whole planes, or parts of very large ones.
        halo : Halo
        at : sequence of Address
            Decide every random number.

        Returns
        -------
        np.ndarray, shape (n, 3, s*(y - top - bottom), s*(x - left - right)), float32
            Not clipped.

        Raises
        ------
        ResourceError
            If the device has not the memory.
        SettingError
            If half precision overflows.
        Cancelled
            If whoever listens to `tick` wants it; between two calls of the network.
        """
        planes = [
            self._restore(tile, halo, address) for tile, address in zip(tiles, at, strict=True)
        ]
        return np.stack(planes)

    def _restore(self, tile: np.ndarray, halo: Halo, address: Address) -> np.ndarray:
        plane = torch.from_numpy(np.ascontiguousarray(tile, np.float32))
        noise = PlaneNoise(address.seed, address.sample, address.plane)
        origin = (address.y - halo.top, address.x - halo.left)
        describe = self._describing(address) if self.captioner else None
        with self._turn, fixed_threads(self.threads), _reproducible(), torch.inference_mode():
            try:
                fine = self.pipeline.restore(plane, self.scale, noise, origin, describe).numpy()
            except torch.cuda.OutOfMemoryError as error:
                torch.cuda.empty_cache()
                raise ResourceError(
                    f"SUPIR does not fit into the memory of '{self.pipeline.device}' with "
                    f"latent_tile={self.pipeline.settings.latent_tile} and "
                    f"offload={self.pipeline.settings.offload}.",
                    "Use options offload='parts', then offload='layers', then a smaller "
                    "latent_tile; or precision='bfloat16'.",
                ) from error
        if not np.isfinite(fine).all():
            raise SettingError(
                "In this precision the network overflowed: its output has values that are not "
                "finite.",
                "Use precision='bfloat16' or 'float32'.",
            )
        height, width = fine.shape[1:]
        s = self.scale
        top, left = halo.top * s, halo.left * s
        return np.asarray(fine[:, top : height - halo.bottom * s, left : width - halo.right * s])

    def _describing(self, address: Address) -> Callable[[Tensor], str]:
        def describe(picture: Tensor) -> str:
            key = (address.plane, address.y, address.x)
            if key not in self._captions:
                assert self.captioner is not None
                self._captions[key] = reviewed(address.plane, self.captioner(as_picture(picture)))
            return self._captions[key]

        return describe


def load_engine(
    path: Path,
    given: Path | None,
    settings: Settings,
    *,
    scale: int,
    device: str,
    precision: str,
) -> SupirEngine:
    """Return SUPIR as an engine.

    Parameters
    ----------
    path : Path
        The SUPIR file.
    given : Path, optional
        A single file of SDXL.
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
    """
    dtype: torch.dtype = getattr(torch, precision)
    if device == "cpu" and dtype == torch.float16:
        raise SettingError(
            "precision='float16' is for GPUs; a CPU does not compute in it.",
            "Use precision='bfloat16', or 'float32'.",
        )
    loaded = load_supir(path, settings.base, given, settings.tokenizer, dtype)
    captioner = _captioner(settings, device, dtype)
    pipeline = Pipeline(
        _placed(loaded, settings.offload, device),
        loaded.autoencoder,
        settings,
        torch.device(device),
        loaded.layout.factor,
        loaded.layout.latent,
        _worded(loaded, settings, stays=captioner is not None),
    )
    return SupirEngine(pipeline, scale, captioner)


def _placed(loaded: Loaded, offload: str, device: str) -> Any:
    """Put the parts where they belong between two calls; returns the network."""
    loaded.autoencoder.use_tiles()
    if offload == "none":
        loaded.autoencoder.to(device)
        return loaded.network.to(device)
    if offload == "layers":
        from accelerate import cpu_offload

        for part in loaded.network.children():
            cpu_offload(part, execution_device=torch.device(device))
    return loaded.network


def _worded(loaded: Loaded, settings: Settings, *, stays: bool) -> Callable[[str], Conditioning]:
    """Return the text encoders, or what they say of the only two texts, so that they can go."""
    if stays:
        return lru_cache(maxsize=64)(loaded.encoders)
    known = {text: loaded.encoders(text) for text in (settings.positive, settings.negative)}
    return known.__getitem__


def _captioner(settings: Settings, device: str, dtype: torch.dtype) -> Captioner | None:
    if not settings.captioner:
        return None
    where = device if settings.offload == "none" else "cpu"
    return TransformersCaptioner(settings.captioner, where, dtype)


def _reproducible() -> Any:
    """Let CUDA compute float32 in float32, and the same way each time; nothing for a CPU."""
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
