"""Whether all of a source's pixels were ever written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_superres.errors import UnreadableError

if TYPE_CHECKING:
    from napari_superres.image import Image


def check_complete(image: Image) -> None:
    """Refuse an image some of whose pixels nobody wrote, and which read as a constant.

    Parameters
    ----------
    image : Image
        As it was read from a TIFF or a Zarr array. Other formats have no such gaps.

    Raises
    ------
    UnreadableError
        If something is missing, or if that cannot be known: a web server lists no files.
    """
    path = str(image.source["path"])
    if image.source.get("format") == "zarr":
        from napari_superres.formats.zarr_array import ZarrArray
        from napari_superres.formats.zarr_store import open_node

        node = open_node(path, str(image.source.get("array", "")))
        assert node is not None, "it was opened a moment ago"
        counted = ZarrArray(node).missing_chunks(countable=None)
        if counted is None:
            raise UnreadableError(
                f"Whether chunks of '{node.where}' are missing cannot be known: servers list none.",
                "Copy it to a disk, or leave missing= out.",
            )
        number, total, first = counted
        what = f"{number} of {total} chunks of '{node.where}' are not there, '{first}' the first."
    elif path.lower().endswith((".tif", ".tiff", ".btf", ".tf2", ".tf8")):
        from napari_superres.formats.tiff_index import open_index

        number = open_index(path).series[int(image.source["series"])].unwritten
        what = f"{number} strips or tiles of '{path}' were never written."
    else:
        return
    if number:
        raise UnreadableError(
            what, "Copy the image again, or read gaps as they are: missing='warn'."
        )
