"""The folder that holds weights and accepted licences, and what is remembered about each file.

::

    <cache>/
        weights/RealESRGAN_x4plus.pth           a file of the model table, by its name there
        weights/RealESRGAN_x4plus.pth.json      its checksum, and when that was computed
        models/my-network.safetensors           a model that the user added
        licences.json                           which licences were accepted, and when

Each file has its own record, so that two programs at work at once cannot lose one another's.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from filelock import FileLock, Timeout

from napari_superres.errors import OutputError, ResourceError, SuperresError, WeightsError
from napari_superres.resources import disk_full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

VARIABLE = "NAPARI_SUPERRES_CACHE"
"""Environment variable that names another folder."""

SETTLED = 2_000_000_000
"""Nanoseconds: file systems know the time of a change to 2 s (FAT) or better."""

SUFFIXES = (".pth", ".safetensors")
"""Kinds of file that are kept."""

LOOK_SECONDS = 0.25
"""Time between two looks at whether another program has finished."""

# Permissions of a lock, which stays behind: whoever may write to the folder takes it next.
_FOR_ALL = 0o666


@dataclass(frozen=True)
class Record:
    """What is remembered about a file of weights.

    Parameters
    ----------
    sha256 : str
        Checksum of the whole file.
    size : int
        Bytes, and
    mtime_ns : int
        time of the last change in nanoseconds, when the checksum was computed: while both stay, it
        is not computed again.
    checked_ns : int
        When it was computed. A file that had changed less than `SETTLED` before may have changed
        again without another time, so its checksum is computed again.
    added : bool
        Whether the user gave the file, instead of a download from its release.
    """

    sha256: str
    size: int
    mtime_ns: int
    checked_ns: int
    added: bool = False

    def holds(self, size: int, mtime_ns: int) -> bool:
        """Return whether the checksum is that of a file with this size and time."""
        settled = self.checked_ns - self.mtime_ns > SETTLED
        return settled and (self.size, self.mtime_ns) == (size, mtime_ns)


_seen: dict[Path, Record] = {}


def cache_folder() -> Path:
    """Return the folder that holds weights; it need not exist yet."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(os.path.expanduser(chosen)).absolute()
    return platformdirs.user_cache_path("napari-superres", appauthor=False)


def weights_folder() -> Path:
    """Return the folder of the table's files."""
    return cache_folder() / "weights"


def models_folder() -> Path:
    """Return the folder of the models that the user added."""
    return cache_folder() / "models"


def fingerprint(path: Path, *, again: bool = False) -> Record:
    """Return checksum and size of a file; computed once as long as the file does not change.

    Parameters
    ----------
    path : Path
        Any file.
    again : bool
        Whether to read the file even if its record is fresh.

    Raises
    ------
    WeightsError
        If the file cannot be read.
    """
    try:
        status = path.stat()
        known = _seen.get(path) or read_record(path)
        if known and not again and known.holds(status.st_size, status.st_mtime_ns):
            _seen[path] = known
            return known
        now = time.time_ns()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(
            f"'{path}' cannot be read ({error.strerror}).", "Check its path and permissions."
        ) from error
    # What the user added is trusted for its content, not for its name. Another program may have
    # added it since, or meanwhile.
    known = read_record(path)
    added = known is not None and known.added and known.sha256 == digest
    record = Record(digest, status.st_size, status.st_mtime_ns, now, added)
    if path.parent in (weights_folder(), models_folder()):
        # A cache that many share may be read-only; then each process computes the checksum once.
        with contextlib.suppress(OutputError, ResourceError):
            write_record(path, record)
    _seen[path] = record
    return record


def read_record(path: Path) -> Record | None:
    """Return what is remembered about a file of the cache, fresh or not; None if nothing is."""
    try:
        values = json.loads(_record_path(path).read_text("utf-8"))
        return Record(**values)
    except (OSError, ValueError, TypeError):  # absent, cut off or of another version: no memory
        return None


def write_record(path: Path, record: Record) -> None:
    """Remember something about a file of the cache."""
    _seen[path] = record
    with replacing(_record_path(path)) as file:
        file.write(json.dumps(asdict(record), indent=1).encode())


def forget(path: Path) -> None:
    """Delete a file of the cache, and what is remembered about it, if they are there."""
    _seen.pop(path, None)
    for victim in (path, _record_path(path)):
        try:
            victim.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"'{victim}' cannot be deleted ({error.strerror}).", "Check its permissions."
            ) from error


@contextlib.contextmanager
def replacing(
    path: Path, failed: Callable[[Path, OSError], SuperresError] | None = None
) -> Iterator[IO[bytes]]:
    """Open a new file that takes the place of `path` only once it is complete.

    Parameters
    ----------
    path : Path
    failed : callable, optional
        Returns the error to raise when it cannot be written; None for a file of the cache.

    Raises
    ------
    OutputError
        If it cannot be written; `path` is then as before.
    ResourceError
        If the disk is full.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except SuperresError:
        raise
    except OSError as error:
        raise (failed or not_writable)(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # what matters was raised above
            part.unlink(missing_ok=True)


def accepted_licences() -> dict[str, str]:
    """Return when the licence of each model was accepted, by the model's name."""
    try:
        values = json.loads((cache_folder() / "licences.json").read_text("utf-8"))
        return {str(name): str(when) for name, when in values.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:  # AttributeError: it is no dictionary
        raise WeightsError(
            f"'{cache_folder() / 'licences.json'}' cannot be read ({error}).",
            "Delete it and accept the licences again.",
        ) from error


def accept_licence(name: str) -> None:
    """Remember that the licence of a model was accepted, with the time."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    path = cache_folder() / "licences.json"
    with alone(path):
        licences = {**accepted_licences(), name: now}
        with replacing(path) as file:
            file.write(json.dumps(licences, indent=1).encode())


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


@contextlib.contextmanager
def alone(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Let one program and thread change a file of the cache; others wait until it is done.

    Parameters
    ----------
    path : Path
        Whatever its ending: a model has one file, which may be of either kind.
    waiting : callable, optional
        Called every `LOOK_SECONDS` while somebody else has it; may raise, to wait no longer.

    Raises
    ------
    OutputError
        If its folder cannot be written.
    ResourceError
        If its disk is full.
    """
    lock = FileLock(path.with_name(f".{path.stem}.lock"), mode=_FOR_ALL)
    while not lock.is_locked:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=LOOK_SECONDS)
        except Timeout:
            if waiting is not None:
                waiting()
        except OSError as error:
            raise not_writable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def not_writable(path: Path, error: OSError) -> SuperresError:
    """Return the error for a file of the cache that could not be written."""
    full = disk_full(path, error, f"Free some space, or set {VARIABLE} to another folder.")
    return full or OutputError(
        f"'{path}' cannot be written ({error.strerror or error}).",
        f"Correct the permissions, or set {VARIABLE} to another folder.",
    )
