"""Cells computed one after the other, each in a process of its own; what is there is kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres.comparing.records import Cell, Picture, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from napari_superres.comparing.cell import Task

LOOK_SECONDS = 0.2
"""How often is looked whether a cell is ready or somebody wants to stop."""

_LAST_LINES = 3


@dataclasses.dataclass(frozen=True)
class Runs:
    """How cells are computed.

    Parameters
    ----------
    folder : Path
        Where each cell has a folder of its own.
    limit : float
        Seconds after which a cell is given up.
    progress : callable or None
        Called with a `Step` several times a second; stops all by raising an error.
    """

    folder: Path
    limit: float
    progress: Callable[[Step], None] | None = None

    def cells(self, jobs: Sequence[tuple[Picture, Task]]) -> Iterator[Cell]:
        """Yield the cell of each job; what was finished by an earlier run is taken from there."""
        for number, (picture, task) in enumerate(jobs):
            step = Step(number, len(jobs), f"{picture.name}: {task.model} on {task.device}")
            self._tell(step)
            folder = self.folder / _key(task)
            report = _finished(folder) or self._run(picture, task, folder, step)
            yield _cell(picture, task, report, folder)
        self._tell(Step(len(jobs), len(jobs), ""))

    def _tell(self, step: Step) -> None:
        if self.progress is not None:
            self.progress(step)

    def _run(self, picture: Picture, task: Task, folder: Path, step: Step) -> dict[str, Any]:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        np.save(folder / "source.npy", picture.source)
        if picture.truth is not None:
            np.save(folder / "truth.npy", picture.truth)
        (folder / "task.json").write_text(json.dumps(asdict(task), indent=1), "utf-8")
        # Without -P a file of the user's own, such as statistics.py, would take a module's place.
        command = [sys.executable, "-P", "-m", "napari_superres.comparing.cell"]
        with (
            (folder / "log.txt").open("wb") as log,
            # Our own interpreter and module, and a path that we made.
            subprocess.Popen(  # noqa: S603
                [*command, str(folder / "task.json")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                late = self._wait(process, step)
            finally:
                process.kill()  # does nothing to one that has ended
        if late:
            return _failure(f"It was given up after {self.limit:g} s: raise the limit to wait.")
        return _read(folder) or _failure(_death(process.returncode, folder))

    def _wait(self, process: subprocess.Popen[bytes], step: Step) -> bool:
        """Wait for a cell, and return whether it took too long."""
        begin = time.monotonic()
        while True:
            try:
                process.wait(LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                self._tell(step)
                if time.monotonic() - begin > self.limit:
                    return True
            else:
                return False


def _key(task: Task) -> str:
    """Return the name of a cell's folder: everything that decides its numbers is in it."""
    text = json.dumps(asdict(task), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _read(folder: Path) -> dict[str, Any] | None:
    file = folder / "cell.json"
    if not file.is_file():
        return None
    try:
        report = json.loads(file.read_text("utf-8"))
    except ValueError:
        return None
    return report if isinstance(report, dict) and "state" in report else None


def _finished(folder: Path) -> dict[str, Any] | None:
    """Return the report of a cell that has a result; what failed is tried again."""
    report = _read(folder)
    if not report or report["state"] != "done":
        return None
    try:
        np.load(folder / "result.npy", mmap_mode="r")
    except (OSError, ValueError, EOFError):  # cut off, where a disk was full
        return None
    return report


def _failure(reason: str) -> dict[str, Any]:
    return {"state": "failed", "reason": reason}


def _death(code: int, folder: Path) -> str:
    if code == -9:
        return "It was killed, as systems do when memory is full."
    lines = (folder / "log.txt").read_text("utf-8", errors="replace").strip().splitlines()
    said = " / ".join(lines[-_LAST_LINES:]) or "nothing"
    return f"It ended with code {code}; its last words: {said}"


def _cell(picture: Picture, task: Task, report: dict[str, Any], folder: Path) -> Cell:
    pixels = folder / "result.npy"
    return Cell(
        picture=picture.name,
        model=task.model,
        device=task.device,
        state=report["state"],
        reason=report["reason"],
        values=report.get("values", {}),
        basis=report.get("basis", "measured"),
        cutoffs=tuple(report.get("cutoffs", ())),
        compute=report.get("compute", ""),
        pixels=pixels if report["state"] == "done" else None,
    )
