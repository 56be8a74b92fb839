"""`run` and `write`: from a lazy image to a finished file."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.errors import InputError, SettingError
from napari_superres.formats.ome_zarr_layout import layout_for
from napari_superres.formats.remote import is_url
from napari_superres.image import Image
from napari_superres.job.destination import check_destination, check_space, destination
from napari_superres.job.execution import Job
from napari_superres.job.exporting import Export, is_streamable
from napari_superres.job.folder import sweep_leftover
from napari_superres.job.needs import fitting_workers
from napari_superres.job.parts import parse_part
from napari_superres.job.pool import check_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Executor

    from napari_superres.formats.ome_zarr_layout import Version
    from napari_superres.formats.remote_path import Place
    from napari_superres.job.destination import Destination
    from napari_superres.job.progress import Progress


def write(
    image: Image,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    executor: Executor | None = None,
    progress: Callable[[Progress], object] | None = None,
    workers: int | None = None,
    ome_zarr: Version = "0.5",
    part: str | None = None,
    labels: Mapping[str, Image] | None = None,
) -> Place:
    """Compute an image and write it to a file; all of `run` in one call.

    Parameters
    ----------
    image, path, overwrite, executor, workers, ome_zarr, part, labels
        As for `run`.
    progress : callable, optional
        Called with each `Progress`.

    Returns
    -------
    Path or RemotePath
        The finished file, folder or address.

    Raises
    ------
    SuperresError
        As `run` does.
    """
    for step in run(
        image,
        path,
        overwrite=overwrite,
        executor=executor,
        workers=workers,
        ome_zarr=ome_zarr,
        part=part,
        labels=labels,
    ):
        if progress is not None:
            progress(step)
    return destination(path).path if is_url(path) else Path(os.path.expanduser(path))


def run(
    image: Image,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    executor: Executor | None = None,
    workers: int | None = None,
    ome_zarr: Version = "0.5",
    part: str | None = None,
    labels: Mapping[str, Image] | None = None,
) -> Iterator[Progress]:
    """Return an iterator that computes an image and writes it while it is iterated.

    To stop, stop iterating and close it: blocks under way end at their next step, and what is done
    is kept beside `path`, in ``<path>.part``. The same call takes it up again, after any kind of
    end; the bytes do not depend on interruptions, on the number of workers or on their order.
    Until the result is complete nothing carries its name, and an older result keeps it.

    Parameters
    ----------
    image : Image
        Lazy: each block is computed when its turn comes.
    path : path-like
        ``.ome.zarr`` or ``.zarr`` for OME-Zarr, ``.ome.tif``, ``.tif`` or ``.tiff`` for OME-TIFF,
        ``.png`` for a single plane. Or ``s3://bucket/name.ome.zarr``: there an older result is
        gone as soon as it is overwritten, and the image is one when its metadata, written last, is
        there.
    overwrite : bool
        Whether to replace an existing result, and to start anew where an unfinished one was made
        with other settings.
    executor : concurrent.futures.Executor, optional
        Where blocks are computed: threads of this process if None. With processes or machines
        (``distributed.Client.get_executor()``) the folder of `path` must be the same for all; for
        an address, the folder that the variable NAPARI_SUPERRES_CACHE names.
    workers : int, optional
        How many blocks are computed at a time; None for one a processor as far as memory goes, or
        for what the executor has.
    ome_zarr : {"0.5", "0.4"}
        0.4 for older readers: no shards, and no checksums inside the files.
    part : str, optional
        ``"3/64"`` computes the third of sixty-four shares of the blocks. The same call for each of
        them, on machines with the same disk, at any time and in any order, makes the result. The
        last part that is done gives it its name; ``"finish"`` does that alone, if all are done.
        Where the result of the same settings is there already, nothing is left to do.
    labels : mapping of str to Image, optional
        Label images to write into the folder ``labels/`` of an OME-Zarr result, by name; see
        `labelling.finer_labels`.

    Returns
    -------
    iterator of Progress

    Raises
    ------
    OutputError, SettingError, ResourceError
        From the call itself, before anything is written: the path is the source's own or taken, the
        folder missing or not writable, the axes have no place in the format, the disk too small.
    OutputError
        While iterating: somebody else writes the same result; an unfinished one has other settings.
    ResourceError
        While iterating: the disk is full, or memory is.
    IncompleteError
        At the end: some blocks failed, all others are kept.
    SuperresError
        While iterating: whatever made the first blocks fail, if none succeeded.
    """
    if not isinstance(image, Image):
        raise InputError(
            f"A file is written of an Image, not of a {type(image).__name__}.",
            "upscale(read(path)) returns one; of an array, make one: Image(array, axes='zyx').",
        )
    check_workers(workers)
    if image.rgb:  # the formats want the samples of a pixel side by side
        image = image.transposed(image.axes.replace("s", "") + "s")
    target = destination(path)
    share = None if part is None else parse_part(part)
    layout = layout_for(image, ome_zarr)
    _check_kind(image, target)
    if labels and target.kind != "zarr":
        raise SettingError(
            f"'{target.path}' has no place for label images beside the image.",
            "Write OME-Zarr, or leave --labels out.",
        )
    sweep_leftover(target)
    job = Job(image, target, layout, overwrite=overwrite, part=share, labels=labels)
    over = job.is_over()
    check_destination(target, image, overwrite=overwrite or over)
    if share is None and target.kind != "zarr" and is_streamable(image):
        check_space(target, layout.nbytes, files=1)
        return Export(image, target, overwrite=overwrite).iterate()
    if not over and not target.manifest.exists():
        check_space(target, layout.nbytes)
    if executor is None:
        workers = fitting_workers(image, workers)
    return job.iterate(executor, workers)


def _check_kind(image: Image, target: Destination) -> None:
    """Refuse pixels that the format has no place for, before hours go into computing them."""
    if target.kind == "tiff":
        from napari_superres.formats.ome_write import check_writable

        check_writable(image)
    if target.kind == "png":
        planes = math.prod(
            n for a, n in zip(image.axes, image.shape, strict=True) if a not in "yxs"
        )
        if planes != 1 or image.dtype not in (np.bool_, np.uint8, np.uint16):
            raise SettingError(
                f"'{target.path}' can hold one plane of 8 or 16 bits, not {planes} of "
                f"{image.dtype}.",
                "Choose one with planes= and channels=, or write OME-TIFF or OME-Zarr.",
            )
