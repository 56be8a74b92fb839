"""``superres upscale`` and ``superres plan``."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from napari_superres.cli.captions import captions_shown, check_shown
from napari_superres.cli.console import progress_bar, talk
from napari_superres.cli.opening import consent, opened
from napari_superres.cli.options import (
    MISSING,
    OPENING,
    PLACE,
    TALKING,
    WISHES,
    WORKERS,
    WRITING,
    with_options,
)
from napari_superres.cli.wording import as_options
from napari_superres.errors import ResourceError, WeightsError
from napari_superres.formats.suffixes import result_path, spread_path
from napari_superres.models.weights import state
from napari_superres.resources import SHARE, human_bytes

if TYPE_CHECKING:
    from napari_superres.formats.ome_zarr_layout import Version
    from napari_superres.image import Image
    from napari_superres.job.needs import Needs
    from napari_superres.plan import Plan

SCHEMA = 1
"""Version of the JSON that is printed."""


@click.command()
@click.argument("source", metavar="IN")
@click.argument("output", metavar="[OUT]", required=False)
@with_options(OPENING, MISSING, WISHES, WRITING, PLACE)
@click.option(
    "--part",
    metavar="I/N",
    help="Compute one of N shares of the blocks, as a job array does; 'finish' names the result.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@with_options(TALKING)
def upscale(
    source: str,
    output: str | None,
    *,
    overwrite: bool,
    ome_zarr: Version,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    workers: int | None,
    cluster: str | None,
    scheduler: str | None,
    part: str | None,
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
    superres upscale volume.ome.zarr --cluster local:4
    superres upscale volume.ome.zarr --device cuda:0,cuda:1
    superres upscale volume.ome.zarr --part 3/64
    """  # noqa: D301, click wants the character
    from napari_superres.job import choose_workers, needs, run, run_together

    wishes = consent(wishes, needed=not dry_run)
    wishes["device"], place = choose_workers(wishes["device"], cluster, scheduler)
    begin = time.monotonic()
    image, result, spread, labels, notes = opened(source, wishes)
    target = output or result_path(source, result.plan.scale)
    results = _by_path(target, result, spread)
    if dry_run:
        _print_plan(image, result, needs(results, workers), as_json=as_json)
        return
    if not quiet:
        for note in notes:
            talk(f"Note: {note}")
        talk(f"{result.plan.spec.name}: {source} -> {target}")
    keywords: dict[str, Any] = {"overwrite": overwrite, "ome_zarr": ome_zarr, "part": part}
    check_shown(result.plan, place)
    left = results if overwrite or spread is None else _left(results, labels, ome_zarr)
    with place.executor(result.plan) as executor:
        # All are checked before the first one is computed.
        runs = [
            run(
                own,
                path,
                executor=executor,
                workers=workers,
                labels=labels if own is result else {},
                **keywords,
            )
            for path, own in left.items()
        ]
        # What samples have in common is computed once if result and spread are written together.
        chained = [run_together(runs)] if result.plan.samples > 1 else runs
        with captions_shown(overwrite=overwrite, quiet=quiet) as begin_captions:
            begin_captions(result.plan, target)
            for steps in chained:
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
            "warnings": list(notes),
        }
        if spread is not None:
            report["spread"] = spread_path(target)
        click.echo(json.dumps(report))
    elif not quiet and step.elsewhere:
        talk(f"Part {part} is done in {seconds:.1f} s; {step.elsewhere} other parts are not yet.")
    elif not quiet:
        talk(f"Done in {seconds:.1f} s: {' and '.join(results)}")


@click.command()
@click.argument("source", metavar="IN")
@with_options(OPENING, MISSING, WISHES, WORKERS)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(source: str, *, as_json: bool, workers: int | None, **wishes: Any) -> None:
    """Print what `upscale` would do with IN: every decision, size, memory, time, licence.

    The time is measured on one tile, if the model's weights are on this computer.
    """
    from napari_superres.job import choose_workers, needs

    wishes["device"], _ = choose_workers(wishes["device"])
    image, result, spread, *_ = opened(source, consent(wishes, needed=False))
    results = _by_path(result_path(source, result.plan.scale), result, spread)
    _print_plan(image, result, needs(results, workers), as_json=as_json)


def _by_path(target: str, result: Any, spread: Any) -> dict[str, Any]:
    return {target: result} if spread is None else {target: result, spread_path(target): spread}


def _left(results: dict[str, Any], labels: dict[str, Image], ome_zarr: Version) -> dict[str, Any]:
    """Return what is left to make: one file, if a run ended between a result and its spread.

    Raises
    ------
    OutputError
        If what is there is not what the same settings give.
    """
    from napari_superres.job import is_finished

    (target, result), *beside = results.items()
    left = {} if is_finished(result, labels, target, ome_zarr) else {target: result}
    left |= {path: own for path, own in beside if not is_finished(own, {}, path, ome_zarr)}
    return left or results  # their writing says that both exist already


def _print_plan(image: Image, result: Any, machine: Needs, *, as_json: bool) -> None:
    """Print all that is known before the start; refuse at the end what will not start.

    Raises
    ------
    ResourceError
    """
    from napari_superres.estimate import expected_speed

    decisions = result.plan
    workers = machine.workers
    warnings = [*map(as_options, image.warnings), *_too_large(decisions, machine)]
    seconds: float | None = None
    try:
        speed = expected_speed(image, decisions)
    except WeightsError as error:
        note = f"not measured: {error.message}"
    else:
        seconds = speed.seconds(decisions, workers)
        crew = "" if decisions.spec.unit == "plane" else f" with {workers} workers"
        note = f"about {duration(seconds)}{crew}, {speed.basis}"
    if as_json:
        report = {
            "schema": SCHEMA,
            "plan": decisions.record(),
            "shape": list(result.shape),
            "bytes": decisions.output_bytes,
            "tiles": decisions.tiles,
            "task_bytes": decisions.task_bytes,
            "weights_bytes": decisions.weights_bytes,
            "flop": decisions.flop,
            "seconds": seconds,
            "seconds_basis": note,
            "machine": vars(machine),
            "warnings": warnings,
        }
        click.echo(json.dumps(report))
        _refuse(machine)
        return
    click.echo(str(decisions))
    memory, free = human_bytes(machine.memory), human_bytes(machine.free_memory)
    click.echo(f"{'workers':<12}{workers} at a time, {memory} in all; {free} of memory are free")
    left = "" if machine.free_disk is None else f"; {human_bytes(machine.free_disk)} are free"
    click.echo(f"{'disk':<12}at least {human_bytes(machine.disk)}{left}")
    click.echo(f"{'time':<12}{note}")
    if state(decisions.spec) == "to accept":
        spec = decisions.spec
        how = f"read {spec.homepage}, then 'superres models accept {spec.name}'"
        click.echo(f"{'to do':<12}Accept the licence: {how}.")
    for warning in warnings:
        click.echo(f"{'note':<12}{warning}")
    _refuse(machine)


def _too_large(plan: Plan, machine: Needs) -> list[str]:
    """Return that the published weights will not fit in memory, if they will not.

    A note and no refusal: a user's own files may be smaller, or be in memory already.
    """
    if plan.weights_bytes <= SHARE * machine.free_memory:
        return []
    halves = plan.spec.unit == "plane" and plan.compute.precision == "float32"
    return [
        f"Loading the model takes {human_bytes(plan.weights_bytes)} of memory, and "
        f"{100 * SHARE:.0f} % of the {human_bytes(machine.free_memory)} that are free may be used: "
        "it will be refused"
        + (", unless --precision bfloat16 halves it enough." if halves else ".")
    ]


def _refuse(machine: Needs) -> None:
    if machine.refusal:
        raise ResourceError(machine.refusal, hint="")  # the refusal says what to do itself


def duration(seconds: float) -> str:
    """Return seconds as people say them, such as ``"3 min 20 s"``."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
