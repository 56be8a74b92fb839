"""Fine-tuning: an honest judgement on parts never seen, and a model like any other."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch

import napari_superres as sr
from napari_superres.arrays import as_image
from napari_superres.cli import _run
from napari_superres.errors import InputError, OutputError, SettingError
from napari_superres.models.weights import find_model
from napari_superres.planning import make_plan
from napari_superres.training.adapting import HELPS, Outcome, _verdict, adapt
from napari_superres.training.camera import Camera, expose
from napari_superres.training.degrading import Degrading, _std, degrading_for
from napari_superres.training.finetune import TuneSettings, embedded_network, examples_of
from napari_superres.training.judging import Judge
from napari_superres.training.own_images import _windows, gather, light_camera
from napari_superres.training.recording import degrade
from napari_superres.training.simulate import Scene, draw, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK = TuneSettings(2, Degrading(), steps=4, every=2, batch=2, core=12, low_precision=False)
RADIUS = 13


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Let sums be made in one order, so that runs can be compared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _sharp(kind: str = "lines", planes: int = 2, edge: int = 96, photons: float = 2000) -> sr.Image:
    """Return something sharp in several planes, as a careful exposure gives it."""
    camera = Camera(photons=photons)
    stack = [
        simulate(kind, (edge, edge + 32), seed=n, scale=1, camera=camera, blur_sigma=0).source
        for n in range(planes)
    ]
    return sr.Image(da.from_array(np.stack(stack).astype(np.uint16)), "zyx", name="sharp")


def test_the_parts_do_not_overlap_and_the_test_part_is_apart() -> None:
    """A gain on pixels that were learned from is no gain."""
    y, x = np.indices((64, 200))
    position = np.stack([x + 1000 * y] * 3).astype(np.float32)
    image = sr.Image(da.from_array(position), "zyx", name="positions")
    parts = gather([image], 2, RADIUS)
    low, high = np.percentile(position[:, :, :140], (0.1, 99.9))

    def columns(light: np.ndarray) -> set[int]:
        values = np.rint(light * (high - low) + low).astype(np.int64)
        return set((values % 1000).ravel().tolist())

    learned = set.union(*(columns(piece.light) for piece in parts.training))
    judged = [
        set.union(*(columns(piece.light[piece.judged]) for piece in pieces))
        for pieces in (parts.validation, parts.test)
    ]
    assert learned.isdisjoint(judged[0] | judged[1])
    assert judged[0].isdisjoint(judged[1])
    assert max(learned) < min(judged[0]) <= max(judged[0]) < min(judged[1])
    assert len(learned) + len(judged[0]) + len(judged[1]) == 200
    assert len(parts.training) == len(parts.validation) == len(parts.test) == 3


def test_every_channel_plane_and_colour_is_used() -> None:
    """Channels that are left out in silence are not learned."""
    rng = np.random.default_rng(0)
    channels = da.from_array(rng.integers(0, 99, (2, 3, 70, 60), dtype=np.uint8))
    colours = da.from_array(rng.integers(0, 99, (70, 60, 4), dtype=np.uint8))
    images = [sr.Image(channels, "czyx", name="a"), sr.Image(colours, "yxs", name="b")]
    parts = gather(images, 2, RADIUS)
    assert [fact["name"] for fact in parts.facts] == [
        "a",
        "a, channel 1",
        "b",
        "b, channel 1",
        "b, channel 2",
    ]
    assert len(parts.training) == 2 * 3 + 3


@pytest.mark.parametrize(
    ("shape", "dtype", "match"),
    [
        ((30, 40), np.uint16, "too small"),
        ((90, 90), bool, "bool"),
        ((90, 90), np.uint16, "contrast"),
    ],
)
def test_images_that_teach_nothing_are_refused(
    shape: tuple[int, int], dtype: type, match: str
) -> None:
    """Hours of training on a blank field end in a model of nothing."""
    image = sr.Image(da.zeros(shape, dtype=dtype), "yx", name="blank")
    with pytest.raises(InputError, match=match):
        gather([image], 2, RADIUS)


@pytest.mark.parametrize("blank", [110, 130])
def test_a_stitched_image_that_ends_in_nothing_is_refused(blank: int) -> None:
    """Nothing would be left to judge by: no verdict, after minutes of training."""
    image = _sharp(planes=1, edge=168)
    cells = np.array(image.data)
    assert cells.shape[-1] == 200
    cells[..., blank:] = 0
    stitched = replace(image, data=da.from_array(cells[..., :96, :]))
    with pytest.raises(InputError, match="kept apart for judging"):
        gather([stitched], 2, RADIUS)


def test_one_blank_window_spoils_no_judgement() -> None:
    """A good model was thrown away with "+nan dB" where one plane held no cell at its end."""
    image = _sharp(planes=3, edge=168)
    cells = np.array(image.data)
    cells[1, :, 168:] = 0  # the test part of one plane is blank, and what lies around it is not
    embedded, _ = embedded_network(2)
    parts = gather([replace(image, data=da.from_array(cells))], 2, embedded.radius)
    assert len(parts.test) < len(parts.validation)
    judge = Judge(parts.test, Degrading(), 2, 0, embedded)
    for row in judge.table(embedded).values():
        assert row["gain"] == 0
        assert np.isfinite(row["bicubic"])


@pytest.mark.parametrize("photons", [50, 500])
def test_the_cameras_photons_are_found_in_the_sharp_image(photons: float) -> None:
    """Noise that is guessed teaches the wrong strength of denoising."""
    scene = sr.simulate("nuclei", (160, 260), seed=1, scale=1, camera=Camera(photons=photons))
    image = sr.Image(da.from_array(scene.source), "yx", name="nuclei")
    [piece] = gather([image], 2, RADIUS).training
    # In units of light, of which 1 is what the brightest pixels are.
    bright = float(np.percentile(scene.truth - 100, 99.9)) / 2 / photons
    assert piece.camera.photons == pytest.approx(photons * bright, rel=0.5)


@pytest.mark.parametrize("sigma", [0.0, 0.4, 0.8])
def test_blur_and_noise_of_a_coarse_image_are_recognised(sigma: float) -> None:
    """`--like` stands for a calibration that few people have made."""
    rng = np.random.default_rng(3)
    light = draw(Scene("membranes"), (400, 560), rng)
    sharp = expose(light[:, :280], Camera(photons=3000), rng)
    pair = degrade(light[:, 280:], 2, rng, camera=Camera(photons=300), blur_sigma=sigma)
    image, coarse = (sr.Image(da.from_array(x), "yx") for x in (sharp, pair.source))
    found = degrading_for([image], 2, like=[coarse])
    # A blur of a quarter of a pixel hardly differs from none.
    assert found.blur == pytest.approx(sigma, abs=0.3 if sigma == 0 else 0.11)
    assert found.photons is not None
    assert found.photons[0] < 300 < found.photons[1]


def test_a_coarse_image_is_looked_at_all_over() -> None:
    """Cells in the middle of a field told nothing: photons and blur came from its empty corner."""
    rng = np.random.default_rng(3)
    light = draw(Scene("membranes"), (400, 560), rng)
    sharp = expose(light[:, :280], Camera(photons=3000), rng)
    field = np.full((1600, 1600), 0.02, np.float32)
    field[700:1100, 700:980] = light[:, 280:]
    pair = degrade(field, 2, rng, camera=Camera(photons=300), blur_sigma=0.6)
    image, coarse = (sr.Image(da.from_array(x), "yx") for x in (sharp, pair.source))
    found = degrading_for([image], 2, like=[coarse])
    assert found.blur == pytest.approx(0.6, abs=0.11)
    assert found.photons is not None
    assert found.photons[0] < 300 < found.photons[1]


def test_what_is_said_overrides_what_is_estimated() -> None:
    """A PSF that was measured is better than one that was guessed."""
    said = degrading_for([], 2, blur=0.8, photons=(50, 200), faithful=0.1)
    assert (said.blur, said.photons, said.faithful) == (0.8, (50, 200), 0.1)
    [piece] = gather([_sharp(planes=1)], 2, RADIUS).training
    assert said.camera(piece).photons == pytest.approx(100)
    clean = degrading_for([], 2, blur=0.8, photons="none")
    assert clean.cases == ("restoring",)
    assert clean.camera(piece).photons is None
    assert degrading_for([], 2, blur=0, photons="none").cases == ("faithful",)
    infinite = {"photons": (9.0, np.inf)}
    for wrong in (
        {"blur": -1.0},
        {"blur": np.nan},
        {"faithful": 2.0},
        {"photons": (9.0, 1.0)},
        infinite,
    ):
        with pytest.raises(SettingError):
            degrading_for([], 2, **wrong)
    with pytest.raises(SettingError, match="scale=0"):
        degrading_for([_sharp()], 0, like=[_sharp()])


def test_a_coarser_scan_keeps_the_contrast_that_a_larger_pixel_averages() -> None:
    """A confocal that takes wider steps has the same optics and the same noise a pixel."""
    scan = degrading_for([], 2, scanned=True)
    assert (scan.blur, scan.described["restoring"]) == (0, "with noise")
    assert "centres" in str(scan)
    assert "blur" not in str(scan)
    x = np.indices((64, 64))[1]
    light = (0.5 + 0.5 * np.sin(2 * np.pi * x / 4)).astype(np.float32)
    piece = replace(gather([_sharp(planes=1)], 2, RADIUS).training[0], light=light)
    area = degrading_for([], 2)
    rng = np.random.default_rng(0)
    for case in ("faithful", "restoring"):
        pairs = [
            one.coarser(light, 2) if case == "faithful" else one.restoring(piece, 2, rng)
            for one in (replace(scan, photons=(1e5, 1e5)), replace(area, photons=(1e5, 1e5)))
        ]
        contrast = [float(pair.source[4:-4, 4:-4].std()) for pair in pairs]
        # Seen an eighth of a period from each zero; a spline over four samples a period is rough.
        assert contrast[0] == pytest.approx(0.5 / np.sqrt(2), abs=0.1)
        # The mean of two samples is 0.25 or 0.75, a contrast of 0.71 of that; blur takes more.
        assert contrast[1] < 0.75 * contrast[0]
    told = degrading_for([], 2, scanned=True, blur=0.3, photons=(50, 50))
    assert (told.scanned, told.blur, told.photons) == (True, 0.3, (50, 50))
    assert told.blur_spread > 0
    dark = scan.coarser(light - 0.7, 2).source
    np.testing.assert_allclose(dark, scan.coarser(light, 2).source - 0.7, atol=1e-6)


def test_the_cases_are_named_by_what_is_lost() -> None:
    """A verdict that names a blur which was not there is no verdict."""
    assert degrading_for([], 2).described == {
        "faithful": "on a coarser grid alone",
        "restoring": "with blur and noise",
    }
    assert degrading_for([], 2, photons="none").described == {"restoring": "with blur"}
    assert degrading_for([], 2, scanned=True).described == {
        "faithful": "on a coarser scan alone",
        "restoring": "with noise",
    }


def test_a_model_of_coarse_scans_is_not_forced_to_their_values(tmp_path: Path) -> None:
    """The mean of fine pixels is not what a scan sees between them."""
    settings = replace(QUICK, steps=2, degrading=degrading_for([], 2, scanned=True))
    output = tmp_path / "faster.safetensors"
    *_, outcome = adapt([_sharp()], output, tmp_path / "state", settings, anyway=True)
    assert isinstance(outcome, Outcome)
    assert "on a coarser scan alone" in outcome.verdict
    image = _sharp(planes=1)
    kinds = {
        str(model): make_plan(image, find_model(str(model), 2), None, denoise=0.0).consistency
        for model in (output, "microscopy-x2")
    }
    assert kinds == {str(output): "local", "microscopy-x2": "pixel"}


def test_a_coarse_scan_tells_its_noise_and_no_blur() -> None:
    """Through the same optics there is none; an estimate would find some in folded detail."""
    rng = np.random.default_rng(3)
    light = draw(Scene("membranes"), (400, 560), rng)
    sharp = expose(light[:, :280], Camera(photons=3000), rng)
    pair = degrade(light[:, 280:], 2, rng, camera=Camera(photons=300), blur_sigma=0, scanned=True)
    image, coarse = (sr.Image(da.from_array(x), "yx") for x in (sharp, pair.source))
    found = degrading_for([image], 2, like=[coarse], scanned=True)
    assert (found.blur, found.blur_spread, found.scanned) == (0, 0, True)
    assert found.photons is not None
    assert found.photons[0] < 300 < found.photons[1]


def test_examples_are_the_same_whenever_they_are_made() -> None:
    """A resumed run would otherwise be another run."""
    parts = gather([_sharp()], 2, RADIUS)
    one, other = (examples_of(QUICK, parts, step, RADIUS)[0] for step in (3, 4))
    again = examples_of(QUICK, parts, 3, RADIUS)[0]
    np.testing.assert_array_equal(one.source, again.source)
    np.testing.assert_array_equal(one.truth, again.truth)
    assert not np.array_equal(one.source, other.source)
    assert one.truth.shape == (2, 1, 76, 76)
    np.testing.assert_allclose(one.source.std(axis=(1, 2, 3)), 1, rtol=1e-3)


@pytest.mark.parametrize("wish", [{"faithful": 1.0}, {"photons": "none"}])
def test_examples_without_added_noise_are_told_none(wish: dict[str, Any]) -> None:
    """What is measured there is the truth's own grain, which a result is to keep."""
    image = _sharp(edge=128)
    settings = replace(QUICK, degrading=degrading_for([image], 2, **wish), batch=12, core=24)
    [batch] = examples_of(settings, gather([image], 2, RADIUS), 1, RADIUS)
    assert not batch.noise.any()


@pytest.mark.slow
def test_noise_that_is_the_same_everywhere_stays_as_strong_as_it_was() -> None:
    """Electrons of a camera with 100 000 photons, beside the photons of another, are all noise."""
    rng = np.random.default_rng(0)
    light = simulate("electron", (256, 256), seed=3, scale=1).truth
    light = (light - light.min()) / np.ptp(light)
    steady = as_image(1000 + 900 * light + rng.normal(0, 30, light.shape), "yx")
    shot = as_image(rng.poisson(400 * light + 1).astype(np.float32), "yx")
    sharp = as_image(light.astype(np.float32), "yx")

    def noise(*like: sr.Image) -> float:
        return _std(degrading_for([sharp], 2, like=like).camera(piece))

    piece = gather([sharp], 2, RADIUS).training[0]
    one, other, both = noise(steady), noise(shot), noise(steady, shot)
    assert 0.8 * min(one, other) < both < 1.2 * max(one, other)
    found = degrading_for([sharp], 2, like=[steady])
    assert "electrons of other noise" in str(found)
    anyhow = [
        pair.noise
        for _ in range(200)
        for pair in [replace(found, faithful=0, anyhow=1).random(light, piece, 2, rng)]
    ]
    assert np.quantile(anyhow, 0.95) < 0.2
    told = degrading_for([sharp], 2, like=[steady], photons=(200, 200))
    assert _std(told.camera(piece)) == pytest.approx(_std(light_camera(200)))


def test_many_planes_take_no_more_memory_than_a_few() -> None:
    """A tile scan with time filled the memory, where 64 windows were promised."""

    def count(cells: int, planes: int) -> list[int]:
        kinds = [k for n in range(planes) for k, _ in _windows((cells, cells), 4, planes, n, 64)]
        return [kinds.count(kind) for kind in range(3)]

    assert count(2048, 64) == [64, 64, 64]
    assert count(2048, 1) == [11, 12, 12]
    parts = gather([_sharp()], 2, RADIUS)
    assert [facts["planes"] for facts in parts.facts] == [2]


def test_it_helps_where_the_specimen_is_unlike_any_other(tmp_path: Path) -> None:
    """What fine-tuning is for: a regular structure that the general model cannot know."""
    y, x = np.indices((160, 260))
    lines = 500 + 400 * np.sign(np.sin(2 * np.pi * (x + 0.3 * y) / 5.3))
    light = lines + np.random.default_rng(0).normal(0, 10, lines.shape)
    image = sr.Image(da.from_array(light.astype(np.float32)), "yx", name="grating")
    settings = replace(QUICK, steps=60, every=20, batch=4, core=24)
    *_, outcome = adapt([image], tmp_path / "mine.safetensors", tmp_path / "state", settings)
    assert isinstance(outcome, Outcome)
    assert outcome.helped
    assert min(row["gain"] for row in outcome.paired.values()) > 0.3


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """Laptops are closed."""
    image, names = _sharp(), ("whole", "halved")
    whole, halved = (tmp_path / name for name in names)
    done = list(adapt([image], tmp_path / "a.safetensors", whole, QUICK, anyway=True))
    begun = adapt([image], tmp_path / "b.safetensors", halved, QUICK, anyway=True)
    first = next(begun)
    with pytest.raises(SettingError, match="Another training is at work"):
        next(adapt([image], tmp_path / "b.safetensors", halved, QUICK, overwrite=True))
    begun.close()
    rest = list(adapt([image], tmp_path / "b.safetensors", halved, QUICK, anyway=True))
    assert (first.step, rest[0].step) == (2, 4)
    assert (halved / "preview.png").read_bytes().startswith(b"\x89PNG")
    assert rest[-1].paired == done[-1].paired
    with pytest.raises(SettingError, match="other seed"):
        list(adapt([image], tmp_path / "c.safetensors", halved, replace(QUICK, seed=1)))
    again = adapt(
        [image], tmp_path / "c.safetensors", halved, replace(QUICK, seed=1), overwrite=True
    )
    assert next(again).step == 2


def test_a_run_goes_on_with_its_own_pixels_alone(tmp_path: Path) -> None:
    """Two images of one name, size and noise look alike: one would be judged by the other's."""
    folder, output = tmp_path / "state", tmp_path / "mine.safetensors"
    image = _sharp()
    begun = adapt([image], output, folder, QUICK)
    assert next(begun).step == 2
    begun.close()
    cells = np.array(image.data)
    cells[..., 108:] = cells[..., :107:-1]  # the test part alone
    other = replace(image, data=da.from_array(cells))
    assert gather([other], 2, RADIUS).facts == gather([image], 2, RADIUS).facts
    with pytest.raises(SettingError, match="other pixels"):
        next(adapt([other], output, folder, QUICK))
    # A state that was begun before pixels were told apart still goes on.
    kept = folder / "settings.json"
    facts = json.loads(kept.read_text())
    del facts["pixels"]
    kept.write_text(json.dumps(facts))
    assert next(adapt([image], output, folder, QUICK)).step == 4


def test_when_it_does_not_help_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    """A model that is no better than the embedded one only looks like progress."""
    output = tmp_path / "mine.safetensors"
    settings = replace(QUICK, every=4, learning_rate=1e-9)
    *records, outcome = adapt([_sharp()], output, tmp_path / "state", settings)
    assert [record.step for record in records] == [4]
    assert not outcome.helped
    assert outcome.written is None
    assert not output.exists()
    assert "did not help" in outcome.verdict
    assert "microscopy-x2" in outcome.verdict


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ((0.1, 0.4), "beats it by +0.10 dB grid (5) and +0.40 dB noise (5)."),
        ((-0.4, 0.8), "beats it by +0.80 dB noise (5), but loses 0.40 dB grid (5)."),
        ((0.8, -0.4), "beats it by +0.80 dB grid (5), but loses 0.40 dB noise (5)."),
        ((-0.004, 0.2), "beats it by +0.00 dB grid (5) and +0.20 dB noise (5)."),
        ((-0.4, 0.2), "differs from it by -0.40 dB grid (5) and +0.20 dB noise (5)."),
    ],
)
def test_the_verdict_is_true_of_each_side(gains: tuple[float, float], said: str) -> None:
    """'It beats the embedded model by -0.40 dB' sent people to the wrong one."""
    row = {"images": 5, "better": 0.5}
    paired = {
        case: {**row, "gain": gain}
        for case, gain in zip(("faithful", "restoring"), gains, strict=True)
    }
    verdict = _verdict(paired, "it", Degrading(), helped=sum(gains) / 2 >= HELPS)
    for long, short in (
        ("on a coarser grid alone", "grid"),
        ("with blur and noise", "noise"),
        ("better in 50 % of 5 parts", "5"),
    ):
        verdict = verdict.replace(long, short)
    assert said in verdict
    assert verdict.endswith("Use it with denoise=0.") is (gains[0] < 0 < gains[1] - 0.5)
    assert verdict.endswith("Use it unless denoise=0.") is (gains[1] < 0)


def test_it_stops_when_nothing_is_gained(tmp_path: Path) -> None:
    """Early stopping is what keeps a small image from being learned by heart."""
    settings = replace(QUICK, steps=40, every=1, patience=2, learning_rate=1e-9)
    *records, _ = adapt([_sharp()], tmp_path / "mine.safetensors", tmp_path / "state", settings)
    assert [record.stopped for record in records] == [False, False, True]


def test_names_that_are_taken_or_wrong_are_refused_at_once(tmp_path: Path) -> None:
    """Minutes of training must not end in an error about a file name."""
    taken = tmp_path / "taken.safetensors"
    taken.write_bytes(b"")
    with pytest.raises(OutputError, match="exists"):
        next(adapt([_sharp()], taken, tmp_path / "state", QUICK))
    with pytest.raises(OutputError, match="safetensors"):
        next(adapt([_sharp()], tmp_path / "mine.pth", tmp_path / "state", QUICK))
    with pytest.raises(SettingError, match="scale=3"):
        next(adapt([_sharp()], tmp_path / "a.safetensors", tmp_path / "s", replace(QUICK, scale=3)))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model that the command line adapted to a file."""
    folder = tmp_path_factory.mktemp("tuned")
    sharp = folder / "sharp.ome.tif"
    tifffile.imwrite(
        sharp, np.asarray(_sharp().data), metadata={"axes": "ZYX"}, photometric="minisblack"
    )
    said = f"train --on {sharp} -o {folder / 'mine.safetensors'} --steps 3 --anyway --threads 1 -q"
    assert _run(said.split()) == 0
    return folder / "mine.safetensors"


@pytest.mark.parametrize("device", ["cpu/ncnn", "cpu/torch"])
def test_the_result_is_a_model_like_any_other(tuned: Path, device: str) -> None:
    """``--model mine.safetensors`` is all that its owner wants."""
    source = simulate("nuclei", (40, 50), seed=1, scale=2).source
    spec = find_model(str(tuned))
    assert (spec.scale, spec.denoise, spec.consistency) == (2, "auto", "local")
    assert spec.licence == "BSD-3-Clause"
    result, spread = sr.upscale(source, str(tuned), uncertainty=True, device=device)
    assert result.shape == spread.shape == (80, 100)
    other = sr.upscale(source * 3 + 50, str(tuned), device=device)
    assert np.abs((other - 50) / 3 - result).max() < 1e-4 * np.ptp(result)
    plain = sr.upscale(source, "microscopy-x2", device=device)
    assert 0 < np.abs(plain - result).max() < 0.5 * np.ptp(result)


def test_colleagues_may_read_it(tuned: Path) -> None:
    """A laboratory shares a folder, and only who had trained could use what lay there."""
    beside = tuned.with_name("beside")
    beside.touch()
    assert tuned.stat().st_mode == beside.stat().st_mode


def test_its_card_says_what_it_is(tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is found in a year must speak for itself."""
    assert _run(["models", "info", str(tuned)]) == 0
    text = capsys.readouterr().out
    for word in ("sharp", "gain over embedded", "90 % error bound", "Limits", "microscopy-x2"):
        assert word in text
    assert _run(["models", "info", str(tuned), "--json"]) == 0
    card = json.loads(capsys.readouterr().out)["card"]
    assert set(card["paired"]) == {"faithful", "restoring"}
    assert card["based_on"]["name"] == "microscopy-x2"
    assert card["training"]["steps"] == 3
    shares = card["coverage_of_90_percent_bound"].values()
    assert all(0 < share <= 1 for share in shares)


def test_the_command_says_how_it_went(
    tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts read the outcome, people the verdict."""
    sharp = tuned.with_name("sharp.ome.tif")
    output = tmp_path / "second.safetensors"
    said = ["train", "--on", str(sharp), "-o", str(output), "--steps", "2", "--json"]
    said += [
        "--scanned",
        "--blur",
        "0.4",
        "--photons",
        "100:400",
        "--faithful",
        "0.2",
        "--threads",
        "1",
    ]
    assert _run(said) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["helped"] is (report["output"] is not None)
    assert report["verdict"] in err
    assert "centres of wider pixels, a blur of 0.40 source pixels" in err
    kept = json.loads((tmp_path / "second.training" / "settings.json").read_text())
    assert kept["degrading"]["photons"] == [100, 400]


@pytest.mark.parametrize(
    "wrong",
    [
        ["--blur", "0.5"],
        ["--blur", "0"],
        ["--scanned"],
        ["--photons", "9"],
        ["--axes", "yx"],
        ["--anyway"],
        ["--size", "0"],
        ["--on", "nothing.tif"],
        ["--on", "nothing.tif", "--pairs", "3"],
        ["--photons", "few:many"],
        ["--seed", "-1"],
    ],
)
def test_contradictions_are_refused(tmp_path: Path, wrong: list[str]) -> None:
    """A wish that is ignored in silence costs hours."""
    code = _run(["train", "-o", str(tmp_path / "a.safetensors"), *wrong])
    assert code in (2, 4)
    assert not list(itertools.chain(tmp_path.glob("*")))
