"""What a file of ours says about how its pixels were made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WORDS = ("program", "version", "model", "trained_on", "licence", "citation", "engine", "time")
_RECORD: dict[str, Any] = {
    **dict.fromkeys(_WORDS, str),
    "weights": Mapping,
    "plan": Mapping,
    "source": Mapping,
    "tile": list,
}
_CONSISTENCY = ("pixel", "local", "off")
_PLAN: dict[str, Any] = {
    "axes": str,
    "shape": list,
    "scale": int,
    "precision": str,
    "limits": (list, type(None)),
    "denoise": list,
    "consistency": str,
    "samples": int,
}


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
        _has(record, _RECORD)
        and _has(record["plan"], _PLAN)
        and record["plan"]["consistency"] in _CONSISTENCY
    )


def _has(kept: Any, kinds: Mapping[str, Any]) -> bool:
    return isinstance(kept, Mapping) and all(
        key in kept and isinstance(kept[key], kind) for key, kind in kinds.items()
    )
