"""``superres upscale`` and ``superres plan``."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from napari_superres.cli import parsing
from napari_superres.cli.console import progress_bar, talk
from napari_superres.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_superres.image import Image

SCHEMA = 1
"""Version of the JSON that is printed."""

_INPUT = [
    click.option("--axes", help="One letter an axis, such as zyx, when the file names none."),
    click.option("--series", type=int, default=0, show_default=True, help="Which image of a file."),
    click.option("--level", type=int, default=0, show_default=True, help="Which pyramid level."),
]

_WISHES = [
    click.option("-m", "--model", help="Name ('superres models list') or file of weights."),
    click.option("-s", "--scale", type=int, help="Scale factor, such as 2 or 4."),
    click.option("--rgb", is_flag=True, help="Axis c holds red, green and blue of one picture."),
    click.option("--channels", help="Names or indices, such as 0,DAPI."),
    click.option("--planes", help="Such as z=0:10,t=3."),
    click.option("--region", help="y0:y1,x0:x1 in source pixels."),
    click.option(
        "--limits",
        multiple=True,
        metavar="[C=]LO:HI",
        help="Intensities that become 0 and 1; once for all channels, or once for each.",
    ),
    click.option("--denoise", metavar="0..1|auto", help="Strength of denoising."),
    click.option(
        "--consistency",
        type=click.Choice(["pixel", "local", "off"]),
        help="How the source's light is conserved; each model has a measured default.",
    ),
    click.option("--dtype", help="Type of the result's pixels; the source's by default."),
    click.option("--tile", metavar="N[,N]", help="What the model sees at once, halo included."),
    click.option("--halo", type=int, help="Context around a tile, in source pixels."),
    click.option("--feather", type=int, help="Handover between tiles, in source pixels."),
    click.option("--seed", type=int, default=0, show_default=True, help="For random models."),
    click.option("--samples", type=int, default=1, help="Results to draw and average."),
    click.option("--uncertainty", is_flag=True, help="Write the spread too."),
    click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps."),
    click.option("--precision", default="auto", show_default=True, help="float32, float16, ..."),
    click.option("--batch", type=int, help="Tiles in each call of the network."),
    click.option(
        "--option", "options", multiple=True, metavar="KEY=VALUE", help="Of this model alone."
    ),
    click.option("--workers", type=int, help="Blocks computed at the same time."),
]


def _with(options: list[Callable[..., Any]]) -> Callable[..., Any]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@click.command()
@click.argument("source", metavar="IN")
@click.argument("output", metavar="[OUT]", required=False)
@_with(_INPUT)
@_with(_WISHES)
@click.option("--overwrite", is_flag=True, help="Replace OUT once the new result is complete.")
@click.option(
    "--ome-zarr",
    type=click.Choice(["0.5", "0.4"]),
    default="0.5",
    show_default=True,
    help="Version of OME-Zarr to write; 0.4 for older readers.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no talk.")
def upscale(
    source: str,
    output: str | None,
    *,
    overwrite: bool,
    ome_zarr: Literal["0.5", "0.4"],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    workers: int | None,
    **wishes: Any,
) -> None:
    """Make IN finer and write OUT.

    IN is a TIFF, OME-TIFF, OME-Zarr, PNG or JPEG. The ending of OUT decides its format: .ome.zarr,
    .ome.tif, .tif or .png (one plane). Without OUT the result lies beside IN as
    NAME_x2.ome.zarr. Stop it at any time: the same command goes on where it was.

    \b
    superres upscale cells.ome.tif
    superres upscale cells.ome.tif finer.ome.tif --scale 4 --channels DAPI
    superres upscale stack.tif --axes zyx -m realesr-general-x4v3 --denoise 0.5
    """  # noqa: D301, click wants the character
    from napari_superres.job import run

    begin = time.monotonic()
    image, result = _prepare(source, wishes)
    target = output or str(default_output(source, result.plan.scale))
    if dry_run:
        _print_plan(image, result, workers, as_json=as_json)
        return
    if not quiet:
        for warning in image.warnings:
            talk(f"Note: {warning}")
        talk(f"{result.plan.spec.name}: {source} -> {target}")
    steps = run(result, target, overwrite=overwrite, workers=workers, ome_zarr=ome_zarr)
    with progress_bar(quiet=quiet) as show:
        for step in steps:
            show(step)
    seconds = time.monotonic() - begin
    if as_json:
        report = {
            "schema": SCHEMA,
            "input": source,
            "output": target,
            "plan": result.plan.record(),
            "seconds": round(seconds, 3),
            "warnings": list(image.warnings),
        }
        click.echo(json.dumps(report))
    elif not quiet:
        talk(f"Done in {seconds:.1f} s: {target}")


@click.command()
@click.argument("source", metavar="IN")
@_with(_INPUT)
@_with(_WISHES)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(source: str, *, as_json: bool, workers: int | None, **wishes: Any) -> None:
    """Print what `upscale` would do with IN: every decision, size, memory, time, licence.

    The time is measured on one tile, if the model's weights are on this computer.
    """
    image, result = _prepare(source, wishes)
    _print_plan(image, result, workers, as_json=as_json)


def default_output(source: str, scale: int) -> Path:
    """Return where a result goes when nobody says: beside its source."""
    path = Path(source.rstrip("/\\"))
    folder = Path() if "://" in source else path.parent
    stem = path.name
    for ending in (".ome.zarr", ".ome.tiff", ".ome.tif", ".zarr", path.suffix):
        if ending and stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
            break
    return folder / f"{stem}_x{scale}.ome.zarr"


def _prepare(source: str, wishes: dict[str, Any]) -> tuple[Image, Any]:
    """Open the source and return it with its lazy result."""
    from napari_superres.arrays import as_image
    from napari_superres.formats import read
    from napari_superres.upscaling import upscale as upscaled

    opening = {key: wishes.pop(key) for key in ("axes", "series", "level")}
    rgb = wishes.pop("rgb")
    image = read(source, **opening)
    if rgb:
        image = as_image(image, image.axes, rgb=True)
    keywords = {
        **wishes,
        "channels": parsing.channels(wishes["channels"]),
        "planes": parsing.planes(wishes["planes"]),
        "region": parsing.region(wishes["region"]),
        "limits": parsing.limits(wishes["limits"], image),
        "denoise": parsing.denoise(wishes["denoise"]),
        "tile": parsing.whole_pair(wishes["tile"]),
        "options": parsing.options(wishes["options"]),
    }
    return image, upscaled(image, **keywords)


def _print_plan(image: Image, result: Any, workers: int | None, *, as_json: bool) -> None:
    from napari_superres.estimate import measure_speed

    decisions = result.plan
    workers = workers or os.cpu_count() or 1
    seconds: float | None = None
    try:
        measured = measure_speed(image, decisions).seconds(decisions, workers)
    except WeightsError as error:
        note = f"not measured: {error.message}"
    else:
        seconds = measured
        note = f"about {duration(measured)} with {workers} workers, measured on one tile"
    if as_json:
        report = {
            "schema": SCHEMA,
            "plan": decisions.record(),
            "shape": list(result.shape),
            "bytes": decisions.output_bytes,
            "tiles": decisions.tiles,
            "task_bytes": decisions.task_bytes,
            "seconds": seconds,
            "warnings": list(image.warnings),
        }
        click.echo(json.dumps(report))
        return
    click.echo(str(decisions))
    click.echo(f"{'time':<12}{note}")
    for warning in image.warnings:
        click.echo(f"{'note':<12}{warning}")


def duration(seconds: float) -> str:
    """Return seconds as people say them, such as ``"3 min 20 s"``."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
