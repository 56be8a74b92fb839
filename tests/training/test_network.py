"""The embedded network keeps its promises by construction, whatever its weights are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_superres.errors import WeightsError
from napari_superres.models.engine import Halo, Setting
from napari_superres.models.families import microscopy
from napari_superres.models.families.microscopy.network import LinearNet, MicroscopyNet
from napari_superres.models.noise_line import NoiseLine, noise_map
from napari_superres.training.export import write_weights
from napari_superres.training.heads import state_for

if TYPE_CHECKING:
    from pathlib import Path

CHANNELS, PAIRS = 8, 2


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return small files with random weights: a network for x2 and x4, and a linear one for x2."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    network = MicroscopyNet(CHANNELS, PAIRS)
    with torch.no_grad():
        network.thresholds.normal_()
        for head in network.heads.values():
            head.weight.mul_(10)
    card = {"parameters": 0, "data": "", "training": {}, "limits": []}
    sizes = {"channels": CHANNELS, "pairs": PAIRS, "bound": 2.5}
    for scale in (2, 4):
        tensors = state_for(network, scale)
        named = {**card, "name": f"network-x{scale}"}
        write_weights(folder, "network", scale, tensors, named, sizes)
    kernels = LinearNet(2).kernels.detach().numpy()
    write_weights(folder, "linear", 2, {"kernels": kernels}, {**card, "name": "linear-x2"}, {})
    return {path.stem: path for path in folder.glob("*.safetensors")}


def _engine(path: Path, engine: str, *, scale: int, uncertainty: bool = False):
    spec = SimpleNamespace(name=path.stem, scale=scale)
    return microscopy.load(spec, {path.name: path}, Setting(engine, uncertainty=uncertainty))


def _tile(plane: np.ndarray, noise: float) -> np.ndarray:
    return np.stack([plane, np.full_like(plane, noise)])[None].astype(np.float32)


def _shot_noise(plane: np.ndarray) -> np.ndarray:
    """Return a tile whose noise grows with brightness."""
    level = noise_map(plane, 0.3, NoiseLine(dark=0.1, floor=0.1, slope=2.0))
    assert np.ptp(level) > 0.1
    return np.stack([plane, level])[None]


NO_HALO = Halo(0, 0, 0, 0)


@given(
    gain=st.floats(0.01, 100),
    offset=st.floats(-10, 10),
    noise=st.sampled_from([0.0, 0.1, 1.0]),
    scale=st.sampled_from([2, 4]),
    engine=st.sampled_from(microscopy.ENGINES),
)
@settings(max_examples=30, deadline=None)
def test_gain_and_offset_pass_through(
    weights, gain: float, offset: float, noise: float, scale: int, engine: str
) -> None:
    """Camera settings must not change what a result shows."""
    run = _engine(weights[f"network-x{scale}"], engine, scale=scale)
    plane = np.random.default_rng(0).random((20, 24), np.float32)
    plain = run(_tile(plane, noise), NO_HALO, ())
    changed = run(_tile(gain * plane + gain * offset, gain * noise), NO_HALO, ())
    # float32 with an offset ten times the contrast: about 1e-6 of it, over some twenty layers.
    np.testing.assert_allclose(changed / gain - offset, plain, atol=1e-4)


@pytest.mark.parametrize("engine", microscopy.ENGINES)
@pytest.mark.parametrize("name", ["network-x2", "network-x4", "linear-x2"])
def test_a_tile_equals_the_same_place_of_the_whole(weights, name: str, engine: str) -> None:
    """A difference would be a seam."""
    scale = int(name[-1])
    run = _engine(weights[name], engine, scale=scale)
    plane = np.random.default_rng(1).random((50, 60), np.float32)
    whole = run(_tile(plane, 0.2), NO_HALO, ())
    halo = Halo(run.radius, run.radius + 3, run.radius, 0)
    part = run(_tile(plane[4:40, 10:], 0.2), halo, ())
    top, left = 4 + halo.top, 10 + halo.left
    bottom = 40 - halo.bottom
    there = whole[..., scale * top : scale * bottom, scale * left :]
    # Winograd tiles of ncnn have a phase; torch may sum in another order for another shape.
    np.testing.assert_allclose(part, there, atol=1e-5)


@pytest.mark.parametrize("engine", microscopy.ENGINES)
def test_a_tile_with_shot_noise_equals_the_same_place_of_the_whole(weights, engine: str) -> None:
    """The noise of a tile is known as far as the network looks, with no wider halo."""
    run = _engine(weights["network-x2"], engine, scale=2)
    plane = np.random.default_rng(1).random((50, 60), np.float32)
    whole = run(_shot_noise(plane), NO_HALO, ())
    halo = Halo(run.radius, run.radius, run.radius, 0)
    part = run(_shot_noise(plane[4:40, 10:]), halo, ())
    top, left, bottom = 4 + halo.top, 10 + halo.left, 40 - halo.bottom
    np.testing.assert_allclose(part, whole[..., 2 * top : 2 * bottom, 2 * left :], atol=1e-5)


@pytest.mark.parametrize("engine", microscopy.ENGINES)
def test_noise_around_each_pixel_is_noise_everywhere_where_it_is_the_same(
    weights, engine: str
) -> None:
    """One number is a shorter way to compute the same."""
    run = _engine(weights["network-x2"], engine, scale=2)
    tile = _tile(np.random.default_rng(5).random((30, 31), np.float32), 0.3)
    nearly = tile.copy()
    nearly[0, 1, 0, 0] += 1e-6
    np.testing.assert_allclose(run(nearly, NO_HALO, ()), run(tile, NO_HALO, ()), atol=1e-4)


def test_nothing_beyond_the_radius_matters(weights) -> None:
    """The stated radius is what the planner trusts for its halo."""
    run = _engine(weights["network-x2"], "torch", scale=2)
    plane = np.random.default_rng(2).random((41, 41), np.float32)
    disturbed = plane.copy()
    disturbed[20, 20] += 1
    change = run(_tile(disturbed, 0.1), NO_HALO, ()) - run(_tile(plane, 0.1), NO_HALO, ())
    rows = np.nonzero(np.abs(change[0, 0]).sum(axis=1))[0]
    assert rows.min() == 2 * (20 - run.radius)
    assert rows.max() == 2 * (20 + run.radius) + 1


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("uncertainty", [False, True])
@pytest.mark.parametrize("scale", [2, 4])
def test_engines_agree(weights, scale: int, noise: float, uncertainty: bool) -> None:
    """The same file must give the same picture with and without ncnn."""
    path = weights[f"network-x{scale}"]
    tile = _tile(np.random.default_rng(3).random((33, 40), np.float32), noise)
    results = [
        _engine(path, engine, scale=scale, uncertainty=uncertainty)(tile, NO_HALO, ())
        for engine in microscopy.ENGINES
    ]
    assert results[0].shape == (1, 1 + uncertainty, 33 * scale, 40 * scale)
    np.testing.assert_allclose(results[0], results[1], atol=2e-5)


@pytest.mark.parametrize("uncertainty", [False, True])
@pytest.mark.parametrize("scale", [2, 4])
def test_engines_agree_on_shot_noise(weights, scale: int, uncertainty: bool) -> None:
    """Over all stages and pieces of ncnn."""
    path = weights[f"network-x{scale}"]
    tile = _shot_noise(np.random.default_rng(3).random((133, 170), np.float32))
    results = [
        _engine(path, engine, scale=scale, uncertainty=uncertainty)(tile, NO_HALO, ())
        for engine in microscopy.ENGINES
    ]
    np.testing.assert_allclose(results[0], results[1], atol=5e-5)


def test_told_noise_changes_the_result(weights) -> None:
    """The denoise setting must do something."""
    run = _engine(weights["network-x2"], "ncnn", scale=2)
    plane = np.random.default_rng(4).random((20, 20), np.float32)
    quiet, told = (run(_tile(plane, noise), NO_HALO, ()) for noise in (0.0, 0.3))
    assert np.abs(quiet - told).max() > 1e-3


@pytest.mark.parametrize("engine", microscopy.ENGINES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 2)])
def test_tiny_and_constant_planes_work(weights, shape: tuple[int, int], engine: str) -> None:
    """A single pixel is an image too, and a constant stays what it is."""
    run = _engine(weights["network-x4"], engine, scale=4)
    result = run(_tile(np.full(shape, 7, np.float32), 0.0), NO_HALO, ())
    assert result.shape == (1, 1, 4 * shape[0], 4 * shape[1])
    np.testing.assert_allclose(result, 7, atol=1e-4)


def test_predicted_error_is_never_negative(weights) -> None:
    """A negative standard deviation would crash whoever plots it."""
    run = _engine(weights["network-x2"], "torch", scale=2, uncertainty=True)
    tile = _tile(np.random.default_rng(5).random((20, 20), np.float32), 0.1)
    assert run(tile, NO_HALO, ())[:, 1].min() >= 0


def test_wrong_files_are_refused(weights, tmp_path: Path) -> None:
    """A wrong file must be named, not run."""
    with pytest.raises(WeightsError, match="not 4 times"):
        _engine(weights["network-x2"], "torch", scale=4)
    with pytest.raises(WeightsError, match="does not predict its error"):
        _engine(weights["linear-x2"], "torch", scale=2, uncertainty=True)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(weights["network-x2"].read_bytes()[:100])
    with pytest.raises(WeightsError, match=r"broken\.safetensors"):
        _engine(broken, "torch", scale=2)
