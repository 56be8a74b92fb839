"""Checksums of a result's metadata documents, kept in the last one of them.

Each chunk has its own in the file. The documents have none, so the group's attributes, which are
written last, name the CRC-32 of all others, and of themselves without that entry.
"""

from __future__ import annotations

import copy
import json
import zlib
from typing import TYPE_CHECKING, Any

from napari_superres.formats.ome_zarr_metadata import KEY, ome_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SUMS = "checksums"

OWN = "attributes"
"""The entry of the attributes that hold the entries."""


def with_sums(attributes: Mapping[str, Any], documents: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the attributes of a result's group with the checksums of its documents.

    Parameters
    ----------
    attributes : mapping
        Of the group; with our record in its first multiscale image.
    documents : mapping of str to bytes
        All other documents below the group, by name.
    """
    found = copy.deepcopy(dict(attributes))
    record = _record(found)
    assert record is not None
    record[SUMS] = {name: zlib.crc32(data) for name, data in sorted(documents.items())}
    record[SUMS][OWN] = _sum(found)
    return found


def wrong_documents(
    attributes: Mapping[str, Any], read: Callable[[str], bytes | None]
) -> list[str] | None:
    """Return the documents of a result that are not as they were written.

    Parameters
    ----------
    attributes : mapping
        Of the group.
    read : callable
        Returns a document below the group, or None if it is not there.

    Returns
    -------
    list of str, or None
        Names. None if there are no checksums: the file is not a result of ours.
    """
    found = copy.deepcopy(dict(attributes))
    record = _record(found)
    sums = None if record is None else record.get(SUMS)
    if not isinstance(sums, dict):
        return None
    own = sums.pop(OWN, None)
    wrong = [] if own == _sum(found) else [OWN]
    for name, claimed in sums.items():
        data = read(name)
        if data is None or zlib.crc32(data) != claimed:
            wrong.append(name)
    return wrong


def _record(attributes: dict[str, Any]) -> dict[str, Any] | None:
    """Return our record in a group's attributes."""
    try:
        record = ome_attributes(attributes)["multiscales"][0]["metadata"][KEY]
    except (KeyError, IndexError, TypeError):
        return None
    return record if isinstance(record, dict) else None


def _sum(attributes: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(attributes, sort_keys=True).encode())
