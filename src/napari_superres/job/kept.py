"""Whether a result that is there already is what the same settings would give."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from napari_superres.errors import InputError, OutputError
from napari_superres.formats import read
from napari_superres.formats.labels import label_names
from napari_superres.formats.ome_zarr_attributes import plain
from napari_superres.formats.remote import is_url
from napari_superres.formats.zarr_store import absolute_root, open_node
from napari_superres.job.manifest import differences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_superres.formats.ome_zarr_layout import Version
    from napari_superres.image import Image

_NAMED = 3
"""How many differing settings a reason names."""


def is_finished(result: Image, labels: Mapping[str, Image], path: str, ome_zarr: Version) -> bool:
    """Return whether a result is there already: of the same pixels, with the same settings.

    Parameters
    ----------
    result : Image
        Lazy: what would be written.
    labels : mapping of str to Image
        The same, for label images in its folder.
    path : str
        Where to.
    ome_zarr : {"0.5", "0.4"}

    Raises
    ------
    OutputError
        If there is something else.
    """
    if not is_url(path) and not os.path.lexists(path):
        return False
    try:
        there = read(path)
    except InputError as error:
        if is_url(path):  # nothing, or not finished
            return False
        raise OutputError(
            f"'{path}' is there and cannot be read: {error}", "Move it away, or use overwrite=True."
        ) from error
    if not there.history:
        raise OutputError(
            f"'{path}' is there, and does not say that it was made by this program.",
            "Move it away, or use overwrite=True.",
        )
    was, wanted = _making(there), _making(result)
    was["labels"], wanted["labels"] = list(label_names(there)), list(labels)
    if path.endswith(".zarr"):
        node = open_node(absolute_root(path))
        was["ome_zarr"] = "0.4" if node is not None and node.zarr_format == 2 else "0.5"
        wanted["ome_zarr"] = ome_zarr
    changes = differences(was, wanted)
    if changes:
        raise OutputError(
            f"'{path}' was made with other settings: {'; '.join(changes[:_NAMED])}.",
            "Make it anew with overwrite=True, or choose another place.",
        )
    return True


def _making(image: Image) -> dict[str, Any]:
    """Return what decides a result's pixels, as far as the result itself says."""
    record = dict(image.history[-1]) if image.history else {}
    # A release that changes pixels has another minor version; when a result was made does not
    # matter.
    record.pop("time", None)
    record["version"] = ".".join(str(record.get("version", "")).split(".")[:2])
    # A TIFF has neither truth values nor axes of one plane; the plan says what type was wanted.
    sizes = zip(image.axes, image.shape, strict=True)
    made = plain({**record, "shape": {axis: n for axis, n in sizes if n > 1}})
    assert isinstance(made, dict)
    return made
