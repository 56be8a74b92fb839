"""How far a job is that runs elsewhere, or ran: told from its files alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from napari_superres.errors import OutputError
from napari_superres.job.bucket import claimant, is_elsewhere
from napari_superres.job.destination import Destination, destination
from napari_superres.job.lock import Holder, holder
from napari_superres.job.manifest import read_entries

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from napari_superres.formats.remote_path import Place

# Lists that vanish more often than this belong to no job that has just ended.
_LOOKS = 5
SPEED_OF = 200
"""Blocks from which the speed is taken, the newest ones."""


@dataclass(frozen=True)
class Status:
    """What the files of a job say.

    Parameters
    ----------
    state : {"finished", "running", "stopped"}
        Stopped: nobody is at work on it, and it is not complete.
    done, total : int
        Blocks.
    nbytes : int
        Of the finished blocks.
    failed : tuple of str
        A sentence for each block whose last attempt failed.
    holders : tuple of Holder
        Who is at work.
    seconds_left : float or None
        At the speed of the newest blocks; None if nobody is at work, or too little is known.
    """

    state: Literal["finished", "running", "stopped"]
    done: int = 0
    total: int = 0
    nbytes: int = 0
    failed: tuple[str, ...] = ()
    holders: tuple[Holder, ...] = ()
    seconds_left: float | None = None


def status(path: str | os.PathLike[str]) -> Status:
    """Return how far the job of a result is.

    Nothing is locked or written, so it can be asked at any time and from any machine that sees the
    disk or the bucket. Of a bucket, another machine than the job's sees copies that are some
    seconds old.

    Parameters
    ----------
    path : path-like
        Of the result.

    Raises
    ------
    OutputError
        If there is neither a result nor an unfinished one.
    """
    target = destination(path)
    for _ in range(_LOOKS):
        lists = _lists(target)
        if not lists:
            break
        try:
            return _unfinished(target, lists)
        except FileNotFoundError:  # the job has ended in this very moment: look again
            continue
    else:
        raise OutputError(
            f"The lists of what is done of '{target.path}' cannot be read.", "Ask again."
        )
    if target.is_finished():
        return Status("finished")
    raise OutputError(f"There is no '{target.path}', and nobody has begun it.", "Check the name.")


Address = tuple[int, int]


def _lists(target: Destination) -> list[Place]:
    """Return the lists of blocks; of a bucket, the copies in it where the job is not ours."""
    ours: list[Place] = [p for p in (target.manifest, *target.part_manifests()) if p.exists()]
    if target.beside is None or (ours and not is_elsewhere(target)):
        return ours
    if target.is_finished():  # some buckets may not be listed
        return []
    try:
        return [p for p in target.beside.iterdir() if p.name.startswith("manifest")]
    except FileNotFoundError:  # there is no such bucket
        return []


def _unfinished(target: Destination, lists: list[Place]) -> Status:
    total, done, failed, times = _read(lists)
    holders = tuple(_holders(target))
    return Status(
        state="running" if holders else "stopped",
        done=len(done),
        total=total,
        nbytes=sum(done.values()),
        failed=tuple(failed.values()),
        holders=holders,
        seconds_left=_left(times, total - len(done)) if holders else None,
    )


def _read(
    lists: list[Place],
) -> tuple[int, dict[Address, int], dict[Address, str], list[int]]:
    """Return the number of blocks, the bytes of those done, faults of failed ones, and all ends."""
    total = 0
    done: dict[Address, int] = {}
    failed: dict[Address, str] = {}
    times: list[int] = []
    for path in lists:
        for entry in read_entries(path):
            try:
                total = total or int(entry.get("total", 0))
                at = int(entry["p"]), int(entry["k"])
                if "error" in entry:
                    failed[at] = f"{entry['at']}: {entry['error']}"
                    continue
                done[at] = sum(int(size) for size, _ in entry["f"])
                times.append(int(entry["t"]))
            except (KeyError, TypeError, ValueError):  # no block's line
                continue
            failed.pop(at, None)
    return total, done, failed, times


def _left(times: list[int], blocks: int) -> float | None:
    newest = sorted(times)[-SPEED_OF:]
    if len(newest) < 2 or newest[-1] == newest[0]:
        return None
    return blocks * (newest[-1] - newest[0]) / (len(newest) - 1)


def _holders(target: Destination) -> Iterator[Holder]:
    if is_elsewhere(target):
        found = claimant(target)
        if found is not None:
            yield found
        return
    for path in (target.lock, *target.part_locks()):
        found = holder(path)
        if found is not None:
            yield found


def record(found: Status) -> dict[str, Any]:
    """Return a status as JSON values."""
    return {**vars(found), "holders": [vars(own) for own in found.holders]}
