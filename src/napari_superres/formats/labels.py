"""Label images that lie beside an OME-Zarr image, in its folder ``labels/``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.errors import InputError
from napari_superres.formats.ome_zarr import open_image
from napari_superres.formats.ome_zarr_metadata import ome_attributes
from napari_superres.formats.zarr_store import if_shown, join, open_node, safe_path

if TYPE_CHECKING:
    from napari_superres.image import Image


def label_names(image: Image) -> tuple[str, ...]:
    """Return the names of the label images beside an image; none for other formats.

    Parameters
    ----------
    image : Image
        As it was read.

    Raises
    ------
    UnreadableError
        If the list of them is damaged.
    """
    if image.source.get("format") != "zarr" or "metadata" not in image.source or image.is_labels:
        return ()
    node = if_shown(lambda: open_node(str(image.source["path"]), _folder(image)))
    listed = ome_attributes(node.attributes).get("labels") if node is not None else None
    if not isinstance(listed, list):
        return ()
    return tuple(name for name in listed if isinstance(name, str) and name)


def read_labels(image: Image) -> dict[str, Image]:
    """Return the label images beside an image, by name.

    Parameters
    ----------
    image : Image
        As it was read.

    Raises
    ------
    InputError
        If one of them cannot be read, or holds fractions, which name nothing.
    """
    root = str(image.source.get("path", ""))
    found = {}
    for name in label_names(image):
        place = join(root, f"{_folder(image)}/{safe_path(root, name)}")
        labels = open_image(place)
        if labels.dtype.kind not in "biu":
            raise InputError(
                f"'{place}' is listed as labels, but its pixels are {labels.dtype}.",
                "Leave --labels out, or take it off the list.",
            )
        found[name] = replace(labels, is_labels=True, name=name)
    return found


def _folder(image: Image) -> str:
    group = image.source.get("group")
    return f"{group}/labels" if group else "labels"


def beside(labels: Image) -> Image:
    """Return labels that say that they belong to the image two folders up, as NGFF wants it.

    Parameters
    ----------
    labels : Image
        To be written into ``labels/`` of an image.
    """
    said = labels.metadata.get("image-label")
    label = {**(said if isinstance(said, dict) else {}), "source": {"image": "../../"}}
    pixels = labels.data.astype(np.uint8) if labels.dtype == np.bool_ else labels.data
    return replace(labels, data=pixels, metadata={**labels.metadata, "image-label": label})
