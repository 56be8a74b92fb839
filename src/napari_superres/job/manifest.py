"""The list of finished blocks: one line each, appended, safe to cut off at any byte."""

from __future__ import annotations

import json
import os
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_superres.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from napari_superres.formats.ome_zarr_layout import Layout
    from napari_superres.formats.remote_path import Place

FORMAT = "napari-superres job 1"


class Block(NamedTuple):
    """One task: which pass over the levels, and its place there, counted in C order."""

    number: int
    place: int


class Sum(NamedTuple):
    """What is known of a block's file at one level: its size and its CRC-32.

    Where a block is many files, the size is that of all together, and the checksum that of their
    bytes one after another.
    """

    size: int
    crc: int


class Manifest:
    """What is being made, and which blocks of it are done.

    The first line is the job's fingerprint, each other one a block. A line that cannot be read, as
    the last one after a crash, counts for nothing: its block is computed again. In memory a block
    takes 65 bytes.

    Parameters
    ----------
    path : Path
    layout : Layout
        Of the result.
    share : range, optional
        Only these blocks of the first pass count, and none of the others.
    """

    def __init__(self, path: Path, layout: Layout, share: range | None = None) -> None:
        self.path = path
        self.passes = layout.passes if share is None else range(1)
        places = [range(layout.tasks(n)) for n in self.passes] if share is None else [share]
        self._first = [own.start for own in places]
        self._done = [np.zeros(len(own), bool) for own in places]
        self._sums = [
            np.zeros((len(own), len(layout.owned(n)), 2), np.int64) for n, own in enumerate(places)
        ]
        self._file: Any = None

    @property
    def total(self) -> int:
        """Number of blocks."""
        return sum(len(done) for done in self._done)

    @property
    def done(self) -> int:
        """Number of finished blocks."""
        return sum(int(done.sum()) for done in self._done)

    @property
    def nbytes(self) -> int:
        """Bytes of the finished blocks."""
        return sum(int(s[d, :, 0].sum()) for s, d in zip(self._sums, self._done, strict=True))

    def start(self, fingerprint: Mapping[str, Any], total: int) -> None:
        """Make a new list, in place of any other; `resume` opens it.

        Parameters
        ----------
        fingerprint : mapping
        total : int
            Number of blocks of the whole result, for whoever watches.
        """
        fresh = self.path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(_line({"job": FORMAT, "total": total, "fingerprint": fingerprint}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path)

    def resume(self, others: Iterable[Path] = ()) -> None:
        """Take over what earlier runs have noted, and go on with this list.

        Parameters
        ----------
        others : iterable of Path
            Further lists of the same job.
        """
        for path in (self.path, *others):
            for entry in read_entries(path):
                block, sums = _parse(entry)
                if block is not None and self._fits(block, sums):
                    self._set(block, sums)
        self._open()

    def add(self, finished: Iterable[tuple[Block, list[Sum]]]) -> None:
        """Note blocks whose files have reached the disk."""
        now = int(time.time())
        for block, sums in finished:
            self._set(block, sums)
            files = [list(s) for s in sums]
            self._write({"p": block.number, "k": block.place, "t": now, "f": files})
        self._file.flush()

    def add_failure(self, block: Block, where: str, error: BaseException) -> None:
        """Note a block that could not be computed, for whoever looks at the list."""
        self._write({"p": block.number, "k": block.place, "at": where, "error": f"{error}"})
        self._file.flush()

    def note_begin(self) -> None:
        """Note that a part of a job is, again, not done."""
        self._write({"ended": False})
        self._file.flush()

    def note_end(self) -> None:
        """Note that all blocks of a part of a job are done."""
        self._write({"ended": True})

    def commit(self) -> None:
        """Note that all that is left to do is to give the result its name."""
        self._write({"committed": True})
        self._file.flush()
        os.fsync(self._file.fileno())

    def forget(self, block: Block) -> None:
        """Take a block for not done; it will be noted again."""
        self._done[block.number][self._at(block)] = False

    def sums(self, block: Block) -> list[Sum]:
        """Return what is known of a finished block's files, level by level."""
        found = self._sums[block.number][self._at(block)]
        return [Sum(int(size), int(crc)) for size, crc in found]

    def finished(self, number: int) -> Iterator[Block]:
        """Yield the finished blocks of a pass."""
        first = self._first[number]
        return (Block(number, first + int(k)) for k in np.flatnonzero(self._done[number]))

    def missing(self, number: int) -> np.ndarray:
        """Return the places of the blocks of a pass that are not done, in ascending order."""
        return self._first[number] + np.flatnonzero(~self._done[number])

    def close(self) -> None:
        """Close the file, once its lines have reached the disk."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _open(self) -> None:
        self._file = self.path.open("ab")
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                self._file.write(b"\n")  # what a crash left of the last line stays alone

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(_line(entry).encode())

    def _at(self, block: Block) -> int:
        return block.place - self._first[block.number]

    def _fits(self, block: Block, sums: list[Sum]) -> bool:
        return (
            0 <= block.number < len(self._done)
            and 0 <= self._at(block) < len(self._done[block.number])
            and len(sums) == self._sums[block.number].shape[1]
        )

    def _set(self, block: Block, sums: list[Sum]) -> None:
        self._done[block.number][self._at(block)] = True
        self._sums[block.number][self._at(block)] = sums


def read_entries(path: Place) -> Iterator[dict[str, Any]]:
    """Yield what can be read of a list, line by line, the first one with the fingerprint too."""
    with path.open("rb") if isinstance(path, Path) else BytesIO(path.read_bytes()) as file:
        for line in file:
            entry = _loads(line)
            if entry is not None:
                yield entry


def read_fingerprint(path: Path) -> dict[str, Any] | None:
    """Return what an unfinished result is being made of, or None if there is none.

    A list whose first line was cut off says nothing, and is as good as none.

    Raises
    ------
    OutputError
        If the file is there and not ours.
    """
    try:
        with path.open("rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    if not line.endswith(b"\n"):
        return None
    header = _loads(line)
    if header is None or header.get("job") != FORMAT:
        raise OutputError(
            f"'{path}' is not a list of blocks that this version knows.",
            "Delete the unfinished result, or start anew with overwrite=True.",
        )
    fingerprint = header.get("fingerprint")
    return fingerprint if isinstance(fingerprint, dict) else {}


def is_committed(path: Path) -> bool:
    """Return whether the last line of a list says that only the name was left to give."""
    return _last_entry(path).get("committed") is True


def is_done(path: Path) -> bool:
    """Return whether the last line of a part's list says that all its blocks are done."""
    return _last_entry(path).get("ended") is True


def _last_entry(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 200))
            last = file.read().splitlines()
    except FileNotFoundError:
        return {}
    return (_loads(last[-1]) if last else None) or {}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what differs between two fingerprints, in words, the plainest first."""
    was, now = dict(_flat(old)), dict(_flat(new))
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    # The pixels' name follows from everything else: it is worth a word only when alone.
    names = [name for name in names if name != "pixels"] or names
    return [
        f"{name} was {was.get(name, 'not set')}, is {now.get(name, 'not set')}" for name in names
    ]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, json.dumps(value)


def _parse(entry: Mapping[str, Any]) -> tuple[Block | None, list[Sum]]:
    files = entry.get("f")
    if not isinstance(files, list):
        return None, []
    try:
        block = Block(int(entry["p"]), int(entry["k"]))
        return block, [Sum(int(size), int(crc)) for size, crc in files]
    except (KeyError, TypeError, ValueError):
        return None, []


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, separators=(",", ":")) + "\n"


def _loads(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
