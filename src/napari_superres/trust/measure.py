"""Figures about how far a result can be trusted, with and without a known truth: `measure`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres.arrays import as_image
from napari_superres.errors import InputError
from napari_superres.surveying import read_window, sample_windows
from napari_superres.trust.flicker import Flicker, flicker
from napari_superres.trust.fourier import (
    beyond_sampling,
    binomial_correlation,
    ring_correlation,
    split_correlation,
)
from napari_superres.trust.light import coarse, light
from napari_superres.trust.matching import Match, match, source_of, was_changed
from napari_superres.trust.measures import ChannelMeasures, Measures, Place, Resolution
from napari_superres.trust.similarity import grid_shift, similarity
from napari_superres.trust.squirrel import squirrel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_superres.image import Image

EDGE = 512
"""Edge of a window, in the result's pixels."""

WINDOWS = 16
"""Most windows of a channel that are looked at."""

_TRIPLES = 4
_SMALLEST = 32


__all__ = ["ChannelMeasures", "Measures", "measure"]


def measure(
    result: Any,
    source: Any = None,
    truth: Any = None,
    *,
    axes: str | None = None,
    rgb: bool = False,
    gain: float | None = None,
    offset: float = 0.0,
) -> Measures:
    """Return figures about how far a result can be trusted.

    Stays quick on images of any size: at most 16 windows of 512 x 512 pixels of each channel are
    read (of a lazy result, computed), at places that depend on the shape alone.

    Parameters
    ----------
    result : Image, numpy.ndarray, dask.array.Array, xarray.DataArray or zarr.Array
        An upscaled image.
    source : same types, optional
        What it was made from. None: the file that the result's history names, if it is there.
    truth : same types, optional
        A perfect result, known from a simulation or from a better microscope, on the same pixels.
    axes : str, optional
        One letter a dimension, for arrays above two dimensions that do not name their axes.
    rgb : bool
        True when axis ``c``, last, holds the samples of one colour picture.
    gain, offset : float, optional
        The source camera's grey levels a photo-electron, and without light. With them the source's
        resolution is measured by splitting its photons, up to its full sampling; without, by
        splitting its pixels, up to half of it.

    Returns
    -------
    Measures
        ``print`` it for a table; ``record()`` gives JSON values. Without source and truth only the
        texture and flicker are known.

    Raises
    ------
    InputError
        If the images do not show the same field of view, or are too small to measure.

    See Also
    --------
    napari_superres.trust.squirrel.error_map : where a result fails to explain its source.
    """
    image = as_image(result, axes, rgb=rgb)
    images = [None if x is None else as_image(x, axes, rgb=rgb) for x in (source, truth)]
    found = source_of(image) if images[0] is None else images[0]
    matched = match(image, found, images[1])
    spans = _windows(matched)
    channels = tuple(
        _measure_channel(matched, channel, spans, gain, offset)
        for channel in range(image.size("c", 1))
    )
    return Measures(
        result=image.name,
        source=matched.source.name if matched.source else "",
        truth=matched.truth.name if matched.truth else "",
        scale=matched.scale,
        unit=_unit(image)[1],
        windows=len(spans),
        edge=EDGE // matched.scale * matched.scale,
        channels=channels,
        notes=tuple(_notes(image, found)) if images[0] is None else (),
    )


def _notes(image: Image, found: Image | None) -> Iterator[str]:
    """Yield what to know of the source that a result itself named."""
    if found is None:
        yield f"'{image.called}' names no source that is there. Give it with source=."
    elif was_changed(found, image):
        yield (
            f"'{found.called}' was written anew since '{image.called}' was made from it. If it is "
            "not the same image, give the right one with source=."
        )


def _windows(matched: Match) -> list[dict[str, slice]]:
    """Return windows in source pixels; narrow strips at the far border are left out."""
    scale = matched.scale
    shape = tuple(
        slice(n // scale if a in "yx" else n)
        for a, n in zip(matched.result.axes, matched.result.shape, strict=True)
    )
    grid = matched.result.cropped(shape)
    edge = EDGE // scale
    longest = min(edge, grid.size("y"), grid.size("x"))
    if longest * scale < _SMALLEST:
        raise InputError(
            f"'{matched.result.name}' has planes of {matched.result.size('y')} x "
            f"{matched.result.size('x')} pixels, too few to measure.",
            f"{_SMALLEST} x {_SMALLEST} are needed.",
        )
    kept = []
    for window in sample_windows(grid, edge, WINDOWS):
        sizes = (min(window[a].stop, grid.size(a)) - window[a].start for a in "yx")
        if min(sizes) >= max(longest / 2, _SMALLEST / scale):
            kept.append(window)
    return kept


def _measure_channel(
    matched: Match,
    channel: int,
    spans: Sequence[dict[str, slice]],
    gain: float | None,
    offset: float,
) -> ChannelMeasures:
    scale = matched.scale
    finer = [_finer(span, scale) for span in spans]
    results = _read(matched.result, finer, channel)
    sources = _read(matched.source, spans, channel)
    truths = _read(matched.truth, finer, channel)
    to_source = list(zip(results, sources, strict=True)) if sources else None
    to_truth = list(zip(results, truths, strict=True)) if truths else None
    return ChannelMeasures(
        name=matched.result.channels[channel].name,
        light=light(to_source) if to_source else None,
        squirrel=squirrel(to_source) if to_source else None,
        place=_place(to_truth or [(coarse(r, s), s) for r, s in to_source or ()]),
        resolution=_resolution(matched, results, sources, to_truth, gain, offset),
        similarity=similarity(to_truth) if to_truth else None,
        detail=beyond_sampling(to_truth, scale) if to_truth and scale > 1 else None,
        flicker=tuple(_flicker(matched, channel, spans)),
    )


def _read(image: Image | None, spans: Sequence[dict[str, slice]], channel: int) -> list[np.ndarray]:
    if image is None:
        return []
    planes = [plane for span in spans for plane in read_window(image, span, channel)]
    if not all(np.isfinite(plane).all() for plane in planes):
        raise InputError(
            f"'{image.name}' holds values that are not finite, which cannot be compared.",
            "Crop them away, or fill them.",
        )
    return planes


def _finer(span: dict[str, slice], scale: int) -> dict[str, slice]:
    return {
        axis: slice(cut.start * scale, cut.stop * scale) if axis in "yx" else cut
        for axis, cut in span.items()
    }


def _place(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Place | None:
    if not pairs:
        return None
    shifts = np.array([grid_shift(one, other) for one, other in pairs])
    known = shifts[np.isfinite(shifts[:, 0])]  # a blank window tells no place
    y, x = np.median(known, axis=0) if known.size else (np.nan, np.nan)
    return Place(float(y), float(x))


def _resolution(
    matched: Match,
    results: Sequence[np.ndarray],
    sources: Sequence[np.ndarray],
    to_truth: Sequence[tuple[np.ndarray, np.ndarray]] | None,
    gain: float | None,
    offset: float,
) -> Resolution:
    pixel = _unit(matched.result)[0]
    of_source, to, mean = float("nan"), float("nan"), float("nan")
    large = [plane for plane in sources if min(plane.shape) >= _SMALLEST]
    if large and gain is not None:
        of_source = binomial_correlation(large, gain, offset).resolution(pixel * matched.scale)
    elif large:
        of_source = split_correlation(large).resolution(pixel * matched.scale)
    if to_truth:
        curve = ring_correlation(to_truth)
        to, mean = curve.resolution(pixel), curve.mean
    return Resolution(of_source, split_correlation(results).resolution(pixel), to, mean)


def _flicker(matched: Match, channel: int, spans: Sequence[dict[str, slice]]) -> Iterator[Flicker]:
    for axis in "zt":
        planes = matched.result.size(axis)
        if matched.source is None or planes < 3:
            continue
        triples = []
        for number, span in enumerate(spans[:: -(-len(spans) // _TRIPLES)]):
            first = number * (planes - 3) // max(_TRIPLES - 1, 1)
            cut = {**span, axis: slice(first, first + 3)}
            one, other = (
                read_window(image, part, channel)
                for image, part in (
                    (matched.result, _finer(cut, matched.scale)),
                    (matched.source, cut),
                )
            )
            # An RGB picture has three samples in each plane.
            triples.append(
                (one.reshape(3, -1, one.shape[-1]), other.reshape(3, -1, other.shape[-1]))
            )
        yield flicker(triples, axis)


def _unit(image: Image) -> tuple[float, str]:
    """Return the pixel size along y and x with its unit; 1 where they differ or are unknown."""
    y, x = image.axes.index("y"), image.axes.index("x")
    size, other, unit = image.pixel_size[x], image.pixel_size[y], image.units[x]
    if unit is None or unit != image.units[y] or not math.isclose(size, other, rel_tol=0.01):
        return 1.0, "fine pixels"
    return size, unit
