"""In which size the network sees a plane; arithmetic on integers."""

from __future__ import annotations

MULTIPLE = 64
"""The network works on images whose sides are multiples of this."""

LONGEST = 4
"""Small planes are enlarged until their long side has this many times the smallest short side."""


def working_size(height: int, width: int, scale: int, smallest: int) -> tuple[int, int]:
    """Return the size in which the network sees a plane.

    `scale` times the plane, or as much larger as its short side needs to have `smallest` pixels;
    rounded to multiples of 64.

    Parameters
    ----------
    height, width : int
        Of the plane.
    scale : int
    smallest : int
        The length of the short side for which SDXL was trained.
    """
    most = LONGEST * smallest / max(height, width)
    ratio = max(scale, min(smallest / min(height, width), most))
    y, x = (max(1, round(length * ratio / MULTIPLE)) * MULTIPLE for length in (height, width))
    return y, x
