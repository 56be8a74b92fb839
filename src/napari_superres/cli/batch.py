"""``superres batch``."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from napari_superres.cli.captions import captions_shown, check_shown
from napari_superres.cli.console import batch_bar, talk
from napari_superres.cli.opening import consent, opened
from napari_superres.cli.options import (
    MISSING,
    OPENING,
    PLACE,
    TALKING,
    WISHES,
    WRITING,
    with_options,
)
from napari_superres.cli.upscale import SCHEMA, duration
from napari_superres.cli.wording import as_options
from napari_superres.errors import IncompleteError
from napari_superres.formats.suffixes import RECORDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.batching import Item, Made
    from napari_superres.formats.ome_zarr_layout import Version


@click.command()
@click.argument("sources", metavar="IN...", nargs=-1, required=True)
@click.argument("folder", metavar="OUTDIR")
@with_options(OPENING, MISSING, WISHES, WRITING, PLACE)
@click.option(
    "--suffix",
    type=click.Choice(RECORDED),
    default=RECORDED[0],
    show_default=True,
    help="Format of the results.",
)
@click.option("-r", "--recursive", is_flag=True, help="Search folders inside folders too.")
@with_options(TALKING)
def batch(
    sources: tuple[str, ...],
    folder: str,
    *,
    cluster: str | None,
    scheduler: str | None,
    suffix: str,
    recursive: bool,
    overwrite: bool,
    ome_zarr: Version,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    **wishes: Any,
) -> None:
    """Make many images finer, each into a file of its own in OUTDIR.

    IN are files, OME-Zarr folders, addresses, or folders of them. What fails does not stop the
    others: it is listed at the end, and the exit code is 3. The same command goes on where it was:
    results that are there are kept, once they are known to be what the same settings give. Where
    each file of a data set holds a series of its own, that one is made, unless --series names one.

    \b
    superres batch slides results
    superres batch a.ome.tif b.ome.zarr results --scale 4 --suffix .ome.tif
    superres batch -r experiment results --channels DAPI
    """  # noqa: D301, click wants the character
    from napari_superres.batching import Made, choose_series, find_images, run_batch
    from napari_superres.job import choose_workers

    source_of = click.get_current_context().get_parameter_source
    named = source_of("series") is not ParameterSource.DEFAULT
    wishes = consent(wishes)
    wishes["device"], place = choose_workers(wishes["device"], cluster, scheduler)

    plans: dict[str, Any] = {}

    def make(source: str) -> Made:
        chosen, left = (wishes["series"], ()) if named else choose_series(source)
        image, result, spread, labels, notes = opened(source, {**wishes, "series": chosen})
        check_shown(result.plan, place)
        plans[source] = result.plan
        notes = (*notes, *(as_options(note) for note in left))
        return Made(image, result, labels, spread, notes)

    begin = time.monotonic()
    images = find_images(sources, folder, recursive=recursive)
    steps = run_batch(
        images,
        folder,
        make,
        suffix=suffix,
        place=place,
        overwrite=overwrite,
        ome_zarr=ome_zarr,
        workers=workers,
    )
    ended: dict[int, Item] = {}
    with (
        batch_bar(quiet=quiet) as show,
        captions_shown(overwrite=overwrite, quiet=quiet) as begin_captions,
    ):
        for step in steps:
            show(step)
            if step.item.state != "waiting":
                ended[step.number] = step.item
            elif (plan := plans.pop(step.item.source, None)) is not None:
                begin_captions(plan, step.item.output)  # its first step, before any plane
    items = [replace(item, reason=as_options(item.reason)) for item in ended.values()]
    _report(items, time.monotonic() - begin, as_json=as_json, quiet=quiet)


def _report(items: Sequence[Item], seconds: float, *, as_json: bool, quiet: bool) -> None:
    """Print how each image ended.

    Raises
    ------
    IncompleteError
        If some failed.
    """
    count = {state: sum(item.state == state for item in items) for state in _WORDS}
    if as_json:
        report = {
            "schema": SCHEMA,
            "images": [asdict(item) for item in items],
            "count": count,
            "seconds": round(seconds, 3),
        }
        click.echo(json.dumps(report))
    if not quiet:
        for item in items:
            for note in item.notes:
                talk(f"Note: {item.source}: {note}")
        for item in items:
            if item.state in ("failed", "left out"):
                talk(f"{item.state.capitalize()}: {item.source}: {item.reason}")
        told = ", ".join(f"{n} {_WORDS[state]}" for state, n in count.items() if n)
        talk(f"{told}; in {duration(seconds)}.")
    if count["failed"]:
        raise IncompleteError(
            f"{count['failed']} of {len(items)} images failed.",
            "The same command tries those that failed again.",
        )


_WORDS = {
    "done": "done",
    "kept": "kept from earlier",
    "left out": "left out",
    "failed": "failed",
}
"""How an image can end, and how the summary says it."""
