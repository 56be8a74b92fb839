"""What a row of the model table says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Proven = Literal["exact", "real weights", "reference tensors", "layout only"]
Consistency = Literal["pixel", "local", "off"]


@dataclass(frozen=True)
class WeightFile:
    """One file of weights.

    Parameters
    ----------
    name : str
        File name in the cache, and under its release.
    sha256 : str
        Checksum of the whole file; empty where its author publishes none.
    size : int
        Bytes.
    urls : tuple of str
        Where it can be had, best first. Empty for files that ship with the package.
    """

    name: str
    sha256: str
    size: int
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Option:
    """One setting that a model takes beside those that all models share.

    Parameters
    ----------
    name : str
        Its key in ``options=`` and ``--option``.
    default : str, int, float or bool
        Value when it is not given; its type is the option's type.
    help : str
        One sentence.
    low, high : float, optional
        Smallest and largest allowed number.
    choices : tuple of str
        Allowed words, when they are few.
    """

    name: str
    default: str | int | float | bool
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelSpec:
    """One row of the model table.

    Parameters
    ----------
    name : str
        What users type.
    family : str
        Module under `models/families` that loads it.
    scale : int
        Scale factor; 0 when the model makes any whole factor.
    title : str
        One line for menus.
    domain : str
        What it was trained on.
    licence : str
        SPDX identifier, or the licence's name.
    citation : str
        Reference to give when the model is used.
    proven : str
        How our code for it was shown to be right: *exact* (arithmetic), *real weights*,
        *reference tensors* or *layout only*.
    weights : tuple of WeightFile
        Files it needs; the first is the main one.
    homepage : str
        Where to read about it.
    commercial : bool
        Whether the licence allows commercial use.
    consent : bool
        Whether the licence must be accepted before the first use.
    bundled : bool
        Whether the weights ship with the package.
    samples : int
        Samples a pixel that the network takes and gives: 1, or 3 for an RGB network.
    needs_limits : bool
        Whether intensities are mapped to [0, 1] first. False for models that commute with gain and
        offset.
    noise_input : bool
        Whether a plane with the standard deviation of the noise to be removed is appended to each
        tile.
    bound : float
        What the predicted scale of the error is multiplied with to cover at least 90 % of the
        errors; 0 when the model predicts none.
    scanned : bool
        Whether it takes a source pixel for the light at its centre, not for the mean over its area.
    denoise : float, "auto" or None
        Default of ``denoise=``; None when the model has no such setting.
    consistency : str
        Default of ``consistency=``, decided by measurement.
    radius : int
        Exact receptive radius in source pixels: beyond it nothing influences a pixel.
    halo : int
        Default halo in source pixels: `radius`, or how far trained weights are seen to reach.
    feather : int
        Default feather in source pixels.
    tile : int
        Default core of a tile (halo excluded) in source pixels along y and x.
    multiple : int
        The network's input sides are multiples of this.
    unit : {"tile", "plane"}
        What is computed independently: a tile, or a whole plane whose parts are fused at every
        step. Only planes longer than `tile` are restored in parts then.
    random : bool
        Whether it draws random numbers, so that several samples of one plane differ.
    terms : str
        What whoever accepts the licence should know of it, in a few sentences.
    folders : tuple of str
        Ids of the folder it needs on the Hugging Face hub, best first; any of them will do.
    options : tuple of Option
        What it takes beside the shared settings.
    workspace : int
        Bytes that the network needs while it runs, for one source pixel of a tile.
    parameters : int
        Number of trained numbers.
    flop : float
        Floating-point operations for one source pixel (two a multiply-add).
    """

    name: str
    family: str
    scale: int
    title: str
    domain: str
    licence: str
    citation: str
    proven: Proven
    weights: tuple[WeightFile, ...] = ()
    homepage: str = ""
    commercial: bool = True
    consent: bool = False
    bundled: bool = False
    samples: int = 1
    needs_limits: bool = False
    noise_input: bool = False
    bound: float = 0.0
    scanned: bool = False
    denoise: float | Literal["auto"] | None = None
    consistency: Consistency = "off"
    radius: int = 0
    halo: int = 0
    feather: int = 0
    tile: int = 512
    multiple: int = 1
    unit: Literal["tile", "plane"] = "tile"
    random: bool = False
    terms: str = ""
    folders: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    workspace: int = 0
    parameters: int = 0
    flop: float = 0.0

    @property
    def faithful_consistency(self) -> Consistency:
        """Return the default of ``consistency=`` where no noise is removed.

        ``"pixel"`` keeps each source pixel's value, its noise included. What a scan saw at the
        centre of a pixel is not the mean over it, so it is not forced to be.
        """
        return "pixel" if self.noise_input and not self.scanned else self.consistency

    @property
    def licence_words(self) -> str:
        """The licence's name, and that it forbids commercial use if it does."""
        said = self.commercial or "non-commercial" in self.licence
        return self.licence if said else f"{self.licence} (non-commercial)"

    def at(self, scale: int) -> ModelSpec:
        """Return the row with its scale factor filled in, for models that make any factor."""
        return self if self.scale else replace(self, scale=scale)
