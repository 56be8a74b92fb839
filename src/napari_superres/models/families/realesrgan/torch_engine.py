"""Real-ESRGAN networks in torch: the reference on a CPU, and the engine for GPUs.

On a CPU a tile whose halo covers the receptive radius gives the very bits of the untiled network,
on processors with AVX2 or newer and in float32. On CUDA and MPS the libraries choose their
algorithms by shape, and the last bits may differ.

MPS (Apple's GPUs) is written after its documentation and has not been run by us.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_superres.errors import ResourceError
from napari_superres.models.families.realesrgan.networks import Network, build
from napari_superres.models.precision import check_overflow, exact, torch_type
from napari_superres.models.threads import one_thread_in_workers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_superres.models.engine import Address, Halo, Setting
    from napari_superres.models.families.realesrgan.architecture import Architecture


def load_torch(
    architecture: Architecture, tensors: Mapping[str, np.ndarray], setting: Setting
) -> TorchEngine:
    """Return a network as an engine, on its device and in its precision.

    Parameters
    ----------
    architecture : Architecture
    tensors : mapping of str to np.ndarray, float32
        By official names.
    setting : Setting
        ``device`` and ``precision``.

    Raises
    ------
    SettingError
        If a CPU should compute in float16, which it does slowly or not at all.
    ResourceError
        If the weights do not fit on the device.
    """
    device = torch.device(setting.device)
    dtype = torch_type(setting.device, setting.precision)
    # Convolutions on channels-last maps are faster, except on MPS, where they are converted back.
    layout = torch.contiguous_format if device.type == "mps" else torch.channels_last
    try:
        network = build(architecture, tensors).to(device, dtype, memory_format=layout)
    except torch.cuda.OutOfMemoryError as error:
        raise ResourceError(
            f"The model's weights do not fit into the memory of '{device}'.",
            "Close other programs that use it, or use device='cpu'.",
        ) from error
    return TorchEngine(network, device, dtype, layout)


class TorchEngine:
    """A network of the Real-ESRGAN family in torch. See `Engine`.

    It has no state but its weights, so threads may share it. On a CPU they compute side by side,
    each on one core; on a GPU one after the other.

    Parameters
    ----------
    network : Network
        On `device`, of `dtype`.
    device : torch.device
    dtype : torch.dtype
        float32, float16 or bfloat16.
    layout : torch.memory_format
        Of the network's weights and feature maps.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        dtype: torch.dtype,
        layout: torch.memory_format,
    ) -> None:
        self.network = network
        self.device = device
        self.dtype = dtype
        self.layout = layout
        self._turn = nullcontext() if device.type == "cpu" else threading.Lock()

    def __call__(self, tiles: np.ndarray, halo: Halo, at: Sequence[Address]) -> np.ndarray:
        """Return finer tiles, the halo dropped.

        Parameters
        ----------
        tiles : np.ndarray, shape (n, c, y, x), float32
            In [0, 1]. For a network that folds pixels (x2plus) a tile begins at a multiple of
            ``architecture.multiple`` of the plane.
        halo : Halo
            Context at each side, in source pixels.
        at : sequence of Address
            Not used: nothing is random.

        Returns
        -------
        np.ndarray, shape (n, c, s*(y - top - bottom), s*(x - left - right)), float32
            Not clipped.

        Raises
        ------
        ResourceError
            If the device has not the memory; the message names what would fit.
        SettingError
            If half precision overflows.
        """
        with self._turn, one_thread_in_workers(), exact(self.device), torch.inference_mode():
            try:
                x = torch.from_numpy(np.ascontiguousarray(tiles, np.float32))
                x = x.to(self.device, self.dtype).contiguous(memory_format=self.layout)
                fine = self.network(x, halo).float().cpu().numpy()
            except torch.cuda.OutOfMemoryError as error:
                raise self._out_of_memory(tiles.shape) from error
            except RuntimeError as error:
                # What torch says of main memory, and of MPS.
                if "can't allocate memory" in str(error) or "out of memory" in str(error):
                    raise self._out_of_memory(tiles.shape) from error
                raise
        check_overflow(fine, self.dtype)
        return np.asarray(fine)

    def _out_of_memory(self, shape: tuple[int, ...]) -> ResourceError:
        """Return the error for a batch that was too large, with the largest that should fit."""
        n, _, height, width = shape
        many = "tile" if n == 1 else "tiles"
        message = f"{n} {many} of {height} x {width} pixels: too much for the memory of "
        if self.device.type != "cuda":
            return ResourceError(f"{message}'{self.device}'.", "Use a smaller tile or batch.")
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self.device)
        message += f"'{self.device}', of which {free / 1e9:.1f} GB are free."
        # The rest is left to the upsampler and to fragments.
        pixels = 0.7 * free / (self.network.architecture.workspace * self.dtype.itemsize / 4)
        batch = int(pixels // (height * width))
        if batch >= 1:
            return ResourceError(message, f"Use batch={min(batch, max(1, n - 1))}.")
        side = int(pixels**0.5) // 16 * 16
        return ResourceError(message, f"Use batch=1 and tile={side}, or device='cpu'.")
