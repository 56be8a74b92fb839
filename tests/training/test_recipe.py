"""The recipe in one go: from a seed to files, whatever interrupts it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest
import torch

from napari_superres.cli import _run
from napari_superres.errors import OutputError, SettingError
from napari_superres.models.families.microscopy.tensors import read_trained
from napari_superres.training import recipe
from napari_superres.training.recipe import BEST, TrainProgress, make_weights
from napari_superres.training.stream import StreamSettings
from napari_superres.training.train import TrainSettings, load_average

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TINY = TrainSettings(
    stream=StreamSettings(
        patch=24, batch=1, scales=(2,), edge=48, first_scenes=2, scenes_a_step=0.1
    ),
    channels=4,
    pairs=1,
    steps=20,
    warm_up=2,
    low_precision=False,
    own_steps=10,
    steady=0.6,
)
QUICK = {"error_steps": 2, "count": 1, "edge": 32, "every": 1}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Judge checkpoints on small pictures, with one thread."""
    monkeypatch.setattr(recipe, "_DECIDING_EDGE", 32)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_one_call_makes_the_files_and_can_be_stopped_anywhere(tmp_path: Path) -> None:
    """What ships must come from one command, on any computer that is sometimes switched off."""
    state, output = tmp_path / "state", tmp_path / "out" / "mine.safetensors"
    begun = make_weights(TINY, state, output, **QUICK)
    first = next(begun)
    assert isinstance(first, TrainProgress)
    while first.score is None:
        first = next(begun)
    with pytest.raises(SettingError, match="Another training is at work"):
        next(make_weights(TINY, state, output, **QUICK))
    begun.close()
    assert first.step == 10
    assert (state / BEST).exists()
    assert (state / "preview.png").read_bytes().startswith(b"\x89PNG")
    *rest, paths = make_weights(TINY, state, output, **QUICK)
    assert rest[0].step == 11
    together, alone = (
        [event for event in rest if event.steps == steps] for steps in (TINY.steps, TINY.own_steps)
    )
    assert together[-1].step == TINY.steps
    assert alone[-1].step == TINY.own_steps
    assert alone[-1].score is not None
    assert paths == [tmp_path / "out" / "mine-x2.safetensors"]
    content = read_trained(paths[0])
    assert (content.channels, content.pairs, content.card["name"]) == (4, 1, "mine-x2")
    assert content.bound > 0
    steps = [json.loads(line)["step"] for line in (state / "scores.jsonl").read_text().splitlines()]
    assert steps == [10, 20]
    assert content.card["training"]["steps_done"] == TINY.own_steps
    assert load_average(state / "x2", BEST)[2] == TINY.own_steps
    with pytest.raises(OutputError, match=r"end in \.safetensors"):
        next(make_weights(TINY, state, output.with_suffix(".v2"), **QUICK))
    with pytest.raises(OutputError, match="exists already"):
        next(make_weights(TINY, state, output, **QUICK))
    with pytest.raises(SettingError, match="channels=4"):
        next(make_weights(replace(TINY, channels=6), state, output, overwrite=True, **QUICK))


_DRAWING = """
from pathlib import Path
from napari_superres.training.stream import StreamSettings
from napari_superres.training.train import TrainSettings, _examples
stream = StreamSettings(patch=24, batch=1, scales=(2,), edge=48, first_scenes=2)
for _ in _examples(TrainSettings(stream), 0, Path({!r})):
    print("drawn", flush=True)
    input()
"""


def test_a_killed_training_leaves_no_process_behind(tmp_path: Path) -> None:
    """Each one would hold hundreds of megabytes until the computer is switched off."""
    command = [sys.executable, "-c", _DRAWING.format(str(tmp_path))]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "drawn\n"
        workers = psutil.Process(running.pid).children(recursive=True)
        assert workers
        running.kill()
    assert psutil.wait_procs(workers, timeout=60)[1] == []


def test_a_shorter_training_is_shorter_in_every_stage() -> None:
    """A trial of a few steps would go on for hours in the stages after the first."""
    short = replace(TINY, steps=600, own_steps=1000).shortened(30)
    assert (short.steps, short.own(2).steps) == (30, 50)


def test_a_training_that_no_longer_gains_is_stopped(tmp_path: Path) -> None:
    """Hours of computing that change nothing are somebody's electricity."""
    settings = replace(TINY, steps=60, learning_rate=0.0, own_steps=0)
    *progress, _ = make_weights(settings, tmp_path, tmp_path / "a.safetensors", patience=2, **QUICK)
    assert progress[-1].stopped
    assert progress[-1].step < settings.steps


def test_wishes_for_own_images_without_any_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training of hours on something else than was meant."""
    said = ["train", str(tmp_path / "s"), "-o", str(tmp_path / "a.safetensors"), "--blur", "0.4"]
    assert _run(said) == 2
    assert "--on" in capsys.readouterr().err
