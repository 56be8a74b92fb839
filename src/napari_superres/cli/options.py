"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from napari_superres.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OPENING = [
    click.option("--axes", help="One letter an axis, such as zyx, when the file names none."),
    click.option("--series", type=int, default=0, show_default=True, help="Which image of a file."),
    click.option("--level", type=int, default=0, show_default=True, help="Which pyramid level."),
]
"""How a source is opened: keywords of `read`."""

MISSING = [
    click.option(
        "--missing",
        type=click.Choice(["warn", "error"]),
        default="warn",
        show_default=True,
        help="What to do about chunks of IN that are not there, and read as a constant.",
    ),
]
"""Another keyword of `read`."""

PART = [
    click.option("--channels", help="Names or indices, such as 0,DAPI."),
    click.option("--planes", help="Such as z=0:10,t=3."),
    click.option("--region", help="y0:y1,x0:x1 in source pixels."),
]
"""Which part of an image is wanted: keywords of `select`."""

WISHES = [
    click.option("-m", "--model", help="Name ('superres models list') or file of weights."),
    click.option("-s", "--scale", type=int, help="Scale factor, such as 2 or 4."),
    click.option("--rgb", is_flag=True, help="Axis c holds red, green and blue of one picture."),
    click.option(
        "--labels",
        is_flag=True,
        help="Take along the labels beside an OME-Zarr image. A file of another kind is itself a "
        "mask or labels: repeat, mix nothing.",
    ),
    *PART,
    click.option(
        "--limits",
        multiple=True,
        metavar="[C=]LO:HI",
        help="Intensities that become 0 and 1, for models that need them; once for all channels, "
        "or once for each.",
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
    click.option(
        "--samples",
        type=int,
        default=1,
        show_default=True,
        help="Results to average; above 1 their standard deviation is written too, as OUT_spread. "
        "Random models draw them, others see up to 8 flips and rotations.",
    ),
    click.option(
        "--uncertainty",
        is_flag=True,
        help="Write the error that the model predicts of itself too, as OUT_spread.",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        help="cpu, cuda, cuda:1, mps; cuda:0,cuda:1 for several.",
    ),
    click.option("--precision", default="auto", show_default=True, help="float32, float16, ..."),
    click.option("--batch", type=int, help="Tiles in each call of the network."),
    click.option(
        "--option",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        help="Of this model alone; KEY=@FILE takes the value from a text file.",
    ),
    click.option(
        "--accept-licence",
        multiple=True,
        metavar="NAME",
        help="Accept the licence of the model NAME, which you have read.",
    ),
]
"""What is decided for each image: all keywords of `upscale`."""

WORKERS = [click.option("--workers", type=int, help="Blocks computed at the same time.")]

WRITING = [
    *WORKERS,
    click.option("--overwrite", is_flag=True, help="Replace OUT once the new result is complete."),
    click.option(
        "--ome-zarr",
        type=click.Choice(["0.5", "0.4"]),
        default="0.5",
        show_default=True,
        help="Version of OME-Zarr to write; 0.4 for older readers.",
    ),
]
"""How a result is computed and written: keywords of `run`."""

PLACE = [
    click.option(
        "--cluster",
        metavar="KIND:N",
        help="Compute in local:N processes, or in N jobs of a queue: slurm:N, pbs:N, ...",
    ),
    click.option("--scheduler", metavar="ADDRESS", help="Compute on a dask scheduler's workers."),
]
"""Where blocks are computed: arguments of `choose_workers`."""

TALKING = [
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout."),
    click.option("-q", "--quiet", is_flag=True, help="No progress, no talk."),
]


def with_options(*groups: list[Callable[..., Any]]) -> Callable[..., Any]:
    """Return a decorator that gives a command groups of options, in that order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorate


def refuse_unused(names: Sequence[str], what: str) -> None:
    """Refuse options that were said though nothing would come of them.

    Parameters
    ----------
    names : sequence of str
        Of the command's parameters.
    what : str
        What has no use for them.

    Raises
    ------
    SettingError
    """
    context = click.get_current_context()
    said = [
        option.opts[0]
        for option in context.command.params
        if option.name in names
        and context.get_parameter_source(option.name) is not ParameterSource.DEFAULT
    ]
    if said:
        raise SettingError(f"{what} has no use for {', '.join(said)}.", "Leave it out.")
