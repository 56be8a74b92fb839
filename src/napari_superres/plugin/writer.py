"""Save layers as OME-Zarr or OME-TIFF, plane by plane, with colours, units and history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils import progress

from napari_superres.errors import OutputError
from napari_superres.formats.suffixes import split_suffix
from napari_superres.job import run
from napari_superres.job.destination import KINDS
from napari_superres.plugin.layer_tuples import LayerTuple, image_from_layer_data, layers_from_data
from napari_superres.plugin.notify import tell_turned

if TYPE_CHECKING:
    from collections.abc import Sequence


def write_ome_zarr(path: str, layer_data: Sequence[LayerTuple]) -> list[str]:
    """Write layers as `write_image` does, to OME-Zarr unless the path names another format."""
    return _write(_with_ending(path, ".ome.zarr"), layer_data)


def write_ome_tiff(path: str, layer_data: Sequence[LayerTuple]) -> list[str]:
    """Write layers as `write_image` does, to OME-TIFF unless the path names another format."""
    return _write(_with_ending(path, ".ome.tif"), layer_data)


def write_image(path: str, layer_data: Sequence[LayerTuple]) -> list[str]:
    """Write layers to one file; several layers are the channels of one image.

    Lazy layers are computed block by block, and on-demand layers at their full resolution, in
    memory that does not depend on their size. napari waits for it; the panel's *Run* writes in the
    background.

    Parameters
    ----------
    path : str
        ``.ome.zarr`` or ``.ome.tif``. Never overwritten half: it appears when it is complete.
    layer_data : sequence of (data, kwargs, layer type)
        As napari hands them to a writer.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    InputError
        If the layers do not form one image.
    OutputError
        If there is something at that path already, or it cannot be written.
    """
    image = image_from_layer_data(layer_data)
    tell_turned(layers_from_data(layer_data))
    with progress(total=1000, desc=f"Saving {image.name}") as bar:
        for step in run(image, path):
            bar.n = 0
            bar.update(round(1000 * step.fraction))
    return [path]


def _write(path: str, layer_data: Sequence[LayerTuple]) -> list[str]:
    try:
        return write_image(path, layer_data)
    except ValueError as error:
        # napari understands a ValueError as: there is no plugin for this format.
        raise OutputError(f"Nothing was saved. {error}") from error


def _with_ending(path: str, ending: str) -> str:
    """Return a path that names a format: napari proposes a layer's name, which has no ending."""
    return path if split_suffix(path)[1] in KINDS else path + ending
