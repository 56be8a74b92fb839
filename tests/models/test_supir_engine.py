"""SUPIR as an engine: what a plane looks like depends on the plane and the plan alone."""

from __future__ import annotations

import dataclasses
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import pytest

pytest.importorskip("diffusers")

import torch

from napari_superres import Image
from napari_superres.errors import Cancelled, SettingError
from napari_superres.models.cache import fingerprint, models_folder, write_record
from napari_superres.models.catalog import ModelSpec, Option, WeightFile
from napari_superres.models.engine import Address, Halo, Setting
from napari_superres.models.families import supir as family
from napari_superres.models.families.supir.engine import SupirEngine
from napari_superres.models.families.supir.loading import load_supir
from napari_superres.models.families.supir.pipeline import Pipeline, brought_back, enlarged
from napari_superres.models.families.supir.settings import Settings
from napari_superres.models.families.supir.sizes import working_size
from napari_superres.models.plane_engine import resize
from napari_superres.planning import make_plan
from napari_superres.progress import doing, on_tick
from napari_superres.upscaling import planned

if TYPE_CHECKING:
    from napari_superres.models.engine import Engine
    from tests.supir_tiny import Tiny

WHOLE = Halo(0, 0, 0, 0)
SIDE = 16


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Keep tiny tensors from waiting for a busy computer's other cores."""
    torch.set_num_threads(1)


def row() -> ModelSpec:
    """Return a row with every option, as the table has them."""
    return ModelSpec(
        name="supir-tiny",
        family="supir",
        scale=4,
        title="",
        domain="",
        licence="",
        citation="",
        proven="reference tensors",
        weights=(WeightFile("SUPIR-v0F_fp16.safetensors", "", 0),),
        samples=3,
        needs_limits=True,
        unit="plane",
        options=tuple(
            Option(field.name, field.default, "")  # type: ignore[arg-type]
            for field in dataclasses.fields(Settings)
        ),
    )


def options(tiny: Tiny, **others: Any) -> dict[str, Any]:
    """Return options for small pictures: two steps, four tiles."""
    return {
        "base": str(tiny.diffusers),
        "smallest": 64,
        "steps": 2,
        "latent_tile": 12,
        "latent_stride": 4,
        **others,
    }


def load(tiny: Tiny, precision: str = "float32", **others: Any) -> Engine:
    """Return an engine of the tiny model."""
    spec = row()
    setting = Setting(precision=precision, options=tuple(options(tiny, **others).items()))
    return family.load(spec, {spec.weights[0].name: tiny.supir}, setting)


@pytest.fixture(scope="module")
def engine(supir: Tiny) -> Engine:
    """Return the engine that most tests use."""
    torch.set_num_threads(1)
    return load(supir)


def plane(number: int = 0, side: int = SIDE) -> np.ndarray:
    """Return a batch of one smooth random gray picture in [0, 1]."""
    values = np.random.default_rng(number).random((1, 1, side, side), np.float32)
    return np.repeat(values, 3, axis=1)


def at(number: int = 0, sample: int = 0, seed: int = 1) -> list[Address]:
    """Return the address of a whole plane."""
    return [Address(seed, sample, number, 0, 0)]


def test_order_and_workers_do_not_change_a_plane(engine: Engine) -> None:
    """A stack computed twice would differ, or show seams between what two workers made."""
    numbers = [0, 1, 2]
    ordered = [engine(plane(n), WHOLE, at(n)) for n in numbers]
    assert ordered[0].shape == (1, 3, 4 * SIDE, 4 * SIDE)
    assert ordered[0].dtype == np.float32
    backwards = [engine(plane(n), WHOLE, at(n)) for n in reversed(numbers)][::-1]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda n: engine(plane(n), WHOLE, at(n)), numbers))
    for one, two, three in zip(ordered, backwards, together, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)
    batch = engine(np.concatenate([plane(n) for n in numbers]), WHOLE, [at(n)[0] for n in numbers])
    np.testing.assert_array_equal(batch, np.concatenate(ordered))


def test_worker_threads_compute_with_as_many_threads_as_the_main_one(supir: Tiny) -> None:
    """A preview would differ from the file in the last bits, because a worker computed it."""
    torch.set_num_threads(2)
    engine = load(supir, steps=1, latent_tile=16)
    here = engine(plane(), WHOLE, at())
    torch.set_num_threads(1)
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(engine, plane(), WHOLE, at()).result()
    assert torch.get_num_threads() == 1
    np.testing.assert_array_equal(here, there)


def test_stack_does_not_depend_on_chunks_scheduler_or_selection(supir: Tiny) -> None:
    """The part on the screen would not be the part in the file."""
    models_folder().mkdir(parents=True)
    added = models_folder() / row().weights[0].name
    shutil.copy(supir.supir, added)
    write_record(added, dataclasses.replace(fingerprint(added), added=True))
    pixels = np.random.default_rng(0).integers(0, 4000, (2, SIDE, SIDE)).astype(np.uint16)
    wishes: dict[str, Any] = {
        "limits": (0, 4000),
        "seed": 5,
        "options": options(supir, steps=1, latent_tile=128),
    }

    def upscaled(chunks: Any) -> da.Array:
        image = Image(da.from_array(pixels, chunks=chunks), "zyx")
        return planned(image, make_plan(image, row(), **wishes)).data

    whole = upscaled((2, SIDE, SIDE)).compute(scheduler="synchronous")
    assert whole.shape == (2, 4 * SIDE, 4 * SIDE)
    assert whole.dtype == np.uint16
    with dask.config.set(scheduler="threads", num_workers=4):
        np.testing.assert_array_equal(upscaled((1, 5, 7)).compute(), whole)
    np.testing.assert_array_equal(upscaled((1, 5, 7))[1].compute(), whole[1])
    lazy = upscaled((2, 16, 3)).rechunk((2, 17, 64))
    np.testing.assert_array_equal(lazy[1, 5:40, 3:9].compute(), whole[1, 5:40, 3:9])


def test_parts_of_a_very_large_plane_obey_the_law(supir: Tiny) -> None:
    """Planes beyond what is restored at once would show other pixels on the screen than on disk."""
    models_folder().mkdir(parents=True)
    added = models_folder() / row().weights[0].name
    shutil.copy(supir.supir, added)
    write_record(added, dataclasses.replace(fingerprint(added), added=True))
    spec = dataclasses.replace(row(), tile=16, feather=4, multiple=2)
    pixels = np.random.default_rng(0).random((SIDE, 40), np.float32)
    image = Image(da.from_array(pixels, chunks=(9, 11)), "yx")
    plan = make_plan(image, spec, limits=(0, 1), options=options(supir, steps=1, latent_tile=128))
    assert plan.tiles > 1
    lazy = planned(image, plan).data
    whole = lazy.compute(scheduler="synchronous")
    assert whole.shape == (4 * SIDE, 160)
    assert np.isfinite(whole).all()
    np.testing.assert_array_equal(
        lazy[3:50, 60:90].compute(scheduler="synchronous"), whole[3:50, 60:90]
    )


def test_samples_are_independent_and_four_are_the_first_of_eight(engine: Engine) -> None:
    """Asking for more samples would change those that are there already."""
    eight = [engine(plane(), WHOLE, at(sample=k)) for k in range(3)]
    np.testing.assert_array_equal(engine(plane(), WHOLE, at(sample=1)), eight[1])
    assert np.std(eight, axis=0, ddof=1).mean() > 1e-4
    assert not np.array_equal(eight[0], engine(plane(), WHOLE, at(seed=2)))


def test_global_random_numbers_are_neither_used_nor_changed(engine: Engine) -> None:
    """Another plugin that draws a random number would change our result, or we theirs."""
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002, it is what must not matter
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = engine(plane(), WHOLE, at())
    assert torch.equal(torch.random.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    np.testing.assert_array_equal(engine(plane(), WHOLE, at()), first)


def test_halo_is_dropped(engine: Engine) -> None:
    """Parts of a plane of more than 4096 pixels would lie beside their place."""
    halo = Halo(2, 4, 0, 6)
    whole = engine(plane(), WHOLE, [Address(1, 0, 0, 0, 0)])
    part = engine(plane(), halo, [Address(1, 0, 0, 2, 0)])
    np.testing.assert_array_equal(part, whole[..., 8 : 64 - 16, : 64 - 24])


@pytest.mark.parametrize(("height", "width"), [(16, 16), (21, 40), (3, 17)])
def test_pixels_of_a_part_stay_where_they_are(height: int, width: int) -> None:
    """The last part of a plane would be seen in another size than its neighbours, and show it."""
    part = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    seen = enlarged(part, 4, 1024, part=True)
    assert seen.shape[2] == 64 * -(-height // 16)
    assert seen.shape[3] == 64 * -(-width // 16)
    alone = resize(part[None], (4 * height, 4 * width)).clamp(0, 1)[0]
    back = brought_back(seen, part, 4, part=True)
    assert back.shape == (3, 4 * height, 4 * width)
    inner = np.s_[:, : 4 * height - 8, : 4 * width - 8]  # a cubic looks two pixels around
    torch.testing.assert_close(back[inner], alone[inner], rtol=0, atol=1e-5)
    whole = enlarged(part, 4, 1024, part=False)
    assert tuple(whole.shape[2:]) == working_size(height, width, 4, 1024)
    assert brought_back(whole, part, 4, part=False).shape == back.shape


@pytest.mark.parametrize("offload", ["parts", "layers"])
def test_offloading_changes_no_pixel(supir: Tiny, engine: Engine, offload: str) -> None:
    """A user with a smaller GPU would get another result."""
    other = load(supir, offload=offload)
    np.testing.assert_array_equal(other(plane(), WHOLE, at()), engine(plane(), WHOLE, at()))


def test_half_precision_is_close(supir: Tiny, engine: Engine) -> None:
    """On a GPU, where half precision is usual, pictures would be noise."""
    exact = engine(plane(), WHOLE, at())
    half = load(supir, "bfloat16")(plane(), WHOLE, at())
    assert np.isfinite(half).all()
    # bfloat16 keeps 8 bits: about 0.4 % a step, on values of order one.
    assert np.abs(half - exact).mean() < 0.05 * np.abs(exact).mean()


def test_float16_is_refused_on_a_cpu(supir: Tiny) -> None:
    """A user would wait for hours, or see a black picture."""
    with pytest.raises(SettingError, match="bfloat16"):
        load(supir, "float16")


def test_cancelling_stops_between_two_calls_of_the_network(engine: Engine) -> None:
    """Somebody who presses Cancel would wait for the rest of a plane."""
    seen: dict[tuple[int, int], str] = {}

    def stop(done: int, total: int) -> None:
        seen[done, total] = doing()
        if done == 5:
            raise Cancelled("Stopped.")

    with on_tick(stop), pytest.raises(Cancelled):
        engine(plane(), WHOLE, at())
    # Encoding, then 2 steps of 4 tiles.
    assert list(seen) == [(0, 1), *((done, 8) for done in range(6))]
    assert seen[5, 8] == "step 2/2, tile 2/4"
    assert np.isfinite(engine(plane(), WHOLE, at())).all()


def test_cancelling_stops_inside_a_call_of_the_network(engine: Engine) -> None:
    """On a CPU one call takes up to a minute, in which Cancel would do nothing."""
    times = []

    def stop(done: int, total: int) -> None:
        times.append(done)
        if times.count(1) == 3:
            raise Cancelled("Stopped.")

    with on_tick(stop), pytest.raises(Cancelled):
        engine(plane(), WHOLE, at())
    assert times[-3:] == [1, 1, 1]  # within the second call, none of the third


@pytest.mark.parametrize(
    "changed",
    [
        {"prompt": "a photograph of a cat"},
        {"negative_prompt": "cells"},
        {"preset": "photo"},
        {"steps": 3},
        {"guidance": 7.5},
        {"guidance_start": 4.0},
        {"control": 0.5},
        {"control_start": 0.2},
        {"restoration": 0.5},
        {"churn": 0.0},
        {"churn_noise": 1.5},
        {"sampler": "dpmpp2m"},
        {"latent_tile": 12, "latent_stride": 12},
        {"smallest": 128},
        {"colour": "adain"},
        {"colour": "none"},
    ],
    ids=lambda changed: ",".join(f"{name}={value}" for name, value in changed.items()),
)
def test_every_option_changes_the_result(
    pipeline: Pipeline, usual: np.ndarray, changed: dict[str, Any]
) -> None:
    """An option without effect is a promise that is not kept."""
    settings = dataclasses.replace(pipeline.settings, **changed)
    result = SupirEngine(dataclasses.replace(pipeline, settings=settings), 4)(plane(), WHOLE, at())
    assert np.isfinite(result).all()
    assert not np.array_equal(result, usual)


@pytest.fixture(scope="module")
def pipeline(supir: Tiny) -> Pipeline:
    """Return the tiny model with its text encoders and one tile."""
    loaded = load_supir(supir.supir, str(supir.diffusers))
    return Pipeline(
        loaded.network,
        loaded.autoencoder,
        Settings(smallest=64, steps=2, latent_tile=16, latent_stride=16),
        torch.device("cpu"),
        loaded.layout.factor,
        loaded.layout.latent,
        loaded.encoders,
    )


@pytest.fixture(scope="module")
def usual(pipeline: Pipeline) -> np.ndarray:
    """Return what it makes of the first plane."""
    return SupirEngine(pipeline, 4)(plane(), WHOLE, at())


def test_multistep_sampler_takes_any_share_of_fresh_noise(pipeline: Pipeline) -> None:
    """Its share of fresh noise would be an option without effect, or give NaN at zero."""
    results = []
    for eta in (1.0, 0.0):
        settings = dataclasses.replace(pipeline.settings, sampler="dpmpp2m", steps=3, eta=eta)
        engine = SupirEngine(dataclasses.replace(pipeline, settings=settings), 4)
        results.append(engine(plane(), WHOLE, at()))
    assert np.isfinite(results).all()
    assert not np.array_equal(*results)


def test_unknown_options_and_words_are_refused(supir: Tiny) -> None:
    """A slip of the pen would be ignored in silence."""
    with pytest.raises(SettingError, match="no option 'promt'"):
        load(supir, promt="")
    with pytest.raises(SettingError, match="sampler='euler'"):
        load(supir, sampler="euler")
    with pytest.raises(SettingError, match="gaps between tiles"):
        load(supir, latent_tile=8, latent_stride=9)


def test_gray_background_keeps_its_intensity(engine: Engine) -> None:
    """The network's taste would move the intensities of what was measured."""
    flat = np.full((1, 3, SIDE, SIDE), 0.25, np.float32)
    result = engine(flat, WHOLE, at())
    # The wavelet fix takes all that is coarser than about 64 pixels, here the mean, from the input.
    np.testing.assert_allclose(result.mean(axis=(2, 3)), 0.25, atol=0.02)


def test_folder_of_the_family_is_light_to_import() -> None:
    """Listing models would wait for diffusers."""
    import subprocess
    import sys

    code = (
        "import sys, napari_superres.models.families.supir as f; assert f.ENGINES == ('torch',);"
        "print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
