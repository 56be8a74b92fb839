"""The steps of a training: simulated scenes and a seed, nothing else.

Stop it whenever you like and start the same again: it goes on from the last checkpoint. One thread
computes, one further process draws. ``log.jsonl`` has one line for every 50 steps; `export`
reads ``checkpoint.pt``. `recipe` puts trainings together.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from napari_superres.errors import SettingError
from napari_superres.models.families.microscopy.network import MicroscopyNet
from napari_superres.training import losses
from napari_superres.training.stream import Batch, StreamSettings, make_step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHECKPOINT = "checkpoint.pt"
"""Name of the file in a training's folder from which it goes on."""

_PREFETCH = 4


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides what a training computes.

    Parameters
    ----------
    stream : StreamSettings
        Examples.
    channels, pairs : int
        Size of the network.
    steps : int
        Length of the training.
    learning_rate : float
        Of Adam, after the warm-up.
    warm_up : int
        Steps over which the learning rate rises from 0.
    steady : float
        Share of the training after which the learning rate falls linearly, to 1 % at the end.
    ema : float
        Decay of the moving average of the weights, which is what is shipped.
    low_precision : bool
        Whether the body runs in bfloat16; twice as fast on processors that have it.
    own_steps : int
        Steps by which a copy of the network is then trained further for each scale factor alone.
    own_learning_rate, own_steady : float
        The rate of those steps, and the share of them after which it falls.
    """

    stream: StreamSettings = field(default_factory=StreamSettings)
    channels: int = 48
    pairs: int = 5
    steps: int = 6000
    learning_rate: float = 8e-4
    warm_up: int = 200
    steady: float = 1.0
    ema: float = 0.999
    low_precision: bool = True
    own_steps: int = 20000
    own_learning_rate: float = 7e-4
    own_steady: float = 0.35

    def __post_init__(self) -> None:
        if min(self.channels, self.pairs, self.steps) < 1 or self.own_steps < 0:
            raise SettingError("channels, pairs and steps of a training must all be at least 1.")

    def own(self, scale: int) -> TrainSettings:
        """Return the settings of the steps for one scale factor alone, as many examples each."""
        stream = self.stream
        return replace(
            self,
            stream=replace(
                stream,
                scales=(scale,),
                batch=stream.batch * len(stream.scales),
                first_scenes=stream.first_scenes + int(self.steps * stream.scenes_a_step),
            ),
            steps=self.own_steps,
            learning_rate=self.own_learning_rate,
            steady=self.own_steady,
        )

    def shortened(self, steps: int) -> TrainSettings:
        """Return the settings of a training of so many steps, with own steps in proportion."""
        own_steps = round(self.own_steps * steps / self.steps)
        return replace(self, steps=steps, own_steps=own_steps)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        rising = min(1.0, (step + 1) / self.warm_up)
        begin = self.steady * self.steps
        falling = (self.steps - step) / max(self.steps - begin, 1)
        return self.learning_rate * rising * max(0.01, min(1.0, falling))


@dataclass
class TrainState:
    """A training in progress.

    Parameters
    ----------
    network, average : MicroscopyNet
        What is trained, and the moving average of its weights.
    optimizer : torch.optim.Optimizer
        Adam.
    step : int
        How many steps are done.
    """

    network: MicroscopyNet
    average: MicroscopyNet
    optimizer: Any
    step: int = 0


def train(
    settings: TrainSettings,
    folder: Path,
    *,
    start: MicroscopyNet | None = None,
    scenes: Path | None = None,
    device: str = "cpu",
    every: int = 50,
) -> Iterator[dict[str, Any]]:
    """Train, or go on training, and yield a record every so many steps.

    Parameters
    ----------
    settings : TrainSettings
        The recipe.
    folder : Path
        Where checkpoints, scenes and the log are kept.
    start : MicroscopyNet, optional
        What to begin with where there is no checkpoint; None for random weights.
    scenes : Path, optional
        Where scenes are kept instead.
    device : str
        Where the network runs.
    every : int
        Steps between records; a checkpoint is written every ten records and at the end.

    Yields
    ------
    dict
        ``step``, ``seconds``, ``rate`` and the mean of each part of the loss. The same is
        appended to ``log.jsonl``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = resume(settings, folder, start, device)
    sums: dict[str, float] = {}
    begun, records, summed = time.monotonic(), 0, 0
    for batches in _examples(settings, state.step, scenes or folder / "scenes"):
        for group in state.optimizer.param_groups:
            group["lr"] = settings.rate(state.step)
        for name, value in advance(state, batches, settings, device).items():
            sums[name] = sums.get(name, 0.0) + value
        state.step, summed = state.step + 1, summed + 1
        if state.step % every and state.step != settings.steps:
            continue
        record = {"step": state.step, "rate": settings.rate(state.step)}
        record |= {name: round(value / summed, 5) for name, value in sums.items()}
        record["seconds"] = round(time.monotonic() - begun, 1)
        sums, begun, records, summed = {}, time.monotonic(), records + 1, 0
        with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")
        if records % 10 == 0 or state.step == settings.steps:
            save(state, settings, folder)
        yield record


def resume(
    settings: TrainSettings,
    folder: Path,
    start: MicroscopyNet | None = None,
    device: str = "cpu",
) -> TrainState:
    """Return the state of the last checkpoint, or a new one.

    Parameters
    ----------
    settings : TrainSettings
        The recipe; its network must be the checkpoint's.
    folder : Path
        Where the checkpoint is.
    start : MicroscopyNet, optional
        What a new state begins with; heads of other scale factors are left out.
    device : str
        Where the network runs.

    Returns
    -------
    TrainState
    """
    torch.manual_seed(settings.stream.seed)
    scales = settings.stream.scales
    network = MicroscopyNet(settings.channels, settings.pairs, scales)
    if start is not None:
        begun = start.state_dict()
        network.load_state_dict({name: begun[name] for name in network.state_dict()})
    network = network.to(device, memory_format=torch.channels_last)
    average = MicroscopyNet(settings.channels, settings.pairs, scales).to(device)
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))
    state = TrainState(network, average, optimizer)
    restore(state, folder, device)
    return state


def restore(state: TrainState, folder: Path, device: str = "cpu") -> None:
    """Bring a training to where its last checkpoint left it, if there is one."""
    path = folder / CHECKPOINT
    if path.exists():
        kept = torch.load(path, map_location=device, weights_only=True)
        state.network.load_state_dict(kept["network"])
        state.average.load_state_dict(kept["average"])
        state.optimizer.load_state_dict(kept["optimizer"])
        state.step = int(kept["step"])


def save(state: TrainState, settings: TrainSettings, folder: Path, name: str = CHECKPOINT) -> None:
    """Write the checkpoint; a kill at any moment leaves the old one or the new one."""
    unfinished = folder / f"{name}.part"
    torch.save(
        {
            "network": state.network.state_dict(),
            "average": state.average.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "step": state.step,
            "settings": json.dumps(asdict(settings)),
        },
        unfinished,
    )
    unfinished.replace(folder / name)


def load_average(folder: Path, name: str = CHECKPOINT) -> tuple[MicroscopyNet, dict[str, Any], int]:
    """Return the averaged network of a checkpoint, its settings, and the steps done."""
    kept = torch.load(folder / name, map_location="cpu", weights_only=True)
    settings = json.loads(kept["settings"])
    scales = tuple(settings["stream"]["scales"])
    network = MicroscopyNet(settings["channels"], settings["pairs"], scales)
    network.load_state_dict(kept["average"])
    return network.eval(), settings, int(kept["step"])


def advance(
    state: TrainState, batches: list[Batch], settings: TrainSettings, device: str
) -> dict[str, float]:
    """Do one step and return the parts of its loss."""
    network = state.network
    sources = [torch.from_numpy(batch.source).to(device) for batch in batches]
    noise = torch.cat([torch.from_numpy(batch.noise) for batch in batches]).to(device)
    x = torch.cat(sources).contiguous(memory_format=torch.channels_last)
    parts: dict[str, float] = {}
    loss = torch.zeros((), device=device)
    with torch.autocast(device, torch.bfloat16, enabled=settings.low_precision):
        features = network.features(x, noise)
        # Cut by slices, their gradients would not be channels last, and each step take longer.
        sizes = [len(batch.source) for batch in batches]
        for batch, source, maps in zip(batches, x.split(sizes), features.split(sizes), strict=True):
            scale = batch.scale
            prediction = network.upscaled(source, maps, scale)
            with torch.no_grad():
                plain = network.interpolated(source, scale)
            cut = scale * network.radius
            truth = torch.from_numpy(batch.truth).to(device)[..., cut:-cut, cut:-cut]
            one, seen = losses.total(prediction, truth, plain, scale)
            loss = loss + one
            parts |= {f"{name}_x{scale}": value for name, value in seen.items()}
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    state.optimizer.step()
    # A short memory at first, so that the average forgets the random start.
    decay = min(settings.ema, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for mean, now in zip(state.average.parameters(), network.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)
    return parts


def _examples(settings: TrainSettings, first: int, scenes: Path) -> Iterator[list[Batch]]:
    """Yield what each step is trained on, drawn ahead by another process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=_end_with_parent) as drawing:
        ahead: deque[Any] = deque()
        for step in range(first, settings.steps):
            while len(ahead) < _PREFETCH and step + len(ahead) < settings.steps:
                number = step + len(ahead)
                ahead.append(drawing.submit(make_step, settings.stream, number, str(scenes)))
            yield ahead.popleft().result()


def _end_with_parent() -> None:
    """End this process when the training does; the worker of a killed pool waits for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def use_threads(threads: int | None) -> None:
    """Let the network compute in so many threads of this process; None for half the processors.

    The other half draws examples.
    """
    torch.set_num_threads(threads or max(1, (os.cpu_count() or 2) // 2))
