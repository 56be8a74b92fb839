"""Engines: a model loaded on a device, and the one place that loads them."""

from __future__ import annotations

import ctypes.util
import functools
import gc
import importlib
import importlib.metadata
import importlib.util
import operator
import platform
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from napari_superres.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from napari_superres.models.catalog import ModelSpec


PRECISIONS = ("float32", "float16", "bfloat16")


class Halo(NamedTuple):
    """How many source pixels at each side of a tile are context that is not kept.

    A side with 0 lies on the plane's own border: there the engine does what its network does at the
    border of a whole image (zero padding a layer, or one reflection of the input).
    """

    top: int
    bottom: int
    left: int
    right: int


class Address(NamedTuple):
    """Where a tile is: all that randomness may depend on.

    `plane` counts planes in the whole image, channel innermost; `y` and `x` are the first source
    pixel of the answer, without the halo.
    """

    seed: int
    sample: int
    plane: int
    y: int
    x: int


@dataclass(frozen=True)
class Setting:
    """All that decides what a loaded model computes, beside its weights.

    Parameters
    ----------
    engine : str
        ``"numpy"``, ``"ncnn"`` or ``"torch"``: which implementation runs the network.
    device : str
        ``"cpu"``, ``"cuda:0"`` or ``"mps"``.
    precision : {"float32", "float16", "bfloat16"}
        Arithmetic inside the network.
    denoise : float or None
        Denoising strength, for models whose weights depend on it.
    uncertainty : bool
        Whether the predicted scale of the error is returned too, as further samples.
    options : tuple of (str, value)
        The model's own options, all of them, sorted by name.
    """

    engine: str = "torch"
    device: str = "cpu"
    precision: str = "float32"
    denoise: float | None = None
    uncertainty: bool = False
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Compute:
    """Where and how to compute: the part of a plan that belongs to the machine.

    Parameters
    ----------
    engine, version : str
        Which implementation, and its version.
    device : str
        ``"cpu"``, ``"cuda:0"`` or ``"mps"``.
    precision : {"float32", "float16", "bfloat16"}
        Arithmetic inside the network.
    batch : int
        Tiles in each call; batches of another size differ in the last bits.
    """

    engine: str
    version: str = ""
    device: str = "cpu"
    precision: str = "float32"
    batch: int = 1


class Engine(Protocol):
    """A model loaded on a device. Safe to call from several threads at once."""

    def __call__(self, tiles: np.ndarray, halo: Halo, at: Sequence[Address]) -> np.ndarray:
        """Return finer tiles, the halo dropped.

        Parameters
        ----------
        tiles : np.ndarray, shape (n, c, y, x), float32
            In [0, 1] where the model needs limits, in the source's own units where it needs none.
            `c` is `spec.samples`, plus one plane of noise standard deviation where
            `spec.noise_input`.
        halo : Halo
            Context at each side, in source pixels.
        at : sequence of Address
            Where each tile is; only engines that draw random numbers use it.

        Returns
        -------
        np.ndarray, shape (n, k, s*(y - top - bottom), s*(x - left - right)), float32
            `k` is `spec.samples`, doubled when the setting asks for uncertainty. Not clipped.
        """


class Family(Protocol):
    """What a module under `models/families` offers."""

    ENGINES: Sequence[str]
    """Implementations it has, fastest on a CPU first."""

    def load(self, spec: ModelSpec, weights: Mapping[str, Path], setting: Setting) -> Engine:
        """Return an engine for `spec`; `weights` maps each file name of the row to its path."""

    # Families of models that restore planes have these too.
    # check_options(spec, options): refuses options that make no sense together
    # work(spec, options, height, width) -> Work: what there is to compute for a plane
    # Those that stand on another model:
    # base_place(spec, options) -> Path: where that is; a WeightsError if it is not here
    # And those whose files have no published checksum:
    # check_file(spec, file, path): refuses a file that does not fit
    # And those whose networks can be written as files for other programs, see `exporting`:
    # draw(spec, weights, graph, denoise) -> int: draws the network, returns its lack of context


MOST_ENGINES = 8
"""Engines of models with tiles that stay loaded: each strength of denoising is one of its own."""

_engines: OrderedDict[tuple[Any, ...], Engine] = OrderedDict()
_loading = threading.Lock()


def load_engine(spec: ModelSpec, weights: Mapping[str, Path], setting: Setting) -> Engine:
    """Return the engine for a model; a process loads each only once.

    Models that restore planes take gigabytes: of them the last one stays, so that another prompt
    or number of steps does not need the memory of two. Of the others those used last stay.

    Parameters
    ----------
    spec : ModelSpec
        The model, its scale factor filled in.
    weights : mapping of str to Path
        Verified files, by the names in the row.
    setting : Setting
        Device, precision and the like.

    Raises
    ------
    SettingError
        If the family has no such implementation.
    WeightsError
        If a file does not hold what the row says.
    """
    key = (spec, tuple(sorted((name, str(path)) for name, path in weights.items())), setting)
    with _loading:
        if key not in _engines:
            family = load_family(spec.family)
            if setting.engine not in family.ENGINES:
                raise SettingError(
                    f"'{spec.name}' does not run on the engine '{setting.engine}'.",
                    f"Use one of: {', '.join(family.ENGINES)}.",
                )
            _make_room(spec.unit)
            _engines[key] = family.load(spec, weights, setting)
        _engines.move_to_end(key)
        return _engines[key]


def _make_room(unit: str) -> None:
    """Drop engines before another is loaded; one that is at work goes when it has done that."""
    loaded = [key for key in _engines if key[0].unit == unit]
    most = 0 if unit == "plane" else MOST_ENGINES - 1
    for key in loaded[: max(0, len(loaded) - most)]:
        del _engines[key]
    if unit == "plane":
        gc.collect()  # networks whose layers wait in main memory refer to themselves


def choose_compute(
    spec: ModelSpec, device: str = "auto", precision: str = "auto", batch: int | None = None
) -> Compute:
    """Return where and how a model is computed on this machine.

    Parameters
    ----------
    spec : ModelSpec
    device : str
        ``"auto"`` (the first GPU, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``;
        ``"cpu/torch"`` names the implementation too.
    precision : str
        ``"auto"`` (float32; bfloat16 for models that restore planes on a GPU), ``"float32"``,
        ``"float16"`` or ``"bfloat16"``.
    batch : int, optional
        None for 1: a block holds few tiles, and those that fill up a batch are computed in vain.
        Always 1 for models that restore planes.

    Raises
    ------
    SettingError
        If there is no such device, precision or implementation.
    MissingDependencyError
        If the only implementation needs a package that is not installed.
    """
    if precision not in ("auto", *PRECISIONS):
        raise SettingError(
            f"precision='{precision}' is not known.", f"Use one of: auto, {', '.join(PRECISIONS)}."
        )
    device, _, engine = device.partition("/")
    engines = load_family(spec.family).ENGINES
    if engine and engine not in engines:
        raise SettingError(
            f"'{spec.name}' does not run on the engine '{engine}'.",
            f"Use one of: {', '.join(engines)}.",
        )
    if "torch" in engines:
        device = _torch_device(device)
    elif device not in ("auto", "cpu"):
        raise SettingError(
            f"'{spec.name}' runs on the CPU, not on '{device}'.", "Use device='cpu'."
        )
    else:
        device = "cpu"
    if precision == "auto":
        halves = spec.unit == "plane" and device != "cpu"
        precision = "bfloat16" if halves else "float32"
    if precision != "float32" and "torch" not in engines:
        raise SettingError(
            f"'{spec.name}' computes in float32, not in {precision}.", "Leave precision= out."
        )
    if precision == "float16" and device == "cpu":
        raise SettingError(
            "precision='float16' is for GPUs; a CPU does not compute in it.",
            "Use precision='bfloat16', or 'float32'.",
        )
    if device != "cpu" or precision != "float32":
        engine = engine or "torch"
    else:
        engine = engine or next(name for name in engines if _installed(name))
    if engine != "torch" and (device, precision) != ("cpu", "float32"):
        raise SettingError(
            f"The engine '{engine}' computes in float32 on the CPU, not {precision} on {device}.",
            f"Use device='{device}/torch'.",
        )
    batch = 1 if batch is None else whole_number("batch", batch)
    if batch < 1:
        raise SettingError(f"batch={batch} is not a number of tiles.", "Use 1 or more.")
    if spec.unit == "plane" and batch > 1:
        raise SettingError(f"'{spec.name}' restores planes one by one.", "Leave batch= out.")
    return Compute(engine, _version(engine), device, precision, batch)


def whole_number(name: str, value: Any) -> int:
    """Return a setting as Python's own integer, which is written the same way everywhere.

    Parameters
    ----------
    name : str
        What the setting is called.
    value : int or a numpy integer

    Raises
    ------
    SettingError
        If it is anything else.
    """
    try:
        return int(operator.index(value))
    except TypeError:
        raise SettingError(
            f"{name}={value!r} is not a whole number.", f"Use for example {name}=1."
        ) from None


def devices() -> list[str]:
    """Return what models can be computed on here: ``"cpu"``, then each GPU with its name."""
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        found += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(count)]
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


@functools.cache  # the search starts other programs
def _may_have_gpu() -> bool:
    """Return whether it is worth the seconds that importing torch takes to look for a GPU."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return ctypes.util.find_library("nvcuda" if sys.platform == "win32" else "cuda") is not None


def _torch_device(wish: str) -> str:
    if wish == "cpu" or (wish == "auto" and not _may_have_gpu()):
        return "cpu"
    import torch

    kind, _, number = wish.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or not (number or "0").isdecimal():
        raise SettingError(f"device='{wish}' is not known.", "Use auto, cpu, cuda, cuda:N or mps.")
    if kind == "auto":
        if torch.cuda.is_available():
            return "cuda:0"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    if kind == "cuda":
        index = int(number or 0)
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if index >= found:
            raise SettingError(
                f"device='{wish}' is not on this machine: PyTorch sees {found} CUDA devices.",
                "Use device='cpu', or install a CUDA build of PyTorch.",
            )
        return f"cuda:{index}"
    if kind == "mps" and not torch.backends.mps.is_available():
        raise SettingError("device='mps' is not on this machine.", "Use device='cpu'.")
    return kind


def _installed(engine: str) -> bool:
    return engine == "numpy" or importlib.util.find_spec(engine) is not None


@functools.cache
def _version(engine: str) -> str:
    return importlib.metadata.version(engine)


def load_family(name: str) -> Any:
    """Import the module of a family. Returns a `Family`."""
    return importlib.import_module(f"napari_superres.models.families.{name}")


def forget_engines() -> None:
    """Drop every loaded engine, so that its memory can be used for something else."""
    with _loading:
        _engines.clear()
