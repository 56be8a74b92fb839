"""Memory and disk: refuse what does not fit before it is begun, and how much was held."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import psutil

from napari_superres.errors import ResourceError

SHARE = 0.8
"""Part of the free memory that a run may plan for; the rest is for what else happens."""


# A quota may be used up too, or a file too long for the disk.
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def free_memory() -> int:
    """Return how many bytes of memory can be had without swapping."""
    return int(psutil.virtual_memory().available)


def peak_memory() -> int:
    """Return the most memory that this process has held at any time, in bytes.

    Its own: on Linux `getrusage` begins with what the process held that started this one.
    """
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):  # of this program's memory, begun anew with it
                return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def check_memory(needed: float, what: str, hint: str) -> None:
    """Refuse to begin what needs more memory than is free.

    Parameters
    ----------
    needed : float
        Bytes.
    what : str
        What needs them, the subject of the message.
    hint : str
        What to do about it.

    Raises
    ------
    ResourceError
        If it does not fit.
    """
    free = free_memory()
    if needed > SHARE * free:
        raise ResourceError(
            f"{what} needs about {human_bytes(needed)} of memory; {100 * SHARE:.0f} % of the "
            f"{human_bytes(free)} that are free may be used.",
            hint,
        )


def human_bytes(n: float) -> str:
    """Return a number of bytes as people write it, such as ``"3.2 GB"``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} PB"


def disk_full(path: object, error: OSError, hint: str) -> ResourceError | None:
    """Return the error for a file that could not be finished because the disk is full.

    Parameters
    ----------
    path : Path or RemotePath
        The file.
    error : OSError
        Raised while writing.
    hint : str
        What to do.

    Returns
    -------
    ResourceError or None
        None if the error says something else.
    """
    if error.errno not in _FULL:
        return None
    return ResourceError(
        f"The disk is full: '{path}' could not be finished ({error.strerror}).", hint
    )
