"""The types that torch computes in, and what to say where one is too small."""

from __future__ import annotations

import numpy as np
import torch

from napari_superres.errors import SettingError


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
