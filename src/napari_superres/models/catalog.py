"""The one table of models: data only, nothing is loaded here.

Adding a model is adding a row. The documentation's table, the widget's menu and
``superres models list`` are made from these rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        Whether a plane with the noise's standard deviation is appended to each tile.
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
        What is computed independently.
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
    denoise: float | Literal["auto"] | None = None
    consistency: Consistency = "off"
    radius: int = 0
    halo: int = 0
    feather: int = 0
    tile: int = 512
    multiple: int = 1
    unit: Literal["tile", "plane"] = "tile"
    options: tuple[Option, ...] = ()
    workspace: int = 0
    parameters: int = 0
    flop: float = 0.0

    def at(self, scale: int) -> ModelSpec:
        """Return the row with its scale factor filled in, for models that make any factor."""
        return self if self.scale else replace(self, scale=scale)


_NO_CITATION = "No citation needed: classical interpolation."
_REALESRGAN = (
    "Wang X, Xie L, Dong C, Shan Y. Real-ESRGAN: Training Real-World Blind Super-Resolution with "
    "Pure Synthetic Data. ICCV Workshops 2021. doi:10.1109/ICCVW54120.2021.00217"
)
_RELEASES = "https://github.com/xinntao/Real-ESRGAN/releases/download"


def _interpolation(name: str, title: str, radius: int, citation: str = _NO_CITATION) -> ModelSpec:
    return ModelSpec(
        name=name,
        family="interpolation",
        scale=0,
        title=title,
        domain="anything: it is arithmetic, nothing was learned",
        licence="BSD-3-Clause",
        citation=citation,
        proven="exact",
        radius=radius,
        halo=radius,
    )


def _realesrgan(
    name: str,
    title: str,
    release: str,
    files: tuple[tuple[str, int, str], ...],
    *,
    scale: int = 4,
    proven: Proven,
    radius: int,
    halo: int,
    tile: int,
    parameters: int,
    flop: float,
    multiple: int = 1,
    denoise: float | None = None,
    domain: str = "photographs, degraded by simulation",
) -> ModelSpec:
    return ModelSpec(
        name=name,
        family="realesrgan",
        scale=scale,
        title=title,
        domain=domain,
        licence="BSD-3-Clause",
        citation=_REALESRGAN,
        proven=proven,
        weights=tuple(
            WeightFile(file, sha256, size, (f"{_RELEASES}/{release}/{file}",))
            for file, size, sha256 in files
        ),
        homepage="https://github.com/xinntao/Real-ESRGAN",
        samples=3,
        needs_limits=True,
        denoise=denoise,
        consistency="local",
        radius=radius,
        halo=halo,
        tile=tile,
        multiple=multiple,
        workspace=1_500 if flop < 5e6 else 6_000,
        parameters=parameters,
        flop=flop,
    )


_ROWS = (
    _interpolation("nearest", "Nearest neighbour: each pixel repeated", 0),
    _interpolation(
        "bicubic",
        "Bicubic interpolation",
        2,
        "Keys R. Cubic convolution interpolation for digital image processing. IEEE TASSP 1981. "
        "doi:10.1109/TASSP.1981.1163711",
    ),
    _interpolation(
        "lanczos",
        "Lanczos interpolation, three lobes",
        3,
        "Duchon C. Lanczos filtering in one and two dimensions. J Appl Meteorol 1979. "
        "doi:10.1175/1520-0450(1979)018<1016:LFIOAT>2.0.CO;2",
    ),
    _realesrgan(
        "realesrgan-x4plus",
        "Real-ESRGAN x4plus: strong, slow, redraws texture",
        "v0.1.0",
        (
            (
                "RealESRGAN_x4plus.pth",
                67040989,
                "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
            ),
        ),
        proven="real weights",
        radius=349,
        halo=96,
        tile=512,
        parameters=16_697_987,
        flop=35.9e6,
    ),
    _realesrgan(
        "realesrgan-x2plus",
        "Real-ESRGAN x2plus: strong, slow, redraws texture",
        "v0.2.1",
        (
            (
                "RealESRGAN_x2plus.pth",
                67061725,
                "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
            ),
        ),
        scale=2,
        proven="layout only",
        radius=698,
        halo=192,
        tile=1024,
        multiple=2,
        parameters=16_703_171,
        flop=9.0e6,
    ),
    _realesrgan(
        "realesrgan-x4plus-anime-6b",
        "Real-ESRGAN x4plus anime, six blocks: for drawings",
        "v0.2.2.4",
        (
            (
                "RealESRGAN_x4plus_anime_6B.pth",
                17938799,
                "f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
            ),
        ),
        proven="real weights",
        radius=94,
        halo=80,
        tile=512,
        parameters=4_467_779,
        flop=11.2e6,
        domain="drawings and animation, degraded by simulation",
    ),
    _realesrgan(
        "realesrnet-x4plus",
        "RealESRNet x4plus: trained without an adversary, smoother",
        "v0.1.1",
        (
            (
                "RealESRNet_x4plus.pth",
                67040989,
                "a820b9bde89a874d7599d545567308ce6c128fc8754a53208eda016d40aa81df",
            ),
        ),
        proven="layout only",
        radius=349,
        halo=96,
        tile=512,
        parameters=16_697_987,
        flop=35.9e6,
    ),
    _realesrgan(
        "realesr-general-x4v3",
        "Real-ESRGAN general x4 v3: small, fast, adjustable denoising",
        "v0.2.5.0",
        (
            (
                "realesr-general-x4v3.pth",
                4885111,
                "8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
            ),
            (
                "realesr-general-wdn-x4v3.pth",
                4885111,
                "1641f8c4464b9f097c9fdda5589273713f67cf59f3d909e0bd688f0cee269dca",
            ),
        ),
        proven="real weights",
        radius=34,
        halo=34,
        tile=512,
        parameters=1_213_296,
        flop=2.42e6,
        denoise=1.0,
    ),
    _realesrgan(
        "realesr-animevideov3",
        "Real-ESRGAN anime video v3: smallest, for drawings",
        "v0.2.5.0",
        (
            (
                "realesr-animevideov3.pth",
                2504012,
                "b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
            ),
        ),
        proven="real weights",
        radius=18,
        halo=18,
        tile=512,
        parameters=621_424,
        flop=1.24e6,
        domain="drawings and animation, degraded by simulation",
    ),
)

MODELS: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in _ROWS})
"""Every model by its name, in the order in which menus show them."""


def default_model(scale: int) -> str:
    """Return the name of the model that is used when none is asked for.

    The embedded model for that scale factor where there is one, else Lanczos interpolation.
    """
    embedded = f"microscopy-x{scale}"
    return embedded if embedded in MODELS else "lanczos"
