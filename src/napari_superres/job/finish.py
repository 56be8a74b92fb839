"""From finished blocks to a finished file: metadata, export, name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_superres.formats.changes import check_unchanged
from napari_superres.formats.ome_zarr import open_image
from napari_superres.formats.ome_zarr_write import commit
from napari_superres.formats.zarr_encode import sync_folders
from napari_superres.job.destination import take_name
from napari_superres.job.exporting import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_superres.formats.ome_zarr_layout import Layout
    from napari_superres.image import Image
    from napari_superres.job.destination import Destination


def finish(
    target: Destination,
    layout: Layout,
    image: Image,
    note: Callable[[], None],
    labels: Sequence[str] = (),
) -> Iterator[float]:
    """Write the metadata, make one file of the blocks if that is wanted, and give it its name.

    Parameters
    ----------
    target : Destination
    layout : Layout
    image : Image
    note : callable
        Called when nothing but the name is missing.
    labels : sequence of str
        Names of the label images that have been written into its folder.

    Yields
    ------
    float
        Share of an export that is done.
    """
    check_unchanged(image)
    commit(target.root, layout, image, target.scratch, labels)
    finished = target.root
    if target.kind != "zarr":
        yield from stream(target, image, open_image(str(target.root)).transposed(image.axes))
        finished = target.exported
    sync_folders({target.part})
    note()
    take_name(target, finished)
    if isinstance(target.path, Path):
        sync_folders({target.path.parent})
