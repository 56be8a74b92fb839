"""The recipe: a stream that does not depend on interruptions, honest losses, and learning."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_superres.models.camera_noise import measure_noise
from napari_superres.models.families.microscopy.tensors import read_trained
from napari_superres.models.noise_line import noise_map
from napari_superres.training import losses
from napari_superres.training.export import export, export_linear
from napari_superres.training.heads import bound_of, coverage_by_kind
from napari_superres.training.stream import StreamSettings, make_step, random_scene
from napari_superres.training.train import TrainSettings, load_average, train

if TYPE_CHECKING:
    from pathlib import Path

TINY = TrainSettings(
    stream=StreamSettings(patch=24, batch=2, edge=96, first_scenes=4, scenes_a_step=0.2),
    channels=8,
    pairs=1,
    steps=24,
    warm_up=4,
    low_precision=False,
    learning_rate=1e-3,
    steady=0.6,
)


def test_a_step_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    """A resumed training would otherwise be another training."""
    stream = TINY.stream
    fresh = make_step(stream, 7, str(tmp_path / "one"))
    for step in (3, 5):
        make_step(stream, step, str(tmp_path / "two"))
    again = make_step(stream, 7, str(tmp_path / "two"))
    for one, two in zip(fresh, again, strict=True):
        np.testing.assert_array_equal(one.source, two.source)
        np.testing.assert_array_equal(one.truth, two.truth)
        np.testing.assert_array_equal(one.noise, two.noise)


def test_examples_are_aligned_and_scaled(tmp_path: Path) -> None:
    """Patches of one spread keep faint images in play; a misaligned pair teaches a shift."""
    stream = replace(TINY.stream, faithful=1.0, batch=6)
    for batch in make_step(stream, 1, str(tmp_path)):
        s = batch.scale
        np.testing.assert_allclose(batch.source.std(axis=(1, 2, 3)), 1, rtol=1e-3)
        assert (batch.noise == 0).all()
        n, _, y, x = batch.truth.shape
        means = batch.truth.reshape(n, 1, y // s, s, x // s, s).mean(axis=(3, 5))
        # Some sources were rounded to 8 bits: half a step of a hundredth of the range.
        assert np.abs(means - batch.source).max() < 0.01 * np.ptp(batch.source)


@pytest.mark.parametrize("locally", [0.0, 1.0])
def test_noisy_examples_are_told_the_noise_around_each_pixel(
    locally: float, tmp_path: Path
) -> None:
    """It grows with brightness; where they are not, it is one number."""
    shares = {"measured": 0.0, "locally_told": locally}
    stream = replace(TINY.stream, faithful=0.0, batch=6, **shares)
    for batch in make_step(stream, 1, str(tmp_path)):
        assert batch.noise.shape == batch.source.shape
        assert (batch.noise > 0).all()
        for source, noise in zip(batch.source, batch.noise, strict=True):
            if locally:
                assert np.corrcoef(source.ravel(), noise.ravel())[0, 1] > 0.3
            else:
                assert np.ptp(noise) == 0


def test_noisy_examples_are_told_what_a_user_is(tmp_path: Path) -> None:
    """A scan's folded detail is measured as noise, and a network has to know that."""
    stream = replace(TINY.stream, scales=(2,), patch=48, faithful=0.0, batch=6, measured=1.0)
    [batch] = make_step(stream, 2, str(tmp_path))
    for source, noise in zip(batch.source[:, 0], batch.noise[:, 0], strict=True):
        found = measure_noise([source])
        np.testing.assert_allclose(noise, noise_map(source, found.std, found.line), rtol=0.02)


@pytest.mark.parametrize("scanned", [False, True])
def test_scanned_examples_see_the_centres_of_pixels(scanned: bool, tmp_path: Path) -> None:
    """Light between the positions of a scan is not seen; a camera's pixel means over its area."""
    shares = {"scanned": 1.0, "sharp": 0.0} if scanned else {"scanned": 0.0, "sharp": 1.0}
    stream = replace(
        TINY.stream, scales=(4,), faithful=0.0, first_scenes=1, scenes_a_step=0.0, batch=6, **shares
    )
    y, x = np.indices((96, 96))
    spots = ((y + 1) // 2 % 2) * ((x + 1) // 2 % 2)
    light = np.where(x < 48, spots, 0.25).astype(np.float16)
    np.save(tmp_path / "scene-0-96-000000.npy", light)
    [batch] = make_step(stream, 0, str(tmp_path))
    blocks = batch.truth.reshape(6, 24, 4, 24, 4)
    rough = blocks.std(axis=(2, 4))
    for source, own in zip(batch.source[:, 0], rough, strict=True):
        spotted = own > (own.min() + own.max()) / 2
        # In standard deviations: light is four times as dense at the spots; noise moves the means
        # of some hundred pixels by a tenth.
        brighter = source[spotted].mean() - source[~spotted].mean()
        assert brighter > 1 if scanned else abs(brighter) < 0.5


def test_random_scenes_are_all_possible() -> None:
    """A rare impossible microscope would stop a training after hours."""
    rng = np.random.default_rng(0)
    kinds = {random_scene(rng).kind for _ in range(300)}
    assert len(kinds) == 14


def test_ring_correlation_of_known_cases() -> None:
    """1 for equal images, about 0 for independent noise, exact sign under inversion."""
    one, two = torch.randn(2, 3, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(losses.ring_correlation(one, one), 1, atol=1e-4)
    np.testing.assert_allclose(losses.ring_correlation(one, -one), -1, atol=1e-4)
    independent = losses.ring_correlation(one, two)
    assert independent.shape == (3, 32)
    assert abs(float(independent.mean())) < 0.05


def test_the_loss_is_blind_to_gain_and_offset() -> None:
    """Faint patches must count as much as bright ones."""
    truth, noise = torch.rand(2, 2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    prediction, plain = truth + 0.1 * noise, truth + 0.3 * noise
    once, _ = losses.total(prediction, truth, plain, 2)
    scaled, _ = losses.total(*(100 * image + 50 for image in (prediction, truth, plain)), 2)
    assert float(scaled) == pytest.approx(float(once), rel=1e-2)
    assert float(losses.total(truth, truth, plain, 2)[0]) == pytest.approx(0, abs=1e-3)


def test_halving_the_error_is_worth_the_same_on_every_patch() -> None:
    """The loss is what a mean of decibels over patches is, for hard and for easy ones."""
    truth, noise = torch.rand(2, 2, 1, 32, 32, generator=torch.Generator().manual_seed(0)) - 0.5
    plain = truth + noise * torch.tensor([0.02, 2.0]).reshape(2, 1, 1, 1)

    def error(shares: tuple[float, float]) -> float:
        wrong = (plain - truth) * torch.tensor(shares).reshape(2, 1, 1, 1)
        return losses.total(truth + wrong, truth, plain, 2)[1]["error"]

    easy, hard = error((1, 1)) - error((0.5, 1)), error((1, 1)) - error((1, 0.5))
    assert easy == pytest.approx(hard, rel=0.1)
    assert 2 * hard == pytest.approx(np.log(2), rel=0.1)


def test_laplace_likelihood_is_best_at_the_mean_absolute_error() -> None:
    """The error head learns the expected absolute error, less the tenth that is added."""
    residual = torch.randn(1, 1, 100, 100, generator=torch.Generator().manual_seed(0))
    expected = float(residual.abs().mean())
    values = {
        s: float(losses.laplace(residual, torch.tensor(s))) for s in np.linspace(0.4, 1.4, 101)
    }
    assert min(values, key=values.get) == pytest.approx(0.9 * expected, abs=0.01)


def test_interrupted_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    """Trainings run in the background and are stopped at any time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        list(train(TINY, tmp_path / "whole", every=12))
        # A record every step, and a checkpoint at the tenth of them.
        list(itertools.islice(train(TINY, tmp_path / "halved", every=1), 11))
        assert load_average(tmp_path / "halved")[2] == 10
        list(train(TINY, tmp_path / "halved", every=12))
    finally:
        torch.set_num_threads(threads)
    whole, halved = (load_average(tmp_path / name) for name in ("whole", "halved"))
    assert whole[2] == halved[2] == TINY.steps
    for name, tensor in whole[0].state_dict().items():
        torch.testing.assert_close(halved[0].state_dict()[name], tensor, rtol=1e-4, atol=1e-6)
    records = _records(tmp_path / "whole")
    assert [record["step"] for record in records] == [12, 24]
    # The record at step 12 is of the two steps since the resumption.
    *single, _, two, _ = (record["error_x2"] for record in _records(tmp_path / "halved"))
    assert (sum(single) + 2 * two) / 12 == pytest.approx(records[0]["error_x2"], abs=1e-3)


def _records(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the state of a training of a few steps."""
    folder = tmp_path_factory.mktemp("state")
    list(train(TINY, folder, every=12))
    return folder


def test_export_writes_files_that_describe_themselves(trained: Path, tmp_path: Path) -> None:
    """A weight file must say where it comes from and what it reaches."""
    export(trained, tmp_path, error_steps=4, count=1, edge=64)
    for scale in (2, 4):
        content = read_trained(tmp_path / f"microscopy-x{scale}.safetensors")
        assert (content.kind, content.scale, content.pairs) == ("network", scale, TINY.pairs)
        assert content.bound > 0
        assert content.card["training"]["steps_done"] == TINY.steps
        assert set(content.card["gain_over_bicubic_db"]) == {"ideal", "psf_hi", "psf_lo"}
        assert len(content.card["coverage_of_90_percent_bound"]) == 14
        first = content.tensors["first.weight"]
        np.testing.assert_allclose(first.sum(axis=(-2, -1)), 0, atol=1e-6)
        assert "Limits" in (tmp_path / f"microscopy-x{scale}.md").read_text()


def test_the_bound_holds_nine_tenths_of_the_pixels_of_an_average_image() -> None:
    """Every image counts alike, however many pixels it has."""
    ratios = {
        "cells-0/ideal": np.linspace(0, 1, 1001),
        "cells-1/ideal": np.linspace(0, 3, 100_001),
    }
    bound = bound_of(ratios)
    # All of the first, and 0.8 of the second.
    assert bound == pytest.approx(2.4, abs=0.01)
    assert coverage_by_kind(ratios, bound) == {"cells": 0.9}


def test_linear_models_have_unit_sum_and_shift_nothing(trained: Path, tmp_path: Path) -> None:
    """A linear model cannot invent; it must not move or brighten either."""
    export_linear(trained, tmp_path, steps=6)
    for scale in (2, 4):
        kernels = read_trained(tmp_path / f"linear-x{scale}.safetensors").tensors["kernels"]
        assert kernels.shape == (scale * scale, 1, 9, 9)
        np.testing.assert_allclose(kernels.sum(axis=(-2, -1)), 1, atol=1e-6)
        phases = kernels.reshape(scale, scale, 9, 9)
        np.testing.assert_allclose(phases, phases[::-1, :, ::-1, :], atol=1e-6)
