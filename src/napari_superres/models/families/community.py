"""Checkpoints of the many other networks that spandrel knows (DAT, SwinIR, HAT, SPAN): optional."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres.errors import MissingNetworkError, SettingError, WeightsError
from napari_superres.models.checkpoints import read_tensors
from napari_superres.models.file_row import file_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_superres.models.catalog import ModelSpec
    from napari_superres.models.engine import Address, Halo, Setting

ENGINES = ("torch",)

HALO = 32
"""Context in source pixels; how far such networks reach is not known, so tiles are feathered."""

FEATHER = 16
"""Handover in source pixels."""

_UNFIT = (
    *(RuntimeError, LookupError, ValueError, TypeError),
    *(AttributeError, AssertionError, ArithmeticError),
)
"""What spandrel raises on tensors that are almost those of a network that it knows."""


def row(path: Path, name: str, because: WeightsError) -> ModelSpec:
    """Return the row of a checkpoint of any network that spandrel recognises.

    Parameters
    ----------
    path : Path
        A file of weights.
    name : str
        What the model is called.
    because : WeightsError
        Why it is not a network of the Real-ESRGAN family.

    Raises
    ------
    WeightsError
        If spandrel does not know it either, or it is no super-resolution of 1 or 3 samples.
    MissingNetworkError
        If spandrel is not installed or does not import.
    """
    network = _recognise(path, because)
    architecture, needs = network.architecture.name, network.size_requirements
    return file_row(
        path,
        name,
        family="community",
        scale=network.scale,
        title=f"{path.stem}: {architecture}, x{network.scale}",
        samples=network.input_channels,
        needs_limits=True,
        consistency="local",
        radius=1_000_000,  # attention reaches as far as the tile
        halo=-(-HALO // needs.multiple_of) * needs.multiple_of,
        feather=FEATHER,
        tile=192,
        multiple=needs.multiple_of,
        workspace=100_000,
        parameters=sum(p.numel() for p in network.model.parameters()),
    )


def load(spec: ModelSpec, weights: Mapping[str, Path], setting: Setting) -> Community:
    """Return the engine for a checkpoint that spandrel knows.

    Parameters
    ----------
    spec : ModelSpec
        As `row` returns it.
    weights : mapping of str to Path
        Its one file.
    setting : Setting
        Device and precision.

    Raises
    ------
    WeightsError
        If the file is not one that spandrel knows.
    SettingError
        If the network cannot be computed in that precision.
    """
    import torch

    path = weights[spec.weights[0].name]
    network = _recognise(path, WeightsError(f"'{path}' is no known network.", "Use another file."))
    able = {
        "float32": True,
        "float16": network.supports_half and setting.device != "cpu",
        "bfloat16": network.supports_bfloat16,
    }
    if not able[setting.precision]:
        raise SettingError(
            f"'{spec.name}' ({network.architecture.name}) cannot be computed in "
            f"{setting.precision} on '{setting.device}'.",
            "Use precision='float32'.",
        )
    dtype = getattr(torch, setting.precision)
    return Community(network.to(torch.device(setting.device), dtype).eval())


@dataclass(frozen=True, eq=False)
class Community:
    """A network of spandrel's. See `Engine`.

    Its networks may keep state between layers, so one tile is computed at a time.
    """

    network: Any
    lock: Any = field(default_factory=threading.Lock)

    def __call__(self, tiles: np.ndarray, halo: Halo, at: Sequence[Address]) -> np.ndarray:
        """Return finer tiles, the halo dropped. Values are clipped to [0, 1] by spandrel.

        Parameters
        ----------
        tiles : np.ndarray, shape (n, c, y, x), float32
        halo : Halo
        at : sequence of Address
            Not used.

        Returns
        -------
        np.ndarray, shape (n, c, s*(y - top - bottom), s*(x - left - right)), float32
        """
        import torch

        from napari_superres.models.precision import check_overflow, exact

        s = self.network.scale
        height, width = tiles.shape[2:]
        kept = (
            slice(halo.top * s, (height - halo.bottom) * s),
            slice(halo.left * s, (width - halo.right) * s),
        )
        out = []
        for tile in tiles:
            batch = torch.from_numpy(np.ascontiguousarray(tile[None]))
            with self.lock, exact(self.network.device):
                result = self.network(batch.to(self.network.device, self.network.dtype))
            out.append(result.float().cpu().numpy()[0][:, kept[0], kept[1]])
            check_overflow(out[-1], self.network.dtype)
        return np.stack(out)


def _recognise(path: Path, because: WeightsError) -> Any:
    """Return spandrel's description of a checkpoint, loaded."""
    import torch

    spandrel = _spandrel(because)
    tensors = read_tensors(path, integers=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about how its networks are written
            network = spandrel.ModelLoader().load_from_state_dict(
                {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
            )
    except (spandrel.UnsupportedModelError, *_UNFIT) as error:
        raise WeightsError(
            f"'{path}' is not a network that spandrel {spandrel.__version__} knows, and none of "
            f"the Real-ESRGAN family: {because.message}",
            because.hint,
        ) from error
    samples = (network.input_channels, network.output_channels)
    if not isinstance(network, spandrel.ImageModelDescriptor) or samples not in ((1, 1), (3, 3)):
        raise WeightsError(
            f"'{path}' holds a network for {network.purpose} that takes {samples[0]} samples and "
            f"gives {samples[1]}.",
            "Use one for super-resolution or restoration of gray or RGB images.",
        )
    return network


def _spandrel(because: WeightsError) -> Any:
    try:
        import spandrel
    except ModuleNotFoundError as error:
        if error.name != "spandrel":
            raise _broken(error) from error
        raise MissingNetworkError(
            f"{because.message} Other networks need the package spandrel, which is not installed.",
            'Run: pip install "napari-superres[community]".',
        ) from error
    except (ImportError, RuntimeError, AttributeError) as error:
        raise _broken(error) from error
    return spandrel


def _broken(error: Exception) -> MissingNetworkError:
    reason = str(error).split("\n")[0]
    return MissingNetworkError(
        f"spandrel is installed but cannot be imported ({reason}); most often its torchvision was "
        "built for another torch.",
        "Install torch and torchvision together, from the same source and in matching versions.",
    )
