"""Refuse what does not fit in memory, before it is begun."""

from __future__ import annotations

import psutil

from napari_superres.errors import ResourceError

SHARE = 0.8
"""Part of the free memory that a run may plan for; the rest is for what else happens."""


def free_memory() -> int:
    """Return how many bytes of memory can be had without swapping."""
    return int(psutil.virtual_memory().available)


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
            f"{what} needs about {human_bytes(needed)} of memory; {human_bytes(free)} are free.",
            hint,
        )


def human_bytes(n: float) -> str:
    """Return a number of bytes as people write it, such as ``"3.2 GB"``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} PB"
