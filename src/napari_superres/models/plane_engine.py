"""What engines that restore a whole plane at once have in common."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from napari_superres.errors import ResourceError, SettingError
from napari_superres.models.noise import PlaneNoise
from napari_superres.models.precision import exact
from napari_superres.models.threads import fixed_threads
from napari_superres.progress import breathe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

    from napari_superres.models.engine import Address, Halo


class Place(NamedTuple):
    """Where what is restored lies.

    Parameters
    ----------
    plane : int
        Which plane of the whole image.
    y, x : int
        Its first pixel in that plane.
    part : bool
        Whether it is a part of a plane that is too large to be restored at once. Parts keep their
        pixels where they are, so that neighbours meet; a whole plane may be seen in another size.
    """

    plane: int
    y: int = 0
    x: int = 0
    part: bool = False


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

    def restore(self, plane: Tensor, noise: PlaneNoise, place: Place) -> Tensor:
        """Return a finer plane; called under a lock, without gradients.

        Parameters
        ----------
        plane : Tensor, shape (3, y, x), float32
            Between 0 and 1.
        noise : PlaneNoise
            Where all random numbers come from.
        place : Place

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
        y, x = address.y - halo.top, address.x - halo.left
        place = Place(address.plane, y, x, part=any(halo) or (y, x) != (0, 0))
        what = f"a plane of {plane.shape[1]} x {plane.shape[2]} pixels"
        with (
            self._turn,
            fixed_threads(self.threads),
            exact(self.device),
            torch.inference_mode(),
            enough_memory(self.name, what, self.device, self.advice),
        ):
            fine = self.restore(plane, noise, place).numpy()
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


@contextmanager
def enough_memory(name: str, what: str, device: torch.device | str, advice: str) -> Iterator[None]:
    """Say what to do when a GPU's memory runs out inside the context.

    Parameters
    ----------
    name : str
        Of the model.
    what : str
        What its memory is needed for.
    device : torch.device or str
    advice : str

    Raises
    ------
    ResourceError
        In place of PyTorch's own error.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise ResourceError(
            f"'{name}' does not fit into the memory of '{device}' for {what}.", advice
        ) from error


def stoppable(network: nn.Module) -> None:
    """Let a network be stopped inside a call: before each of its residual and attention blocks.

    On a CPU one call takes up to a minute.
    """
    for name, module in network.named_modules():
        if re.search(r"(resnets|attentions)\.\d+$", name):
            module.register_forward_pre_hook(lambda *_: breathe())


def continued(image: Tensor, multiple: int) -> Tensor:
    """Return an image (1, c, y, x) continued below and to the right to multiples of something."""
    height, width = image.shape[-2:]
    below, right = -height % multiple, -width % multiple
    mode = "reflect" if below < height and right < width else "replicate"
    return functional.pad(image, (0, right, 0, below), mode=mode)


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Return an image (n, c, y, x) in another size, by cubic convolution without aliases."""
    if tuple(image.shape[-2:]) == size:
        return image
    return functional.interpolate(
        image, size=size, mode="bicubic", align_corners=False, antialias=True
    )
