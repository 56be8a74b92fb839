"""What a file of ours says about how its pixels were made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RECORD = {
    "program",
    "version",
    "model",
    "trained_on",
    "weights",
    "licence",
    "citation",
    "engine",
    "plan",
    "tile",
    "source",
    "time",
}
_PLAN = {"scale", "precision", "limits", "denoise", "consistency", "samples"}


def read_history(kept: Any, where: str) -> tuple[tuple[Mapping[str, Any], ...], tuple[str, ...]]:
    """Return the history that a file holds, and what to tell where it is damaged.

    A part of a history would be told as the whole, so one damaged record costs all.

    Parameters
    ----------
    kept : object
        What is in its place in the file; None where there is none.
    where : str
        The file.

    Returns
    -------
    history : tuple of mapping
        As in `Image.history`.
    warnings : tuple of str
    """
    if kept is None:
        return (), ()
    if isinstance(kept, list) and all(map(_is_whole, kept)):
        return tuple(kept), ()
    return (), (f"The history of '{where}' cannot be read.",)


def _is_whole(record: Any) -> bool:
    return (
        isinstance(record, Mapping)
        and record.keys() >= _RECORD
        and isinstance(record["plan"], Mapping)
        and record["plan"].keys() >= _PLAN
    )
