"""One writer at a time: a lock that dies with its process, and a heartbeat for other machines."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from napari_superres.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
"""A lock from another machine that has not been refreshed for so long belongs to nobody."""

_FAR = 1 << 30
"""Windows locks bytes against reading too, so the byte lies where no record is."""


class Lock:
    """The right to write one result; a context manager.

    On one machine the operating system's own file lock decides: it is gone when its process is, by
    whatever death. Between machines, whose file locks may not see each other, a record in the file
    is refreshed every few seconds.

    Parameters
    ----------
    path : Path
        The lock file. Its folder is made if it is missing.
    what : Path
        The result, for messages.

    Raises
    ------
    OutputError
        On entering, if somebody else is at work.
    """

    def __init__(self, path: Path, what: Path) -> None:
        self.path = path
        self.what = what
        self.token = uuid.uuid4().hex
        self._file: Any = None
        self._stop = threading.Event()
        self._beat = threading.Thread(target=self._refresh, daemon=True, name="lock heartbeat")

    def __enter__(self) -> Lock:
        while True:
            self.path.parent.mkdir(exist_ok=True)
            self._file = self.path.open("a+b")
            if not _system_lock(self._file):
                self._refuse(_read(self.path))
            if _same_file(self._file, self.path):
                break
            self._file.close()  # its folder was finished and removed meanwhile
        record = _read(self.path)
        elsewhere = record.get("host") not in (None, socket.gethostname())
        if elsewhere and _age(self.path) < STALE_SECONDS:
            self._refuse(record)
        self._write(
            {
                "token": self.token,
                "host": socket.gethostname(),
                "process": os.getpid(),
                "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            }
        )
        self._beat.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._beat.join()
        if self.is_held():
            self._write({})
        self._file.close()

    def is_held(self) -> bool:
        """Return whether the lock is still ours: nobody has taken it for abandoned."""
        return _same_file(self._file, self.path) and holds(self.path, self.token)

    def _refuse(self, record: dict[str, Any]) -> None:
        self._file.close()
        raise OutputError(
            f"'{self.what}' is being written already, by process {record.get('process', '?')} on "
            f"{record.get('host', 'another machine')} since {record.get('since', 'just now')}.",
            "Wait for it to end. If it was killed on another machine, wait a minute.",
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
    return bool(_read(path).get("token") == token)


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes() or b"{}")
    except (OSError, ValueError):  # gone, or just being written
        return {}
    return record if isinstance(record, dict) else {}


def _system_lock(file: Any) -> bool:
    """Take the operating system's lock of a file; False if another process has it."""
    try:
        if sys.platform == "win32":
            file.seek(_FAR)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks: the heartbeat alone decides
        return True
    return True


def _same_file(file: Any, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _age(path: Path) -> float:
    """Return seconds since the last heartbeat, by the clock of the disk and not by ours."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix="clock") as clock:
        return os.fstat(clock.fileno()).st_mtime - path.stat().st_mtime
