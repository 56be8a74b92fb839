"""What `measure` found, as a table for people and as JSON values for programs."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_superres.trust.figures import figure, rows
from napari_superres.trust.flicker import WORSE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_superres.trust.flicker import Flicker
    from napari_superres.trust.fourier import Detail
    from napari_superres.trust.light import Light
    from napari_superres.trust.similarity import Similarity
    from napari_superres.trust.squirrel import Squirrel

# From here on a person is told. Interpolation moves 0.1 to 0.7 % of the light, networks trained on
# photographs 6 to 9 %; a tenth of a pixel is what registration of two channels is good for.
MOVED_LIGHT, MOVED_PIXELS, INVENTED = 0.01, 0.1, 0.05


@dataclass(frozen=True)
class Resolution:
    """Finest period that is resolved, by Fourier ring correlation with the threshold 1/7."""

    of_source: float = figure(
        "resolution of the source",
        "split in two; without a gain, periods of 4 pixels and more",
        "length",
    )
    of_result: float = figure(
        "texture of the result", "split in two, 4 pixels and more; how fine, not how true", "length"
    )
    to_truth: float = figure("agreement with the truth", "finest period both share", "length")
    correlation: float = figure("FRC with the truth", "mean over all frequencies; 1 is perfect")


@dataclass(frozen=True)
class Place:
    """Whether structures lie where they lay: the median of windows that show any, or NaN."""

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
    notes : tuple of str
        What to know of the source before believing a figure.
    """

    result: str
    source: str
    truth: str
    scale: int
    unit: str
    windows: int
    edge: int
    channels: tuple[ChannelMeasures, ...]
    notes: tuple[str, ...] = ()

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
            f"{self.windows} window{'s' * (self.windows > 1)} of up to {self.edge} x {self.edge} "
            "pixels of each channel",
        ]
        for channel in self.channels:
            lines += ["", *_table(channel, self.unit)]
        lines += ["", *(f"! {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines)


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
    if channel.light is not None and channel.light.flux_error > MOVED_LIGHT:
        yield (
            f"Light was moved: {100 * channel.light.flux_error:.1f} % of the range in blocks of a "
            "few pixels. Do not read intensities from the result."
        )
    if (
        channel.place is not None
        and max(abs(channel.place.shift_y), abs(channel.place.shift_x)) > MOVED_PIXELS
    ):
        yield "Structures lie off their place. Do not measure distances to other channels on it."
    if channel.detail is not None and channel.detail.invented > INVENTED:
        yield "Detail was added that the truth does not have."


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
