"""A user's own sharp images as training material, each field split into three parts.

::

    +---------------------------+-------+-------+
    |  training: 70 %           | valid.| test  |      along the longer of y and x
    +---------------------------+-------+-------+

The split is by place, not by plane: neighbouring planes and time points show the same cells, so a
plane kept apart would be no test. Validation decides when to stop; the test part is looked at once,
when all is decided. Intensities become `light`: 0 where a channel is dark, 1 where it is bright.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dask
import numpy as np

from napari_superres.errors import InputError, SettingError
from napari_superres.models.camera_noise import photon_transfer
from napari_superres.planning import canonical_axes
from napari_superres.surveying import PERCENTILES
from napari_superres.training.camera import Camera

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_superres.image import Image

_APART = 0.15
# Source pixels: narrower parts hold too little to learn from, or to judge by.
_LEAST_TRAINING, _LEAST_APART = 16, 4
# Largest windows in truth pixels, and most planes: about 200 MB in all.
_TRAINING_EDGE, _APART_EDGE, _MOST = 768, 256, 64
# Windows that are wanted for a judgement, and how narrow they may be in truth pixels.
_EXAMS, _NARROW = 12, 96
# More photons than this are as good as no noise.
MOST_PHOTONS = 1e5


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of one plane.

    Parameters
    ----------
    name : str
        File and channel.
    light : np.ndarray, shape (y, x), float32
        Both edges are multiples of the scale factor.
    judged : tuple of slice
        Which of it counts; the rest is context.
    camera : Camera
        The camera of its channel, in units of light, as far as the pixels tell.
    """

    name: str
    light: np.ndarray
    judged: tuple[slice, slice]
    camera: Camera


@dataclass(frozen=True)
class Parts:
    """What is learned from, what decides when to stop, and what the result is judged on.

    Parameters
    ----------
    training, validation, test : list of Piece
    facts : list of dict
        Of each channel of each file: name, shape, noise. JSON values.
    """

    training: list[Piece] = field(default_factory=list)
    validation: list[Piece] = field(default_factory=list)
    test: list[Piece] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Return a SHA-256 of all pixels, by which these parts are told from any others."""
        sha = hashlib.sha256()
        for piece in (*self.training, *self.validation, *self.test):
            sha.update(f"{piece.light.shape} {piece.judged}".encode())
            sha.update(np.ascontiguousarray(piece.light))
        return sha.hexdigest()


def gather(images: Sequence[Image], scale: int, context: int) -> Parts:
    """Return the parts of sharp images.

    Parameters
    ----------
    images : sequence of Image
        Sharp; every channel, or sample of a colour picture, is used as planes of its own.
    scale : int
        Scale factor that is to be learned.
    context : int
        Source pixels around a part that a network sees.

    Returns
    -------
    Parts
        At most 64 windows each, at places that depend on shapes alone.

    Raises
    ------
    SettingError
        If the scale factor is below 1.
    InputError
        If an image is too small to be split, holds labels, or a part of them has no contrast.
    """
    if scale < 1:
        raise SettingError(f"scale={scale} must be at least 1.")
    parts = Parts()
    channels = [
        (image.transposed(canonical_axes(image.axes)), index)
        for image in images
        for index in range(_channels(image))
    ]
    for image, index in channels:
        _check(image, scale)
        _gather_channel(parts, image, index, scale, context, max(1, _MOST // len(channels)))
    names = ", ".join(f"'{image.name}'" for image in images)
    if not parts.training:
        raise InputError(f"Nothing in {names} has any contrast.", "Use an image of a specimen.")
    if not (parts.validation and parts.test):
        raise InputError(
            f"The parts of {names} that are kept apart for judging have no contrast.",
            "Crop blank borders away, or add another image.",
        )
    return parts


def estimated_camera(windows: Sequence[np.ndarray], low: float, high: float) -> Camera:
    """Return the camera that explains the noise of a channel, in units of light.

    Parameters
    ----------
    windows : sequence of np.ndarray, shape (y, x)
        Pieces of the channel, in grey levels.
    low, high : float
        Grey levels that are 0 and 1 in units of light.

    Returns
    -------
    Camera
        Its `photons` is `MOST_PHOTONS` where no noise is found.
    """
    slope, floor = photon_transfer(windows)
    span = high - low
    # Variance in units of light: shot * light + dark.
    shot, dark = slope / span, max(slope * low + floor, 0.0) / span**2
    photons = min(1 / max(shot, 1e-12), MOST_PHOTONS)
    return light_camera(photons, read_noise=float(np.sqrt(dark)) * photons)


def light_camera(photons: float | None, read_noise: float = 1.6) -> Camera:
    """Return a camera whose grey levels are units of light.

    Parameters
    ----------
    photons : float or None
        At light 1; None for no noise.
    read_noise : float
        In electrons.
    """
    gain = 1 / (1000.0 if photons is None else photons)
    return Camera(photons=photons, read_noise=read_noise, gain=gain, offset=0.0, bits=None)


def planes_of(image: Image, index: int, most: int) -> list[Any]:
    """Return planes of one channel at even distances, as dask arrays of shape (y, x).

    Parameters
    ----------
    image : Image
        With its axes in canonical order.
    index : int
        Channel, or sample of a colour picture.
    most : int
        How many at most.
    """
    lead = [axis for axis in image.axes if axis not in "yxcs"]
    sizes = [image.size(axis) for axis in lead]
    places = list(itertools.product(*map(range, sizes)))
    numbers = np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int))
    planes = []
    for number in numbers:
        at: dict[str, Any] = dict(zip(lead, places[number], strict=True))
        at |= {"c": index, "s": index, "y": slice(None), "x": slice(None)}
        planes.append(image.data[tuple(at[axis] for axis in image.axes)])
    return planes


def read_window(plane: Any, y: slice, x: slice) -> np.ndarray:
    """Return part of a plane in memory, values that are not finite replaced by the mean."""
    with dask.config.set(scheduler="synchronous"):
        values = np.asarray(plane[y, x].compute(), dtype=np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, values[finite].mean() if finite.any() else 0)
    return values


def _channels(image: Image) -> int:
    return 3 if image.rgb else image.size("c")


def _check(image: Image, scale: int) -> None:
    if image.is_labels or image.dtype.kind not in "uif":
        what = "labels" if image.is_labels else str(image.dtype)
        raise InputError(
            f"'{image.name}' holds {what}, not intensities.",
            "Use an image of a specimen.",
        )
    short, long = sorted(image.size(axis) // scale for axis in "yx")
    if short < _LEAST_TRAINING or long < _LEAST_TRAINING + 2 * _LEAST_APART:
        raise InputError(
            f"'{image.name}' is too small to learn from: {image.size('y')} x {image.size('x')} "
            f"pixels.",
            f"With scale={scale}, {_LEAST_TRAINING * scale} x "
            f"{(_LEAST_TRAINING + 2 * _LEAST_APART) * scale} are the least.",
        )


def _gather_channel(
    parts: Parts, image: Image, index: int, scale: int, context: int, most: int
) -> None:
    planes = planes_of(image, index, most)
    cells = (image.size("y") // scale, image.size("x") // scale)
    raw: list[list[tuple[np.ndarray, tuple[slice, slice]]]] = [[], [], []]
    for number, plane in enumerate(planes):
        for kind, spans in _windows(cells, scale, len(planes), number, most):
            around = 0 if kind == 0 else context
            whole, inner = [], []
            for (begin, end), length in zip(spans, cells, strict=True):
                first, last = max(0, begin - around), min(length, end + around)
                whole.append(slice(first * scale, last * scale))
                inner.append(slice((begin - first) * scale, (end - first) * scale))
            raw[kind].append((read_window(plane, whole[0], whole[1]), (inner[0], inner[1])))
    windows = [values for values, _ in raw[0]]
    low, high = np.percentile(np.concatenate([w.ravel() for w in windows]), PERCENTILES)
    channel = image.channels[index].name if "c" in image.axes else ""
    name = f"{image.name}{', ' if channel else ''}{channel or (f', channel {index}' * (index > 0))}"
    if high <= low:
        return
    camera = estimated_camera(windows, float(low), float(high))
    parts.facts.append(
        {
            "name": name,
            "shape": list(image.shape),
            "axes": image.axes,
            "planes": len(planes),
            "photons": round(camera.photons or 0, 1),
            "read_noise": round(camera.read_noise, 2),
        }
    )
    for kind, chosen in enumerate((parts.training, parts.validation, parts.test)):
        for values, judged in raw[kind]:
            light = (values - np.float32(low)) / np.float32(high - low)
            if kind == 0:  # as an image's own border is continued when the model is used
                light = np.pad(light, context * scale, mode="symmetric")
            # By what is blank nothing can be judged, whatever lies around it.
            if np.ptp(light[judged] if kind else light) > 0:
                chosen.append(Piece(name, light, judged, camera))


def _windows(
    cells: tuple[int, int], scale: int, planes: int, number: int, most: int
) -> Iterator[tuple[int, tuple[tuple[int, int], tuple[int, int]]]]:
    """Yield windows of a plane, in source pixels: part (0, 1, 2) and spans along y and x.

    Few planes are cut into several windows each, so that there is something to compare.
    """
    along = 1 if cells[1] >= cells[0] else 0
    length, across = cells[along], cells[1 - along]
    apart = max(_LEAST_APART, round(_APART * length))
    borders = [0, length - 2 * apart, length - apart, length]
    for kind, (begin, end) in enumerate(itertools.pairwise(borders)):
        edge = (_APART_EDGE if kind else _TRAINING_EDGE) // scale
        wanted = -(-_EXAMS // planes) if kind else min(-(-across // edge), most // planes)
        count = max(1, min(wanted, across * scale // _NARROW))
        for part in range(count):
            stretch = _span(across * part // count, across * (part + 1) // count, edge, number)
            spans = (stretch, _span(begin, end, edge, number * count + part))
            yield kind, spans if along == 1 else spans[::-1]


def _span(begin: int, end: int, longest: int, number: int) -> tuple[int, int]:
    """Return a part of a stretch no longer than wanted, at another place for each number."""
    room = end - begin - longest
    if room <= 0:
        return begin, end
    first = begin + int((0.5 + 0.7548776662466927 * number) % 1 * (room + 1))
    return first, first + longest
