"""Which noise levels a sampler visits, and what the network expects at each.

Source: Karras T et al. Elucidating the Design Space of Diffusion-Based Generative Models. NeurIPS
2022 (arXiv:2206.00364), with the discrete table of SDXL's training.
"""

from __future__ import annotations

from functools import cache

import numpy as np

TRAINED = 1000
"""Noise levels that SDXL was trained with."""

HIGHEST = 14.6146
"""The highest of them, as the guidance schedules have it."""


@cache
def table() -> np.ndarray:
    """Return the noise level of each trained time step, ascending; float64.

    A level is the standard deviation of the noise over that of the data.
    """
    betas = np.linspace(0.00085**0.5, 0.012**0.5, TRAINED) ** 2
    kept = np.cumprod(1 - betas)
    levels = np.sqrt((1 - kept) / kept)
    levels.setflags(write=False)
    return levels


def levels(steps: int) -> np.ndarray:
    """Return the levels of a sampler that visits every so-manyth trained one, and zero at the end.

    Neither of diffusers' spacings gives these for every number of steps.

    Parameters
    ----------
    steps : int
        Calls of the network.

    Returns
    -------
    np.ndarray, shape (steps + 1,), float64
        Descending.
    """
    visited = np.linspace(TRAINED - 1, 0, steps, endpoint=False).astype(int)
    return np.append(table()[visited], 0.0)


def karras_levels(steps: int, exponent: float = 7.0) -> np.ndarray:
    """Return levels between the same ends, spaced evenly in their `exponent`-th root.

    Parameters
    ----------
    steps : int
        Calls of the network.
    exponent : float
        The more, the closer the low levels lie.

    Returns
    -------
    np.ndarray, shape (steps + 1,), float64
    """
    ends = levels(steps)[[0, -2]] ** (1 / exponent)
    spaced = (ends[0] + np.linspace(0, 1, steps) * (ends[1] - ends[0])) ** exponent
    return np.append(spaced, 0.0)


def nearest(level: float) -> tuple[int, float]:
    """Return the trained time step whose level is nearest, and that level."""
    step = int(np.abs(table() - level).argmin())
    return step, float(table()[step])


def linear(at_zero: float, at_highest: float, level: float) -> float:
    """Return a strength that changes linearly with the noise level."""
    return at_zero + (at_highest - at_zero) * level / HIGHEST
