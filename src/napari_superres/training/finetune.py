"""Adapt the embedded model to a user's own images.

Sharp images are degraded, and the embedded network goes on learning from the pairs. What the result
is worth is told by parts of the field that no step has seen (`own_images`): bicubic interpolation,
the embedded model and the adapted one get the same sources there, and differences are paired.
"""

from __future__ import annotations

import json
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_superres.errors import SettingError
from napari_superres.models.families.microscopy.network import MicroscopyNet, build_network
from napari_superres.models.families.microscopy.tensors import read_trained
from napari_superres.models.weights import find_model, find_weights
from napari_superres.training.stream import Batch, StreamSettings, in_own_units, told
from napari_superres.training.train import (
    TrainSettings,
    TrainState,
    advance,
    restore,
    save,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_superres.training.degrading import Degrading
    from napari_superres.training.judging import Judge
    from napari_superres.training.own_images import Parts, Piece

_PREFETCH = 4
_TUNE_STREAM = 4
# Of several places in a piece the one with the most structure is learned from.
_CANDIDATES = 3
_LEAST_GAIN = 0.01
BEST = "best.pt"
"""Name of the file with the network that did best on the validation part."""


@dataclass(frozen=True)
class TuneSettings:
    """Everything that decides what a fine-tuning computes, but the images.

    Parameters
    ----------
    scale : int
        Scale factor.
    degrading : Degrading
        What is done to the sharp images.
    steps : int
        Most steps.
    batch : int
        Examples a step.
    core : int
        Edge in source pixels of what a step learns from in each example, context excluded.
    learning_rate : float
        Of Adam; a third of the training's own.
    patience : int
        After how many validations without a gain to stop.
    every : int
        Steps between validations.
    seed : int
        Of everything.
    low_precision : bool
        Whether the body runs in bfloat16.
    """

    scale: int
    degrading: Degrading
    steps: int = 400
    batch: int = 8
    core: int = 40
    learning_rate: float = 3e-4
    patience: int = 6
    every: int = 25
    seed: int = 0
    low_precision: bool = True

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.core, self.every, self.patience) < 1:
            raise SettingError("steps, batch, core, every and patience must all be at least 1.")

    def training(self, network: MicroscopyNet) -> TrainSettings:
        """Return the settings of the steps themselves."""
        return TrainSettings(
            stream=StreamSettings(
                seed=self.seed,
                patch=self.core + 2 * network.radius,
                batch=self.batch,
                scales=(self.scale,),
            ),
            channels=network.channels,
            pairs=network.pairs,
            steps=self.steps,
            learning_rate=self.learning_rate,
            warm_up=max(1, min(20, self.steps // 4)),
            steady=0.3,
            ema=0.98,
            low_precision=self.low_precision,
        )


@dataclass(frozen=True)
class TuneRecord:
    """How a fine-tuning stands.

    Parameters
    ----------
    step, steps : int
        Done, and at most to be done.
    loss : float
        Mean since the last record.
    gain : float
        On the validation part, over the embedded model, in decibels; mean over the cases.
    best : float
        The largest `gain` so far; 0 for the embedded model itself.
    seconds : float
        Since the last record.
    stopped : bool
        Whether this is the last because nothing was gained any more.
    """

    step: int
    steps: int
    loss: float
    gain: float
    best: float
    seconds: float
    stopped: bool = False


def embedded_network(scale: int) -> tuple[MicroscopyNet, dict[str, str]]:
    """Return the embedded network for a scale factor, and its name and checksum.

    Raises
    ------
    SettingError
        If there is none.
    """
    name = f"microscopy-x{scale}"
    try:
        spec = find_model(name)
    except LookupError:
        raise SettingError(
            f"scale={scale} has no embedded model to adapt.", "Use scale=2 or scale=4."
        ) from None
    [path] = find_weights(spec).values()
    network = build_network(read_trained(path))
    assert isinstance(network, MicroscopyNet)
    return network, {"name": name, "sha256": spec.weights[0].sha256}


def tune(settings: TuneSettings, parts: Parts, folder: Path, judge: Judge) -> Iterator[TuneRecord]:
    """Adapt the embedded network, or go on adapting it, and yield a record at each validation.

    Parameters
    ----------
    settings : TuneSettings
        How.
    parts : Parts
        What is learned from; the test part is not touched.
    folder : Path
        Where checkpoints and the log are kept; `BEST` holds the network to use.
    judge : Judge
        Of the validation part.

    Yields
    ------
    TuneRecord
        The same is appended to ``log.jsonl``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.jsonl"
    network, _ = embedded_network(settings.scale)
    training = settings.training(network)
    state = _begin(training, settings.scale, folder)
    past = _past(log, state.step)
    if past and past[-1].stopped:
        return
    losses, begun = [], time.monotonic()
    for batches in _examples(settings, training, parts, state.step, network.radius):
        for group in state.optimizer.param_groups:
            group["lr"] = training.rate(state.step)
        seen = advance(state, batches, training, "cpu")
        losses.append(sum(seen.values()))
        state.step += 1
        if state.step % settings.every and state.step != settings.steps:
            continue
        gain = round(judge.gain(state.average), 4)
        best = max([0.0, *(record.best for record in past)])
        if gain > best:
            best = gain
            save(state, training, folder, BEST)
        waited = past[-settings.patience :]
        stopped = len(waited) == settings.patience and best < waited[0].best + _LEAST_GAIN
        record = TuneRecord(
            state.step,
            settings.steps,
            round(float(np.mean(losses)), 4),
            gain,
            best,
            round(time.monotonic() - begun, 1),
            stopped,
        )
        save(state, training, folder)
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(record)) + "\n")
        past.append(record)
        losses, begun = [], time.monotonic()
        yield record
        if stopped:
            return


def examples_of(settings: TuneSettings, parts: Parts, step: int, radius: int) -> list[Batch]:
    """Return what a step learns from; the same whenever it is asked for.

    Parameters
    ----------
    settings : TuneSettings
        How images are degraded.
    parts : Parts
        Whose training pieces are used.
    step : int
        Number of the step.
    radius : int
        Context of the network in source pixels.
    """
    rng = np.random.default_rng([settings.seed, _TUNE_STREAM, step])
    edge = _edge(parts, settings, radius)
    made = []
    for _ in range(settings.batch):
        piece = parts.training[int(rng.integers(len(parts.training)))]
        light = _place(piece, edge * settings.scale, rng)
        pair = settings.degrading.random(light, piece, settings.scale, rng)
        made.append(in_own_units(pair.source, told(pair, rng), pair.truth))
    source, noise, truth = (np.stack(part) for part in zip(*made, strict=True))
    return [Batch(source[:, None], noise[:, None], truth[:, None], settings.scale)]


def bfloat16_is_faster(channels: int = 48) -> bool:
    """Return whether this processor convolves faster in bfloat16 than in float32.

    Many older ones emulate it, at several times the cost.
    """
    convolution = torch.nn.Conv2d(channels, channels, 3, bias=False)
    x = torch.zeros(4, channels, 64, 64)
    spent = {}
    with torch.inference_mode():
        for low in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                convolution(x)
                begun = time.perf_counter()
                for _ in range(3):
                    convolution(x)
                spent[low] = time.perf_counter() - begun
    return spent[True] < spent[False]


def _begin(training: TrainSettings, scale: int, folder: Path) -> TrainState:
    torch.manual_seed(training.stream.seed)
    network, average = (embedded_network(scale)[0] for _ in range(2))
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate, betas=(0.9, 0.99))
    state = TrainState(network.train(), average, optimizer)
    restore(state, folder)
    return state


def _past(log: Path, step: int) -> list[TuneRecord]:
    """Return the records up to a step; what was logged after the last checkpoint is dropped."""
    if not log.exists():
        return []
    records = [TuneRecord(**json.loads(line)) for line in log.read_text("utf-8").splitlines()]
    kept = [record for record in records if record.step <= step]
    if len(kept) < len(records):
        lines = [json.dumps(asdict(record)) + "\n" for record in kept]
        log.write_text("".join(lines), encoding="utf-8")
    return kept


def _edge(parts: Parts, settings: TuneSettings, radius: int) -> int:
    """Return the edge of an example in source pixels: as wanted, or what the images allow."""
    shortest = min(min(piece.light.shape) for piece in parts.training) // settings.scale
    return min(settings.core + 2 * radius, shortest)


def _place(piece: Piece, edge: int, rng: np.random.Generator) -> np.ndarray:
    """Return a square of a piece, turned and mirrored at random, and not an empty one."""
    squares = []
    for _ in range(_CANDIDATES):
        top, left = rng.integers(0, np.array(piece.light.shape) - edge + 1)
        squares.append(piece.light[top : top + edge, left : left + edge])
    best = max(squares, key=lambda square: float(square.std()))
    turned = np.rot90(best, int(rng.integers(4)))
    return np.ascontiguousarray(turned[::-1] if rng.random() < 0.5 else turned)


def _examples(
    settings: TuneSettings, training: TrainSettings, parts: Parts, first: int, radius: int
) -> Iterator[list[Batch]]:
    """Yield what each step learns from, made ahead in a thread while another one computes."""
    with ThreadPoolExecutor(1, "examples") as thread:
        ahead: deque[Any] = deque()
        for step in range(first, training.steps):
            while len(ahead) < _PREFETCH and step + len(ahead) < training.steps:
                number = step + len(ahead)
                ahead.append(thread.submit(examples_of, settings, parts, number, radius))
            yield ahead.popleft().result()
