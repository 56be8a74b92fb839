"""Whether a source is still what it was when it was opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_superres.errors import UnreadableError
from napari_superres.formats.file_state import FileState
from napari_superres.formats.zarr_store import identity, join

if TYPE_CHECKING:
    from napari_superres.image import Image


def check_unchanged(image: Image) -> None:
    """Refuse a result whose source became another one meanwhile.

    Parameters
    ----------
    image : Image
        With the state of its source at opening: size and time of a file, or of all files of a data
        set, or, of a Zarr array, those of its metadata document, or what a server calls its
        version.

    Raises
    ------
    UnreadableError
        If it has changed or is gone.
    """
    source = image.source
    path = source.get("path")
    if not isinstance(path, str):
        return
    try:
        if source.get("format") == "zarr":
            array = str(source.get("array", ""))
            keys = [f"{array}/{name}".lstrip("/") for name in ("zarr.json", ".zarray")]
            same = any(_identity(path, key) == source.get("version") for key in keys)
        else:
            state = FileState.of(path)
            same = all(
                source.get(key, found) == found
                for key, found in (("size", state.size), ("mtime_ns", state.mtime_ns))
            ) and all(
                FileState(other, *known).is_current()
                for other, known in source.get("states", {}).items()
            )
    except FileNotFoundError:
        same = False
    if not same:
        raise UnreadableError(
            f"The source '{path}' changed while it was read: the blocks may show two states of it.",
            "Wait until nobody writes to it, and start anew with overwrite=True.",
        )


def _identity(path: str, key: str) -> object:
    try:
        return identity(path, key)
    except FileNotFoundError:
        return join(path, key)
