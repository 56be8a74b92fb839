"""Many images, one after another: what is finished is kept, what fails is listed with a reason."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from napari_superres.batching.finding import find_images
from napari_superres.batching.items import Item, Made, Step
from napari_superres.batching.running import run_batch
from napari_superres.batching.series import choose_series
from napari_superres.formats import read
from napari_superres.labelling import finer_labels
from napari_superres.upscaling import upscale

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_superres.formats.ome_zarr_layout import Version
    from napari_superres.image import Image

__all__ = ["Item", "Made", "Step", "batch", "choose_series", "find_images", "run_batch"]


def batch(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    model: str | None = None,
    *,
    suffix: str = ".ome.zarr",
    recursive: bool = False,
    series: int | None = None,
    level: int = 0,
    missing: Literal["warn", "error"] = "warn",
    labels: bool = False,
    overwrite: bool = False,
    progress: Callable[[Step], object] | None = None,
    axes: str | None = None,
    ome_zarr: Version = "0.5",
    workers: int | None = None,
    **wishes: Any,
) -> list[Item]:
    """Make many images finer, each into a file of its own, and return how each of them ended.

    Call it again to go on after any kind of end: finished results are kept once they are known to
    be what the same settings give, unfinished ones are taken up where they were.

    Parameters
    ----------
    sources : path-like, or a sequence of them
        Files, OME-Zarr folders, URLs, and folders of them.
    folder : path-like
        Where results go, as ``<name>_x<scale><suffix>``. It is made if it is missing.
    model, **wishes
        As for `upscale`.
    suffix : {".ome.zarr", ".ome.tif"}
        Format of the results.
    recursive : bool
        Whether folders inside folders are searched too; results then lie in folders of the same
        names.
    axes, level, missing
        As for `read`.
    series : int, optional
        As for `read`. If None, of a data set whose files describe each other, the series that
        lies in the file itself; else the first one.
    labels : bool
        Whether label images beside OME-Zarr images are made finer too.
    overwrite, ome_zarr, workers
        As for `run`.
    progress : callable, optional
        Called with each `Step`.

    Returns
    -------
    list of Item
        One for each image, in the order of work.

    Raises
    ------
    InputError
        If there is nothing to do.
    OutputError
        If `folder` is one of the folders of sources, or cannot be made.
    WeightsError, MissingDependencyError
        If no image can be made finer with that model.
    """

    def make(source: str) -> Made:
        chosen, left = choose_series(source) if series is None else (series, ())
        image = read(source, axes=axes, series=chosen, level=level, missing=missing)
        results = upscale(image, model, **wishes)
        result, spread = results if isinstance(results, tuple) else (results, None)
        found: dict[str, Image] = {}
        if labels:
            part = {key: wishes.get(key) for key in ("channels", "planes", "region")}
            found = finer_labels(image, result.plan.scale, **part)
        return Made(image, result, found, spread, (*image.warnings, *left))

    given = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    todo = find_images(given, folder, recursive=recursive)
    ended: dict[int, Item] = {}
    for step in run_batch(
        todo,
        folder,
        make,
        suffix=suffix,
        overwrite=overwrite,
        ome_zarr=ome_zarr,
        workers=workers,
    ):
        ended[step.number] = step.item
        if progress is not None:
            progress(step)
    return list(ended.values())
