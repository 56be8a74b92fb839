"""Schedules, seams, samplers, colours and text of SUPIR, each by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("diffusers")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_superres.models.families.supir import colour, samplers, schedule
from napari_superres.models.families.supir.denoising import Guidance, WordGuided
from napari_superres.models.families.supir.network import Conditioning
from napari_superres.models.families.supir.pipeline import resize
from napari_superres.models.families.supir.sizes import working_size
from napari_superres.models.families.supir.text import size_vector
from napari_superres.models.latent_tiles import lay_tiles

if TYPE_CHECKING:
    from tests.supir_tiny import Tiny


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Keep tiny tensors from waiting for a busy computer's other cores."""
    torch.set_num_threads(1)


@settings(deadline=None)
@given(st.integers(1, 100))
def test_every_number_of_steps_visits_trained_levels_downwards(steps: int) -> None:
    """A level that the network never saw, or one visited twice, blurs the result."""
    levels = schedule.levels(steps)
    assert len(levels) == steps + 1
    assert levels[-1] == 0
    assert (np.diff(levels) < 0).all()
    assert set(levels[:-1]) <= set(schedule.table())
    assert levels[0] == pytest.approx(schedule.HIGHEST, abs=1e-4)
    ends = schedule.karras_levels(steps)
    assert len(ends) == steps + 1
    assert ends[0] == pytest.approx(levels[0])


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 40), st.integers(4, 40))
def test_seam_weights_sum_to_one(height: int, width: int, edge: int, stride: int) -> None:
    """Uncovered or doubly counted latents are holes or bright bands in a large plane."""
    tiles = lay_tiles(height, width, edge, min(edge, stride))
    total = torch.zeros(height, width)
    for tile in tiles:
        assert tile.weights.shape == (min(edge, height), min(edge, width))
        total[tile.rows, tile.columns] += tile.weights
    torch.testing.assert_close(total, torch.ones(height, width), rtol=0, atol=1e-5)


def test_tiles_of_different_tone_leave_no_step() -> None:
    """A flat, dark background would show the tiles' borders."""
    edge = 128
    tiles = lay_tiles(320, 320, edge, 64)
    fused = torch.zeros(320, 320)
    for number, tile in enumerate(tiles):
        fused[tile.rows, tile.columns] += tile.weights * float(number % 2)
    # Away from the plane's border, where one tile is alone, the largest change between neighbours
    # at a tile's border is that of its weight there.
    borders = sorted({tile.rows.start for tile in tiles} - {0})
    for at in borders:
        step = (fused[at] - fused[at - 1]).abs().max()
        inside = (fused[at + 8] - fused[at + 7]).abs().max()
        assert step < 1e-3 + inside


def test_tile_as_large_as_the_plane_equals_no_tiles(supir: Tiny) -> None:
    """Planes that fit into one tile would change when the tile size does."""
    torch.manual_seed(1)
    x, hint = torch.randn(1, 4, 12, 16), torch.randn(1, 4, 12, 16)
    words, without = (Conditioning(torch.randn(1, 7, 128), torch.randn(1, 64)) for _ in range(2))
    level, strength = 3.0, 0.7
    step, trained = schedule.nearest(level)
    with torch.no_grad():
        both = Conditioning(
            torch.cat([without.context, words.context]), torch.cat([without.vector, words.vector])
        )
        scaled = (x / np.sqrt(trained**2 + 1)).repeat(2, 1, 1, 1)
        pair = supir.network(scaled, torch.tensor([step]), hint.repeat(2, 1, 1, 1), both, strength)
        expected = x - (pair[:1] + (pair[1:] - pair[:1]) * 2.0) * trained
        for edge in (16, 1000):
            tiles = lay_tiles(12, 16, edge, edge)
            guidance = Guidance(2.0, 2.0)
            denoise = WordGuided(supir.network, hint, words, without, guidance, tiles, 1)
            assert torch.equal(denoise(x, level, strength, 0), expected)


def test_strength_zero_is_sdxl_alone(supir: Tiny) -> None:
    """The control could not be turned off, and its strength would mean nothing."""
    torch.manual_seed(1)
    x, hint, t = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8), torch.tensor([500])
    words = Conditioning(torch.randn(1, 7, 128), torch.randn(1, 64))
    with torch.no_grad():
        alone = supir.network(x, t, None, words)
        none, half, full = (supir.network(x, t, hint, words, s) for s in (0.0, 0.5, 1.0))
    torch.testing.assert_close(none, alone, rtol=0, atol=1e-6)
    assert not torch.allclose(half, none, atol=1e-4)
    assert not torch.allclose(full, half, atol=1e-4)


@pytest.mark.parametrize("sampler", ["edm", "dpmpp2m"])
def test_sampler_finds_the_only_possible_latent(sampler: str) -> None:
    """Even with a perfect network the result would be off."""
    truth = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(1))
    noise = torch.ones_like(truth)
    for eta, churn in ((0.0, 0.0), (1.0, 5.0)):
        course = samplers.Course(steps=6, churn=churn, eta=eta)
        found = samplers.SAMPLERS[sampler](
            noise, lambda x, level, strength, index: truth, lambda i: noise, course
        )
        torch.testing.assert_close(found, truth, rtol=0, atol=1e-5)


def test_restoration_guidance_fades_with_the_noise() -> None:
    """The guard against invented structure would do nothing, or forbid all detail."""
    clean, centre = torch.ones(1), torch.zeros(1)
    course = samplers.Course(steps=1, restoration=2.0)
    highest = schedule.HIGHEST
    assert course.pull(clean, centre, highest, highest / 2) == 0.0
    assert course.pull(clean, centre, highest / 2, 1.0) == 0.75  # 1 - 0.5 ** 2
    assert course.pull(clean, centre, 1.0, samplers.CLOSE) == 1.0
    assert samplers.Course(steps=1, restoration=0).pull(clean, centre, highest, 1.0) == 1.0


@pytest.mark.parametrize("sampler", ["edm", "dpmpp2m"])
def test_samplers_are_pulled_towards_the_restored_picture(sampler: str) -> None:
    """The guidance would be an option without effect."""

    def second(restoration: float) -> float:
        seen = []

        def denoise(x: torch.Tensor, level: float, strength: float, index: int) -> torch.Tensor:
            seen.append(float(x.mean()))
            return torch.full_like(x, 5.0)

        course = samplers.Course(steps=3, restoration=restoration)
        zeros = torch.zeros(1, 1, 2, 2)
        samplers.SAMPLERS[sampler](zeros, denoise, lambda i: zeros, course, zeros)
        return seen[1]

    assert second(0.5) < second(-1.0)


def test_control_strength_follows_the_noise_level() -> None:
    """``control_start`` would not mean the strength at the start."""
    course = samplers.Course(steps=1, control=1.0, control_start=0.2)
    assert course.strength(schedule.HIGHEST) == pytest.approx(0.2)
    assert course.strength(0.0) == 1.0


@pytest.mark.parametrize("fix", [colour.wavelet, colour.adain])
def test_colours_come_from_the_reference(fix: object) -> None:
    """Intensities would drift with what the network finds pretty."""
    generator = torch.Generator().manual_seed(0)
    result = torch.rand(1, 3, 96, 96, generator=generator) * 0.2 + 0.5
    tint = torch.tensor([-0.5, 0.0, 0.7])[None, :, None, None].expand(1, 3, 96, 96)
    fixed = fix(result, tint)  # type: ignore[operator]
    torch.testing.assert_close(fixed.mean((2, 3)), tint.mean((2, 3)), rtol=0, atol=2e-3)


def test_wavelet_fix_keeps_fine_structure() -> None:
    """The detail that the model was run for would be lost with its colours."""
    stripes = (torch.arange(96) % 2).float().expand(1, 3, 96, 96)
    fixed = colour.wavelet(stripes, torch.zeros(1, 3, 96, 96))
    middle = fixed[..., 40:56, 40:56]
    torch.testing.assert_close(middle, stripes[..., 40:56, 40:56] - 0.5, rtol=0, atol=1e-5)


@settings(deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([2, 4]))
def test_working_size_is_what_the_network_takes(height: int, width: int, scale: int) -> None:
    """The network would fail at sides that it cannot halve, or see planes at an untrained size."""
    size = working_size(height, width, scale, 1024)
    assert all(side % 64 == 0 and side > 0 for side in size)
    if max(height, width) <= 4 * min(height, width):
        assert min(size) >= min(1024, scale * min(height, width)) - 32
    if min(height, width) * scale >= 1024:
        wanted = (height * scale, width * scale)
        assert all(abs(side - want) <= 32 for side, want in zip(size, wanted, strict=True))


def test_large_planes_of_even_size_are_not_resized_twice() -> None:
    """A plane would lose sharpness before the network sees it."""
    assert working_size(1024, 512, 4, 1024) == (4096, 2048)
    image = torch.rand(1, 3, 4, 4)
    assert resize(image, (4, 4)) is image


def test_long_thin_planes_stay_affordable() -> None:
    """A line scan of 16 x 2048 pixels would be computed as one of 1024 x 131072."""
    assert working_size(16, 2048, 4, 1024) == (64, 8192)


def test_sizes_are_waves_that_begin_with_cosines() -> None:
    """The network would be told sizes that it reads as other sizes."""
    vector = size_vector(8).reshape(6, 8)
    assert vector[2].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]  # a crop at 0
    phases = 1024 / 10000 ** (np.arange(4) / 4)
    expected = np.concatenate([np.cos(phases), np.sin(phases)])
    np.testing.assert_allclose(vector[0], expected, atol=2e-4)  # float32 phases near 1000
