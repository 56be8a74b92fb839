"""``superres compare``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from napari_superres.cli import parsing
from napari_superres.cli.console import step_bar, talk
from napari_superres.cli.options import PART, TALKING, with_options
from napari_superres.errors import IncompleteError


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("-m", "--models", required=True, metavar="A,B,...", help="Names, with commas.")
@click.option("--report", required=True, metavar="FOLDER", help="Where the report goes.")
@click.option("-s", "--scale", type=int, default=4, show_default=True, help="Scale factor.")
@click.option(
    "--truth",
    multiple=True,
    metavar="FILE",
    help="A perfect result; once for each IMAGE.",
)
@click.option("--degrade", is_flag=True, help="Make each sharp IMAGE coarse; it is the truth.")
@click.option("--axes", help="One letter an axis, such as zyx, when the files name none.")
@with_options(PART)
@click.option("--kind", "kinds", multiple=True, help="What sort of image; once for each IMAGE.")
@click.option(
    "--memory-of-edge-device", "edge", type=float, metavar="GB", help="Say which models fit it."
)
@click.option("--device", default="auto", show_default=True, help="auto: the CPU, and a GPU.")
@click.option("--repeats", type=int, default=3, show_default=True, help="Timed runs of each model.")
@click.option("--samples", type=int, default=4, show_default=True, help="For the spread; 1: none.")
@click.option(
    "--limit",
    type=float,
    default=600.0,
    show_default=True,
    help="Seconds for one model and image.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="For random models.")
@with_options(TALKING)
def compare(
    images: tuple[str, ...],
    *,
    models: str,
    truth: tuple[str, ...],
    axes: str | None,
    channels: str | None,
    planes: str | None,
    region: str | None,
    edge: float | None,
    as_json: bool,
    quiet: bool,
    **wishes: Any,
) -> None:
    """Find out which model suits your images and this machine, with a report to look at.

    Pictures side by side, cost measured here, fidelity, and a verdict with its reasons, in
    FOLDER/report.html; all numbers in rows.csv and report.json beside it. The same command goes on
    where it was stopped, and tries again what failed. Nothing is downloaded. A model that fails is
    in the report with its reason; the exit code is 3 if all of them do.

    \b
    superres compare cells.ome.tif --models lanczos,microscopy-x4,realesr-general-x4v3 --report out
    superres compare sharp.tif --degrade --models lanczos,microscopy-x4 --report out
    """  # noqa: D301, click wants the character
    from napari_superres.comparing.comparison import compare as compared
    from napari_superres.formats import read

    with step_bar(quiet=quiet) as show:
        made = compared(
            [read(path, axes=axes) for path in images],
            [name.strip() for name in models.split(",") if name.strip()],
            truth=[read(path, axes=axes) for path in truth],
            channels=parsing.channels(channels),
            planes=parsing.planes(planes),
            region=parsing.region(region),
            edge_memory=None if edge is None else edge * 1e9,
            progress=lambda step: show(step.done, step.total, step.words),
            **wishes,
        )
    click.echo(json.dumps(made.record()) if as_json else str(made))
    if not quiet:
        for cell in made.failed:
            talk(f"Note: {cell.picture}, {cell.model} on {cell.device}: {cell.reason}")
        talk(f"Look at {Path(wishes['report']) / 'report.html'}")
    if len(made.failed) == len(made.cells):
        raise IncompleteError(
            f"No model gave a result: {made.failed[0].reason}", "The same command tries again."
        )
