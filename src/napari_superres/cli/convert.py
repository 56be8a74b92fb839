"""``superres convert``."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from napari_superres.cli.console import progress_bar, talk
from napari_superres.cli.opening import labels_beside, notes, read_source, selection
from napari_superres.cli.options import MISSING, OPENING, PART, TALKING, WRITING, with_options
from napari_superres.cli.upscale import SCHEMA

if TYPE_CHECKING:
    from napari_superres.formats.ome_zarr_layout import Version


@click.command()
@click.argument("source", metavar="IN")
@click.argument("output", metavar="OUT")
@with_options(OPENING, MISSING, PART)
@click.option("--labels", is_flag=True, help="Take along the labels beside an OME-Zarr image.")
@with_options(WRITING, TALKING)
def convert(
    source: str,
    output: str,
    *,
    labels: bool,
    overwrite: bool,
    ome_zarr: Version,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    **wishes: Any,
) -> None:
    """Write the pixels of IN into OUT, of another format, as they are.

    Sizes, channels, and how a result was made come along. OUT is .ome.tif or .tif (tiled, with a
    pyramid, BigTIFF where it needs to be), .ome.zarr or .zarr, or .png (one plane). A file made of
    an OME-Zarr image is a stream: of any size, in little memory.

    \b
    superres convert cells_x4.ome.zarr cells_x4.ome.tif
    superres convert cells_x4.ome.zarr older.ome.zarr --ome-zarr 0.4
    superres convert slide.ome.tif slide.ome.zarr
    superres convert volume_x4.ome.zarr slice.png --planes z=100 --channels DAPI
    """  # noqa: D301, click wants the character
    from napari_superres.job import run
    from napari_superres.labelling import finer_labels
    from napari_superres.selection import select

    begin = time.monotonic()
    image, wishes = read_source(source, wishes)
    part = selection(wishes)
    along = finer_labels(image, **part) if labels else {}
    told = notes(image, labels_beside(image), along)
    if not quiet:
        for note in told:
            talk(f"Note: {note}")
    steps = run(
        select(image, **part),
        output,
        overwrite=overwrite,
        workers=workers,
        ome_zarr=ome_zarr,
        labels=along,
    )
    with progress_bar(quiet=quiet) as show:
        for step in steps:
            show(step)
    seconds = time.monotonic() - begin
    if as_json:
        report = {
            "schema": SCHEMA,
            "input": source,
            "output": output,
            "seconds": round(seconds, 3),
            "warnings": list(told),
        }
        click.echo(json.dumps(report))
    elif not quiet:
        talk(f"Done in {seconds:.1f} s: {output}")
