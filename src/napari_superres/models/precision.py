"""The types that torch computes in, and what to say where one is too small."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_superres.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator


def torch_type(device: str, precision: str) -> torch.dtype:
    """Return the type in which to compute.

    Parameters
    ----------
    device, precision : str
        As in `Setting`.

    Raises
    ------
    SettingError
        If a CPU should compute in float16, which it does slowly or not at all.
    """
    dtype: torch.dtype = getattr(torch, precision)
    if device == "cpu" and dtype == torch.float16:
        raise SettingError(
            "precision='float16' is for GPUs; a CPU does not compute in it.",
            "Use precision='bfloat16', or 'float32'.",
        )
    return dtype


def check_overflow(fine: np.ndarray, dtype: torch.dtype) -> None:
    """Refuse what a network gave if it overflowed in half precision.

    Parameters
    ----------
    fine : np.ndarray
        Output of a network whose input was finite.
    dtype : torch.dtype
        In which it was computed.

    Raises
    ------
    SettingError
        If there are values that are not finite.
    """
    if dtype != torch.float32 and not np.isfinite(fine).all():
        name = str(dtype).removeprefix("torch.")
        raise SettingError(
            f"In {name} the network overflowed: its output has values that are not finite.",
            "Use precision='float32'" + (", or 'bfloat16'." if name == "float16" else "."),
        )


class _ExactConvolutions:
    """The flags of cuDNN, which hold for all threads: set by the first, put back by the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._flags: Any = None

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._flags = torch.backends.cudnn.flags(
                    enabled=True, benchmark=False, deterministic=True, allow_tf32=False
                )
                self._flags.__enter__()
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._flags.__exit__(None, None, None)


_convolutions = _ExactConvolutions()


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Let CUDA compute float32 in float32, and the same way each time; nothing for others.

    By default its convolutions round their inputs to 10 bits (TF32), which a pedestal does not
    survive. Half precision that a network asks for stays what it is.

    Parameters
    ----------
    device : torch.device
        Where the network is.
    """
    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device):
        _convolutions.enter()
        try:
            yield
        finally:
            _convolutions.leave()
