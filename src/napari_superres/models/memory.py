"""How much memory of a GPU was held."""

from __future__ import annotations

import torch


def peak_gpu_memory(device: str) -> int:
    """Return the most bytes that PyTorch held on a CUDA device since this process began.

    Parameters
    ----------
    device : str
        Such as ``"cuda:0"``.
    """
    return int(torch.cuda.max_memory_reserved(device))
