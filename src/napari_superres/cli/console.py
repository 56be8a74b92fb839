"""Talk and progress: on stderr, and quiet when nobody watches."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def talk(message: str) -> None:
    """Say something to a person: on stderr, so that stdout stays data."""
    click.echo(message, err=True)


def _bar(*columns: ProgressColumn, quiet: bool) -> Progress:
    """Return a bar on stderr, which shows nothing when it is not a terminal, or if `quiet`."""
    console = Console(file=sys.stderr)
    return Progress(*columns, console=console, disable=quiet or not console.is_terminal)


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[Callable[[Any], None]]:
    """Show progress while the context lasts.

    Parameters
    ----------
    quiet : bool
        Show nothing. Nothing is shown either when stderr is not a terminal.

    Yields
    ------
    callable
        To be called with each `Progress` of a job.
    """
    bar = _bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        quiet=quiet,
    )
    with bar:
        task, now = bar.add_task("blocks", total=None, speed=""), "computing"

        def show(step: Any) -> None:
            nonlocal task, now
            computing = step.step == "computing"
            completed = step.done + step.under_way if computing else step.under_way * step.total
            if step.step != now:  # its speed and time left are its own
                bar.remove_task(task)
                name, now = "blocks" if computing else step.step, step.step
                task = bar.add_task(name, total=step.total, completed=completed, speed="")
            bar.update(task, completed=completed, total=step.total)
            speed = bar.tasks[0].speed if computing else None
            bar.update(task, speed=step.words or (f"{speed:.3g} blocks/s" if speed else ""))

        yield show


@contextmanager
def batch_bar(*, quiet: bool = False) -> Iterator[Callable[[Any], None]]:
    """Show the progress of many jobs while the context lasts: one line for all, one for one.

    Parameters
    ----------
    quiet : bool
        Show nothing. Nothing is shown either when stderr is not a terminal.

    Yields
    ------
    callable
        To be called with each `Step` of a batch.
    """
    bar = _bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        quiet=quiet,
    )
    with bar:
        whole = bar.add_task("images", total=None)
        one = bar.add_task("blocks", total=None)

        def show(step: Any) -> None:
            ended = step.item.state != "waiting"
            bar.update(whole, completed=step.number - (not ended), total=step.total)
            if step.progress is not None:
                name = step.item.source.rstrip("/").rpartition("/")[2]
                done, total = step.progress.done, step.progress.total
                bar.update(one, description=name, completed=done, total=total)

        yield show


@contextmanager
def step_bar(*, quiet: bool = False) -> Iterator[Callable[[int, int, str], None]]:
    """Show the progress of a training while the context lasts.

    Parameters
    ----------
    quiet : bool
        Show nothing. Nothing is shown either when stderr is not a terminal.

    Yields
    ------
    callable
        To be called with the steps done, the steps in all, and a few words on how it stands.
    """
    bar = _bar(
        TextColumn("steps"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        quiet=quiet,
    )
    with bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int, words: str) -> None:
            bar.update(task, completed=done, total=total, description=words)

        yield show


@contextmanager
def transfer_bar(*, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Show the progress of transfers while the context lasts.

    Parameters
    ----------
    quiet : bool
        Show nothing. Nothing is shown either when stderr is not a terminal.

    Yields
    ------
    callable
        To be called with a file's name, the bytes that are here and the bytes there will be.
    """
    bar = _bar(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        quiet=quiet,
    )
    tasks: dict[str, TaskID] = {}

    def show(name: str, done: int, total: int) -> None:
        if name not in tasks:
            tasks[name] = bar.add_task(name, total=total)
        bar.update(tasks[name], completed=done, total=total)

    with bar:
        yield show
