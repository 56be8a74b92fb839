"""From a user's sharp images to a model file, or to the word that it did not help: `adapt`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_superres._version import __version__
from napari_superres.errors import SettingError
from napari_superres.training.at_work import at_work
from napari_superres.training.degrading import FAITHFUL
from napari_superres.training.export import LIMITS, check_output, parameter_count, save_weights
from napari_superres.training.finetune import (
    BEST,
    TuneRecord,
    TuneSettings,
    embedded_network,
    examples_of,
    tune,
)
from napari_superres.training.heads import bound_of, coverage_by_kind, fit_errors, state_for
from napari_superres.training.judging import Judge
from napari_superres.training.own_images import gather
from napari_superres.training.preview import write_preview
from napari_superres.training.train import load_average

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_superres.image import Image
    from napari_superres.models.families.microscopy.network import MicroscopyNet
    from napari_superres.training.degrading import Degrading
    from napari_superres.training.own_images import Parts

# Below this mean gain a model of one's own is not worth its keeping.
HELPS = 0.05
"""Least mean gain over the embedded model, in decibels, that counts as help."""

_ERROR_STEPS = 150
_FRESH_STEPS = 1_000_000
_HELD_OUT = "Held-out parts of the user's own images"


@dataclass(frozen=True)
class Outcome:
    """What a fine-tuning came to.

    Parameters
    ----------
    helped : bool
        Whether it gained at least `HELPS` decibels over the embedded model on the test part, in the
        mean of the cases; one of them may be worse, which the verdict says.
    verdict : str
        The same in words, with the figures.
    paired : mapping
        By case: images, mean PSNR of bicubic, embedded and tuned model, paired gain, and the share
        of images in which the tuned model is better.
    written : Path or None
        The model's file; None where nothing was written because it did not help.
    """

    helped: bool
    verdict: str
    paired: Mapping[str, Mapping[str, float]]
    written: Path | None


def adapt(
    images: Sequence[Image],
    output: Path,
    folder: Path,
    settings: TuneSettings,
    *,
    anyway: bool = False,
    overwrite: bool = False,
) -> Iterator[TuneRecord | Outcome]:
    """Adapt the embedded model to sharp images, and yield how it stands; at last the outcome.

    Parameters
    ----------
    images : sequence of Image
        Sharp images of what the model shall be good at, all channels of them.
    output : Path
        The model's file, ending in ``.safetensors``.
    folder : Path
        Where checkpoints, log and preview are kept. A run that was stopped goes on there.
    settings : TuneSettings
        How.
    anyway : bool
        Whether to write the model even if it did not help.
    overwrite : bool
        Whether to replace an existing file, and a state of other settings.

    Yields
    ------
    TuneRecord
        At each validation; `folder`/preview.png shows source, embedded model, the model as it is
        now, and truth, from left to right.
    Outcome
        Once, at the end.

    Raises
    ------
    OutputError
        If the file exists, or its name does not end in ``.safetensors``.
    SettingError
        If the folder holds a run of other settings or images, or one is at work there.
    InputError
        If an image is too small, or has no contrast.
    """
    check_output(output, overwrite=overwrite)
    embedded, based_on = embedded_network(settings.scale)
    parts = gather(images, settings.scale, embedded.radius)
    facts = {**based_on, "images": parts.facts, "pixels": parts.digest}
    with at_work(folder):
        settings = _claim(folder, settings, facts, overwrite=overwrite)
        how = (settings.degrading, settings.scale, settings.seed, embedded)
        judge = Judge(parts.validation, *how)
        for record in tune(settings, parts, folder, judge):
            network, _, _ = load_average(folder)
            write_preview(folder / "preview.png", judge.pictures(network))
            yield record
        examiner = Judge(parts.test, *how)
        best = folder / BEST
        network = load_average(folder, BEST)[0] if best.exists() else embedded
        paired = examiner.table(network)
        helped = best.exists() and examiner.gain(network) >= HELPS
        verdict = _verdict(paired, based_on["name"], settings.degrading, helped=helped)
        written = None
        if helped or anyway:
            bound, covered = _fit_bound(network, settings, parts, judge, examiner)
            card = _card(output, network, settings, parts, based_on)
            card |= {
                "verdict": verdict,
                "held_out": _HELD_OUT,
                "paired": paired,
                "coverage_of_90_percent_bound": covered,
            }
            sizes = {
                "channels": network.channels,
                "pairs": network.pairs,
                "bound": bound,
                "scanned": settings.degrading.scanned,
            }
            tensors = state_for(network, settings.scale)
            output.parent.mkdir(parents=True, exist_ok=True)
            save_weights(output, "network", settings.scale, tensors, card, sizes)
            written = output
        yield Outcome(helped, verdict, paired, written)


def _claim(
    folder: Path, settings: TuneSettings, facts: Mapping[str, Any], *, overwrite: bool
) -> TuneSettings:
    """Return the settings with which the folder's run goes on; refuse another run's folder."""
    kept = folder / "settings.json"
    own = json.loads(json.dumps({**asdict(settings), **facts}))
    if kept.exists():
        # Older states do not say which pixels they are of.
        before = {"pixels": own["pixels"], **json.loads(kept.read_text(encoding="utf-8"))}
        # Another processor may have another preference; a run goes on as it began.
        precise = before["low_precision"]
        differ = sorted(k for k in own if own[k] != before.get(k) and k != "low_precision")
        if not differ:
            return replace(settings, low_precision=precise)
        if not overwrite:
            raise SettingError(
                f"'{folder}' holds a training with other {', '.join(differ)}.",
                "Use the same, another folder, or overwrite.",
            )
        for name in ("checkpoint.pt", BEST, "log.jsonl", "preview.png"):
            (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(own, indent=2) + "\n", encoding="utf-8")
    return settings


def _fit_bound(
    network: MicroscopyNet, settings: TuneSettings, parts: Parts, judge: Judge, examiner: Judge
) -> tuple[float, dict[str, float]]:
    """Fit the error head, and return its bound (by validation) and what it covers (in the test)."""
    steps = min(_ERROR_STEPS, settings.steps)
    examples = (
        examples_of(settings, parts, _FRESH_STEPS + step, network.radius) for step in range(steps)
    )
    fit_errors(
        network,
        examples,
        steps=steps,
        learning_rate=1e-3,
        low_precision=settings.low_precision,
    )
    bound = bound_of(judge.ratios(network))
    return bound, coverage_by_kind(examiner.ratios(network), bound)


def _verdict(
    paired: Mapping[str, Mapping[str, float]], name: str, degrading: Degrading, *, helped: bool
) -> str:
    cases = degrading.described
    gained = {case: round(row["gain"], 2) + 0.0 for case, row in paired.items()}  # no -0.00
    gains = {
        case: f"{gained[case]:+.2f} dB {cases[case]} (better in {100 * row['better']:.0f} % of "
        f"{row['images']:.0f} parts)"
        for case, row in paired.items()
    }
    unseen = "on parts of the images that it had not seen it"
    if not helped:
        return (
            f"It did not help: {unseen} differs from {name} by {' and '.join(gains.values())}. "
            f"Use {name} for such images."
        )
    worse = [case for case, gain in gained.items() if gain < 0]
    better = " and ".join(gains[case] for case in paired if case not in worse)
    if not worse:
        return f"It helped: {unseen} beats {name} by {better}."
    # The mean of the two gains is positive, so one of them is.
    [case] = worse
    rather = f"{name} {'with' if case == FAITHFUL else 'unless'} denoise=0"
    return (
        f"It helped in part: {unseen} beats {name} by {better}, but loses "
        f"{gains[case].removeprefix('-')}. Use {rather}."
    )


def _card(
    output: Path,
    network: MicroscopyNet,
    settings: TuneSettings,
    parts: Parts,
    based_on: dict[str, str],
) -> dict[str, Any]:
    names = ", ".join(dict.fromkeys(fact["name"] for fact in parts.facts))
    return {
        "name": output.stem,
        "parameters": parameter_count(network, settings.scale),
        "data": f"{based_on['name']} (simulated microscopy), then the user's images: {names}.",
        "citation": "The napari-superres developers. napari-superres, its embedded models. 2026. "
        "Adapted by the user to own images.",
        "licence": "BSD-3-Clause",
        "based_on": based_on,
        "training": {
            "program": f"napari-superres {__version__}",
            **asdict(settings),
            "images": parts.facts,
        },
        "limits": [
            "Adapted to the images named above: for others the embedded model is the safer choice.",
            "Gains were measured on other places of the same fields of view, with the blur and the "
            "noise that the training assumed; another day, dye or microscope can differ.",
            *LIMITS,
        ],
    }
