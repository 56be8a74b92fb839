"""What tells a file from another one that took its place."""

from __future__ import annotations

import os
from typing import NamedTuple


class FileState(NamedTuple):
    """A file as it was when it was looked at.

    Parameters
    ----------
    path : str
        Real path.
    size, mtime_ns : int
        Bytes, and when they were last written.
    """

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str) -> FileState:
        """Return the state of a file now."""
        found = os.stat(path)
        return cls(path, found.st_size, found.st_mtime_ns)

    def is_current(self) -> bool:
        """Return whether the file is still there, and the same."""
        try:
            return FileState.of(self.path) == self
        except FileNotFoundError:
            return False
