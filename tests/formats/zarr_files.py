"""OME-Zarr files made by hand with zarr-python alone, so that reading is not tested by writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

if TYPE_CHECKING:
    from pathlib import Path

TYPES = {"t": "time", "c": "channel"}


def ramp(shape: tuple[int, ...], dtype: Any = np.uint16) -> np.ndarray:
    """Return pixels that are all different, as far as the type allows."""
    return (np.arange(np.prod(shape)) % 251 + 1).reshape(shape).astype(dtype)


def make_image(
    root: Path,
    levels: list[np.ndarray],
    axes: str = "zyx",
    *,
    version: str = "0.5",
    chunks: tuple[int, ...] | None = None,
    shards: tuple[int, ...] | None = None,
    scales: list[list[float]] | None = None,
    translations: list[list[float]] | None = None,
    outer: list[dict[str, Any]] | None = None,
    unit: str | None = "micrometer",
    omero: dict[str, Any] | None = None,
    extra: dict[str, Any] | None = None,
    multiscale: dict[str, Any] | None = None,
) -> Path:
    """Write an image and return its folder."""
    v3 = version == "0.5"
    group = zarr.open_group(root, mode="w", zarr_format=3 if v3 else 2)
    datasets = []
    for i, pixels in enumerate(levels):
        options: dict[str, Any] = (
            {} if v3 else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        )
        array = group.create_array(
            str(i), shape=pixels.shape, dtype=pixels.dtype, shards=shards,
            chunks=chunks or "auto", **options,
        )  # fmt: skip
        array[...] = pixels
        steps = [{"type": "scale", "scale": (scales or [[1.0] * len(axes)] * len(levels))[i]}]
        if translations:
            steps.append({"type": "translation", "translation": translations[i]})
        datasets.append({"path": str(i), "coordinateTransformations": steps})
    described: list[dict[str, Any]] = [{"name": a, "type": TYPES.get(a, "space")} for a in axes]
    for axis in described:
        if unit and axis["type"] == "space":
            axis["unit"] = unit
    entry: dict[str, Any] = {"axes": described, "datasets": datasets, **(multiscale or {})}
    if outer:
        entry["coordinateTransformations"] = outer
    attributes: dict[str, Any] = {"multiscales": [entry], **(extra or {})}
    if omero:
        attributes["omero"] = omero
    if v3:
        attributes = {"ome": {"version": "0.5", **attributes}}
    else:
        entry["version"] = version
    group.update_attributes(attributes)
    return root


def make_collection(root: Path, count: int) -> zarr.Group:
    """Write images as bioformats2raw does, the first pixel of each one larger; return the group."""
    for number in range(count):
        make_image(root / str(number), [ramp((8, 10)) + number], "yx")
    group = zarr.open_group(root, mode="a", zarr_format=3)
    group.update_attributes({"ome": {"version": "0.5", "bioformats2raw.layout": 3}})
    return group
