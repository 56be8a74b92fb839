"""Which images a batch is about."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from napari_superres.errors import InputError, OutputError, UnreadableError
from napari_superres.formats import is_image_folder
from napari_superres.formats.advice import ACCESS
from napari_superres.formats.remote import is_url
from napari_superres.formats.suffixes import READERS, split_suffix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

log = logging.getLogger(__name__)


def find_images(
    sources: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    *,
    recursive: bool = False,
) -> dict[str, str]:
    """Return the images that are meant, and for each the folder below the results' it belongs to.

    Parameters
    ----------
    sources : sequence of path-like
        A file, an OME-Zarr folder or a URL stands for itself, another folder for the images in it:
        those whose suffix is known, in alphabetical order. Hidden and unfinished ones are not
        looked at, nor folders inside that cannot be listed.
    folder : path-like
        Of the results; not searched.
    recursive : bool

    Returns
    -------
    dict of str to str

    Raises
    ------
    InputError
        If there are none.
    UnreadableError
        If one of `sources` cannot be listed.
    OutputError
        If results would lie among their sources.
    """
    found: dict[str, str] = {}
    results = Path(os.path.realpath(os.path.expanduser(folder)))
    for source in [os.fspath(source) for source in sources]:
        text = source if is_url(source) else os.path.expanduser(source)
        try:
            is_image = is_url(text) or not os.path.isdir(text) or is_image_folder(text)
        except OSError as error:
            raise UnreadableError(
                f"'{source}' cannot be listed: {error.strerror or error}.", ACCESS
            ) from error
        if is_image:
            found.setdefault(text, "")
            continue
        if Path(os.path.realpath(text)) == results:
            raise OutputError(
                f"'{source}' is to hold the results and holds their sources: the next run would "
                "take the results for sources.",
                "Choose another folder for the results.",
            )
        for path in _images_in(Path(text), {str(results)}, recursive=recursive):
            below = os.path.relpath(path.parent, text)
            found.setdefault(str(path), "" if below == "." else below)
    if not found:
        listed = ", ".join(f"'{os.fspath(source)}'" for source in sources)
        raise InputError(
            f"There is no image in {listed}.",
            f"Known suffixes are {', '.join(sorted(READERS))}; folders inside folders are searched "
            "with --recursive.",
        )
    return found


def _images_in(folder: Path, seen: set[str], *, recursive: bool) -> Iterator[Path]:
    """Yield the images in a folder that has not been seen; `seen` grows, so links end somewhere."""
    seen.add(os.path.realpath(folder))
    for name in sorted(os.listdir(folder), key=str.lower):
        path = folder / name
        if name.startswith(".") or name.endswith(".part"):
            continue
        if os.path.isdir(path):
            yield from _images_below(path, seen, recursive=recursive)
        elif split_suffix(name)[1]:
            yield path


def _images_below(folder: Path, seen: set[str], *, recursive: bool) -> Iterator[Path]:
    """Yield what a folder inside another one stands for: an image, or those in it.

    Disks have folders of the system that nobody may list, such as ``lost+found``.
    """
    try:
        is_image = is_image_folder(str(folder))
    except OSError as error:
        log.info("'%s' is passed over: %s", folder, error.strerror or error)
        return
    if is_image:
        yield folder
    elif recursive and os.path.realpath(folder) not in seen:
        yield from _images_in(folder, seen, recursive=True)
