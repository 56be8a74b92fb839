"""From noise to a latent: the two samplers that SUPIR is used with.

A sampler knows neither tiles nor prompts: it is given a denoiser (what the network makes of a noisy
latent) and a source of noise.

Sources: for `edm` Karras T et al., arXiv:2206.00364, algorithm 2 without its second-order step; for
`dpmpp_2m` Lu C et al. DPM-Solver++, arXiv:2211.01095; restoration guidance from Yu F et al., CVPR
2024, doi:10.1109/CVPR52733.2024.02425.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from napari_superres.models.families.supir import schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor

CLOSE = 0.05
"""Restoration guidance ends below this noise level, where only texture is left to be decided."""

MOST_CHURN = math.sqrt(2) - 1
"""Churn raises a noise level by at most this fraction of it."""


class Denoiser(Protocol):
    """What the network, guided by words, makes of a noisy latent."""

    def __call__(self, x: Tensor, level: float, strength: float, index: int) -> Tensor:
        """Return the clean latent that it expects.

        Parameters
        ----------
        x : Tensor, shape (1, latent, y, x)
        level : float
            Of its noise.
        strength : float
            Of the control.
        index : int
            Step of the sampler, for progress.
        """


@dataclass(frozen=True)
class Course:
    """How a sampler runs.

    Parameters
    ----------
    steps : int
        Calls of the network.
    churn, churn_noise : float
        Noise added before each step, summed over all steps; and what it is multiplied by.
    control, control_start : float
        Strength of the control at noise level zero and at the highest.
    restoration : float
        Exponent of the pull towards the latent of the restored picture; 0 or less for none. The
        higher, the sooner the pull fades.
    eta : float
        Share of fresh noise in each step of `dpmpp_2m`.
    """

    steps: int
    churn: float = 0.0
    churn_noise: float = 1.0
    control: float = 1.0
    control_start: float = 1.0
    restoration: float = -1.0
    eta: float = 1.0

    def strength(self, level: float) -> float:
        """Return the strength of the control at a noise level."""
        return schedule.linear(self.control, self.control_start, level)

    def pull(self, clean: Tensor, centre: Tensor | None, level: float, following: float) -> Tensor:
        """Return a clean latent pulled towards the restored picture's, most at high noise."""
        if centre is None or self.restoration <= 0 or following <= CLOSE:
            return clean
        return clean - (clean - centre) * (level / schedule.HIGHEST) ** self.restoration


def edm(
    noise: Tensor,
    denoise: Denoiser,
    fresh: Callable[[int], Tensor],
    course: Course,
    centre: Tensor | None = None,
) -> Tensor:
    """Return a latent by Euler steps, each after a little fresh noise if the course says so.

    Parameters
    ----------
    noise : Tensor, shape (1, latent, y, x), float32
        Standard normal.
    denoise : Denoiser
    fresh : callable
        Standard normal noise of that shape for step i.
    course : Course
    centre : Tensor, optional
        Where restoration guidance pulls to.

    Returns
    -------
    Tensor, shape (1, latent, y, x), float32
    """
    levels = schedule.levels(course.steps)
    added = min(course.churn / course.steps, MOST_CHURN)
    x = noise * math.sqrt(1 + levels[0] ** 2)
    for i, (level, following) in enumerate(_pairs(levels)):
        raised = level * (1 + added)
        if added > 0:
            x = x + fresh(i) * (course.churn_noise * math.sqrt(raised**2 - level**2))
        clean = denoise(x, raised, course.strength(level), i)
        clean = course.pull(clean, centre, level, following)
        x = x + (x - clean) * ((following - raised) / raised)
    return x


def dpmpp_2m(
    noise: Tensor,
    denoise: Denoiser,
    fresh: Callable[[int], Tensor],
    course: Course,
    centre: Tensor | None = None,
) -> Tensor:
    """Return a latent by the second-order multistep solver, stochastic for `course.eta` > 0.

    Takes a quarter of the steps of `edm`. As in the original, the first step has the mean of a
    stochastic one but no noise.

    Parameters
    ----------
    noise, denoise, fresh, course, centre
        As for `edm`.

    Returns
    -------
    Tensor, shape (1, latent, y, x), float32
    """
    levels = schedule.karras_levels(course.steps)
    x = noise * math.sqrt(1 + levels[0] ** 2)
    before: Tensor | None = None
    last = 0.0
    for i, (level, following) in enumerate(_pairs(levels)):
        clean = denoise(x, level, course.strength(level), i)
        clean = course.pull(clean, centre, level, following)
        if following == 0:
            return clean
        width = math.log(level / following)
        kept = following / level * math.exp(-course.eta * width)
        share = -math.expm1(-width * (1 + course.eta))
        if before is None:
            x = x * kept + clean * share
        else:
            slope = (clean - before) * (width / (2 * last))
            spread = following * math.sqrt(-math.expm1(-2 * course.eta * width))
            x = x * kept + (clean + slope) * share
            if spread > 0:
                x = x + fresh(i) * (spread * course.churn_noise)
        before, last = clean, width
    return x


SAMPLERS = {"edm": edm, "dpmpp2m": dpmpp_2m}
"""By the names that users give."""


def _pairs(levels: np.ndarray) -> list[tuple[float, float]]:
    return list(zip(levels[:-1].tolist(), levels[1:].tolist(), strict=True))
