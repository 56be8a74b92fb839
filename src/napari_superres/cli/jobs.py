"""``superres status`` and ``superres verify``."""

from __future__ import annotations

import json

import click

from napari_superres.cli.console import progress_bar, talk
from napari_superres.cli.options import TALKING, WORKERS, with_options
from napari_superres.cli.upscale import SCHEMA, duration
from napari_superres.errors import UnreadableError
from napari_superres.resources import human_bytes


@click.command()
@click.argument("output", metavar="OUT")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(output: str, *, as_json: bool) -> None:
    """Print how far the job of OUT is, wherever it runs.

    It only reads files, so it disturbs nobody, and works from any machine that sees the disk.
    """
    from napari_superres.job.status import record
    from napari_superres.job.status import status as found_status

    found = found_status(output)
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "output": output, **record(found)}))
        return
    lines: list[tuple[str, str]] = [(found.state, output)]
    if found.total:
        share = f"{found.done / found.total:.0%}"
        size = human_bytes(found.nbytes)
        lines.append(("blocks", f"{found.done} of {found.total} ({share}), {size}"))
    for own in found.holders:
        doing = f", {own.doing}" if own.doing else ""
        lines.append(
            (
                "at work",
                f"process {own.process} on {own.host} since {own.since}{doing}; last sign of life "
                f"{duration(own.beat)} ago",
            )
        )
    if found.seconds_left is not None:
        lines.append(("left", f"about {duration(found.seconds_left)}"))
    lines += [("failed", fault) for fault in found.failed]
    for key, value in lines:
        click.echo(f"{key:<12}{value}")


@click.command()
@click.argument("output", metavar="OUT")
@with_options(WORKERS, TALKING)
def verify(output: str, *, workers: int | None, as_json: bool, quiet: bool) -> None:
    """Read OUT again, all of it, and say whether every byte is as it was written.

    Prints a line for each fault. The exit code is 0 for a sound file and 4 for a damaged one.
    """
    from napari_superres.job import Progress
    from napari_superres.job import verify as verified

    with progress_bar(quiet=quiet) as show:
        for found in verified(output, workers):
            show(Progress(found.done, found.total, failed=len(found.faults)))
    if as_json:
        report = {"schema": SCHEMA, "output": output, "sound": not found.faults, **vars(found)}
        click.echo(json.dumps(report))
    else:
        for fault in found.faults:
            click.echo(fault)
    if not quiet:
        for note in found.notes:
            talk(f"Note: {note}")
    if found.faults:
        raise UnreadableError(
            f"{len(found.faults)} of {found.total} pieces of '{output}' are damaged.",
            "Make it again, with --overwrite, or restore it from a copy.",
        )
    if not quiet and not as_json:
        talk(f"Sound: '{output}' was read, {found.total} pieces in all.")
