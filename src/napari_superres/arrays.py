"""Type in, type out: the arrays that `upscale` takes, and gives back."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np

from napari_superres.errors import AxesError, InputError
from napari_superres.image import Channel, Image
from napari_superres.resources import check_memory


def as_image(x: Any, axes: str | None = None, *, rgb: bool = False) -> Image:
    """Return anything that `upscale` takes as an `Image`, lazily.

    Parameters
    ----------
    x : Image, numpy.ndarray, dask.array.Array, xarray.DataArray or zarr.Array
    axes : str, optional
        One letter a dimension; replaces what `x` says of itself.
    rgb : bool
        True when axis ``c`` holds the samples of a colour picture.

    Raises
    ------
    AxesError
        If the axes are not known, or none of them holds the colours that `rgb` promises.
    InputError
        If `x` is nothing that has pixels.
    """
    kind = type(x).__module__.partition(".")[0]
    if kind == "napari":
        raise InputError(
            f"A napari layer ('{getattr(x, 'name', x)}') is more than its pixels.",
            "Use napari_superres.plugin.upscale_layer(layer), which keeps its place and colours, "
            "or upscale(layer.data, axes=...).",
        )
    if isinstance(x, Image):
        return _renamed(x, _axes(axes or x.axes, x.data.ndim, rgb=rgb))
    if isinstance(x, os.PathLike | str):
        raise InputError(f"'{x}' is a path.", "Open it first: upscale(read(path)).")
    name = "image"
    channels: tuple[Channel, ...] = ()
    if kind == "xarray":
        if not hasattr(x, "ndim"):
            raise InputError("An xarray Dataset holds several arrays.", "Give one of them.")
        axes = axes or "".join(str(d).lower() for d in x.dims)
        if len(axes) != x.ndim:
            raise AxesError(
                f"The dimensions {x.dims} are not single letters.",
                "Rename them, for example to 't', 'c', 'z', 'y', 'x', or give axes=.",
            )
        name = str(x.name or "image")
        channels = () if rgb else _named_channels(x, axes)
        x = x.data
    if not all(hasattr(x, a) for a in ("shape", "dtype", "__getitem__")):
        raise InputError(
            f"A {type(x).__name__} has no pixels.",
            "Give an Image, a numpy, dask or xarray array; open files with read(path).",
        )
    data = x if isinstance(x, da.Array) else _lazy(x)
    if any(np.isnan(n) for n in data.shape):
        raise InputError(
            f"A dask array of shape {data.shape} does not know how large it is.",
            "Call its compute_chunk_sizes() first.",
        )
    if data.dtype.byteorder not in "=|":
        data = data.astype(data.dtype.newbyteorder("="))
    return Image(data, _axes(axes, data.ndim, rgb=rgb), name=name, channels=channels)


def _named_channels(x: Any, axes: str) -> tuple[Channel, ...]:
    """Return channels by the names that an xarray gives them as the coordinate along ``c``."""
    names = x.coords.get(x.dims[axes.index("c")]) if "c" in axes else None
    if names is None or names.ndim != 1 or names.dtype.kind not in "UO":
        return ()
    return tuple(Channel(str(one)) for one in names.values)


def _renamed(image: Image, axes: str) -> Image:
    """Return an image with other letters for its axes, and channels only if ``c`` is the same.

    Its source says which letters: the file alone does not tell how its pixels were taken.
    """
    if axes == image.axes:
        return image
    kept = image.channels if axes.find("c") == image.axes.find("c") else ()
    source = {**image.source, "taken_as": axes} if image.source else image.source
    return replace(image, axes=axes, channels=kept, source=source)


class _View:
    """A numpy array under another name: dask copies arrays that it knows."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __getitem__(self, key: Any) -> np.ndarray:
        return self.values[key]

    def __setitem__(self, key: Any, values: np.ndarray) -> None:
        self.values[key] = values

    def __dask_tokenize__(self) -> int:
        return id(self.values)


def _lazy(x: Any) -> da.Array:
    # Planning refuses objects; dask would first want to know how large one is.
    chunks = -1 if x.dtype == np.dtype(object) else "auto"
    if not isinstance(x, np.ndarray):
        return da.from_array(x, chunks)
    # A random name, because naming an array by its content reads all of it.
    return da.from_array(_View(x), chunks, name=False, meta=np.empty((0,) * x.ndim, x.dtype))


def _axes(axes: str | None, ndim: int, *, rgb: bool) -> str:
    if ndim < 2:
        raise AxesError(
            f"An array of {ndim} dimension{'s' * (ndim != 1)} holds no picture.",
            "Give one with two axes or more, y and x among them: values.reshape(height, width) "
            "makes a picture of a row of values.",
        )
    if axes is None:
        if ndim == 2:
            axes = "yx"
        elif ndim == 3 and rgb:
            axes = "yxc"
        else:
            raise AxesError(
                f"Which of the {ndim} axes is which?",
                f"Give axes= with one letter each, for example axes='{'tczyx'[-ndim:]}'.",
            )
    if rgb and not {"c", "s"} & set(axes):
        raise AxesError(
            f"axes='{axes}' names no axis 'c' for the colours of rgb=True.",
            f"Say which one it is, for example axes='{'tzyxc'[-ndim:]}', or leave rgb=True out.",
        )
    return axes.replace("c", "s") if rgb else axes


def like(x: Any, image: Image, result: Image) -> Any:
    """Return a result as the type of thing that it was made from.

    Parameters
    ----------
    x : Image, numpy.ndarray, dask.array.Array, xarray.DataArray or zarr.Array
        What `upscale` was given.
    image : Image
        `x` as an image.
    result : Image
        The lazy result.

    Returns
    -------
    Same type as `x` (a dask array for a Zarr array)
        Computed, if `x` was in memory.
    """
    if isinstance(x, Image):
        return result
    kind = type(x).__module__.partition(".")[0]
    if kind == "xarray":
        return _as_xarray(x, image, result)
    return _computed(result) if isinstance(x, np.ndarray) else result.data


def _computed(result: Image) -> np.ndarray:
    workers = os.cpu_count() or 1
    task_bytes = result.plan.task_bytes if result.plan else 0
    check_memory(
        result.data.nbytes + task_bytes * workers,
        f"The result of '{result.name}'",
        "Give a dask array to stay lazy, or write it to a file block by block.",
    )
    # Each block is put in its place at once: joined by dask, all of them would be there twice.
    out = np.empty(result.shape, result.dtype)
    da.store(result.data, _View(out), lock=False, scheduler="threads", num_workers=workers)
    return out


def _as_xarray(x: Any, image: Image, result: Image) -> Any:
    """Return an xarray with the coordinates of its part of `x`, along y and x at new centres."""
    assert result.plan is not None
    scale = result.plan.scale
    lazy = isinstance(x.data, da.Array)
    fine = {d for a, d in zip(image.axes, x.dims, strict=True) if a in "yx"}
    part = result.history[-1].get("part", {})
    chosen = {
        d: part[a] if a == "c" else slice(*(n * scale if a in "yx" else n for n in part[a]))
        for a, d in zip(image.axes, x.dims, strict=True)
        if a in part
    }
    coords: dict[Any, Any] = {}
    for name, coord in x.coords.items():
        if not fine & set(coord.dims):
            coords[name] = coord.isel(chosen, missing_dims="ignore")
        elif coord.ndim == 1 and coord.dtype.kind in "iuf":
            finer = _finer_centres(coord.values, scale)
            coords[name] = (coord.dims, finer[chosen.get(coord.dims[0], slice(None))])
    data = result.data if lazy else _computed(result)
    attrs = {**x.attrs, "superres": dict(result.history[-1])}
    return type(x)(data, dims=x.dims, coords=coords, name=x.name, attrs=attrs)


def _finer_centres(centres: np.ndarray, scale: int) -> np.ndarray:
    n = len(centres)
    at = (np.arange(n * scale) + 0.5) / scale - 0.5
    centres = centres.astype(np.float64)
    if n == 1:
        return np.repeat(centres, scale)
    # Beyond the first and last centre the spacing there goes on.
    before, after = 2 * centres[0] - centres[1], 2 * centres[-1] - centres[-2]
    return np.interp(at, np.arange(-1, n + 1), np.concatenate([[before], centres, [after]]))
