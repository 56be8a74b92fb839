"""What engines that restore a whole plane at once have in common."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_superres.errors import ResourceError, SettingError
from napari_superres.models.noise import PlaneNoise
from napari_superres.models.threads import fixed_threads
from napari_superres.progress import breathe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from napari_superres.models.engine import Address, Halo


class PlaneEngine:
    """An engine that takes planes one at a time. See `Engine`.

    Threads take turns: a plane keeps every core, or the GPU, busy for seconds to hours. The number
    of threads is that of the time of loading, whoever calls, because the last bits depend on it.

    Parameters
    ----------
    name : str
        Of the model, for errors.
    scale : int
    device : torch.device
    """

    advice = "Use precision='bfloat16', or a smaller tile."
    """What to do when memory does not suffice."""

    def __init__(self, name: str, scale: int, device: torch.device) -> None:
        self.name = name
        self.scale = scale
        self.device = device
        self.threads = torch.get_num_threads()
        self._turn = threading.Lock()

    def restore(
        self, plane: Tensor, noise: PlaneNoise, origin: tuple[int, int], address: Address
    ) -> Tensor:
        """Return a finer plane; called under a lock, without gradients.

        Parameters
        ----------
        plane : Tensor, shape (3, y, x), float32
            Between 0 and 1.
        noise : PlaneNoise
            Where all random numbers come from.
        origin : (int, int)
            Where the plane's first pixel lies in a larger plane, in pixels along y and x.
        address : Address
            What the plane is called.

        Returns
        -------
        Tensor, shape (3, scale * y, scale * x), float32, on the CPU
        """
        raise NotImplementedError

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
            If whoever listens to `tick` wants it; between two blocks of the network.
        """
        return np.stack([self._one(tile, halo, here) for tile, here in zip(tiles, at, strict=True)])

    def _one(self, tile: np.ndarray, halo: Halo, address: Address) -> np.ndarray:
        plane = torch.from_numpy(np.ascontiguousarray(tile, np.float32))
        noise = PlaneNoise(address.seed, address.sample, address.plane)
        origin = (address.y - halo.top, address.x - halo.left)
        with self._turn, fixed_threads(self.threads), _reproducible(), torch.inference_mode():
            try:
                fine = self.restore(plane, noise, origin, address).numpy()
            except torch.cuda.OutOfMemoryError as error:
                torch.cuda.empty_cache()
                raise ResourceError(
                    f"'{self.name}' does not fit into the memory of '{self.device}' for a plane of "
                    f"{plane.shape[1]} x {plane.shape[2]} pixels.",
                    self.advice,
                ) from error
        if not np.isfinite(fine).all():
            raise SettingError(
                f"In this precision '{self.name}' overflowed: its output has values that are not "
                "finite.",
                "Use precision='bfloat16' or 'float32'.",
            )
        height, width = fine.shape[1:]
        s = self.scale
        top, left = halo.top * s, halo.left * s
        return np.asarray(fine[:, top : height - halo.bottom * s, left : width - halo.right * s])


def stoppable(network: nn.Module) -> None:
    """Let a network be stopped inside a call: before each of its residual and attention blocks.

    On a CPU one call takes up to a minute.
    """
    for name, module in network.named_modules():
        if re.search(r"(resnets|attentions)\.\d+$", name):
            module.register_forward_pre_hook(lambda *_: breathe())


def torch_type(device: str, precision: str) -> torch.dtype:
    """Return the type in which to compute.

    Raises
    ------
    SettingError
        If a CPU should compute in float16.
    """
    dtype: torch.dtype = getattr(torch, precision)
    if device == "cpu" and dtype == torch.float16:
        raise SettingError(
            "precision='float16' is for GPUs; a CPU does not compute in it.",
            "Use precision='bfloat16', or 'float32'.",
        )
    return dtype


def _reproducible() -> Any:
    """Let CUDA compute float32 in float32, and the same way each time; nothing for a CPU."""
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
