"""What a layer's metadata tells of the upscalings that led to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREVIEW = "superres_preview"
"""Key in the metadata of layers that show a part for a moment: nobody's source."""

CUT = "superres_cut"
"""Key in the metadata of layers that have only part of their pixels as long as one swipes."""


NOTE = "superres_source"
"""Key in the metadata of layers, with what `layers.source_note` says of their pixels."""


def history_of(metadata: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return the upscalings that a layer's metadata tells of, oldest first."""
    last = metadata.get("superres")
    if not last:
        return ()
    return (*last.get("earlier", ()), {k: v for k, v in last.items() if k != "earlier"})


def history_metadata(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a layer's metadata says of the upscalings that led to it.

    Parameters
    ----------
    history : sequence of mapping
        Oldest first.

    Returns
    -------
    dict
        ``{"superres": record}`` with the last record, and those before it under its key
        ``"earlier"``; empty when there are none.
    """
    if not history:
        return {}
    *earlier, last = (dict(record) for record in history)
    return {"superres": {**last, "earlier": earlier} if earlier else last}
