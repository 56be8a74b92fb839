"""An image: pixels, what their axes are, and how large they are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres.errors import AxesError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import dask.array as da

    from napari_superres.plan import Plan

SPATIAL_AXES = "zyx"
"""The axes that have a length."""


@dataclass(frozen=True)
class Channel:
    """One fluorophore or contrast, as its file describes it.

    Parameters
    ----------
    name : str
        Empty where the file gives none.
    color : str or None
        Six hexadecimal digits, ``"RRGGBB"``.
    window : tuple of float, or None
        Intensities that a viewer shows as black and as full colour. Display only.
    """

    name: str = ""
    color: str | None = None
    window: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Image:
    """Pixels with axes and physical size. Nothing is read until `data` is computed.

    Parameters
    ----------
    data : dask.array.Array
        Any number of dimensions, `y` and `x` among them.
    axes : str
        One lower-case letter an axis, in the array's order. ``s`` holds the 3 or 4 samples of an
        RGB(A) picture; ``c`` holds channels that are treated one by one.
    pixel_size : tuple of float
        Physical distance between neighbours along each axis; 1 where `units` is None.
        For ``t`` it is the time step.
    units : tuple of (str or None)
        Full names as in OME-Zarr ("micrometer", "second"); None where the file gives none.
    translation : tuple of float
        Physical position of the *centre* of the first pixel.
    channels : tuple of Channel
        One for each index of axis ``c``; exactly one when there is no such axis.
    name : str
        What a viewer calls it.
    is_labels : bool
        True for label images and masks, whose values are names and not intensities.
    levels : tuple of dask.array.Array
        Coarser versions of `data` that the file holds, finest first, for viewers.
    source : mapping
        Where the pixels come from: path, series, level, size, modification time. JSON values.
        ``"channels"``: which of the ``"channel_count"`` of the file, where some were chosen.
    metadata : mapping
        What else the file says (``"ome_xml"``: its OME-XML text, ``"ome_image"``: which image in
        it this is, ``"ome_channels"``: which of its channels these are, where some were chosen,
        ``"imagej"``: its tags), handed on to the result.
    history : tuple of mapping
        One record for each upscaling that led here, oldest first. JSON values. Where channels were
        made in different ways, each record says under ``channel`` which of them it is of.
    warnings : tuple of str
        What a user should know of this source, such as chunks that are missing.
    plan : Plan or None
        The decisions behind `data`, when it is an upscaled image.
    """

    data: da.Array
    axes: str
    pixel_size: tuple[float, ...] = ()
    units: tuple[str | None, ...] = ()
    translation: tuple[float, ...] = ()
    channels: tuple[Channel, ...] = ()
    name: str = "image"
    is_labels: bool = False
    levels: tuple[da.Array, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    plan: Plan | None = None

    def __post_init__(self) -> None:
        n = len(self.axes)
        check_axes(self.axes, self.data.shape, self.name)
        defaults: dict[str, tuple[Any, ...]] = {
            "pixel_size": (1.0,) * n,
            "units": (None,) * n,
            "translation": (0.0,) * n,
        }
        for key, default in defaults.items():
            value = tuple(getattr(self, key)) or default
            if len(value) != n:
                raise AxesError(
                    f"'{self.name}' has axes '{self.axes}' but {len(value)} values of {key}.",
                    f"Give {n}, one an axis.",
                )
            object.__setattr__(self, key, value)
        n_channels = self.size("c", 1)
        if not self.channels:
            object.__setattr__(self, "channels", (Channel(),) * n_channels)
        elif len(self.channels) != n_channels:
            raise InputError(
                f"'{self.name}' has {n_channels} channels, but {len(self.channels)} are described.",
                "Describe each channel, or none.",
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of pixels along each axis."""
        return tuple(int(n) for n in self.data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel, in the machine's byte order."""
        return np.dtype(self.data.dtype)

    @property
    def called(self) -> str:
        """What messages call it: the file that its pixels come from, or its name."""
        return str(self.source.get("path") or self.name)

    @property
    def rgb(self) -> bool:
        """True when the image is one colour picture (axis ``s``)."""
        return "s" in self.axes

    def size(self, axis: str, default: int = 1) -> int:
        """Return the number of pixels along `axis`, or `default` when there is no such axis."""
        position = self.axes.find(axis)
        return default if position < 0 else int(self.data.shape[position])

    def rescaled(self, factor: float, data: da.Array, **changes: Any) -> Image:
        """Return the same field of view with `factor` times as many pixels along y and x.

        ``translation`` names the centre of the first pixel, so it moves by
        ``pixel_size * (1 / factor - 1) / 2``::

            source   |     .     |     .     |      . = centres
            x2       |  .  |  .  |  .  |  .  |

        Parameters
        ----------
        factor : float
            How many times finer the new pixels are; below 1 for a coarser level.
        data : dask.array.Array
            The new pixels, with the same axes.
        **changes
            Other fields of the new image.

        Returns
        -------
        Image
            Without `levels`, which belong to the old pixels.
        """
        pixel_size, translation = list(self.pixel_size), list(self.translation)
        for i, axis in enumerate(self.axes):
            if axis in "yx":
                translation[i] += pixel_size[i] * (1 / factor - 1) / 2
                pixel_size[i] /= factor
        changes = {"levels": (), **changes}
        return replace(
            self,
            data=data,
            pixel_size=tuple(pixel_size),
            translation=tuple(translation),
            **changes,
        )

    def transposed(self, axes: str) -> Image:
        """Return the same image with its axes in another order.

        Parameters
        ----------
        axes : str
            The same letters.

        Raises
        ------
        AxesError
            If the letters differ.
        """
        if sorted(axes) != sorted(self.axes):
            raise AxesError(
                f"'{self.axes}' cannot be ordered as '{axes}'.", "Use the same letters."
            )
        if axes == self.axes:
            return self
        order = [self.axes.index(a) for a in axes]
        return replace(
            self,
            data=self.data.transpose(order),
            axes=axes,
            pixel_size=tuple(self.pixel_size[i] for i in order),
            units=tuple(self.units[i] for i in order),
            translation=tuple(self.translation[i] for i in order),
            levels=tuple(level.transpose(order) for level in self.levels),
        )

    def cropped(self, index: Sequence[slice]) -> Image:
        """Return the part of the image under `index`, at its place in physical space.

        Parameters
        ----------
        index : sequence of slice
            One an axis, with step 1 or more and no negative bounds beyond numpy's meaning.
        """
        bounds = [s.indices(n) for s, n in zip(index, self.shape, strict=True)]
        pixel_size, translation = list(self.pixel_size), list(self.translation)
        changes: dict[str, Any] = {}
        for i, (axis, (start, stop, step)) in enumerate(zip(self.axes, bounds, strict=True)):
            if axis == "c":
                changes = self.channel_fields(range(start, stop, step))
            elif axis in f"t{SPATIAL_AXES}":  # others are counted, not measured
                translation[i] += pixel_size[i] * start
                pixel_size[i] *= step
        return replace(
            self,
            data=self.data[tuple(index)],
            pixel_size=tuple(pixel_size),
            translation=tuple(translation),
            levels=(),
            **changes,
        )

    def channel_fields(self, channels: Sequence[int]) -> dict[str, Any]:
        """Return the fields of an image that holds some channels alone.

        Parameters
        ----------
        channels : sequence of int
            Indices, in the wanted order.

        Returns
        -------
        dict
            ``channels``; ``metadata``, where OME-Zarr's rendering settings describe each one and
            OME-XML may; ``source``, with their indices in the file; ``history``, with their own.
        """
        n = len(self.channels)
        metadata = dict(self.metadata)
        omero = metadata.get("omero")
        shown = omero.get("channels") if isinstance(omero, dict) else None
        if isinstance(omero, dict) and isinstance(shown, list) and len(shown) == n:
            metadata["omero"] = {**omero, "channels": [shown[i] for i in channels]}
        if "ome_xml" in metadata:
            before = metadata.get("ome_channels")
            known = before if isinstance(before, list) and len(before) == n else range(n)
            metadata["ome_channels"] = [known[i] for i in channels]
        source = dict(self.source)
        count, before = source.pop("channel_count", n), source.pop("channels", ())
        known = before if len(before) == n else range(n)
        chosen = [known[i] for i in channels]
        if chosen != list(range(count)):
            source |= {"channels": chosen, "channel_count": count}
        return {
            "channels": tuple(self.channels[i] for i in channels),
            "metadata": metadata,
            "source": source,
            "history": _history_of(self.history, channels),
        }

    def __repr__(self) -> str:
        shape = " x ".join(str(n) for n in self.shape)
        sizes = ", ".join(
            f"{a} {p:g} {u}"
            for a, p, u in zip(self.axes, self.pixel_size, self.units, strict=True)
            if u
        )
        return (
            f"<Image '{self.name}' {self.axes} {shape} {self.dtype}{'; ' + sizes if sizes else ''}>"
        )


def _history_of(
    history: Sequence[Mapping[str, Any]], channels: Sequence[int]
) -> tuple[Mapping[str, Any], ...]:
    """Return the records of some channels, which are counted anew; of one alone, none is said."""
    found: list[Mapping[str, Any]] = []
    for record in history:
        rest = {key: value for key, value in record.items() if key != "channel"}
        for i, channel in enumerate(channels):
            if record.get("channel") == channel:
                found.append({**rest, "channel": i} if len(channels) > 1 else rest)
        if "channel" not in record:
            found.append(record)
    return tuple(found)


def check_axes(axes: str, shape: Sequence[int], name: str) -> None:
    """Refuse axes that do not describe an array of that shape.

    Parameters
    ----------
    axes : str
        One letter a dimension.
    shape : sequence of int
        The array's shape.
    name : str
        What the message calls the array.

    Raises
    ------
    AxesError
        If the number of letters is not that of dimensions, a letter is repeated or unknown, `y` or
        `x` is missing, or axis ``s`` has not 3 or 4 samples.
    """
    listing = " x ".join(str(n) for n in shape)
    if len(axes) != len(shape):
        raise AxesError(
            f"axes='{axes}' names {len(axes)} axes, but '{name}' is {listing}.",
            f"Give {len(shape)} letters, for example axes='{'tczyx'[-len(shape) :]}'.",
        )
    if len(set(axes)) != len(axes) or not set(axes) <= set("abcdefghijklmnopqrstuvwxyz"):
        raise AxesError(
            f"axes='{axes}' is not a list of different lower-case letters.",
            "Use t, c, z, y, x, and s for the samples of an RGB picture.",
        )
    if "y" not in axes or "x" not in axes:
        raise AxesError(
            f"axes='{axes}' of '{name}' ({listing}) names no 'y' and 'x' to make finer.",
            "Say which two axes are the picture, for example axes='zyx'.",
        )
    samples = shape[axes.index("s")] if "s" in axes else 3
    if samples not in (3, 4):
        raise AxesError(
            f"Axis 's' of '{name}' has {samples} samples; an RGB(A) picture has 3 or 4.",
            "Call it 'c' if it holds channels.",
        )
