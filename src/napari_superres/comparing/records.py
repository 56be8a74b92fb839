"""What a comparison is made of: pictures, cells of a table, and rows that hold one number each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from napari_superres.models.camera_noise import Noise

State = Literal["done", "failed"]
Basis = Literal["measured", "estimate", "fact"]

NOISY = "noisy image"
"""Kind of an image whose noise is seen at a glance."""


@dataclass(frozen=True)
class Picture:
    """One plane, or part of one, that all models make finer.

    Parameters
    ----------
    name : str
        Of its image, and of the channel where it has several.
    kind : str
        What sort of image it is: as the user says, or as its pixels tell.
    whole : str
        Axes and dimensions of the image that it is from.
    axes : {"yx", "yxs"}
    source : np.ndarray
        In the image's own type.
    truth : np.ndarray or None
        What a perfect result shows.
    limits : (float, float)
        Of the whole image's intensities, for models that need them.
    noise : Noise
        Of the whole image too, or of the source alone where that was made coarser.
    pixel_size : float
        Of the source.
    unit : str or None
        Of the pixel size.
    digest : str
        SHA-256 of the pixels.
    """

    name: str
    kind: str
    whole: str
    axes: str
    source: np.ndarray
    truth: np.ndarray | None
    limits: tuple[float, float]
    noise: Noise
    pixel_size: float
    unit: str | None
    digest: str

    @property
    def size(self) -> str:
        """How many source pixels are compared."""
        return f"{self.source.shape[0]} x {self.source.shape[1]}"


@dataclass(frozen=True)
class Cell:
    """What became of one picture with one model on one device.

    Parameters
    ----------
    picture, model, device : str
    state : {"done", "failed"}
    reason : str
        Why there is no result.
    values : mapping of str to float
        By the names of `FIGURES`.
    basis : str
        Whether the values were measured or are estimates.
    cutoffs : tuple of float
        Finest frequency on which window by window result and truth agree, in cycles a fine pixel.
    compute : str
        Engine, device and precision that ran.
    pixels : Path or None
        The result, as NumPy's file.
    """

    picture: str
    model: str
    device: str
    state: State
    reason: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    basis: Basis = "measured"
    cutoffs: tuple[float, ...] = ()
    compute: str = ""
    pixels: Path | None = None


@dataclass(frozen=True)
class Row:
    """One number of the report, with all that is needed to trace it.

    Parameters
    ----------
    id : str
        What the page and the verdicts name it by.
    scope : {"picture", "model", "difference"}
        Of one picture; the median over pictures; or the median of the differences to the baseline
        on the same pictures.
    picture, kind, model, device : str
        Empty where it is of several.
    figure : str
        A name of `FIGURES`.
    value : float
    low, high : float
        Ends of the 95 % bootstrap interval over pictures; NaN where there are too few.
    unit : str
    basis : str
        "measured", "estimate", or "fact" for what the model table says.
    n : int
        Number of pictures.
    """

    id: str
    scope: Literal["picture", "model", "difference"]
    picture: str
    kind: str
    model: str
    device: str
    figure: str
    value: float
    low: float
    high: float
    unit: str
    basis: Basis
    n: int


class Step(NamedTuple):
    """How far a comparison is.

    Parameters
    ----------
    done, total : int
        Cells.
    words : str
        Which one is computed.
    """

    done: int
    total: int
    words: str


class Figure(NamedTuple):
    """What a number means and how it is shown."""

    title: str
    group: Literal["feasibility", "fidelity"]
    unit: str = ""
    digits: int = 3
    better: Literal["high", "low", ""] = ""
    words: str = ""


FIGURES: dict[str, Figure] = {
    "weights_mb": Figure("weights", "feasibility", "MB", 2, "low", "size of the files"),
    "parameters_m": Figure("parameters", "feasibility", "million", 3, "low", "trained numbers"),
    "ram_mb": Figure(
        "peak memory", "feasibility", "MB", 0, "low", "of the whole process, program included"
    ),
    "vram_mb": Figure("peak GPU memory", "feasibility", "MB", 0, "low", "held by PyTorch"),
    "seconds_mp": Figure(
        "time", "feasibility", "s/MP", 3, "low", "for a million source pixels, after a warm-up"
    ),
    "start_s": Figure(
        "start-up", "feasibility", "s", 2, "low", "from starting the program to a warm model"
    ),
    "psnr": Figure("PSNR", "fidelity", "dB", 2, "high", "against the truth"),
    "ssim": Figure("SSIM", "fidelity", "", 3, "high", "against the truth; 1 is perfect"),
    "frc": Figure("FRC", "fidelity", "", 3, "high", "mean correlation with the truth"),
    "gain": Figure(
        "resolution gain",
        "fidelity",
        "×",
        2,
        "high",
        "finest period shared with the truth: the baseline's divided by this model's",
    ),
    "recovered": Figure(
        "detail recovered", "fidelity", "", 3, "high", "beyond the source's sampling, in phase"
    ),
    "invented": Figure(
        "detail invented", "fidelity", "", 4, "low", "there too, without relation to the truth"
    ),
    "flux_error": Figure(
        "light moved", "fidelity", "%", 3, "low", "in blocks of a few pixels, of the range"
    ),
    "residual": Figure(
        "consistency residual", "fidelity", "%", 2, "low", "to each source pixel; noise counts"
    ),
    "shift": Figure("shift", "fidelity", "px", 3, "low", "of structures off their place"),
    "added": Figure(
        "energy added",
        "fidelity",
        "%",
        2,
        "",
        "beyond the source's sampling: needs no truth, and does not say whether it is true",
    ),
    "spread": Figure(
        "spread",
        "fidelity",
        "%",
        2,
        "low",
        "over flips, rotations or draws, of the contrast",
    ),
}
"""Every number of a comparison, in the order in which tables show them."""
