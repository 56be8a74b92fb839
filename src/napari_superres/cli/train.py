"""``superres train``: weights from nothing but the simulator, or adapted to your own images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from napari_superres.cli import parsing
from napari_superres.cli.console import step_bar, talk
from napari_superres.cli.options import OPENING, refuse_unused, with_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.image import Image
    from napari_superres.training.degrading import Degrading

_OF_OWN_IMAGES = ("coarse", "axes", "series", "level", "channels")
_DEGRADED = ("scale", "blur", "scanned", "photons", "faithful", "anyway")
_FROM_NOTHING = ("channel_count", "pairs", "device")


@click.command()
@click.argument("state", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The file of weights."
)
@click.option("--on", "sharp", multiple=True, metavar="FILE", help="Your sharp image; repeatable.")
@click.option(
    "--like",
    "coarse",
    multiple=True,
    metavar="FILE",
    help="A real coarse image: its blur and noise are what the sharp ones are given.",
)
@with_options(OPENING)
@click.option("--channels", help="Names or indices of the sharp images' channels, such as 0,DAPI.")
@click.option("-s", "--scale", type=int, default=2, show_default=True, help="With --on: 2 or 4.")
@click.option(
    "--blur",
    type=float,
    help="Sigma in pixels of the coarse image.  [default: 0.6; 0 with --scanned]",
)
@click.option(
    "--scanned",
    is_flag=True,
    help="Coarse images are scans with wider steps: the light at centres of pixels.",
)
@click.option(
    "--photons",
    metavar="N|LO:HI|none",
    help="In bright parts of the coarse image.  [default: as the sharp image's noise tells]",
)
@click.option("--faithful", type=float, help="Share of examples without blur and added noise.")
@click.option("--anyway", is_flag=True, help="Write the weights even if they did not help.")
@click.option(
    "--steps",
    type=int,
    help="Most steps. From nothing, those for both scale factors together; the ones for each alone "
    "are in proportion.  [default: 400 with --on, else 6000]",
)
@click.option("--size", "channel_count", type=int, help="Channels of a network from nothing.")
@click.option("--pairs", type=int, help="Pairs of convolutions of a network from nothing.")
@click.option("--patience", type=int, help="Looks without a gain after which to stop.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything.")
@click.option("--device", default="cpu", show_default=True, help="Of a training from nothing.")
@click.option("--threads", type=int, help="[default: half the processors]")
@click.option("--overwrite", is_flag=True, help="Replace the file; with --on, another state too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no talk.")
def train(
    state: Path | None,
    *,
    output: Path,
    sharp: tuple[str, ...],
    threads: int | None,
    as_json: bool,
    quiet: bool,
    **wishes: Any,
) -> None:
    """Adapt the embedded model to your own sharp images, or train one from nothing.

    With --on, sharp images are degraded, and the embedded model learns to undo it: minutes on a
    laptop. A part of each image is kept apart, and the result is judged there; if it is no better
    than the embedded model, that is said and nothing is written. Without --on, a network is
    trained on simulated microscopy alone, as the embedded ones were: hours, for both x2 and x4.

    STATE is the folder for checkpoints, log and preview.png (from left to right: source, what there
    was before, the model as it is now, truth); beside the output if not given. Stop it at any
    time: the same command goes on where it was.

    \b
    superres train --on sharp_stack.ome.zarr -o mine.safetensors
    superres train --on a.tif --on b.tif --axes zyx --scale 4 --like coarse.tif -o mine.safetensors
    superres train STATE -o microscopy.safetensors
    superres upscale cells.ome.tif --model mine.safetensors
    """  # noqa: D301, click wants the character
    from napari_superres.training.train import use_threads

    use_threads(threads)
    folder = state or output.with_suffix(".training")
    if sharp:
        report = _adapt(sharp, folder, output, wishes, quiet=quiet)
    else:
        report = _from_nothing(folder, output, wishes, quiet=quiet)
    if as_json:
        click.echo(json.dumps({"schema": 1, "state": str(folder), **report}))


def _adapt(
    sharp: Sequence[str], folder: Path, output: Path, wishes: dict[str, Any], *, quiet: bool
) -> dict[str, Any]:
    from napari_superres.training.adapting import Outcome, adapt
    from napari_superres.training.finetune import TuneSettings, bfloat16_is_faster

    refuse_unused(_FROM_NOTHING, "A training with --on")
    images = _open(sharp, wishes)
    degrading = _degrading(images, wishes, quiet=quiet)
    given = {name: wishes[name] for name in ("steps", "patience")}
    settings = TuneSettings(
        scale=wishes["scale"],
        degrading=degrading,
        seed=wishes["seed"],
        low_precision=bfloat16_is_faster(),
        **{name: value for name, value in given.items() if value is not None},
    )
    report: dict[str, Any] = {}
    with step_bar(quiet=quiet) as show:
        for event in adapt(
            images,
            output,
            folder,
            settings,
            anyway=wishes["anyway"],
            overwrite=wishes["overwrite"],
        ):
            if isinstance(event, Outcome):
                report = {
                    "helped": event.helped,
                    "verdict": event.verdict,
                    "paired": event.paired,
                    "output": str(event.written) if event.written else None,
                }
            else:
                show(event.step, event.steps, f"{event.gain:+.2f} dB, best {event.best:+.2f}")
    if not quiet:
        talk(report["verdict"])
        name = report["output"]
        talk(f"Use it with --model {name}" if name else "Nothing was written; --anyway does.")
    return report


def _from_nothing(
    folder: Path, output: Path, wishes: dict[str, Any], *, quiet: bool
) -> dict[str, Any]:
    from napari_superres.training.recipe import TrainProgress, make_weights
    from napari_superres.training.stream import StreamSettings
    from napari_superres.training.train import TrainSettings

    refuse_unused((*_OF_OWN_IMAGES, *_DEGRADED), "A training without --on FILE")
    given = {"channels": wishes["channel_count"], "pairs": wishes["pairs"]}
    settings = TrainSettings(
        stream=StreamSettings(seed=wishes["seed"]),
        **{name: value for name, value in given.items() if value is not None},
    )
    if wishes["steps"] is not None:
        settings = settings.shortened(wishes["steps"])
    more = {"device": wishes["device"], "overwrite": wishes["overwrite"]}
    if wishes["patience"] is not None:
        more["patience"] = wishes["patience"]
    report: dict[str, Any] = {}
    with step_bar(quiet=quiet) as show:
        steps = make_weights(settings, folder, output, **more)
        score = ""
        for event in steps:
            if isinstance(event, TrainProgress):
                if event.score is not None:
                    score = f", {event.score:+.2f} dB over bicubic"
                show(event.step, event.steps, f"{event.stage}, loss {event.loss:.4f}{score}")
            else:
                report = {"output": [str(path) for path in event]}
    if not quiet:
        talk(f"Done: {', '.join(report['output'])}")
    return report


def _open(paths: Sequence[str], wishes: dict[str, Any]) -> list[Image]:
    from napari_superres.formats import read
    from napari_superres.selection import select

    opening = {name: wishes[name] for name in ("axes", "series", "level")}
    chosen = parsing.channels(wishes["channels"])
    return [select(read(path, **opening), chosen) for path in paths]


def _degrading(images: Sequence[Image], wishes: dict[str, Any], *, quiet: bool) -> Degrading:
    """Return how sharp images are degraded: as a coarse image shows, changed by what was said."""
    from napari_superres.training.degrading import degrading_for

    coarse = _open(wishes["coarse"], {**wishes, "channels": None})
    degrading = degrading_for(
        images,
        wishes["scale"],
        like=coarse,
        blur=wishes["blur"],
        photons=parsing.photons(wishes["photons"]),
        faithful=wishes["faithful"],
        scanned=wishes["scanned"],
    )
    if not quiet:
        talk(f"Sharp images are degraded by {degrading}")
    return degrading
