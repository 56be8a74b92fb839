r"""The whole recipe in one go: from a seed to the weight files, resumable at every point.

::

    scenes --train--> x2 and x4 --best--> x2 alone --best--> error head (mean frozen), bound, file
                                     \---> x4 alone --best--> ...

One network learns both scale factors first, which share what there is to learn about images; then a
copy of it learns each factor alone. Each checkpoint is scored on held-out scenes; the best one is
exported. The held-out images on which the cards' figures are made decide nothing.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.errors import SettingError
from napari_superres.training.at_work import at_work
from napari_superres.training.classical import interpolate
from napari_superres.training.export import check_output, export
from napari_superres.training.preview import EDGE, write_preview
from napari_superres.training.stream import BEFORE
from napari_superres.training.train import CHECKPOINT, TrainSettings, load_average, train
from napari_superres.training.validate import degraded_pairs, held_out, predict
from napari_superres.trust.similarity import psnr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from napari_superres.models.families.microscopy.network import MicroscopyNet
    from napari_superres.training.recording import Pair

BEST = "best.pt"
"""Name of the checkpoint that did best on the scenes by which a training is stopped."""

_SCORES = "scores.jsonl"
# Numbers of the images that decide when to stop: far from those on which figures are made.
_FIRST_DECIDING = 1000
_DECIDING_EDGE = 160
_LEAST_GAIN = 0.01
_SHOWN = ("filaments", "nuclei", "electron")


@dataclass(frozen=True)
class TrainProgress:
    """How a training stands.

    Parameters
    ----------
    stage : str
        The scale factors that are trained together.
    step, steps : int
        Of this stage: done, and to be done.
    loss : float
        Mean since the last record.
    seconds : float
        Since the last record.
    score : float or None
        At checkpoints: mean gain over bicubic on held-out scenes, in decibels.
    stopped : bool
        Whether this is the last because the score no longer grows.
    """

    stage: str
    step: int
    steps: int
    loss: float
    seconds: float
    score: float | None = None
    stopped: bool = False


def make_weights(
    settings: TrainSettings,
    folder: Path,
    output: Path,
    *,
    patience: int = 10,
    device: str = "cpu",
    error_steps: int = 400,
    count: int = 2,
    edge: int = 256,
    every: int = 50,
    overwrite: bool = False,
) -> Iterator[TrainProgress | list[Path]]:
    """Train from nothing, or go on training, and write the weight files; yield how it stands.

    Parameters
    ----------
    settings : TrainSettings
        The recipe.
    folder : Path
        Where checkpoints, scenes, logs and the preview are kept.
    output : Path
        ``DIR/NAME.safetensors`` gives ``DIR/NAME-x2.safetensors`` and so on, one for each scale
        factor, with a card beside each.
    patience : int
        After how many checkpoints without a better score to stop.
    device : str
        Where the network is trained.
    error_steps, count, edge
        As for `export`.
    every : int
        Steps between records; a checkpoint is written every tenth.
    overwrite : bool
        Whether to replace files that are there.

    Yields
    ------
    TrainProgress
        At each record. ``preview.png`` in the stage's folder shows source, bicubic, model, truth.
    list of Path
        Once, at the end: the files.

    Raises
    ------
    SettingError
        If the folder holds a training of another network or seed, or one is at work there.
    OutputError
        If the output does not end in ``.safetensors``, or one of the files is there already.
    """
    for scale in settings.stream.scales:
        check_output(output.with_stem(f"{output.stem}-x{scale}"), overwrite=overwrite)
    with at_work(folder):
        yield from _stage(settings, folder, patience=patience, device=device, every=every)
        scales = settings.stream.scales
        folders = [folder / f"x{scale}" for scale in scales] if settings.own_steps else [folder]
        if settings.own_steps:
            shared, _, _ = load_average(folder, _best(folder))
            for scale, own in zip(scales, folders, strict=True):
                yield from _stage(
                    settings.own(scale),
                    own,
                    start=shared,
                    scenes=folder / "scenes",
                    patience=patience,
                    device=device,
                    every=every,
                )
        yield [
            path
            for own in folders
            for path in export(
                own,
                output.parent,
                name=output.stem,
                checkpoint=_best(own),
                scenes=folder / "scenes",
                error_steps=error_steps,
                count=count,
                edge=edge,
            )
        ]


def _stage(
    settings: TrainSettings,
    folder: Path,
    *,
    start: MicroscopyNet | None = None,
    scenes: Path | None = None,
    patience: int,
    device: str,
    every: int,
) -> Iterator[TrainProgress]:
    """Train, or go on, until the steps are done or the score no longer grows."""
    _check_same(settings, folder)
    stage = " and ".join(f"x{scale}" for scale in settings.stream.scales)
    pairs = _deciding(settings)
    bicubic = {name: _plain_psnr(pair) for name, pair in pairs.items()}
    scores = _read_scores(folder)
    seen = max(scores, default=0)
    if _is_over(scores, patience):
        return
    for record in train(settings, folder, start=start, scenes=scenes, device=device, every=every):
        loss = sum(value for key, value in record.items() if key.startswith("error"))
        score = None
        network, _, step = _last(folder)
        if network is not None and step > seen:
            seen = step
            score = _score(network, pairs, bicubic)
            if score > max(scores.values(), default=-np.inf):
                _keep_best(folder)
            scores[step] = score
            _write_score(folder, step, score)
            write_preview(folder / "preview.png", _pictures(network, pairs))
        stopped = _is_over(scores, patience)
        yield TrainProgress(
            stage, record["step"], settings.steps, loss, record["seconds"], score, stopped
        )
        if stopped:
            break


def _best(folder: Path) -> str:
    return BEST if (folder / BEST).exists() else CHECKPOINT


def _check_same(settings: TrainSettings, folder: Path) -> None:
    """Refuse to go on with another network or other examples; the number of steps may change."""
    if not (folder / CHECKPOINT).exists():
        return
    _, kept, _ = load_average(folder)
    own = {"channels": settings.channels, "pairs": settings.pairs}
    own |= {name: getattr(settings.stream, name) for name in ("seed", *BEFORE)}
    before = {**BEFORE, **kept, **kept["stream"]}
    differ = [f"{name}={before[name]}" for name, value in own.items() if before[name] != value]
    if differ:
        raise SettingError(
            f"'{folder}' holds a training with {', '.join(differ)}.",
            "Use the same, or another folder.",
        )


def _deciding(settings: TrainSettings) -> dict[str, Pair]:
    images = held_out(1, _DECIDING_EDGE, first=_FIRST_DECIDING)
    return {
        f"{name} x{scale}": pair
        for scale in settings.stream.scales
        for name, pair in degraded_pairs(images, scale).items()
    }


def _plain_psnr(pair: Pair) -> float:
    return psnr(interpolate(pair.source, pair.scale, "bicubic"), pair.truth)


def _score(
    network: MicroscopyNet, pairs: Mapping[str, Pair], bicubic: Mapping[str, float]
) -> float:
    gains = [
        psnr(predict(network, pair.source, pair.local_noise, pair.scale), pair.truth)
        - bicubic[name]
        for name, pair in pairs.items()
    ]
    return round(float(np.mean(gains)), 4)


def _last(folder: Path) -> tuple[MicroscopyNet | None, object, int]:
    return load_average(folder) if (folder / CHECKPOINT).exists() else (None, None, 0)


def _keep_best(folder: Path) -> None:
    unfinished = folder / f"{BEST}.part"
    shutil.copyfile(folder / CHECKPOINT, unfinished)
    unfinished.replace(folder / BEST)


def _is_over(scores: Mapping[int, float], patience: int) -> bool:
    values = list(scores.values())
    if len(values) <= patience:
        return False
    return max(values[-patience:]) <= max(values[:-patience]) + _LEAST_GAIN


def _read_scores(folder: Path) -> dict[int, float]:
    path = folder / _SCORES
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {line["step"]: line["score"] for line in lines}


def _write_score(folder: Path, step: int, score: float) -> None:
    with (folder / _SCORES).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "score": score}) + "\n")


def _pictures(network: MicroscopyNet, pairs: Mapping[str, Pair]) -> list[list[np.ndarray]]:
    rows = []
    for kind in _SHOWN:
        pair = pairs[f"{kind}-{_FIRST_DECIDING}/psf_hi x{network.scales[0]}"]
        pictures = [interpolate(pair.source, pair.scale, how) for how in ("nearest", "bicubic")]
        pictures.append(predict(network, pair.source, pair.local_noise, pair.scale))
        rows.append([picture[:EDGE, :EDGE] for picture in (*pictures, pair.truth)])
    return rows
