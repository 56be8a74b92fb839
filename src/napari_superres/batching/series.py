"""Which image of a file a batch makes where nobody has named one."""

from __future__ import annotations

import importlib
import os

from napari_superres.errors import InputError
from napari_superres.formats.suffixes import READERS, split_suffix


def choose_series(source: str) -> tuple[int, tuple[str, ...]]:
    """Return the series of a source whose pixels lie in it, and what to say of those left out.

    Each file of a data set may describe all of its series. Were the first one taken from each, its
    pixels would be written under the name of every file.

    Parameters
    ----------
    source : str
        File, folder or URL.

    Returns
    -------
    (int, tuple of str)

    Raises
    ------
    InputError
        If the pixels of none of them lie in the file.
    """
    reader = READERS.get(split_suffix(source)[1])
    module = importlib.import_module(reader) if reader and os.path.isfile(source) else None
    if module is None or not hasattr(module, "series_in"):
        return 0, ()
    count, held = module.series_in(source)
    if count == 1 or held == (0,):
        return 0, ()
    if not held:
        raise InputError(
            f"'{source}' describes {count} series and holds none of them.",
            "Give the files that hold their pixels, or choose one with series=.",
        )
    first, left = held[0], ", ".join(map(str, held[1:]))
    if not left:
        return first, ()
    return first, (
        f"Only series {first} is made; series {left} of this file are left out. "
        "Choose with series=.",
    )
