"""Which axis of a TIFF is which: from what the file says, or from what the user says.

Where neither says it, there is a question and no guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_superres.errors import AxesError
from napari_superres.image import check_axes

if TYPE_CHECKING:
    import dask.array as da

    from napari_superres.formats.tiff_series import Series

RGB, YCBCR = 2, 6
"""Values of the TIFF tag PhotometricInterpretation that stand for colours."""

_UNNAMED = frozenset("qi")
"""Letters of tifffile for an axis that the file does not name."""

_PLAIN = ("shaped", "generic", "uniform")
"""Dialects in which nobody thought about axes."""


class Order(NamedTuple):
    """How the lazy array of a series is made into an image.

    Parameters
    ----------
    letters : str
        Of the lazy array's axes.
    samples_first : bool
        Whether the lazy array shows interleaved samples before y and x.
    final : str
        Of the image's axes: y, x last, then ``s``.
    merge : bool
        Whether the samples of each channel become channels of their own.
    doubt : str
        What a user should check; mostly empty.
    """

    letters: str
    samples_first: bool
    final: str
    merge: bool
    doubt: str


def is_rgb(series: Series) -> bool:
    """Return whether the samples of a pixel are one colour, and not channels.

    Colours are 8-bit and called so by the file. What fluorescence software stores as 16-bit "RGB"
    are channels.
    """
    samples = series.shape[series.axes.index("s")] if "s" in series.axes else 1
    return (
        series.photometric in (RGB, YCBCR)
        and samples in (3, 4)
        and series.levels[0].geometry.dtype == np.uint8
    )


def order_axes(series: Series, axes: str | None, name: str) -> Order:
    """Return how to show a series.

    Parameters
    ----------
    series : Series
        As the file has it.
    axes : str or None
        What the user says, one letter an axis, in the order of the file. Interleaved samples may
        be named where they are, last, or where channels are shown, before y and x.
    name : str
        What messages call the image.

    Raises
    ------
    AxesError
        If an axis has no name, or `axes` has another number of letters.
    """
    interleaved = series.levels[0].geometry.samples > 1
    if axes is None:
        return _from_file(series, interleaved, name)
    if len(axes) != len(series.shape):
        listing = " x ".join(str(n) for n in series.shape)
        raise AxesError(
            f"axes='{axes}' names {len(axes)} axes, but '{name}' holds {listing} pixels.",
            f"Give {len(series.shape)} letters.",
        )
    if len(set(axes)) < len(axes):  # nothing can be put into an order by a letter that is two
        check_axes(axes, series.shape, name)
    if not interleaved or axes.endswith("s"):
        return Order(axes, False, _last(axes), False, "")
    letters = axes if axes.endswith("yx") else axes[:-3] + axes[-1] + axes[-3:-1]
    return Order(letters, True, _last(letters), False, "")


def apply_order(array: da.Array, order: Order) -> da.Array:
    """Return a lazy array in the order of the image.

    Parameters
    ----------
    array : dask.array.Array
        With axes `order.letters`.
    order : Order
        From `order_axes`.
    """
    if order.letters == order.final:
        return array  # a transposition, even of nothing, would make every window read its chunks
    if not order.merge:
        return array.transpose([order.letters.index(a) for a in order.final])
    split = order.final.replace("c", "cs")
    array = array.transpose([order.letters.index(a) for a in split])
    at = split.index("c")
    shape = array.shape
    # (..., c, s, ...) -> (..., c*s, ...)
    return array.rechunk({at + 1: 1}).reshape(
        (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])
    )


def _from_file(series: Series, interleaved: bool, name: str) -> Order:
    own = series.axes
    unnamed = [a for a in own if a in _UNNAMED or not "a" <= a <= "z"]
    planar = "s" in own and not interleaved and series.kind in _PLAIN
    colors = is_rgb(series)
    if unnamed or len(set(own)) != len(own):
        raise _question(
            series, name, "does not say which of its axes are z-slices, time points or channels"
        )
    if planar and not colors:
        raise _question(
            series,
            name,
            f"calls them the colours of a picture, which {series.levels[0].geometry.dtype} "
            "pixels hardly are",
        )
    doubt = (
        f"Its {series.shape[own.index('s')]} planes are stored as the colours of one picture; if "
        "they are something else, give axes=."
        if planar
        else ""
    )
    if colors or not interleaved:
        merge = not colors and "s" in own and "c" in own
        letters = own if colors or merge else own.replace("s", "c")
        final = letters.replace("s", "") if merge else letters
        return Order(letters, False, _last(final), merge, doubt)
    # (..., y, x, s) -> (..., s, y, x)
    lead, last = own[:-3], own[-1]
    if last == "s" and "c" in lead:
        return Order(f"{lead}syx", True, f"{lead}yx", True, doubt)
    letters = f"{lead}{'c' if last == 's' else last}{own[-3:-1]}"
    return Order(letters, True, _last(letters), False, doubt)


def _last(letters: str) -> str:
    """Return the letters with y, x last, then s."""
    lead = "".join(a for a in letters if a not in "yxs")
    tail = "".join(a for a in "yxs" if a in letters)
    return lead + tail


def _question(series: Series, name: str, why: str) -> AxesError:
    listing = " x ".join(str(n) for n in series.shape)
    tail = "yxs" if series.axes.endswith("yxs") else "yx"
    unknown = len(series.shape) - len(tail)
    leads = {1: ("z", "t", "c"), 2: ("tz", "zc", "tc"), 3: ("tzc",)}.get(unknown, ())
    examples = ", ".join(f"axes='{lead}{tail}'" for lead in leads)
    return AxesError(
        f"'{name}' holds {listing} pixels and {why}.",
        f"Say it with axes=, for example {examples}." if examples else "Say it with axes=.",
    )
