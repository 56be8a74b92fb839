"""The one table of models: data only, nothing is loaded here.

Adding a model is adding a row. The documentation's table, the widget's menu and
``superres models list`` are made from these rows.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from napari_superres.errors import SettingError
from napari_superres.models.diffusion_rows import DIFFUSION_ROWS
from napari_superres.models.spec import Consistency, ModelSpec, Option, Proven, WeightFile

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MODELS",
    "Consistency",
    "ModelSpec",
    "Option",
    "Proven",
    "WeightFile",
    "default_model",
]

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


def _embedded(
    name: str,
    title: str,
    scale: int,
    file: tuple[int, str],
    *,
    radius: int,
    parameters: int,
    denoise: Literal["auto"] | None = None,
    consistency: Consistency,
    bound: float = 0.0,
) -> ModelSpec:
    size, sha256 = file
    return ModelSpec(
        name=name,
        family="microscopy",
        scale=scale,
        title=title,
        domain="simulated microscopy: fluorescence, phase contrast, stains, electron microscopy",
        licence="BSD-3-Clause",
        citation="The napari-superres developers. napari-superres, its embedded models. 2026.",
        proven="real weights",
        weights=(WeightFile(f"{name}.safetensors", sha256, size),),
        bundled=True,
        noise_input=denoise is not None,
        denoise=denoise,
        consistency=consistency,
        bound=bound,
        radius=radius,
        halo=radius,
        tile=512,
        workspace=1_200,
        parameters=parameters,
        flop=2.0 * parameters,
    )


_ROWS = (
    _embedded(
        "microscopy-x2",
        "Embedded model x2: trained on simulated microscopy, keeps intensities",
        2,
        (435176, "a98ba89c1c04fb954ea56c106e7148bac57b67ef4f7531ce12d57c56173ea501"),
        radius=13,
        parameters=212_868,
        denoise="auto",
        consistency="local",
        bound=7.357396865142235,
    ),
    _embedded(
        "microscopy-x4",
        "Embedded model x4: trained on simulated microscopy, keeps intensities",
        4,
        (459880, "dfe02a1e8c05f392091a260136144d656dc4a46cdbcfd856688b9c968b1f2ce0"),
        radius=13,
        parameters=224_208,
        denoise="auto",
        consistency="local",
        bound=7.653297448491259,
    ),
    _embedded(
        "microscopy-fast-x2",
        "Small embedded model x2: two fifths of the work, 0.1 to 0.2 dB behind",
        2,
        (163560, "d104771cb90eadc7f1f3d872b7f5ddca9a26c081c48a37944a29e3d5df1d774e"),
        radius=11,
        parameters=77_444,
        denoise="auto",
        consistency="local",
        bound=5.418135666869308,
    ),
    _embedded(
        "microscopy-fast-x4",
        "Small embedded model x4: two fifths of the work, 0.1 to 0.2 dB behind",
        4,
        (181320, "8c3f30eadc080c2b8a3e86c22a67f6e4ac6fa4b27b49c8b79763c73e3764cb9c"),
        radius=11,
        parameters=85_328,
        denoise="auto",
        consistency="local",
        bound=6.095851254636817,
    ),
    _embedded(
        "linear-x2",
        "Embedded linear model x2: learned kernels, cannot invent anything",
        2,
        (3800, "4bb6edcdf6a831547633fe59836c10e2c75f7d1cfe573e2dfda6512044c5cf40"),
        radius=4,
        parameters=324,
        consistency="pixel",
    ),
    _embedded(
        "linear-x4",
        "Embedded linear model x4: learned kernels, cannot invent anything",
        4,
        (7784, "f9e437020b5d4ee97a74b97917f7ac1b99a455c66da20d97dbcefa73a6851de9"),
        radius=4,
        parameters=1_296,
        consistency="pixel",
    ),
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
        flop=11.41e6,
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
    *DIFFUSION_ROWS,
)

MODELS: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in _ROWS})
"""Every model by its name, in the order in which menus show them."""


def default_model(scale: int) -> str:
    """Return the name of the model that is used when none is asked for.

    The embedded model for that scale factor, or the next larger one, whose result is averaged down.

    Raises
    ------
    SettingError
        If no embedded model makes an image that fine.
    """
    for own in (2, 4):
        if scale <= own:
            return f"microscopy-x{own}"
    raise SettingError(
        f"scale={scale} is more than any embedded model reaches.",
        "Use scale=4 or less, or choose a model yourself: model='lanczos' interpolates at any.",
    )
