"""One writer at a time: a lock that dies with its process, and a heartbeat for other machines."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from napari_superres.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from napari_superres.formats.remote_path import Place

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
"""A lock from another machine that has not been refreshed for so long belongs to nobody."""

LOOK_SECONDS = 0.1
"""How often somebody who waits for the lock tries again."""

_FAR = 1 << 30
"""Windows locks bytes against reading too, so the byte lies where no record is."""


class BusyError(OutputError):
    """Somebody else holds a lock.

    Parameters
    ----------
    message, hint : str
    doing : str
        What they say they are doing, or nothing.
    """

    def __init__(self, message: str, hint: str, doing: str) -> None:
        super().__init__(message, hint)
        self.doing = doing


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as far as its file tells.

    Parameters
    ----------
    host : str
    process : int
    since : str
        Date and time.
    doing : str
        What they do with it; nothing where that is plain.
    beat : float
        Seconds since the last sign of life.
    """

    host: str
    process: int
    since: str
    doing: str
    beat: float


class Lock:
    """The right to write one result, or a part of one; a context manager.

    On one machine the operating system's own file lock decides: it is gone when its process is, by
    whatever death. Between machines, whose file locks may not see each other, and on file systems
    that have none, a record in the file is refreshed every few seconds.

    Parameters
    ----------
    path : Path
        The lock file. Its folder is made if it is missing.
    what : Path or RemotePath
        The result, for messages.
    wait : float
        Seconds to wait for somebody who has it for a moment only: who has not said, by `note`, that
        it will be for longer.

    Raises
    ------
    BusyError
        On entering, if somebody else is at work.
    """

    def __init__(self, path: Path, what: Place, wait: float = 2.0) -> None:
        self.path = path
        self.what = what
        self.wait = wait
        self.token = uuid.uuid4().hex
        self._since = time.strftime("%Y-%m-%d %H:%M:%S")
        self._file: Any = None
        self._stop = threading.Event()
        self._beat = threading.Thread(target=self._refresh, daemon=True, name="lock heartbeat")

    def __enter__(self) -> Lock:
        deadline = time.monotonic() + self.wait
        while not self._taken():
            record = _read(self.path)
            if record.get("doing") or time.monotonic() >= deadline:
                raise self._busy(record)
            time.sleep(LOOK_SECONDS)
        self._beat.start()
        return self

    def note(self, doing: str) -> None:
        """Say what the lock is used for, so that nobody waits for what takes long.

        Parameters
        ----------
        doing : str
            Nothing while it is only for a moment.
        """
        self._write(
            {
                "token": self.token,
                "host": socket.gethostname(),
                "process": os.getpid(),
                "since": self._since,
                "doing": doing,
            }
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._beat.join()
        try:
            if self.is_held():
                self._file.truncate(0)  # an empty record needs no room on a full disk
                os.fsync(self._file.fileno())
        finally:
            self._release()

    def is_held(self) -> bool:
        """Return whether the lock is still ours: nobody has taken it for abandoned."""
        return _same_file(self._file, self.path) and holds(self.path, self.token)

    def _taken(self) -> bool:
        """Take the lock if nobody has it."""
        self.path.parent.mkdir(exist_ok=True)
        try:
            self._file = self.path.open("a+b")
        except FileNotFoundError:  # its folder was removed this very moment
            return self._taken()
        taken: bool | None = False
        try:
            taken = self._claimed()
        finally:
            if not taken:
                self._release()
        return self._taken() if taken is None else taken

    def _claimed(self) -> bool | None:
        """Take the lock of the open file; None if its folder was finished and removed meanwhile."""
        locked = _system_lock(self._file)
        has_locks = locked is not None
        if not has_locks:
            locked = holder(self.path) is None or _age(self.path) >= STALE_SECONDS
        if not locked:
            return False
        if not _same_file(self._file, self.path):
            return None
        elsewhere = _read(self.path).get("host") not in (None, socket.gethostname())
        if elsewhere and _age(self.path) < STALE_SECONDS:
            return False
        self.note("")
        if not has_locks:
            time.sleep(LOOK_SECONDS)  # of several that came at once, the last to write has it
            return self.is_held()
        return True

    def _release(self) -> None:
        """Give up the operating system's lock, and close the file.

        Closing alone is not enough: processes that were forked meanwhile have the file open too,
        and the lock would live as long as they do.
        """
        _system_unlock(self._file)
        self._file.close()

    def _busy(self, record: dict[str, Any]) -> BusyError:
        return BusyError(
            f"'{self.what}' is being written already, by process {record.get('process', '?')} on "
            f"{record.get('host', 'another machine')} since {record.get('since', 'just now')}.",
            "Wait for it to end. If it was killed on another machine, wait a minute.",
            str(record.get("doing", "")),
        )

    def _refresh(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            try:
                os.utime(self.path)
            except OSError:  # the disk may come back; whoever writes sees the error itself
                continue

    def _write(self, record: dict[str, Any]) -> None:
        self._file.truncate(0)
        self._file.write(json.dumps(record).encode())  # opened to append: writes go to the end
        self._file.flush()
        os.fsync(self._file.fileno())


def holds(path: Path, token: str) -> bool:
    """Return whether the lock at a path carries a token. For workers on other machines."""
    return token_of(path) == token


def revoke(path: Path) -> None:
    """Take a lock from whoever holds it: they, and their workers, find out when they look.

    The file stays, because Windows deletes none that is open.
    """
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        file.truncate(0)


def holder(path: Path) -> Holder | None:
    """Return who holds the lock at a path, without touching it; None if nobody does.

    A process of this machine must exist; one of another machine must have given a sign of life.
    """
    record = _read(path)
    try:
        beat = max(0.0, time.time() - path.stat().st_mtime)
        found = Holder(
            host=str(record["host"]),
            process=int(record["process"]),
            since=str(record.get("since", "")),
            doing=str(record.get("doing", "")),
            beat=beat,
        )
    except (OSError, KeyError, TypeError, ValueError):  # gone, given up, or just being written
        return None
    if found.host == socket.gethostname():
        return found if psutil.pid_exists(found.process) else None
    return found if beat < STALE_SECONDS else None


def token_of(path: Path) -> str:
    """Return the token of whoever wrote the lock file at a path last."""
    return str(_read(path).get("token", ""))


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes() or b"{}")
    except (OSError, ValueError):  # gone, or just being written
        return {}
    return record if isinstance(record, dict) else {}


def _system_lock(file: Any) -> bool | None:
    """Take the operating system's lock of a file; False if another process has it.

    None on a file system without locks, where the records alone decide.
    """
    try:
        if sys.platform == "win32":
            file.seek(_FAR)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _system_unlock(file: Any) -> None:
    with contextlib.suppress(OSError):  # it was not ours, or the file system has none
        if sys.platform == "win32":
            file.seek(_FAR)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_UN)


def _same_file(file: Any, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _age(path: Path) -> float:
    """Return seconds since the last heartbeat, by the clock of the disk and not by ours."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix="clock") as clock:
        return os.fstat(clock.fileno()).st_mtime - path.stat().st_mtime
