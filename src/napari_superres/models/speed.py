"""How fast a device multiplies matrices: what a network cannot exceed."""

from __future__ import annotations

import time

import torch

from napari_superres.models.precision import torch_type

EDGE = {"cpu": 1024, "mps": 2048, "cuda": 4096}
"""Edge of the matrices; a product takes a few hundredths of a second."""

ROUNDS = 3


def product_speed(device: str, precision: str) -> float:
    """Return the floating-point operations a second of a large matrix product, measured.

    Parameters
    ----------
    device, precision : str
        As in `Setting`.
    """
    edge = EDGE[device.partition(":")[0]]
    matrix = torch.ones(edge, edge, device=device, dtype=torch_type(device, precision))
    best = float("inf")
    for _ in range(ROUNDS + 1):  # the first one wakes the device
        begin = time.perf_counter()
        # Reading a number waits until the device has it.
        float((matrix @ matrix)[0, 0])
        best = min(best, time.perf_counter() - begin)
    return 2 * edge**3 / best
