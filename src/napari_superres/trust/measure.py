"""Figures about how far a result can be trusted, with and without a known truth: `measure`."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres.arrays import as_image
from napari_superres.errors import InputError
from napari_superres.surveying import read_window, sample_windows
from napari_superres.trust.figures import figure, rows
from napari_superres.trust.flicker import WORSE, Flicker, flicker
from napari_superres.trust.fourier import (
    Detail,
    beyond_sampling,
    binomial_correlation,
    ring_correlation,
    split_correlation,
)
from napari_superres.trust.light import Light, coarse, light
from napari_superres.trust.matching import Match, match, source_of
from napari_superres.trust.similarity import Similarity, grid_shift, similarity
from napari_superres.trust.squirrel import Squirrel, squirrel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_superres.image import Image

EDGE = 512
"""Edge of a window, in the result's pixels."""

WINDOWS = 16
"""Most windows of a channel that are looked at."""

_TRIPLES = 4
_SMALLEST = 32


@dataclass(frozen=True)
class Resolution:
    """Finest period that is resolved, by Fourier ring correlation with the threshold 1/7."""

    of_source: float = figure(
        "resolution of the source",
        "split in two, which sees periods of 4 pixels and more",
        "length",
    )
    of_result: float = figure(
        "texture of the result", "split in two, likewise; says how fine, not how true", "length"
    )
    to_truth: float = figure("agreement with the truth", "finest period both share", "length")
    correlation: float = figure("FRC with the truth", "mean over all frequencies; 1 is perfect")


@dataclass(frozen=True)
class Place:
    """Whether structures lie where they lay."""

    shift_y: float = figure("shift along y", "of structures off their place; 0 is best", "pixels")
    shift_x: float = figure("shift along x", "the same", "pixels")


@dataclass(frozen=True)
class ChannelMeasures:
    """What was found in one channel; None where a source or a truth was missing.

    Parameters
    ----------
    name : str
    light : Light or None
        Against the source.
    squirrel : Squirrel or None
        Against the source.
    place : Place or None
        Against the truth, in its pixels; else against the source, in the source's.
    resolution : Resolution
        NaN where it was not measured, infinite where nothing is resolved.
    similarity : Similarity or None
        Against the truth.
    detail : Detail or None
        Against the truth, beyond the source's sampling.
    flicker : tuple of Flicker
        One for each of the axes z and t with three planes or more.
    """

    name: str
    light: Light | None
    squirrel: Squirrel | None
    place: Place | None
    resolution: Resolution
    similarity: Similarity | None
    detail: Detail | None
    flicker: tuple[Flicker, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should look at before using numbers from the result."""
        return tuple(_warnings(self))


@dataclass(frozen=True)
class Measures:
    """Figures about a result. Printed, it is a table.

    Parameters
    ----------
    result, source, truth : str
        Names; empty where there was none.
    scale : int
        Result pixels a source pixel.
    unit : str
        Of lengths.
    windows, edge : int
        How many windows of each channel were looked at, and their edge in the result's pixels.
    channels : tuple of ChannelMeasures
        One for each channel; one in all for an RGB picture.
    """

    result: str
    source: str
    truth: str
    scale: int
    unit: str
    windows: int
    edge: int
    channels: tuple[ChannelMeasures, ...]

    def record(self) -> dict[str, Any]:
        """Return everything as JSON values: what was not measured is None."""
        values = dataclasses.asdict(self)
        for channel, measured in zip(values["channels"], self.channels, strict=True):
            channel["warnings"] = list(measured.warnings)
        plain: dict[str, Any] = _plain(values)
        return plain

    def __str__(self) -> str:
        against = " and ".join(
            f"{what} '{name}'"
            for what, name in (("source", self.source), ("truth", self.truth))
            if name
        )
        lines = [
            f"'{self.result}'" + (f" against its {against}" if against else ""),
            f"{self.windows} windows of up to {self.edge} x {self.edge} pixels of each channel",
        ]
        for channel in self.channels:
            lines += ["", *_table(channel, self.unit)]
        return "\n".join(lines)


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
    matched = match(image, images[0] or source_of(image), images[1])
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
        if 2 * min(sizes) >= longest:
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
    y, x = np.median([grid_shift(one, other) for one, other in pairs], axis=0)
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
    if sources and gain is not None:
        of_source = binomial_correlation(sources, gain, offset).resolution(pixel * matched.scale)
    elif sources and min(sources[0].shape) >= _SMALLEST:
        of_source = split_correlation(sources).resolution(pixel * matched.scale)
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


def _table(channel: ChannelMeasures, unit: str) -> Iterator[str]:
    if channel.name:
        yield channel.name
    groups = [
        ("against the truth", channel.similarity),
        ("", channel.detail),
        ("against the source", channel.light),
        ("", channel.squirrel),
        ("place", channel.place),
        ("resolution", channel.resolution),
        *((f"flicker along {one.axis}", one) for one in channel.flicker),
    ]
    for heading, group in groups:
        if group is None:
            continue
        if heading:
            yield heading
        for title, value, words in rows(group, unit):
            if value != "-":
                yield f"  {title:<26}{value:>22}   {words}"
    for warning in channel.warnings:
        yield f"! {warning}"


def _warnings(channel: ChannelMeasures) -> Iterator[str]:
    for one in channel.flicker:
        if one.ratio > WORSE:
            yield (
                f"The result flickers {one.ratio:.2f} times as much as its source along "
                f"{one.axis}: it was made plane by plane. Do not measure along {one.axis} on it."
            )
    if channel.light is not None and channel.light.flux_error > 0.01:
        yield (
            f"Light was moved: {100 * channel.light.flux_error:.1f} % of the range in blocks of a "
            "few pixels. Do not read intensities from the result."
        )
    if (
        channel.place is not None
        and max(abs(channel.place.shift_y), abs(channel.place.shift_x)) > 0.1
    ):
        yield "Structures lie off their place. Do not measure distances to other channels on it."
    if channel.detail is not None and channel.detail.invented > 0.05:
        yield "Detail was added that the truth does not have."


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
