"""What OME-Zarr metadata says: from a group's attributes to axes, sizes and channels. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_superres.errors import AxesError, UnreadableError
from napari_superres.formats.advice import METADATA
from napari_superres.formats.units import full_name, is_known
from napari_superres.image import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEY = "napari_superres"
"""Where our own record stands in ``multiscales[0].metadata``."""

LABEL = "image-label"
"""What OME-Zarr says of a label image: colours and properties of its values, and of what image."""

KNOWN_VERSIONS = ("0.1", "0.2", "0.3", "0.4", "0.5")

LETTERS = {"time": "t", "channel": "c", "channels": "c", "frame": "t", "depth": "z"}
"""Names that stand for one of our letters."""

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Multiscale:
    """One image of an OME-Zarr group, as its metadata describes it.

    Parameters
    ----------
    name : str
        Empty where the file gives none.
    version : str
        Of the OME-Zarr specification.
    axes : str
        One letter a dimension, in the stored order.
    units : tuple of (str or None)
        Full names.
    paths : tuple of str
        The array of each level, finest first, as the metadata writes them.
    pixel_sizes, translations : tuple of tuple of float
        For each level, along each axis.
    channels : tuple of Channel
        As many as the metadata describes; maybe none.
    record : mapping
        What this program wrote about the image: ``history``, ``rgb``, ``is_labels``.
    omero : mapping
        The rendering metadata as it stands in the file.
    warnings : tuple of str
    """

    name: str
    version: str
    axes: str
    units: tuple[str | None, ...]
    paths: tuple[str, ...]
    pixel_sizes: tuple[Numbers, ...]
    translations: tuple[Numbers, ...]
    channels: tuple[Channel, ...]
    record: Mapping[str, Any]
    omero: Mapping[str, Any]
    warnings: tuple[str, ...]


def ome_attributes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what OME-Zarr says of a group, which 0.5 keeps under the key ``ome``."""
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def parse_multiscale(
    attributes: Mapping[str, Any], index: int, ndim: int, where: str, given: str | None = None
) -> Multiscale:
    """Return the description of one image.

    Parameters
    ----------
    attributes : mapping
        A group's attributes.
    index : int
        Which of its ``multiscales``.
    ndim : int
        Dimensions of the arrays, for old versions that name no axes.
    where : str
        What messages call the group.
    given : str, optional
        The axes that the user names, one letter each; the metadata need not name any.

    Raises
    ------
    UnreadableError
        If a part that cannot be done without is missing, contradicts another, or is of a version
        that is not known.
    AxesError
        If the metadata names no axes, or one twice, and the user none.
    """
    ome = ome_attributes(attributes)
    multiscale = ome["multiscales"][index]
    if not isinstance(multiscale, dict):
        raise UnreadableError(f"The multiscales metadata of '{where}' is no object.", METADATA)
    version = str(ome.get("version") or multiscale.get("version") or "0.4")
    if not version.startswith(KNOWN_VERSIONS):
        raise UnreadableError(
            f"'{where}' is OME-Zarr {version}; known are {', '.join(KNOWN_VERSIONS)}.",
            "Save it in version 0.5.",
        )
    warnings: list[str] = []
    axes, units = _axes(multiscale.get("axes"), ndim, where, given, warnings)
    datasets = multiscale.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        raise UnreadableError(f"The multiscales metadata of '{where}' lists no datasets.", METADATA)
    outer = _transform(multiscale.get("coordinateTransformations"), len(axes), where)
    sizes, translations = [], []
    for dataset in datasets:
        if not isinstance(dataset, dict):
            raise UnreadableError(
                f"The multiscales metadata of '{where}' lists no datasets.", METADATA
            )
        scale, shift = _transform(dataset.get("coordinateTransformations"), len(axes), where)
        # The multiscale's transformation is applied after the dataset's.
        sizes.append(tuple(o * s for o, s in zip(outer[0], scale, strict=True)))
        moved = zip(outer[0], shift, outer[1], strict=True)
        translations.append(tuple(o * s + t for o, s, t in moved))
    omero = ome.get("omero") if isinstance(ome.get("omero"), dict) else {}
    metadata = multiscale.get("metadata")
    record = metadata.get(KEY) if isinstance(metadata, dict) else None
    return Multiscale(
        name=str(multiscale.get("name") or ""),
        version=version,
        axes=axes,
        units=units,
        paths=tuple(dataset.get("path") for dataset in datasets),
        pixel_sizes=tuple(sizes),
        translations=tuple(translations),
        channels=parse_channels(omero, warnings),
        record=record if isinstance(record, dict) else {},
        omero=omero or {},
        warnings=tuple(warnings),
    )


def parse_axis_names(names: Sequence[object]) -> str:
    """Return one letter for each name of a dimension, such as ``"tczyx"``.

    "time" and "channel" are t and c, single letters stand for themselves, and what remains takes
    letters that are free.

    Parameters
    ----------
    names : sequence of str
    """
    words = [str(name).strip().lower() for name in names]
    letters = [LETTERS.get(word, word if re.fullmatch("[a-z]", word) else "") for word in words]
    for i, word in enumerate(words):
        if not letters[i]:
            free = [a for a in [*word, *"abdefghijklmnopqruvw"] if re.fullmatch("[abd-rt-w]", a)]
            letters[i] = next(a for a in free if a not in letters)
    return "".join(letters)


def _axes(
    axes: object, ndim: int, where: str, given: str | None, warnings: list[str]
) -> tuple[str, tuple[str | None, ...]]:
    if axes is None and ndim == 5:  # versions 0.1 and 0.2 know nothing else
        return "tczyx", (None,) * 5
    hint = f"Say which they are, for example axes='{'tczyx'[-ndim:]}'."
    if not isinstance(axes, list) or not axes:
        if given:
            return given, (None,) * ndim
        raise AxesError(f"'{where}' does not name its axes.", hint)
    described = [axis if isinstance(axis, dict) else {"name": axis} for axis in axes]
    units: list[str | None] = []
    for axis in described:
        unit = full_name(str(axis["unit"])) if axis.get("unit") else None
        if not is_known(unit):
            warnings.append(f"The unit '{unit}' of axis '{axis.get('name')}' is not known.")
        units.append(unit)
    letters = parse_axis_names([axis.get("name") for axis in described])
    if len(set(letters)) < len(letters) and not given:
        raise AxesError(f"'{where}' names an axis twice: '{letters}'.", hint)
    return letters, tuple(units)


def _transform(steps: object, ndim: int, where: str) -> tuple[Numbers, Numbers]:
    """Return scale and translation of a list of transformations, applied one after another."""
    scale, shift = [1.0] * ndim, [0.0] * ndim
    for step in steps if isinstance(steps, list) else []:
        kind = step.get("type") if isinstance(step, dict) else None
        if kind == "identity":
            continue
        values = _numbers(step.get(kind), ndim) if kind in ("scale", "translation") else None
        if values is None:
            raise UnreadableError(
                f"'{where}' has a coordinate transformation that cannot be read: {step!r}.",
                f"Expected a scale or a translation of {ndim} numbers.",
            )
        if kind == "scale":
            if not all(value > 0 for value in values):
                raise UnreadableError(
                    f"'{where}' has a pixel size that is not positive: {values}.", METADATA
                )
            scale = [s * v for s, v in zip(scale, values, strict=True)]
            shift = [t * v for t, v in zip(shift, values, strict=True)]
        else:
            shift = [t + v for t, v in zip(shift, values, strict=True)]
    return tuple(scale), tuple(shift)


def _numbers(values: object, n: int) -> list[float] | None:
    """Return `n` finite numbers, or None if that is not what `values` is."""
    if not isinstance(values, list) or len(values) != n:
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return None
    return [float(v) for v in values] if all(math.isfinite(v) for v in values) else None


def parse_channels(omero: Any, warnings: list[str]) -> tuple[Channel, ...]:
    """Return the channels that rendering metadata describe.

    Parameters
    ----------
    omero : mapping
        As it stands in the file.
    warnings : list of str
        Gets a sentence for each thing that cannot be read.
    """
    listed = omero.get("channels") if isinstance(omero, dict) else None
    channels = []
    for i, entry in enumerate(listed if isinstance(listed, list) else []):
        described = entry if isinstance(entry, dict) else {}
        color = str(described.get("color") or "").lstrip("#")
        if color and not re.fullmatch("[0-9a-fA-F]{6}([0-9a-fA-F]{2})?", color):
            warnings.append(f"The colour '{color}' of channel {i} is not six hexadecimal digits.")
            color = ""
        channels.append(
            Channel(
                name=str(described.get("label") or ""),
                color=color[:6].upper() or None,
                window=_window(described.get("window")),
            )
        )
    return tuple(channels)


def _window(window: Any) -> tuple[float, float] | None:
    if not isinstance(window, dict):
        return None
    for low, high in (("start", "end"), ("min", "max")):
        pair = _numbers([window.get(low), window.get(high)], 2)
        if pair is not None:  # viewers refuse a window in which nothing lies
            return (pair[0], pair[1]) if pair[0] < pair[1] else None
    return None
