"""A job whose result grows in a bucket: whose it is, and a copy of its lists for other machines.

Blocks go straight to their place; the metadata, written last, makes them an image. What a job knows
of itself lies in a folder of this computer, as for any other, and beside the result, while it is
unfinished::

    OUT.part/lock               who is at work; written anew all the time
    OUT.part/manifest*.jsonl    copies of the lists of finished blocks, some seconds old

so that another machine can go on where this one vanished.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from napari_superres.errors import OutputError
from napari_superres.job.lock import STALE_SECONDS, Holder, revoke
from napari_superres.job.manifest import read_fingerprint

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from napari_superres.formats.remote_path import RemotePath
    from napari_superres.job.destination import Destination

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
COPY_SECONDS = 20.0
"""How old the copies of the lists may be: so much work at most is done again elsewhere."""


class Claim:
    """The right to write one result in a bucket; a context manager. Nothing for local results.

    Processes that share the job's folder (the parts of a job array, on a shared home) share the
    claim: it is the folder's. The claim of a folder that gives no sign of life can be taken over.

    Parameters
    ----------
    target : Destination
        Its local lock is held.

    Raises
    ------
    OutputError
        On entering, if a job of another folder is at work.
    """

    def __init__(self, target: Destination) -> None:
        self.target = target
        self.what = target.path
        self.beside = target.beside
        self._owner = ""
        self._copied: dict[str, int] = {}
        self._stop = threading.Event()
        self._beat = threading.Thread(target=self._refresh, daemon=True, name="bucket heartbeat")

    def __enter__(self) -> Claim:
        if self.beside is not None:
            self._owner = _owner(self.target.part / "owner")
            was_ours = self._take(self.beside / "lock")
            if not (was_ours and self.target.manifest.exists()):
                self._fetch(self.beside)
            self._beat.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.beside is None:
            return
        self._stop.set()
        self._beat.join()
        if not self.is_held():
            return
        if self.target.manifest.exists():
            self.copy()
        else:  # finished, or nothing worth keeping has come of it
            self.beside.remove_all()

    def copy(self) -> None:
        """Copy the lists that have grown to the bucket."""
        if self.beside is None:
            return
        for path in (self.target.manifest, *self.target.part_manifests()):
            data = path.read_bytes() if path.exists() else b""
            if data and self._copied.get(path.name) != len(data):
                (self.beside / path.name).write_bytes(data)
                self._copied[path.name] = len(data)

    def is_held(self) -> bool:
        """Return whether the claim is still this folder's."""
        return self.beside is None or _read(self.beside / "lock").get("owner") == self._owner

    def _take(self, lock: RemotePath) -> bool:
        """Take the claim, and return whether it was this folder's already."""
        was_ours = True
        while not lock.create(self._record()):
            there = _read(lock)
            if there.get("owner") == self._owner:
                return was_ours
            was_ours = False
            try:
                state = lock.stat()
            except FileNotFoundError:  # given up meanwhile
                continue
            if self._now(lock) - state.st_mtime < STALE_SECONDS:
                raise OutputError(
                    f"'{self.target.path}' is being written already, by process "
                    f"{there.get('process', '?')} on {there.get('host', 'another machine')}.",
                    "Wait for it to end. If it was killed, wait a minute.",
                )
            lock.swap(self._record(), state.etag)  # whoever was first has it: look again
        return False

    def _give_sign(self, lock: RemotePath) -> bool:
        """Write the record anew, and return whether it was still ours."""
        try:
            state = lock.stat()
        except FileNotFoundError:
            return False
        if not self.is_held():
            return False
        lock.swap(self._record(), state.etag)  # not over that of somebody who came in between
        return True

    def _record(self) -> bytes:
        found = {"owner": self._owner, "host": socket.gethostname(), "process": os.getpid()}
        return json.dumps({**found, "since": time.strftime("%Y-%m-%d %H:%M:%S")}).encode()

    def _now(self, lock: RemotePath) -> float:
        """Return the time by the clock of the server and not by ours."""
        clock = lock.with_name(f"clock-{uuid.uuid4().hex}")
        clock.write_bytes(b"")
        try:
            return clock.stat().st_mtime
        finally:
            clock.unlink()

    def _fetch(self, beside: RemotePath) -> None:
        """Take over the lists of a job that ran elsewhere, in place of ours.

        They say all that ours said when they were last copied: whoever went on took them over.
        """
        names = [p.name for p in beside.iterdir() if p.name.startswith("manifest")]
        main = self.target.manifest
        for name in sorted(names, key=lambda name: name != main.name):  # the main one first
            data = (beside / name).read_bytes()
            copy = self.target.part / "fetched"
            copy.write_bytes(data)
            if name == main.name:
                ours = read_fingerprint(main) if main.exists() else None
                if ours is None or ours != read_fingerprint(copy):
                    for path in (main, *self.target.part_manifests()):
                        path.unlink(missing_ok=True)
            elif read_fingerprint(copy) != read_fingerprint(main):
                continue  # of a job that was thrown away
            copy.replace(self.target.part / name)

    def _refresh(self) -> None:
        assert self.beside is not None
        copied = time.monotonic()
        while not self._stop.wait(BEAT_SECONDS):
            try:
                if not self._give_sign(self.beside / "lock"):
                    # Whoever looks at a local lock, here or in a worker, finds it gone and stops.
                    for path in (self.target.lock, *self.target.part_locks()):
                        revoke(path)
                    return
                if time.monotonic() - copied >= COPY_SECONDS:
                    self.copy()
                    copied = time.monotonic()
            except OSError as error:  # whoever writes blocks sees the error itself
                log.info("no sign of life in '%s': %s", self.beside, error)


def is_elsewhere(target: Destination) -> bool:
    """Return whether a result in a bucket was last claimed by a job of another folder than ours."""
    if target.beside is None:
        return False
    owner = target.part / "owner"
    claimed = _read(target.beside / "lock").get("owner")
    return claimed is not None and not (owner.exists() and owner.read_text() == claimed)


def claimant(target: Destination) -> Holder | None:
    """Return who holds the claim to a result in a bucket; None if nobody gives a sign of life."""
    assert target.beside is not None
    lock = target.beside / "lock"
    record = _read(lock)
    try:
        beat = max(0.0, time.time() - lock.stat().st_mtime)
        found = Holder(
            host=str(record["host"]),
            process=int(record["process"]),
            since=str(record.get("since", "")),
            doing="",
            beat=beat,
        )
    except (FileNotFoundError, KeyError, TypeError, ValueError):  # given up
        return None
    return found if beat < STALE_SECONDS else None


def _owner(path: Path) -> str:
    """Return the name of a job's folder, the same for all processes that use it."""
    if not path.exists():
        path.write_text(uuid.uuid4().hex)
    return path.read_text()


def _read(lock: RemotePath) -> dict[str, Any]:
    try:
        record = json.loads(lock.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
