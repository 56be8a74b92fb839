"""Models that restore whole planes, through the whole house.

What must not change a result: order, workers and scheduler (a), chunks (b), the planes beside it
(c), how many samples are drawn (d), what part of the noise is looked at (e, in `test_noise`), the
global random numbers (f), where tiles lie (g), tiles at all where one suffices (h), and whose code
it is (i, in `test_supir_parity`).
"""

from __future__ import annotations

import dataclasses
import random
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import pytest

pytest.importorskip("diffusers")

import torch

import napari_superres as sr
from napari_superres import tile_results
from napari_superres.errors import Cancelled, SettingError
from napari_superres.image import Image
from napari_superres.job import run
from napari_superres.kept_tiles import KEPT, KeptTiles
from napari_superres.models.catalog import MODELS
from napari_superres.models.engine import Compute, choose_compute, load_engine
from napari_superres.models.noise import PlaneNoise
from napari_superres.models.plane_engine import PlaneEngine
from napari_superres.planning import make_plan
from napari_superres.progress import doing, on_tick
from napari_superres.upscaling import planned, spread

if TYPE_CHECKING:
    from pathlib import Path

    from napari_superres.models.engine import Address, Engine, Halo
    from napari_superres.models.plane_engine import Place
    from napari_superres.plan import Plan

SIDE = 24
ROW = MODELS["ldm-sr-x4"]
PARTS = dataclasses.replace(ROW, tile=16, halo=4, feather=4, multiple=4)
"""The same for planes that are restored in parts, without their 4096 pixels."""


@pytest.fixture(autouse=True)
def _alone() -> None:
    """Keep tiny tensors from waiting for other cores, and tests from finding others' planes."""
    torch.set_num_threads(1)
    KEPT.forget()


@pytest.fixture
def wishes(ldm: Path) -> dict[str, Any]:
    """Return settings for a tiny model: one step of four tiles."""
    tiles = {"latent_tile": 16, "latent_stride": 8}
    return {
        "limits": (0, 4000),
        "seed": 5,
        "options": {"base": str(ldm), "steps": 1, "eta": 1.0, **tiles},
    }


def stack(planes: int = 3, side: int = SIDE) -> np.ndarray:
    """Return smooth random planes of 16 bits."""
    values = np.random.default_rng(0).integers(0, 4000, (planes, side, side))
    return values.astype(np.uint16)


def lazy(pixels: np.ndarray, wishes: dict[str, Any], chunks: Any = -1, row: Any = ROW) -> da.Array:
    """Return the lazy result of a stack."""
    image = Image(da.from_array(pixels, chunks=chunks), "zyx"[-pixels.ndim :])
    plan = make_plan(image, row, **wishes)
    if row is PARTS:
        plan = dataclasses.replace(plan, block=(64, 64))
    return planned(image, plan).data


def test_order_workers_and_scheduler_change_no_bit(wishes: dict[str, Any]) -> None:
    """(a) A stack computed twice would differ, and a killed job could not be finished."""
    pixels = stack()
    whole = lazy(pixels, wishes).compute(scheduler="synchronous")
    orders = [[0, 1, 2], [2, 1, 0], random.Random(2).sample(range(3), 3)]
    for order in orders:
        KEPT.forget()
        result = lazy(pixels, wishes)
        parts = {z: result[z].compute(scheduler="synchronous") for z in order}
        np.testing.assert_array_equal(np.stack([parts[z] for z in range(3)]), whole)
    for workers in (1, 4):
        KEPT.forget()
        with ThreadPoolExecutor(workers) as pool, dask.config.set(pool=pool):
            np.testing.assert_array_equal(lazy(pixels, wishes).compute(scheduler="threads"), whole)


def test_chunks_of_source_and_result_change_no_bit(wishes: dict[str, Any]) -> None:
    """(b) The part on the screen would not be the part in the file."""
    pixels = stack(2)
    whole = lazy(pixels, wishes).compute(scheduler="synchronous")
    for chunks, again in (((1, 5, 7), (2, 17, 64)), ((2, 24, 3), (1, 96, 5))):
        KEPT.forget()
        result = lazy(pixels, wishes, chunks).rechunk(again)
        np.testing.assert_array_equal(result.compute(scheduler="synchronous"), whole)
    np.testing.assert_array_equal(
        lazy(pixels, wishes)[1, 5:40, -3:2:-2].compute(), whole[1, 5:40, -3:2:-2]
    )


def test_a_plane_alone_equals_the_plane_in_its_stack(wishes: dict[str, Any], ldm: Path) -> None:
    """(c) A preview of one plane would show other details than the file."""
    pixels = stack()
    whole = lazy(pixels, wishes).compute(scheduler="synchronous")
    KEPT.forget()
    alone = sr.upscale(pixels, "ldm-sr-x4", axes="zyx", planes={"z": 2}, **wishes)
    np.testing.assert_array_equal(alone[0], whole[2])


class Spy:
    """An engine that remembers what it was asked and what it answered."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.asked: list[Address] = []
        self.answers: list[np.ndarray] = []

    def __call__(self, tiles: np.ndarray, halo: Halo, at: list[Address]) -> np.ndarray:
        """Return what the engine answers."""
        self.asked += at
        self.answers.append(self.engine(tiles, halo, at))
        return self.answers[-1]


@pytest.fixture
def spies(monkeypatch: pytest.MonkeyPatch) -> list[Spy]:
    """Return the spies that are put before each engine, the last one last."""
    found: list[Spy] = []

    def spied(*arguments: Any) -> Spy:
        found.append(Spy(load_engine(*arguments)))
        return found[-1]

    monkeypatch.setattr(tile_results, "load_engine", spied)
    return found


def test_four_samples_are_the_first_four_of_eight(wishes: dict[str, Any], spies: list[Spy]) -> None:
    """(d) Asking for more samples would change those that are there already."""
    pixels = stack(1, 16)[0].astype(np.float32)
    wishes = {**wishes, "consistency": "off", "limits": (0, 1)}
    pixels /= 4000
    found = {}
    for count in (4, 8):
        spies.clear()
        mean, away = sr.upscale(pixels, "ldm-sr-x4", samples=count, **wishes)
        assert [at.sample for spy in spies for at in spy.asked] == list(range(count))
        # Gray through three samples a pixel: the mean of what comes out.
        found[count] = np.stack([spy.answers[0][0].mean(axis=0) for spy in spies])
        np.testing.assert_allclose(mean, found[count].mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(away, found[count].std(axis=0, ddof=1), atol=1e-5)
        assert away.dtype == np.float32
        assert away.mean() > 1e-3
    np.testing.assert_array_equal(found[8][:4], found[4])


def test_global_random_numbers_are_neither_used_nor_changed(wishes: dict[str, Any]) -> None:
    """(f) Another plugin that draws a random number would change our result, or we theirs."""
    pixels = stack(1)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002, it is what must not matter
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = lazy(pixels, wishes).compute()
    assert torch.equal(torch.random.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    KEPT.forget()
    np.testing.assert_array_equal(lazy(pixels, wishes).compute(), first)


def test_a_constant_image_shows_no_step_where_tiles_meet(wishes: dict[str, Any]) -> None:
    """(g) A flat, dark background would show a grid."""
    pixels = np.full((64, 64), 0.1, np.float32)
    wishes = {**wishes, "limits": (0, 1)}
    fused = lazy(pixels, wishes).compute()
    steps = np.abs(np.diff(fused, axis=0)).mean(axis=1)
    # Tiles begin at each 8th source pixel; this model's own texture is the same everywhere.
    borders = steps[np.arange(8, 56, 8) * 4 - 1]
    elsewhere = np.delete(steps, np.arange(8, 56, 8) * 4 - 1)
    assert borders.mean() < elsewhere.mean() + 1e-3
    assert abs(fused.mean() - 0.1) < 1e-3


def test_one_tile_as_large_as_the_plane_equals_any_larger_one(wishes: dict[str, Any]) -> None:
    """(h) Planes that fit into one tile would change when the tile size does."""
    pixels = stack(1)
    results = []
    for edge in (SIDE, 128):
        options = {**wishes["options"], "latent_tile": edge, "latent_stride": edge}
        results.append(lazy(pixels, {**wishes, "options": options}).compute())
    np.testing.assert_array_equal(*results)


def test_parts_of_a_very_large_plane_obey_the_law(wishes: dict[str, Any]) -> None:
    """Planes beyond 4096 pixels would show other pixels on the screen than on disk."""
    pixels = np.random.default_rng(0).integers(0, 4000, (32, 44)).astype(np.uint16)
    wishes = {**wishes, "options": {**wishes["options"], "latent_tile": 128}}
    result = lazy(pixels, wishes, (9, 11), PARTS)
    whole = result.compute(scheduler="synchronous")
    assert result.numblocks == (2, 3)
    for region in (np.s_[3:50, 60:170], np.s_[100:128, 0:7], np.s_[63:65, 130:70:-3]):
        KEPT.forget()
        np.testing.assert_array_equal(
            lazy(pixels, wishes, row=PARTS)[region].compute(scheduler="synchronous"), whole[region]
        )


def test_no_part_of_a_plane_is_computed_twice(wishes: dict[str, Any], spies: list[Spy]) -> None:
    """Each block needs its neighbours' parts: a plane would take nine times as long."""
    pixels = np.random.default_rng(0).integers(0, 4000, (32, 44)).astype(np.uint16)
    wishes = {**wishes, "options": {**wishes["options"], "latent_tile": 128}}
    with ThreadPoolExecutor(4) as pool, dask.config.set(pool=pool):
        lazy(pixels, wishes, row=PARTS).compute(scheduler="threads")
    asked = [at for spy in spies for at in spy.asked]
    assert len(asked) == len(set(asked)) == 2 * 3


def test_a_share_of_a_job_is_made_of_whole_planes(
    wishes: dict[str, Any], spies: list[Spy], tmp_path: Path
) -> None:
    """A job array over one plane would restore it as often as it has tasks."""
    pixels = np.random.default_rng(0).integers(0, 4000, (2, 32, 44)).astype(np.uint16)
    wishes = {**wishes, "options": {**wishes["options"], "latent_tile": 128}}
    image = Image(da.from_array(pixels), "zyx")
    plan = dataclasses.replace(make_plan(image, PARTS, **wishes), block=(64, 64))
    for part, planes in (("1/3", set()), ("3/3", {1}), ("2/3", {0})):
        spies.clear()
        last = list(run(planned(image, plan), tmp_path / "a.ome.zarr", part=part))[-1]
        assert {at.plane for spy in spies for at in spy.asked} == planes
        assert last.total in (0, 6, 12)
    whole = lazy(pixels, wishes, row=PARTS).compute(scheduler="synchronous")
    np.testing.assert_array_equal(sr.read(tmp_path / "a.ome.zarr").data.compute(), whole)


class Noise(PlaneEngine):
    """An engine whose answer is its noise."""

    def restore(self, plane: torch.Tensor, noise: PlaneNoise, place: Place) -> torch.Tensor:
        """Return the noise of the source's pixels."""
        rows, columns = (
            slice(start, start + length)
            for start, length in zip((place.y, place.x), plane.shape[1:], strict=True)
        )
        values = torch.from_numpy(noise.window("start", 0, 3, rows, columns))
        return values.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)


@pytest.mark.parametrize("consistency", ["off", "local"])
def test_parts_of_a_plane_draw_the_noise_of_the_plane(
    wishes: dict[str, Any], monkeypatch: pytest.MonkeyPatch, consistency: str
) -> None:
    """Neighbouring parts would draw different things where they overlap: a double exposure."""
    engine = Noise("noise", 4, torch.device("cpu"))
    monkeypatch.setattr(tile_results, "load_engine", lambda *_: engine)
    pixels = np.full((60, 44), 0.5, np.float32)
    wishes = {**wishes, "limits": (0, 1), "consistency": consistency}
    at_once, in_parts = (
        lazy(pixels, wishes, row=row).compute(scheduler="synchronous") for row in (ROW, PARTS)
    )
    assert make_plan(Image(da.from_array(pixels), "yx"), PARTS, **wishes).tiles == 4 * 3
    np.testing.assert_allclose(in_parts, at_once, atol=1e-5)
    if consistency == "off":
        expected = PlaneNoise(5, 0, 0).window("start", 0, 3, slice(0, 60), slice(0, 44))
        expected = expected.mean(axis=0).repeat(4, axis=0).repeat(4, axis=1)
        np.testing.assert_allclose(in_parts, expected, atol=1e-5)


def test_looking_around_in_a_plane_restores_it_once(
    wishes: dict[str, Any], spies: list[Spy]
) -> None:
    """Each step of the mouse would take minutes; and so would the spread after the result."""
    image = Image(da.from_array(stack()), "zyx")
    plan = make_plan(image, ROW, samples=2, **wishes)
    result, away = planned(image, plan), spread(image, plan)
    for y in (0, 30, 60):
        result.data[1, y : y + 20, :50].compute()
        away.data[1, y : y + 20, :50].compute()
    assert [at.sample for spy in spies for at in spy.asked] == [0, 1]
    assert away.name.endswith("sampling spread")
    assert away.history[-1]["spread"] == "sampling spread"


def test_another_setting_takes_the_place_of_a_model_in_memory(wishes: dict[str, Any]) -> None:
    """Each change of a prompt would keep another ten gigabytes, until no model fits any more."""
    image = Image(da.from_array(stack()), "zyx")
    loaded = []
    for steps in (1, 2, 1):
        plan = make_plan(image, ROW, **{**wishes, "options": {**wishes["options"], "steps": steps}})
        engine = load_engine(plan.spec, {}, plan.setting(0))
        assert load_engine(plan.spec, {}, plan.setting(0)) is engine
        loaded.append(weakref.ref(engine))
        del engine
    assert [engine() is None for engine in loaded] == [True, True, False]


def test_kept_tiles_are_bounded() -> None:
    """A viewer would fill the memory with planes that were left long ago."""
    kept = KeptTiles(limit=100)
    for number in range(5):
        kept.keep(number, np.zeros(40, np.uint8))
        kept.get(0)
    assert kept.nbytes <= 100
    assert kept.get(0) is not None  # used again and again
    assert kept.get(1) is None
    assert kept.get(4) is not None
    kept.keep("large", np.zeros(1000, np.uint8))
    assert kept.get("large") is not None


def test_costly_tiles_move_to_the_disk_and_leave_it() -> None:
    """A plane of many parts would be computed four times, or fill the disk for good."""
    kept = KeptTiles(limit=100, room=3 * (64 + 128))  # a file has a head of 128 bytes
    tiles = {number: np.full(64, number, np.uint8) for number in range(6)}
    for number, values in tiles.items():
        kept.keep(number, values, costly=True)
    found = [number for number in tiles if kept.get(number) is not None]
    assert found == [3, 4, 5] or found == [2, 3, 4, 5]
    for number in found:
        np.testing.assert_array_equal(kept.get(number), tiles[number])
    folder = kept._scratch()
    assert len(list(folder.iterdir())) in (2, 3)
    kept.forget()
    assert not folder.exists()
    assert kept.get(5) is None


@pytest.mark.parametrize("tidied", ["file", "folder"])
def test_a_tidied_scratch_folder_costs_time_and_nothing_else(tidied: str) -> None:
    """Systems empty their temporary folders after some days, and a viewer runs for weeks."""
    kept = KeptTiles(limit=100)
    for number in range(3):
        kept.keep(number, np.full(64, number, np.uint8), costly=True)
    folder = kept._scratch()
    for path in folder.iterdir():
        path.unlink()
    if tidied == "folder":
        folder.rmdir()
    assert kept.get(0) is kept.get(0) is None
    for number in range(3, 6):
        kept.keep(number, np.full(64, number, np.uint8), costly=True)
    assert kept.get(4) is not None
    assert list(kept._scratch().iterdir())
    kept.forget()


def test_a_full_disk_costs_time_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A result would fail at hour three for want of room for what can be computed again."""

    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("napari_superres.kept_tiles.np.save", full)
    kept = KeptTiles(limit=100)
    for number in range(3):
        kept.keep(number, np.full(64, number, np.uint8), costly=True)
    assert kept.get(0) is None
    assert kept.get(2) is not None
    assert "No space left" in caplog.text


def test_waiting_for_a_tile_of_another_thread_can_be_cancelled() -> None:
    """A viewer that is closed would wait for a plane that somebody else restores."""
    kept = KeptTiles()

    def stop(done: int, total: int) -> None:
        raise Cancelled("Stopped.")

    def wait() -> None:
        with on_tick(stop), kept.claimed(["a", "b"]):
            raise AssertionError("it was claimed")

    with kept.claimed(["b"]), ThreadPoolExecutor(1) as pool, pytest.raises(Cancelled):
        pool.submit(wait).result(timeout=20)
    with kept.claimed(["a", "b"]):
        pass


def test_progress_counts_planes_parts_samples_steps_and_tiles(wishes: dict[str, Any]) -> None:
    """A bar that stands still for an hour, or runs five times from one end to the other."""
    pixels = np.zeros((20, 16), np.uint16)
    wishes = {**wishes, "options": {**wishes["options"], "steps": 2}}
    image = Image(da.from_array(pixels), "yx")
    plan = make_plan(image, PARTS, samples=2, **wishes)
    seen: dict[float, str] = {}
    with on_tick(lambda done, total: seen.setdefault(done / total, doing()) and None):
        planned(image, plan).data.compute(scheduler="synchronous")
    shares = list(seen)
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert len(shares) > 2 * 2 * 2 * 2
    words = "plane 1/1, part 2/2, sample 2/2, step 2/2"
    assert any(text.startswith(words) for text in seen.values())


def test_planes_are_computed_in_half_precision_on_a_gpu_and_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SUPIR in float32 does not fit on a GPU; a batch of eight planes would not either."""
    monkeypatch.setattr("napari_superres.models.engine._torch_device", lambda wish: "cuda:0")
    for name in ("supir-v0f", "ldm-sr-x4", "pisa-sr-x4"):
        compute = choose_compute(MODELS[name])
        assert (compute.device, compute.precision, compute.batch) == ("cuda:0", "bfloat16", 1)
        assert choose_compute(MODELS[name], precision="float32").precision == "float32"
        with pytest.raises(SettingError, match="one by one"):
            choose_compute(MODELS[name], batch=4)
    assert choose_compute(MODELS["realesrgan-x4plus"]).precision == "float32"


def test_sixteen_bit_channels_come_back_in_their_own_units_with_their_light(
    wishes: dict[str, Any],
) -> None:
    """A network for photographs would give intensities of its own, different in each channel."""
    rng = np.random.default_rng(1)
    pixels = np.stack([rng.integers(100, 900, (32, 32)), rng.integers(20_000, 60_000, (32, 32))])
    wishes = {**wishes, "limits": [(150, 800), (20_000, 60_000)]}
    result = sr.upscale(pixels.astype(np.uint16), "ldm-sr-x4", axes="cyx", **wishes)
    assert result.dtype == np.uint16
    # `consistency="local"`, the default: above the scale of a pixel the light is the source's.
    coarse = result.reshape(2, 4, 32, 4, 32).mean(axis=(2, 4))
    wanted = pixels.reshape(2, 4, 8, 4, 8).mean(axis=(2, 4))
    np.testing.assert_allclose(coarse, wanted, rtol=0.05)
    assert make_plan(_image(32), ROW, limits=(0, 1)).consistency == "local"


@pytest.mark.parametrize("name", [n for n, spec in MODELS.items() if spec.unit == "plane"])
def test_parts_of_a_plane_share_at_least_a_tile_and_small_planes_have_none(name: str) -> None:
    """Where parts meet, neighbours would draw different things; a usual plane would be cut."""
    spec = MODELS[name]
    plan = _plan(name, 1024)
    assert plan.tiles == 1
    assert plan.block == (4096, 4096)
    tile = dict(plan.options)["latent_tile"] * (1 if spec.family == "latent" else 8 // 4)
    large = _plan(name, 3000)
    assert large.tiles == 9
    assert large.feather + 2 * large.context >= tile
    assert "parts" in str(large)
    assert "at once" in str(plan)


def _image(side: int) -> Image:
    return Image(da.zeros((side, side), dtype=np.uint16, chunks=512), "yx")


def _plan(name: str, side: int) -> Plan:
    return make_plan(_image(side), name, limits=(0, 1), compute=Compute("torch"))
