"""What is fitted after the training proper: the error head, and the linear models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from napari_superres.models.families.microscopy.network import LinearNet
from napari_superres.models.families.microscopy.tensors import BASE_RADIUS
from napari_superres.training import losses
from napari_superres.training.classical import interpolate
from napari_superres.training.recording import area_mean
from napari_superres.training.stream import StreamSettings, make_step
from napari_superres.training.validate import padded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from napari_superres.models.families.microscopy.network import MicroscopyNet
    from napari_superres.training.recording import Pair
    from napari_superres.training.stream import Batch

# Far beyond any training's last step, so that degradations are fresh.
_FRESH_STEPS = 10_000_000
COVERAGE = 0.9
_PARTS = ("heads", "errors", "bases")


def fresh_batches(stream: StreamSettings, scenes: Path, steps: int) -> Iterator[list[Batch]]:
    """Yield examples of a training's scenes, degraded as no step of it has seen them.

    Parameters
    ----------
    stream : StreamSettings
        The training's examples.
    scenes : Path
        Where the training keeps its scenes.
    steps : int
        How many.
    """
    for step in range(steps):
        yield make_step(stream, _FRESH_STEPS + step, str(scenes))


def fit_errors(
    network: MicroscopyNet,
    examples: Iterable[list[Batch]],
    *,
    steps: int,
    learning_rate: float = 5e-3,
    low_precision: bool = True,
) -> None:
    """Fit the heads that predict the error's scale; nothing else of the network changes.

    Parameters
    ----------
    network : MicroscopyNet
        Trained; its `errors` are fitted in place.
    examples : iterable of list of Batch
        What each step is fitted on.
    steps : int
        How many there are. A few hundred suffice: the heads are one convolution each.
    learning_rate : float
        At the beginning; it falls linearly to 0.
    low_precision : bool
        Whether the frozen part runs in bfloat16.
    """
    optimizer = torch.optim.Adam(network.errors.parameters(), lr=learning_rate)
    for step, batches in enumerate(examples):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / steps)
        loss = torch.zeros(())
        for batch in batches:
            x, noise = torch.from_numpy(batch.source), torch.from_numpy(batch.noise)
            cut = batch.scale * network.radius
            truth = torch.from_numpy(batch.truth)[..., cut:-cut, cut:-cut]
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
                features = network.features(x, noise)
                residual = network.upscaled(x, features, batch.scale) - truth
            spread = network.error_scale(features.float(), batch.scale)
            loss = loss + losses.laplace(residual, spread)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def error_ratios(network: MicroscopyNet, pairs: Mapping[str, Pair]) -> dict[str, np.ndarray]:
    """Return, by name, each pixel's error in units of its predicted scale.

    Parameters
    ----------
    network : MicroscopyNet
        With fitted error heads.
    pairs : mapping of str to Pair
        Images that no training has seen.

    Returns
    -------
    dict of str to np.ndarray, shape of the pair's truth, float32
    """
    ratios = {}
    for name, pair in pairs.items():
        x, noise = padded(network, pair.source), padded(network, pair.local_noise)
        with torch.inference_mode():
            features = network.features(x, noise)
            result = network.upscaled(x, features, pair.scale)[0, 0].numpy()
            spread = network.error_scale(features, pair.scale)[0, 0].numpy()
        tiny = 1e-6 * float(np.ptp(pair.truth))
        ratios[name] = np.abs(result - pair.truth) / (spread + tiny)
    return ratios


def bound_of(ratios: Mapping[str, np.ndarray]) -> float:
    """Return how many error scales hold 90 % of the pixels, on average over the images."""
    low, high = 0.0, max(float(ratio.max()) for ratio in ratios.values())
    for _ in range(50):  # the covered share grows with the bound
        middle = (low + high) / 2
        covered = np.mean([(ratio <= middle).mean() for ratio in ratios.values()])
        low, high = (middle, high) if covered < COVERAGE else (low, middle)
    return high


def coverage_by_kind(ratios: Mapping[str, np.ndarray], bound: float) -> dict[str, float]:
    """Return the share of pixels whose error is within the bound, by kind of image.

    Parameters
    ----------
    ratios : mapping of str to np.ndarray
        From `error_ratios`; names are ``KIND-NUMBER/DEGRADATION``.
    bound : float
        From `bound_of`, on other images.
    """
    shares: dict[str, list[float]] = {}
    for name, ratio in ratios.items():
        kind = name.split("/")[0].rsplit("-", 1)[0]
        shares.setdefault(kind, []).append(float((ratio <= bound).mean()))
    return {kind: round(float(np.mean(values)), 3) for kind, values in shares.items()}


def fit_linear(stream: StreamSettings, folder: Path, *, steps: int) -> LinearNet:
    """Return the linear model with the least weighted square error on faithful examples.

    Parameters
    ----------
    stream : StreamSettings
        Examples of one scale factor, without blur and added noise, each as large as a scene.
    folder : Path
        Where scenes are kept.
    steps : int
        How many batches to solve for.

    Returns
    -------
    LinearNet
        Kernels sum to one and have the symmetry of the grid, so nothing is shifted.
    """
    [scale] = stream.scales
    radius, edge = BASE_RADIUS, 2 * BASE_RADIUS + 1
    taps = edge * edge
    normal = np.zeros((taps, taps))
    right = np.zeros((taps, scale * scale))
    for step in range(steps):
        [batch] = make_step(stream, _FRESH_STEPS + step, str(folder))
        for source, truth in zip(batch.source[:, 0], batch.truth[:, 0], strict=True):
            plain = interpolate(source, scale, "lanczos")
            hard = float(np.mean((plain - truth) ** 2)) + (0.005 * float(truth.std())) ** 2 + 1e-8
            windows = sliding_window_view(source, (edge, edge))[::2, ::2]
            around = windows.reshape(-1, taps).astype(np.float64)
            mean = around.mean(axis=1, keepdims=True)
            fine = _phases(truth, scale)[radius:-radius, radius:-radius][::2, ::2]
            around = around - mean
            normal += around.T @ around / hard
            right += around.T @ (fine.reshape(-1, scale * scale) - mean) / hard
    ridge = 1e-6 * float(np.trace(normal)) / taps
    solved = np.linalg.solve(normal + ridge * np.eye(taps), right).T
    # A kernel that acts on differences from the mean, plus the mean, has unit sum.
    kernels = solved + (1 - solved.sum(axis=1, keepdims=True)) / taps
    model = LinearNet(scale)
    symmetric = _symmetric(kernels.reshape(scale, scale, edge, edge))
    flat = symmetric.reshape(scale * scale, 1, edge, edge).astype(np.float32)
    model.load_state_dict({"kernels": torch.from_numpy(flat)})
    return model


def _phases(truth: np.ndarray, scale: int) -> np.ndarray:
    """Return truth with the pixels of each block along a last axis, (y, x, scale * scale)."""
    height, width = area_mean(truth, scale).shape
    blocks = truth.reshape(height, scale, width, scale).swapaxes(1, 2)
    return np.asarray(blocks.reshape(height, width, scale * scale), dtype=np.float64)


def _symmetric(kernels: np.ndarray) -> np.ndarray:
    """Return kernels, (phase y, phase x, y, x), averaged over mirrored and transposed images."""
    kernels = (kernels + kernels[::-1, :, ::-1, :]) / 2
    kernels = (kernels + kernels[:, ::-1, :, ::-1]) / 2
    return np.asarray((kernels + kernels.transpose(1, 0, 3, 2)) / 2)


def state_for(network: Any, scale: int) -> dict[str, np.ndarray]:
    """Return the tensors that one scale factor needs, in half precision where that is enough."""
    others = {f"{part}.{s}" for part in _PARTS for s in network.scales if s != scale}
    tensors = {}
    for name, tensor in network.state_dict().items():
        if ".".join(name.split(".")[:2]) in others:
            continue
        # The interpolation carries most of the image: half precision would show at 60 dB.
        kind = np.float32 if name.startswith("bases.") else np.float16
        tensors[name] = np.ascontiguousarray(tensor.detach().numpy().astype(kind))
    return tensors
