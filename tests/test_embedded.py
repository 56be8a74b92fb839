"""The embedded models keep what they promise by construction."""

from __future__ import annotations

from importlib import resources

import dask.array as da
import numpy as np
import pytest
import torch

import napari_superres as sr
from napari_superres.arrays import as_image
from napari_superres.consistency import block_mean
from napari_superres.errors import SettingError
from napari_superres.models.engine import Setting
from napari_superres.models.families.microscopy import torch_engine
from napari_superres.models.families.microscopy.tensors import read_trained
from napari_superres.models.noise_line import NoiseLine, noise_map
from napari_superres.models.weights import find_weights
from napari_superres.training.validate import degraded_pairs, held_out
from napari_superres.trust.similarity import psnr
from napari_superres.upscaling import plan_for, planned

MODELS = [name for name, spec in sr.MODELS.items() if spec.bundled]
ENGINES = ["cpu/ncnn", "cpu/torch"]


def _cells(shape: tuple[int, int] = (90, 110), seed: int = 0) -> np.ndarray:
    """Return something smooth with noise, as a camera gives it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    light = 400 + 300 * np.sin(y / 4) * np.cos(x / 5)
    return rng.poisson(light).astype(np.float32)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("device", ENGINES)
def test_gain_and_offset_pass_through(model: str, device: str) -> None:
    """A camera's gain and pedestal must not change what is seen."""
    cells = _cells()
    plain = sr.upscale(cells, model, device=device)
    other = sr.upscale(cells * 3.5 + 2000, model, device=device)
    assert np.abs((other - 2000) / 3.5 - plain).max() / np.ptp(plain) < 1e-5


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("device", ENGINES)
def test_tiled_equals_untiled(model: str, device: str) -> None:
    """The receptive radius in the row is exact: no seams."""
    cells = _cells()
    halo = sr.MODELS[model].halo + 5
    tiled = sr.upscale(cells, model, device=device, tile=2 * halo + 24, denoise=_strength(model))
    untiled = sr.upscale(cells, model, device=device, denoise=_strength(model))
    # Winograd tiles of ncnn have a phase; torch sums in the same order wherever a tile begins.
    assert np.abs(tiled - untiled).max() <= 1e-5 * np.ptp(cells)


@pytest.mark.parametrize("model", MODELS)
def test_engines_agree(model: str) -> None:
    """A laboratory with a graphics card and one without see the same cells."""
    ncnn, torch = (sr.upscale(_cells(), model, device=device) for device in ENGINES)
    assert np.abs(ncnn - torch).max() <= 1e-4 * np.ptp(ncnn)


def test_each_channel_is_told_its_own_noise() -> None:
    """That of another would blur it, or leave it as it is."""
    steady = np.random.default_rng(2).normal(np.mgrid[:90, :110][1], 5).astype(np.float32)
    both = as_image(np.stack([steady, _cells()]), "cyx")
    plan = plan_for(both, "microscopy-x2", denoise=1)
    assert [line is not None for line in plan.noise_lines] == [False, True]
    result = np.asarray(planned(both, plan).data)
    for one, alone in zip(result, both.data, strict=True):
        np.testing.assert_array_equal(one, sr.upscale(np.asarray(alone), denoise=1))


@pytest.mark.parametrize("line", [None, NoiseLine(dark=100, floor=0.25, slope=0.0025)])
@pytest.mark.parametrize("gain", [1e-6, 1.0, 1e6])
def test_half_precision_holds_any_cameras_unit(
    gain: float, line: NoiseLine | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bright images overflowed and dim ones vanished, and the result held zeros."""
    spec = sr.MODELS["microscopy-x2"]
    trained = read_trained(next(iter(find_weights(spec).values())))
    plane = _cells() * np.float32(gain)
    noise = 20.0 * gain if line is None else gain * noise_map(_cells(), 20.0, line)
    exact = torch_engine.TorchNetwork(trained, Setting())(plane, noise)
    # A graphics card's type; a CPU computes in it slowly, and is not asked to.
    monkeypatch.setattr(torch_engine, "torch_type", lambda *_: torch.float16)
    half = torch_engine.TorchNetwork(trained, Setting())(plane, noise)
    assert np.abs(half - exact).max() < 2e-3 * np.ptp(exact)


@pytest.mark.parametrize("model", MODELS)
def test_float16_on_a_cpu_is_refused(model: str) -> None:
    """As for other families, and not computed slowly."""
    with pytest.raises(SettingError, match="float16"):
        sr.upscale(_cells(), model, precision="float16", device="cpu")


@pytest.mark.parametrize("model", MODELS)
def test_a_region_is_the_wholes_region(model: str) -> None:
    """The preview is honest."""
    lazy = sr.upscale(da.from_array(_cells(), chunks=40), model, tile=100)
    whole = lazy.compute(scheduler="synchronous")
    region = (slice(37, 151), slice(-60, -3))
    np.testing.assert_array_equal(lazy[region].compute(), whole[region])


@pytest.mark.parametrize("model", MODELS)
def test_pixel_consistency_keeps_the_light(model: str) -> None:
    """What was measured stays measured."""
    cells = _cells()
    result = sr.upscale(cells, model, consistency="pixel")
    assert np.abs(block_mean(result, sr.MODELS[model].scale) - cells).max() < 1e-2


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (20, 2)])
@pytest.mark.parametrize("model", MODELS)
def test_the_smallest_images_work(model: str, shape: tuple[int, int]) -> None:
    """A crop of a few pixels is an image too."""
    result = sr.upscale(np.full(shape, 9, np.uint16), model)
    np.testing.assert_array_equal(result, 9)


@pytest.mark.parametrize("model", [m for m in MODELS if sr.MODELS[m].bound])
def test_the_spread_scales_with_gain_and_ignores_offset(model: str) -> None:
    """An error bar in counts is an error bar in counts, whatever the camera."""
    cells = _cells()
    result, spread = sr.upscale(cells, model, uncertainty=True)
    assert spread.shape == result.shape
    assert spread.dtype == np.float32
    assert (spread >= 0).all()
    assert spread.mean() > 0
    _, other = sr.upscale(cells * 2 + 500, model, uncertainty=True)
    np.testing.assert_allclose(other, 2 * spread, rtol=1e-3, atol=1e-3 * spread.mean())


@pytest.mark.parametrize("model", [m for m in MODELS if sr.MODELS[m].bound])
def test_the_spread_of_a_part_counts_what_is_left(model: str) -> None:
    """Noise that stays in the image must not be called certain."""
    kept, half, removed = (
        sr.upscale(_cells(), model, uncertainty=True, denoise=part)[1] for part in (0.0, 0.5, 1.0)
    )
    np.testing.assert_allclose(half**2, (kept**2 + removed**2) / 2, rtol=1e-3)


def _strength(model: str) -> float | None:
    return None if sr.MODELS[model].denoise is None else 1.0


def test_the_weights_take_little_room() -> None:
    """They come with every installation: three megabytes at most, cards included."""
    folder = resources.files("napari_superres.models") / "embedded"
    assert sum(len(file.read_bytes()) for file in folder.iterdir() if file.is_file()) < 3e6


KINDS = ("filaments", "nuclei", "puncta", "mitochondria", "tissue", "electron")
# Three quarters of the mean gain over bicubic interpolation, in decibels.
FLOORS = {
    "microscopy-x2": 3.5,
    "microscopy-x4": 1.75,
    "microscopy-fast-x2": 3.0,
    "microscopy-fast-x4": 1.5,
    "linear-x2": 0.55,
    "linear-x4": 0.2,
}


@pytest.fixture(scope="module")
def unseen() -> dict[str, np.ndarray]:
    """Return simulated images that no training and no choice of weights has used."""
    images = held_out(1, 96, first=2000)
    return {name: image for name, image in images.items() if name.split("-")[0] in KINDS}


@pytest.mark.parametrize("model", MODELS)
def test_the_weights_that_ship_beat_interpolation_and_state_their_error(
    model: str, unseen: dict[str, np.ndarray]
) -> None:
    """A file that was mixed up, or trained too little, would pass all other tests."""
    spec = sr.MODELS[model]
    gains, covered = [], []
    for pair in degraded_pairs(unseen, spec.scale).values():
        found = sr.upscale(pair.source, model, uncertainty=bool(spec.bound))
        result, error = found if spec.bound else (found, None)
        plain = sr.upscale(pair.source, "bicubic", scale=spec.scale)
        gains.append(psnr(result, pair.truth) - psnr(plain, pair.truth))
        if error is not None:
            covered.append(np.mean(np.abs(result - pair.truth) <= error))
    assert np.mean(gains) > FLOORS[model]
    if covered:
        assert 0.85 < np.mean(covered) < 1
