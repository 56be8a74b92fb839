"""One image after another, whatever happens to each of them."""

from __future__ import annotations

import itertools
import logging
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_superres.batching.items import Item, Made, Step
from napari_superres.errors import (
    Cancelled,
    MissingDependencyError,
    MissingReaderError,
    OutputError,
    SettingError,
    SuperresError,
    WeightsError,
)
from napari_superres.formats.remote import is_url
from napari_superres.formats.suffixes import RECORDED, split_suffix, spread_path
from napari_superres.job.destination import explained
from napari_superres.job.kept import is_finished
from napari_superres.job.pool import check_workers
from napari_superres.job.running import run
from napari_superres.job.together import run_together
from napari_superres.job.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from napari_superres.formats.ome_zarr_layout import Version
    from napari_superres.image import Image
    from napari_superres.job.progress import Progress

log = logging.getLogger(__name__)

_FOR_ALL = (Cancelled, WeightsError, MissingDependencyError)
"""What is wrong with one image here is wrong with all of them."""


def run_batch(
    images: dict[str, str],
    folder: str | os.PathLike[str],
    make: Callable[[str], Made],
    *,
    suffix: str = ".ome.zarr",
    place: Workers | None = None,
    overwrite: bool = False,
    ome_zarr: Version = "0.5",
    workers: int | None = None,
) -> Iterator[Step]:
    """Return an iterator that makes images finer one by one; close it to stop.

    Parameters
    ----------
    images : dict of str to str
        From `find_images`.
    folder : path-like
    make : callable
        Takes a source and returns what `Made` says; what it raises is the reason why that image
        fails.
    suffix, overwrite, ome_zarr, workers
        As for `batch`.
    place : Workers, optional
        Where blocks are computed; threads of this process if None.

    Yields
    ------
    Step

    Raises
    ------
    OutputError
        Before the first image, if `folder` cannot be made.
    """
    check_workers(workers)
    if suffix not in RECORDED:
        raise SettingError(
            f"Results of a batch cannot be '{suffix}' files, which do not say how they were made.",
            f"Use {' or '.join(RECORDED)}.",
        )
    root = os.fspath(folder) if is_url(folder) else os.path.expanduser(folder)
    if not is_url(root):
        _check_can_be_made(Path(root))
    place = place or Workers()
    options = {"overwrite": overwrite, "ome_zarr": ome_zarr, "workers": workers}
    taken: dict[str, str] = {}
    files: dict[tuple[str, int], str] = {}
    for number, (source, below) in enumerate(images.items(), 1):
        begin = time.monotonic()
        item = Item(source)
        try:
            made = make(source)
            item = _placed(item, made, os.path.join(root, below), suffix, taken, files)
            if item.state == "waiting":
                missing = list(_missing(made, item.output, overwrite, ome_zarr))
                for step in _written(missing, made.result.plan, place, options):
                    yield Step(number, len(images), item, step)
                item = replace(item, state="done" if missing else "kept")
        # The other images are not to blame: the reason is listed.
        except Exception as error:
            item = replace(item, state="failed", reason=_reason(error, source))
        yield Step(number, len(images), replace(item, seconds=time.monotonic() - begin))


def _check_can_be_made(folder: Path) -> None:
    """Refuse a folder of results that cannot come to be, once and not for each image.

    It is made with the first result, so that a batch that cannot begin leaves nothing behind.

    Raises
    ------
    OutputError
    """
    there = folder.absolute()
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        raise OutputError(f"'{there}' is no folder, so no results go there.", "Choose another.")
    if there != folder.absolute() and not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(
            f"'{folder}' cannot be made: '{there}' cannot be written.", "Choose another folder."
        )


def _missing(
    made: Made, output: str, overwrite: bool, ome_zarr: Version
) -> Iterator[tuple[str, Image, Mapping[str, Image]]]:
    """Yield the files of an image that are not there yet: their place, pixels and labels."""
    results: list[tuple[str, Image, Mapping[str, Image]]] = [(output, made.result, made.labels)]
    if made.spread is not None:
        results.append((spread_path(output), made.spread, {}))
    for path, result, labels in results:
        if overwrite or not is_finished(result, labels, path, ome_zarr):
            yield path, result, labels


def _written(
    missing: Sequence[tuple[str, Image, Mapping[str, Image]]],
    plan: Any,
    place: Workers,
    options: dict[str, Any],
) -> Iterator[Progress]:
    if missing:
        with place.executor(plan) as executor:
            runs = [
                run(result, path, labels=labels, executor=executor, **options)
                for path, result, labels in missing
            ]
            # Samples are computed once if result and spread are written side by side.
            yield from run_together(runs) if plan.samples > 1 else itertools.chain(*runs)


def _reason(error: Exception, source: str) -> str:
    """Return why one image failed; raise what would make all of them fail."""
    if isinstance(error, _FOR_ALL) and not isinstance(error, MissingReaderError):
        raise error
    if isinstance(error, SuperresError):
        return str(error)
    log.error("'%s' failed", source, exc_info=error)
    return f"This is a bug of ours: {type(error).__name__}: {error}"


def _placed(
    item: Item,
    made: Made,
    folder: str,
    suffix: str,
    taken: dict[str, str],
    files: dict[tuple[str, int], str],
) -> Item:
    """Return an image's item with the place of its result.

    Parameters
    ----------
    item : Item
    made : Made
    folder : str
        Of the results; made if it is missing.
    suffix : str
    taken : dict
        Places of results so far, and whose they are; grows.
    files : dict
        Files of data sets so far, each with a series, and with which one they were read; grows.
    """
    item = replace(item, notes=made.notes)
    source = made.image.source
    series = int(source.get("series", 0))
    names = [*(source.get("files") or ()), source.get("path", item.source)]
    own = [(str(name), series) for name in names]
    if (other := next((files[one] for one in own if one in files), None)) is not None:
        reason = f"It belongs to the data set that was read with '{other}'."
        return replace(item, state="left out", reason=reason)
    if len(own) > 1:
        files.update(dict.fromkeys(own, item.source))
    stem = split_suffix(item.source)[0]
    scale = made.result.plan.scale if made.result.plan else 1
    name = f"{stem}_x{scale}{suffix}"
    output = f"{folder.rstrip('/')}/{name}" if is_url(folder) else os.path.join(folder, name)
    key = os.path.normcase(output)
    if (other := taken.setdefault(key, item.source)) != item.source:
        reason = f"Its result would have the name of that of '{other}'; make it by itself."
        return replace(item, state="failed", reason=reason)
    if not is_url(folder):
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise explained(error, Path(output)) from error
    return replace(item, output=output)
