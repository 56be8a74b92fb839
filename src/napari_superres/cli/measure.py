"""``superres measure``."""

from __future__ import annotations

import json

import click

from napari_superres.cli.wording import as_options


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
    from napari_superres.trust.measure import measure as measured

    image = read(result, axes=axes)
    given, known = (None if path is None else read(path, axes=axes) for path in (source, truth))
    figures = measured(image, given, known, gain=gain, offset=offset)
    report = figures.record()
    report["notes"] = list(map(as_options, report["notes"]))
    click.echo(json.dumps(report) if as_json else as_options(str(figures)))
