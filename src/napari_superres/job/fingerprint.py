"""What a job is: the source, the plan and the layout, in a form that two runs can compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_superres.formats.ome_zarr_attributes import plain
from napari_superres.formats.ome_zarr_write import CODECS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_superres.formats.ome_zarr_layout import Layout
    from napari_superres.image import Image


_MODEL = ("model", "weights", "base", "engine")
"""What a result's history says about the numbers that made its pixels."""


def fingerprint(
    image: Image, layout: Layout, labels: Mapping[str, Image] | None = None
) -> dict[str, Any]:
    """Return everything that decides the bytes of the blocks, as JSON values.

    Names, units and times are not in it: they are written at the end, whatever run gets there.

    Parameters
    ----------
    image : Image
    layout : Layout
    labels : mapping of str to Image, optional
        Label images that will lie in the result's folder.

    Returns
    -------
    dict
        ``source`` where the pixels come from and of which state, ``plan`` and ``model`` what is
        done to them, ``layout`` and ``codecs`` how they are stored, ``place`` which part of the
        whole they are, ``pixels`` dask's name for them, which two runs share when they make the
        image in the same way.
    """
    record = image.history[-1] if image.history and image.plan is not None else {}
    found = {
        "source": dict(image.source),
        "plan": image.plan.record() if image.plan is not None else None,
        "model": {key: record[key] for key in _MODEL if key in record},
        "layout": layout.record(),
        "codecs": CODECS if layout.sharded else "blosc(zstd 1, bitshuffle)",
        "place": list(image.translation),
        "pixels": image.data.name,
    }
    if labels:
        # Their layout follows from their pixels and that of the image.
        found["labels"] = {name: fingerprint(own, layout) for name, own in labels.items()}
    result = plain(found)
    assert isinstance(result, dict)
    return result
