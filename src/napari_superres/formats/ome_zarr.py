"""Open OME-Zarr images, label images and plain Zarr arrays, lazily."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from napari_superres.errors import AxesError, SettingError, UnreadableError
from napari_superres.formats.advice import METADATA, ONE_IMAGE
from napari_superres.formats.kept_history import read_history
from napari_superres.formats.ome_zarr_metadata import (
    KEY,
    LABEL,
    Multiscale,
    ome_attributes,
    parse_axis_names,
    parse_multiscale,
)
from napari_superres.formats.suffixes import split_suffix
from napari_superres.formats.zarr_array import ZarrArray, as_dask
from napari_superres.formats.zarr_store import (
    Node,
    absolute_root,
    identity,
    if_shown,
    join,
    open_node,
    read_text,
    safe_path,
)
from napari_superres.image import Channel, Image, check_axes
from napari_superres.planning import canonical_axes

if TYPE_CHECKING:
    from collections.abc import Sequence


def open_image(path: str, *, axes: str | None = None, series: int = 0, level: int = 0) -> Image:
    """Return an image whose pixels stay where they are until they are asked for.

    Parameters
    ----------
    path : str
        A folder or a URL: an OME-Zarr group of version 0.1 to 0.5, a label image inside one, a
        collection of several series, or a plain Zarr array of version 2 or 3.
    axes : str, optional
        One letter a dimension, in the stored order; replaces what the file says. Needed for plain
        arrays of more than two dimensions that do not name theirs.
    series : int
        Which image of a collection.
    level : int
        Which resolution; 0 is the finest.

    Returns
    -------
    Image
        Its `data` opens itself by path in whatever process computes it.

    Raises
    ------
    UnreadableError
        If there is no such image, its metadata is damaged, or it could run code.
    AxesError
        If nothing says which axis is which.
    InputError
        If the pixels are no numbers, there are none, or a path leads out of the folder.
    SettingError
        If there is no such series or level.
    """
    root = absolute_root(path)
    node = open_node(root)
    if node is None:
        raise UnreadableError(
            f"'{path}' is no Zarr group or array: it has no zarr.json, .zgroup or .zarray.",
            "Give the folder of the image itself.",
        )
    if node.is_array:
        if series or level:
            raise SettingError(f"'{path}' is a single array, without series or levels.", ONE_IMAGE)
        return _plain(node, axes)
    if "multiscales" in ome_attributes(node.attributes):
        return _multiscale(node, axes, series, level)
    image = _multiscale(_member(node, series), axes, 0, level)
    metadata = dict(image.metadata)
    if "ome_xml" in metadata:  # of the whole collection, in its order
        metadata.setdefault("ome_image", series)
    return replace(image, source={**image.source, "series": series}, metadata=metadata)


def _plain(node: Node, axes: str | None) -> Image:
    array = ZarrArray(node)
    names = node.document.get("dimension_names") or node.attributes.get("_ARRAY_DIMENSIONS")
    if axes is None and isinstance(names, list) and all(isinstance(n, str) and n for n in names):
        axes = parse_axis_names(names)
    if axes is None and array.ndim == 2:
        axes = "yx"
    if axes is None:
        shape = " x ".join(map(str, array.shape))
        raise AxesError(
            f"'{node.where}' is {shape} and does not name its axes.",
            f"Say which they are, for example axes='{'tczyx'[-array.ndim :]}'.",
        )
    name = split_suffix(node.where)[0] or "image"
    check_axes(axes, array.shape, name)
    image = Image(
        data=as_dask(array, axes),
        axes=axes,
        name=name,
        is_labels=array.dtype == bool,
        source=_source(node, array, axes),
        warnings=_missing(array),
    )
    return image.transposed(canonical_axes(axes))


def _member(node: Node, series: int) -> Node:
    """Return the group of one image of a collection, such as bioformats2raw makes."""
    ome = ome_attributes(node.attributes)
    if "plate" in ome or "well" in ome:
        kind, listed = ("plate", "wells") if "plate" in ome else ("well", "images")
        entries = ome[kind].get(listed) if isinstance(ome[kind], dict) else None
        entries = entries if isinstance(entries, list) else []
        paths = [str(entry.get("path")) for entry in entries if isinstance(entry, dict)]
        some = f"{paths[0]}/0" if kind == "plate" and paths else (paths or ["0"])[0]
        raise UnreadableError(
            f"'{node.where}' is a {kind} of {len(paths)} {listed}, not an image.",
            f"Open one of its images, for example '{join(node.where, some)}'.",
        )
    if "bioformats2raw.layout" not in ome:
        raise UnreadableError(
            f"'{node.where}' is a Zarr group without OME-Zarr metadata.",
            "Give the path of one of its arrays, and say which axes it has.",
        )
    listed_group = if_shown(lambda: open_node(node.root, "OME"))
    names = ome_attributes(listed_group.attributes).get("series") if listed_group else None
    if isinstance(names, list) and names:
        if not 0 <= series < len(names):
            raise SettingError(
                f"'{node.where}' has no series {series}.", f"It has {len(names)}, from 0."
            )
        member = open_node(node.root, safe_path(node.root, names[series]))
    else:
        member = open_node(node.root, str(series)) if series >= 0 else None
    if member is None or member.is_array:
        raise SettingError(f"'{node.where}' has no series {series}.", "Series are counted from 0.")
    if "multiscales" not in ome_attributes(member.attributes):
        raise UnreadableError(
            f"Series {series} of '{node.where}' has no OME-Zarr metadata.", METADATA
        )
    return member


def _multiscale(node: Node, axes: str | None, series: int, level: int) -> Image:
    listed = ome_attributes(node.attributes)["multiscales"]
    if not isinstance(listed, list) or not listed:
        raise UnreadableError(f"The multiscales metadata of '{node.where}' is empty.", METADATA)
    if not 0 <= series < len(listed):
        raise SettingError(f"'{node.where}' has no series {series}.", f"It has {len(listed)}.")
    paths = _dataset_paths(node, listed[series])
    if not 0 <= level < len(paths):
        raise SettingError(f"'{node.where}' has no level {level}.", f"It has {len(paths)}, from 0.")
    arrays = [_array(node, path) for path in paths[level:]]
    if axes is not None:
        check_axes(axes, arrays[0].shape, node.where)
    found = parse_multiscale(node.attributes, series, arrays[0].ndim, node.where, axes)
    if any(array.ndim != len(found.axes) for array in arrays):
        raise UnreadableError(
            f"'{node.where}' names {len(found.axes)} axes, but its arrays have "
            f"{' and '.join(str(n) for n in sorted({a.ndim for a in arrays}))} dimensions.",
            METADATA,
        )
    letters = axes or found.axes
    if found.record.get("rgb") is True and axes is None:
        letters = letters.replace("c", "s")
    name = found.name or (split_suffix(node.where)[0] or "image")
    check_axes(letters, arrays[0].shape, name)
    data, *coarser = [as_dask(array, letters) for array in arrays]
    channels, mismatch = _channels(found.channels, letters, data.shape, node.where)
    history, doubts = read_history(found.record.get("history"), node.where)
    image = Image(
        data=data,
        axes=letters,
        pixel_size=found.pixel_sizes[level],
        units=found.units,
        translation=found.translations[level],
        channels=channels,
        name=name,
        is_labels=_is_labels(node, found, arrays[0]),
        levels=tuple(coarser),
        source={**_source(node, arrays[0], letters), "series": series, "level": level},
        metadata=_metadata(node, found),
        history=history,
        warnings=(*found.warnings, *doubts, *mismatch, *_missing(arrays[0])),
    )
    return image.transposed(canonical_axes(letters))


def _dataset_paths(node: Node, multiscale: Any) -> list[str]:
    datasets = multiscale.get("datasets") if isinstance(multiscale, dict) else None
    listed = isinstance(datasets, list) and all(isinstance(d, dict) for d in datasets)
    if not listed or not datasets:
        raise UnreadableError(
            f"The multiscales metadata of '{node.where}' lists no datasets.", METADATA
        )
    own = f"{node.path}/" if node.path else ""
    root = join(node.root, node.path)
    return [own + safe_path(root, dataset.get("path")) for dataset in datasets]


def _array(node: Node, path: str) -> ZarrArray:
    found = open_node(node.root, path)
    if found is None or not found.is_array:
        raise UnreadableError(
            f"The metadata of '{node.where}' names the array '{path}', which is not there.",
            "The image is incomplete; copy it again.",
        )
    return ZarrArray(found)


def _channels(
    found: tuple[Channel, ...], axes: str, shape: Sequence[int], where: str
) -> tuple[tuple[Channel, ...], tuple[str, ...]]:
    """Return one channel for each index of axis c, and what does not fit."""
    if "s" in axes:
        return (), ()
    n = shape[axes.index("c")] if "c" in axes else 1
    if len(found) in (0, n):
        return found, ()
    padded = (*found, *(Channel(),) * n)[:n]
    return padded, (f"'{where}' has {n} channels, but its metadata describes {len(found)}.",)


def _is_labels(node: Node, found: Multiscale, array: ZarrArray) -> bool:
    if array.dtype.kind == "f":
        return False
    return (
        LABEL in ome_attributes(node.attributes)
        or found.record.get("is_labels") is True
        or array.dtype == bool
        or PurePosixPath(node.where.replace("\\", "/")).parent.name == "labels"
    )


def _metadata(node: Node, found: Multiscale) -> dict[str, Any]:
    """Return what else the file says: OME-XML, and what a source before this file said."""
    metadata: dict[str, Any] = {}
    prefix = f"{node.path}/" if node.path else ""
    if found.record:
        extra = if_shown(lambda: open_node(node.root, f"{prefix}OME"))
        kept = extra.attributes.get(KEY) if extra and not extra.is_array else None
        if isinstance(kept, dict) and isinstance(kept.get("metadata"), dict):
            metadata.update(kept["metadata"])
    elif (xml := if_shown(lambda: read_text(node.root, "OME/METADATA.ome.xml"))) is not None:
        metadata["ome_xml"] = xml
    if found.omero:
        metadata["omero"] = dict(found.omero)
    if isinstance(label := ome_attributes(node.attributes).get(LABEL), dict):
        # Of what image it is depends on where it lies.
        metadata[LABEL] = {key: value for key, value in label.items() if key != "source"}
    return metadata


def _source(node: Node, array: ZarrArray, axes: str) -> dict[str, Any]:
    """Return where the pixels come from, what changes when they do, and how they are stored."""
    source = {"path": node.root, "format": "zarr", "array": array.path, "version": array.version}
    source["chunk"] = dict(zip(axes, array.chunk, strict=True))
    if node.path:
        source["group"] = node.path
    if not node.is_array:
        prefix = f"{node.path}/" if node.path else ""
        key = f"{prefix}zarr.json" if node.zarr_format == 3 else f"{prefix}.zattrs"
        source["metadata"] = identity(node.root, key)
    return source


def _missing(array: ZarrArray) -> tuple[str, ...]:
    counted = array.missing_chunks()
    if counted is None or counted[0] == 0:
        return ()
    missing, expected, first = counted
    return (
        f"{missing} of {expected} chunks of '{array.where}' are not there (the first is '{first}') "
        f"and are read as {array.fill_value:g}. Zarr leaves out chunks that hold nothing else, so "
        "this is a fault only if they should hold more.",
    )
