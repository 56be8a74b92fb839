"""``superres simulate``: microscope images whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from napari_superres.cli import parsing
from napari_superres.cli.console import talk
from napari_superres.cli.options import refuse_unused
from napari_superres.training.camera import CAMERAS, make_camera
from napari_superres.training.optics import MODALITIES, Optics
from napari_superres.training.simulate import STEP, Scene
from napari_superres.training.specimens import ANY, CELLS, STRUCTURES, STYLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.training.pairs import PairSettings

_KINDS = (*STRUCTURES, CELLS, ANY)
_STYLES = "; ".join(f"{kind}: {', '.join(styles)}" for kind, styles in STYLES.items())
_NONE = "none"

# Options that only some simulations have a use for, by their parameters.
_STYLED = ("style", "detail", "inverted", "haze", "gradient", "defocus")
_SEEN = ("na", "wavelength", "index", "pixel_size", "aberrations", "defocus")
_LIT = {"confocal": ("excitation", "pinhole"), "light-sheet": ("sheet",)}


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the files.",
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(_KINDS),
    multiple=True,
    default=("filaments",),
    show_default=True,
    help="Specimen; several times for several. 'cells' has two channels; 'any' leaves specimen, "
    "optics and camera to chance, as in the training of the embedded models.",
)
@click.option("--style", help=f"Of kinds that come in several ({_STYLES}); by chance if not given.")
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="Pairs a kind.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the first pair."
)
@click.option("-s", "--scale", type=int, default=4, show_default=True, help="Scale factor.")
@click.option("--shape", default="128", show_default=True, help="Source pixels, N or Y,X.")
@click.option("--planes", type=int, default=1, show_default=True, help="Planes of a focal series.")
@click.option("--step", type=float, default=STEP, show_default=True, help="Between planes, in µm.")
@click.option("--detail", type=float, help="Scale of the finest detail, in truth pixels.")
@click.option("--inverted", is_flag=True, help="Dark structures on bright ground.")
@click.option("--background", type=float, help="Uniform light, as a share of the bright parts.")
@click.option("--haze", type=float, help="Share of light that is spread widely, 0 to 1.")
@click.option("--gradient", type=float, help="How far illumination falls off, 0 to 1.")
@click.option(
    "--optics",
    "modality",
    type=click.Choice([*MODALITIES, _NONE]),
    help="How the specimen is lit and seen.  [default: widefield]",
)
@click.option("--na", type=float, help="Numerical aperture.  [default: 1.4]")
@click.option("--wavelength", type=float, help="Of emission, in nm.  [default: 520]")
@click.option("--excitation", type=float, help="Wavelength of a confocal's laser, in nm.")
@click.option("--index", type=float, help="Refractive index of the immersion.  [default: 1.515]")
@click.option("--pixel-size", type=float, help="Of the source, in µm.  [default: 0.065 * scale]")
@click.option("--pinhole", type=float, help="Of a confocal, in Airy units.  [default: 1]")
@click.option("--sheet", type=float, help="Thickness of a light sheet, in µm.  [default: 2]")
@click.option("--defocus", type=float, help="Distance from the focus, in µm.")
@click.option(
    "--aberration",
    "aberrations",
    multiple=True,
    metavar="NAME=RMS",
    help="astigmatism, coma, spherical or trefoil, in waves.",
)
@click.option("--blur", type=float, default=0.5, show_default=True, help="Sigma in source pixels.")
@click.option(
    "--scanned",
    is_flag=True,
    help="A spot scans with wide steps: a pixel is the light at its centre, not over its area.",
)
@click.option(
    "--camera",
    type=click.Choice(list(CAMERAS)),
    default="ccd",
    show_default=True,
    help="'scmos' has pixels that differ, 'emccd' multiplies, 'ideal' has no noise.",
)
@click.option("--photons", help="In bright parts; 'none' for no noise.  [default: 1000]")
@click.option("--read-noise", type=float, help="In electrons.  [default: 1.6]")
@click.option("--gain", type=float, help="Grey levels an electron.  [default: 2, or to fit --bits]")
@click.option("--offset", type=float, help="Grey levels without light.  [default: 100]")
@click.option(
    "--bits", type=click.Choice(["8", "12", "16", _NONE]), help="Of a pixel.  [default: 16]"
)
@click.option("--hot-pixels", type=float, help="Share of pixels that are far too bright.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["ome.tif", "ome.zarr"]),
    default="ome.tif",
    show_default=True,
    help="Of the images.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with every record.")
@click.option("-q", "--quiet", is_flag=True, help="No talk.")
def simulate(
    out: Path,
    *,
    kinds: tuple[str, ...],
    count: int,
    seed: int,
    file_format: str,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **wishes: Any,
) -> None:
    """Write simulated images with their truth, to try and to validate models on.

    Each pair is NAME_source, as a camera records it, NAME_truth, the same field without blur and
    noise on pixels SCALE times finer, and NAME.json with every setting. Pixel sizes and positions
    are those of one place: in napari the two lie on each other.

    \b
    superres simulate --out pairs
    superres simulate --out pairs --kind nuclei --kind electron --count 10 --photons 100 --scale 2
    superres simulate --out stack --kind cells --planes 10 --optics confocal --na 1.2 --index 1.33
    superres simulate --out pairs --kind mitochondria --style hollow --bits 8 --camera scmos
    """  # noqa: D301, click wants the character
    from napari_superres.training.pairs import write_pairs

    records = []
    # All are checked before the first one is written.
    for settings in [_settings(kind, wishes) for kind in kinds]:
        for record in write_pairs(
            out,
            settings,
            seed=seed,
            count=count,
            file_format=file_format,
            overwrite=overwrite,
        ):
            records.append(record)
            if not quiet:
                talk(f"{out / record['files']['source']} and its truth")
    if as_json:
        click.echo(json.dumps({"schema": 1, "output": str(out), "pairs": records}))


def _settings(kind: str, wishes: dict[str, Any]) -> PairSettings:
    """Return the wishes of the command line as settings; what was not said keeps its default."""
    from napari_superres.training.pairs import PairSettings

    _check_use(kind, wishes)
    shape = parsing.whole_pair(wishes["shape"])
    assert shape is not None
    scale = wishes["scale"]
    camera = {"read_noise": wishes["read_noise"], "gain": wishes["gain"]}
    camera |= {name: wishes[name] for name in ("offset", "hot_pixels")}
    changes = _given(camera)
    if wishes["photons"] is not None:
        changes["photons"] = parsing.number_or_none("photons", wishes["photons"])
    if wishes["bits"] is not None:
        changes["bits"] = None if wishes["bits"] == _NONE else int(wishes["bits"])
    chance = kind == ANY and not changes and wishes["camera"] == "ccd"
    return PairSettings(
        shape=shape if isinstance(shape, tuple) else (shape, shape),
        planes=wishes["planes"],
        step=wishes["step"],
        scale=scale,
        scene=None if kind == ANY else _scene(kind, wishes, scale),
        cells=kind == CELLS,
        camera=None if chance else make_camera(wishes["camera"], **changes),
        blur_sigma=wishes["blur"],
        scanned=wishes["scanned"],
    )


def _scene(kind: str, wishes: dict[str, Any], scale: int) -> Scene:
    optics: Optics | None = None
    if wishes["modality"] != _NONE:
        said = {name: wishes[name] for name in ("modality", "na", "pinhole", "sheet")}
        said["refractive_index"] = wishes["index"]
        for name in ("wavelength", "excitation"):
            said[name] = None if wishes[name] is None else wishes[name] / 1000
        if wishes["pixel_size"] is not None:
            said["pixel_size"] = wishes["pixel_size"] / scale
        optics = replace(
            Optics(), **_given(said), aberrations=parsing.named_numbers(wishes["aberrations"])
        )
    said = {name: wishes[name] for name in ("style", "defocus", "background", "haze", "gradient")}
    said["size"] = wishes["detail"]
    drawn = Scene(optics=optics) if kind == CELLS else Scene(kind, optics=optics)
    return replace(drawn, inverted=wishes["inverted"], **_given(said))


def _check_use(kind: str, wishes: dict[str, Any]) -> None:
    modality = wishes["modality"] or MODALITIES[0]
    unused: dict[str, Sequence[str]] = {
        f"--optics {modality}": [
            option for lit, own in _LIT.items() if lit != modality for option in own
        ]
    }
    if modality == _NONE:
        unused["--optics none"] = [*unused["--optics none"], *_SEEN]
    if kind == CELLS:
        unused[f"--kind {kind}"] = _STYLED
    if kind == ANY:
        unused[f"--kind {kind}"] = (*_STYLED, "background", "modality", *_SEEN)
    if wishes["planes"] > 1:
        unused["A focal series"] = ("defocus",)
    for what, options in unused.items():
        refuse_unused(options, what)


def _given(wishes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wishes.items() if value is not None}
