"""What a job needs of this machine, known before it starts."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_superres.errors import ResourceError
from napari_superres.formats.ome_zarr_layout import layout_for
from napari_superres.formats.remote_path import RemotePath
from napari_superres.job.destination import check_folder, check_space, destination, space_for
from napari_superres.job.pool import THREADS_ON_GPU, check_workers, processors
from napari_superres.resources import SHARE, check_memory, free_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_superres.image import Image


@dataclass(frozen=True)
class Needs:
    """Memory and disk of a job with threads of one process.

    Parameters
    ----------
    workers : int
        Blocks that are computed at a time.
    memory, free_memory : int
        Bytes that they need beside the model, and that can be had.
    disk : int
        Bytes that the result takes at least.
    free_disk : int or None
        Bytes that are left for it; None in a bucket.
    refusal : str
        Why the job will not start; empty if it will.
    """

    workers: int
    memory: int
    free_memory: int
    disk: int
    free_disk: int | None
    refusal: str = ""


def needs(images: Mapping[str, Image], workers: int | None = None) -> Needs:
    """Return what it takes to write one or more images of the same plan.

    Parameters
    ----------
    images : mapping of str to Image
        By where each is written: a result and, beside it, its spread.
    workers : int, optional
        As for `run`.

    Raises
    ------
    SettingError, OutputError
        If nothing can be written there: no such kind of file, or no such folder.
    """
    targets = {destination(path): image for path, image in images.items()}
    sizes = {target: layout_for(image).nbytes for target, image in targets.items()}
    refusal = ""
    for target in targets:
        check_folder(target)
    target, image = next(iter(targets.items()))
    try:
        for own, nbytes in sizes.items():
            check_space(own, nbytes)
        workers = fitting_workers(image, workers)
    except ResourceError as error:
        refusal = str(error)
    workers = workers or 1
    here = None if isinstance(target.path, RemotePath) else target.path.parent
    return Needs(
        workers=workers,
        memory=workers * image.plan.task_bytes + image.plan.kept_bytes if image.plan else 0,
        free_memory=free_memory(),
        disk=sum(space_for(own, nbytes) for own, nbytes in sizes.items()),
        free_disk=None if here is None else shutil.disk_usage(here).free,
        refusal=refusal,
    )


def fitting_workers(image: Image, workers: int | None) -> int:
    """Return how many blocks to compute at a time in this process: as many as fit in memory.

    Raises
    ------
    ResourceError
        If the wanted number does not fit, or not even one.
    SettingError
        If it is no number of workers.
    """
    check_workers(workers)
    plan = image.plan
    if plan is None:
        return workers or processors()
    if workers is None:
        fitting = int((SHARE * free_memory() - plan.kept_bytes) / plan.task_bytes)
        usual = processors() if plan.compute.device == "cpu" else THREADS_ON_GPU
        if plan.spec.unit == "plane":  # a plane keeps the whole device busy for minutes
            usual = 1
        workers = max(1, min(usual, fitting))
    check_memory(
        plan.task_bytes * workers + plan.kept_bytes,
        f"Computing {workers} block{'s' if workers > 1 else ''} of '{image.called}' at a time",
        "Use fewer workers, or a smaller tile.",
    )
    return workers
