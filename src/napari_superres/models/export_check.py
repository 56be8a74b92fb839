"""Whether files of a network, read from the disk, compute what the engine computes."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_superres.errors import MissingDependencyError, OutputError
from napari_superres.models.engine import Address, Halo, Setting, load_family

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_superres.models.catalog import ModelSpec

    Run = Callable[[np.ndarray, np.ndarray], np.ndarray]

ALLOWED = 1e-4
"""Largest difference to the engine, of the result's range: what is promised between engines."""

SIZES = ((40, 56), (24, 36))
"""Pixels of the pictures that become finer; two, to see that the size is not built in, and
multiples of all that networks want."""

NOISES = (0.0, 40.0)
"""Standard deviations that models with such an input are asked to remove, of about 1000."""


@dataclass(frozen=True)
class Check:
    """What a comparison of files with the engine found.

    Parameters
    ----------
    program : str
        What ran the files, with its version.
    engine : str
        What they were compared with.
    pictures : int
        How many results were compared.
    difference : float
        The largest difference of a pixel, as a share of the result's range.
    """

    program: str
    engine: str
    pictures: int
    difference: float

    def record(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "with": self.program,
            "against": self.engine,
            "pictures": self.pictures,
            "largest_difference": self.difference,
            "allowed": ALLOWED,
        }

    def __str__(self) -> str:
        return (
            f"Run by {self.program} and compared with {self.engine} on {self.pictures} pictures: "
            f"the largest difference is {self.difference:.1e} of the range ({ALLOWED:g} allowed)."
        )


def check(
    spec: ModelSpec,
    weights: Mapping[str, Path],
    files: Sequence[Path],
    context: int,
    denoise: float | None,
) -> Check:
    """Compare files with the engine in PyTorch.

    Parameters
    ----------
    spec, weights, denoise
        The model.
    files : sequence of Path
        One for ONNX, two for ncnn.
    context : int
        How many pixels at each side of the input the output lacks.

    Raises
    ------
    MissingDependencyError
        If what runs such files is not installed.
    OutputError
        If they differ too much.
    """
    names = ("image", "noise") if spec.noise_input else ("image",)
    program, run = (_with_onnxruntime if len(files) == 1 else _with_ncnn)(files, names)
    setting = Setting(engine="torch", denoise=denoise)
    engine = load_family(spec.family).load(spec, weights, setting)
    differences = []
    for number, size in enumerate(SIZES):
        picture = _picture(spec.samples, [n + 2 * context for n in size], number)
        if spec.needs_limits:
            picture /= picture.max()
        for noise in NOISES if spec.noise_input else NOISES[:1]:
            # Shot noise grows with brightness.
            level = noise * np.sqrt(picture[:1] / picture.mean())
            tile = np.concatenate([picture, level])[None] if spec.noise_input else picture[None]
            halo, at = Halo(*(context,) * 4), Address(0, 0, 0, 0, 0)
            expected = engine(tile, halo, [at])[0]
            result = run(picture, level)
            differences.append(_difference(result, expected))
    found = Check(program, f"PyTorch {_version('torch')}", len(differences), max(differences))
    if not found.difference <= ALLOWED:  # NaN is refused too
        raise OutputError(
            f"The files would be wrong, and are deleted. {found}", "Please report it."
        )
    return found


def _picture(samples: int, shape: Sequence[int], seed: int) -> np.ndarray:
    """Return spots with noise of some hundreds of photons, shape (samples, y, x), float32."""
    rng = np.random.default_rng(seed)
    spots = ndimage.gaussian_filter(rng.random((samples, *shape)), (0, 1.5, 1.5))
    spots = (spots - spots.min()) / np.ptp(spots)
    return rng.poisson(100 + 900 * spots).astype(np.float32)


def _difference(result: np.ndarray, expected: np.ndarray) -> float:
    if result.shape != expected.shape:
        return float("inf")
    return float(np.abs(result - expected).max() / np.ptp(expected))


def _with_ncnn(files: Sequence[Path], names: Sequence[str]) -> tuple[str, Run]:
    from napari_superres.models.ncnn_engine import Network

    network = Network.from_files(files[0], files[1], names)

    def run(picture: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return network(*(picture, noise)[: len(names)])

    return f"ncnn {_version('ncnn')}", run


def _with_onnxruntime(files: Sequence[Path], names: Sequence[str]) -> tuple[str, Run]:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            "The package 'onnxruntime', which checks what was written, cannot be imported "
            f"({error}).",
            'Run: pip install "napari-superres[export]".',
        ) from error
    session = onnxruntime.InferenceSession(str(files[0]), providers=["CPUExecutionProvider"])

    def run(picture: np.ndarray, noise: np.ndarray) -> np.ndarray:
        given = dict(zip(names, (picture[None], noise[None]), strict=False))
        return np.asarray(session.run(None, given)[0])[0]

    return f"onnxruntime {_version('onnxruntime')}", run


def _version(package: str) -> str:
    return importlib.metadata.version(package)
