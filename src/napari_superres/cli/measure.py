"""``superres measure``."""

from __future__ import annotations

import json

import click

from napari_superres.cli.console import talk


@click.command()
@click.argument("result", metavar="RESULT")
@click.option("--source", metavar="FILE", help="What RESULT was made from; else as it says itself.")
@click.option("--truth", metavar="FILE", help="A perfect result, on the pixels of RESULT.")
@click.option("--axes", help="One letter an axis, such as zyx, when the files name none.")
@click.option("--gain", type=float, help="Grey levels a photo-electron of the source's camera.")
@click.option("--offset", type=float, default=0.0, help="Its grey levels without light.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def measure(
    result: str,
    *,
    source: str | None,
    truth: str | None,
    axes: str | None,
    gain: float | None,
    offset: float,
    as_json: bool,
) -> None:
    """Print how far RESULT can be trusted: light, place, resolution, flicker, invented detail.

    Against its source; with --truth also against what a perfect result would show. A fixed sample
    of RESULT is read, so it is quick at any size.

    \b
    superres measure cells_x2.ome.zarr
    superres measure cells_x4.tif --source cells.tif --truth cells_truth.tif
    """  # noqa: D301, click wants the character
    from napari_superres.formats import read
    from napari_superres.trust.matching import source_of, was_changed
    from napari_superres.trust.measure import measure as measured

    image = read(result, axes=axes)
    given, known = (None if path is None else read(path, axes=axes) for path in (source, truth))
    found = source_of(image) if given is None else given
    figures = measured(image, found, known, gain=gain, offset=offset)
    if found is None:
        talk(f"Note: '{result}' names no source that is there. Give it with --source FILE.")
    elif given is None and was_changed(found, image):
        talk(
            f"Note: '{found.called}' was written anew since '{result}' was made from it. If it is "
            "not the same image, give the right one with --source FILE."
        )
    click.echo(json.dumps(figures.record()) if as_json else str(figures))
