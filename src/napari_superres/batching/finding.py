"""Which images a batch is about."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from napari_superres.errors import InputError, OutputError
from napari_superres.formats import is_image_folder
from napari_superres.formats.remote import is_url
from napari_superres.formats.suffixes import READERS, split_suffix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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
        looked at.
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
    OutputError
        If results would lie among their sources.
    """
    found: dict[str, str] = {}
    results = Path(os.path.realpath(os.path.expanduser(folder)))
    for source in [os.fspath(source) for source in sources]:
        text = source if is_url(source) else os.path.expanduser(source)
        if is_url(text) or not os.path.isdir(text) or is_image_folder(text):
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
    for path in sorted(folder.iterdir(), key=lambda p: p.name.lower()):
        if path.name.startswith(".") or path.name.endswith(".part"):
            continue
        if path.is_dir():
            if is_image_folder(str(path)):
                yield path
            elif recursive and os.path.realpath(path) not in seen:
                yield from _images_in(path, seen, recursive=True)
        elif split_suffix(path.name)[1]:
            yield path
