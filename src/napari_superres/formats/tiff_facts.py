"""What a TIFF file says beside its pixels: sizes, units, channels, history."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_superres.formats import imagej
from napari_superres.formats.kept_history import read_history
from napari_superres.formats.tiff_axes import RGB, is_rgb
from napari_superres.formats.tiff_levels import SegmentedLevel
from napari_superres.formats.units import is_known
from napari_superres.image import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_superres.formats.tiff_index import TiffIndex
    from napari_superres.formats.tiff_series import Series

_WHITE_IS_ZERO, _PALETTE = 0, 3
"""Values of the TIFF tag PhotometricInterpretation: zero is shown as white, and pixels are indices
of a colour table."""

_SCREEN_DENSITY = 2400 / 0.0254
"""Pixels per metre. At or below it, a density is that of a screen or a printer (72 to 2400 per
inch) and says nothing of the specimen; above it pixels are finer than 10.6 micrometers."""

_METERS = {2: 0.0254, 3: 0.01, 4: 0.001, 5: 1e-6}
"""Length of the unit of the tag ResolutionUnit."""

_LARGE_PIECE = 256 * 1024**2
"""Bytes that have to be decoded at once for the smallest window; more is worth a warning."""


@dataclass
class Facts:
    """What a file says beside its pixels, by axis of the package.

    Parameters
    ----------
    pixel_size, units, translation : dict
        By axis, as far as the file gives them.
    channels : tuple of Channel
        One for each channel and sample; empty where the file describes none.
    metadata : dict
        What is handed on as it is.
    history : tuple of mapping
        Of results of this package.
    is_labels : bool
        True where a result of this package says so.
    warnings : list of str
        What a user should know.
    """

    pixel_size: dict[str, float] = field(default_factory=dict)
    units: dict[str, str | None] = field(default_factory=dict)
    translation: dict[str, float] = field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    is_labels: bool = False
    warnings: list[str] = field(default_factory=list)


def gather_facts(index: TiffIndex, number: int) -> Facts:
    """Return what a file says of one of its images.

    Parameters
    ----------
    index : TiffIndex
        Of the file.
    number : int
        Of the series.
    """
    series = index.series[number]
    facts = Facts()
    unit = _METERS.get(series.resolution_unit)
    if index.ome is not None:
        _from_ome(facts, index, number)
    elif index.imagej:
        sizes = dict(zip(series.axes, series.shape, strict=True))
        count = sizes.get("c", 1) * (1 if is_rgb(series) else sizes.get("s", 1))
        facts.metadata["imagej"] = imagej.as_json(index.imagej)
        fine = unit and min(series.resolution) / unit > _SCREEN_DENSITY
        facts.pixel_size, facts.units = imagej.calibration(
            index.imagej, series.resolution, unit * 1e6 if unit and fine else None
        )
        facts.channels = imagej.channels(index.imagej, count)
    else:
        for axis, density in zip("yx", series.resolution, strict=True):
            if unit and density / unit > _SCREEN_DENSITY:
                facts.pixel_size[axis], facts.units[axis] = unit / density * 1e6, "micrometer"
    _name_colors(facts, series)
    _warn(facts, series)
    return facts


def _from_ome(facts: Facts, index: TiffIndex, number: int) -> None:
    assert index.ome is not None
    facts.metadata["ome_xml"] = index.ome.text
    matching = _matching(index, number)
    if matching is None:
        facts.warnings.append("It is not clear which OME metadata describe this series.")
    else:
        facts.metadata["ome_image"] = matching
        image = index.ome.images[matching]
        facts.pixel_size, facts.units = dict(image.pixel_size), dict(image.units)
        facts.channels = image.channels
    _restore(facts, index.ome.record, index.file.path)


def _matching(index: TiffIndex, number: int) -> int | None:
    """Return which OME image a series is; images without planes have no series."""
    assert index.ome is not None
    images = index.ome.images
    if len(images) == len(index.series):
        return number
    named = [i for i, image in enumerate(images) if image.name == index.series[number].name]
    return named[0] if len(named) == 1 else None


def _restore(facts: Facts, record: Mapping[str, Any], where: str) -> None:
    """Take back what OME-XML has no place for, from the annotation of our own results."""
    facts.history, doubts = read_history(record.get("history"), where)
    facts.warnings += doubts
    image = record.get("image", {})
    facts.pixel_size |= image.get("pixel_size", {})
    facts.units |= image.get("units", {})
    facts.translation |= image.get("translation", {})
    facts.is_labels = bool(image.get("is_labels", False))
    windows = image.get("windows", [])
    if len(windows) == len(facts.channels):
        facts.channels = tuple(
            replace(channel, window=None if window is None else (window[0], window[1]))
            for channel, window in zip(facts.channels, windows, strict=True)
        )


def _name_colors(facts: Facts, series: Series) -> None:
    """Give the samples of a 16-bit "RGB" picture, which are channels here, their colours."""
    is_colored = any(channel.color for channel in facts.channels)
    if series.photometric != RGB or is_rgb(series) or "s" not in series.axes or is_colored:
        return
    count = series.shape[series.axes.index("s")]
    if "c" in series.axes or count < 3 or len(facts.channels) not in (0, count):
        return
    channels = facts.channels or (Channel(),) * count
    colors = ("FF0000", "00FF00", "0000FF", *(None,) * count)
    facts.channels = tuple(
        replace(channel, color=color) for channel, color in zip(channels, colors, strict=False)
    )


def _warn(facts: Facts, series: Series) -> None:
    strange = sorted({unit for unit in facts.units.values() if unit and not is_known(unit)})
    for unit in strange:
        facts.warnings.append(f"The unit '{unit}' is not known; it is kept as it is.")
    if series.photometric == _WHITE_IS_ZERO:
        facts.warnings.append(
            "The file says that zero is white (MinIsWhite). Its numbers are kept, and results show "
            "zero as black: they look like negatives of it."
        )
    is_ramp = series.kind == "imagej" and any(channel.color for channel in facts.channels)
    if series.photometric == _PALETTE and not is_ramp:
        facts.warnings.append("Pixels are indices of a colour table; they are taken as gray.")
    if series.unwritten:
        facts.warnings.append(
            f"{series.unwritten} strips or tiles were never written; they read as a constant."
        )
    for level in series.levels[:1]:
        if isinstance(level, SegmentedLevel) and level.keep:
            nbytes = level.tile[0] * level.tile[1] * level.tile[2] * level.geometry.samples
            nbytes *= level.geometry.dtype.itemsize
            if nbytes > _LARGE_PIECE:
                facts.warnings.append(
                    f"Each compressed piece is {nbytes / 1024**2:,.0f} MB large, so that the "
                    "smallest window takes long to read; a tiled copy reads faster."
                )
