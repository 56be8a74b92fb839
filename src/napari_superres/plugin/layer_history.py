"""What a layer's metadata tells of the upscalings that led to it: of one channel, or of all."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Record = Mapping[str, Any]
    History = tuple[Record, ...]

PREVIEW = "superres_preview"
"""Key in the metadata of layers that show a part for a moment: nobody's source."""

CUT = "superres_cut"
"""Key in the metadata of layers that have only part of their pixels as long as one swipes."""


NOTE = "superres_source"
"""Key in the metadata of layers, with what `layers.source_note` says of their pixels."""

OF_CHANNELS = ("limits", "denoise", "noise", "noise_lines")
"""What a plan holds of each channel."""


def history_of(metadata: Mapping[str, Any]) -> History:
    """Return the upscalings that a layer's metadata tells of, oldest first."""
    last = metadata.get("superres")
    if not last:
        return ()
    return (*last.get("earlier", ()), {k: v for k, v in last.items() if k != "earlier"})


def history_metadata(history: Sequence[Record]) -> dict[str, Any]:
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


def channel_history(history: Sequence[Record], index: int) -> History:
    """Return the history of one channel of an image, which becomes a layer of its own.

    Parameters
    ----------
    history : sequence of mapping
        Of the image.
    index : int
        Along its axis ``c``.
    """
    own = [dict(record) for record in history if record.get("channel", index) == index]
    if own and "channel" not in own[-1]:
        part = own[-1].get("part", {})
        chosen = part["c"][index] if "c" in part else index
        own[-1]["part"] = {**part, "c": [chosen]}
    return tuple({k: v for k, v in record.items() if k != "channel"} for record in own)


def joined_history(histories: Sequence[Sequence[Record]]) -> History:
    """Return the history of an image whose channels have these: `channel_history`, undone.

    What was done alike to all channels of a file becomes one record of all of them. Other records
    are kept one by one, and say under ``channel`` which channel each of them is of.

    Parameters
    ----------
    histories : sequence of sequence of mapping
        One a channel, at least one.
    """
    first = histories[0]
    if all(history == first for history in histories):
        return tuple(first)
    if all(len(history) == len(first) for history in histories):
        steps = [_joined(step) for step in zip(*histories, strict=True)]
        if all(steps):
            return tuple(step for step in steps if step)
    return tuple(
        {**record, "channel": i} for i, history in enumerate(histories) for record in history
    )


def joined_source(sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return where channels that are shown as one image come from; empty if from several files.

    Parameters
    ----------
    sources : sequence of mapping
        One a channel, with its index in the file under ``channels``.
    """
    rest = [dict(source) for source in sources]
    channels = [i for source in rest for i in source.pop("channels", ())]
    first = rest[0]
    one_each = len(set(channels)) == len(channels) == len(rest)
    if not one_each or any(source != first for source in rest):
        return {}
    count = first.pop("channel_count")
    return first if channels == list(range(count)) else {**first, "channels": channels}


def channel_place(axes: str) -> int:
    """Return where axis ``c`` belongs among others: in OME's order, before z and after time."""
    return next(i for i, axis in enumerate(axes) if axis in "zyxs")


def _joined(records: Sequence[Record]) -> Record | None:
    """Return one record of what was done to all channels; None if that was not the same."""
    first = records[0]
    if all(record == first for record in records):
        return first  # of all of them already: what came before their file
    return _joined_parts(records) or _joined_runs(records)


def _joined_parts(records: Sequence[Record]) -> Record | None:
    """Return the record of a result whose channels were layers; None if they were not."""
    parts = [dict(record.get("part", {})) for record in records]
    chosen = [i for part in parts for i in part.pop("c", ())]
    rests = [{**record, "part": part} for record, part in zip(records, parts, strict=True)]
    one_each = len(set(chosen)) == len(chosen) == len(records)
    if not one_each or any(rest != rests[0] for rest in rests):
        return None
    plan = rests[0]["plan"]
    if chosen != list(range(plan["shape"][plan["axes"].index("c")])):
        parts[0]["c"] = chosen
    return rests[0] if parts[0] else {k: v for k, v in rests[0].items() if k != "part"}


def _joined_runs(records: Sequence[Record]) -> Record | None:
    """Return the record of layers that were made finer one by one; None if not alike."""
    first, plans = records[0], [record["plan"] for record in records]
    same: Record = {"time": "", "source": {}, "auto_denoise": None}
    rests = [
        {**record, **same, "plan": {**record["plan"], **dict.fromkeys(OF_CHANNELS)}}
        for record in records
    ]
    # Random numbers depend on a plane's place among all planes.
    if first["random"] or "c" in plans[0]["axes"] or any(rest != rests[0] for rest in rests):
        return None
    own = {key: [plan[key] for plan in plans] for key in OF_CHANNELS}
    # Nobody can ask for strengths that differ, unless they are found in the image.
    differ = any(strengths != own["denoise"][0] for strengths in own["denoise"])
    if differ and not all(record.get("auto_denoise") for record in records):
        return None
    places = [{k: v for k, v in record["source"].items() if k != "name"} for record in records]
    source = joined_source(places)
    if any(places) and not source:
        return None
    axes, shape = plans[0]["axes"], plans[0]["shape"]
    at = channel_place(axes)
    return {
        **first,
        "time": max(record["time"] for record in records),
        "source": {"name": first["source"]["name"], **source},
        "plan": {
            **plans[0],
            **{k: None if None in each else list(chain(*each)) for k, each in own.items()},
            "axes": f"{axes[:at]}c{axes[at:]}",
            "shape": [*shape[:at], len(records), *shape[at:]],
        },
    }
