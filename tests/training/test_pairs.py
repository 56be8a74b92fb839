"""Pairs on disk: the truth lies on its source, and the record makes it again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import napari_superres as sr
from napari_superres.cli import _run
from napari_superres.errors import OutputError, SettingError
from napari_superres.training.camera import Camera, make_camera
from napari_superres.training.optics import Optics
from napari_superres.training.pairs import PairSettings, simulate_images, write_pairs
from napari_superres.training.recording import area_mean, centres
from napari_superres.training.simulate import FLUORESCENT, Scene, draw_stack, simulate
from napari_superres.training.specimens import STRUCTURES, STYLES
from napari_superres.training.stream import random_scene

if TYPE_CHECKING:
    from pathlib import Path

NOISELESS = Camera(photons=None, bits=None)
SMALL = PairSettings(shape=(20, 24), scale=2)


@pytest.mark.parametrize("file_format", ["ome.tif", "ome.zarr"])
def test_a_written_pair_lies_on_itself(tmp_path: Path, file_format: str) -> None:
    """Half a pixel of shift between source and truth would be blamed on every model."""
    [record] = write_pairs(tmp_path, SMALL, seed=3, file_format=file_format)
    source, truth = (sr.read(tmp_path / record["files"][part]) for part in ("source", "truth"))
    assert (source.shape, truth.shape) == ((20, 24), (40, 48))
    assert (source.dtype, truth.dtype) == (np.uint16, np.float32)
    assert source.units == truth.units == ("micrometer", "micrometer")
    finer = source.rescaled(2, truth.data)
    assert truth.pixel_size == pytest.approx(finer.pixel_size)
    assert truth.translation == pytest.approx(finer.translation)
    made = simulate(seed=3, shape=(20, 24), scale=2)
    np.testing.assert_array_equal(source.data, made.source)
    np.testing.assert_array_equal(truth.data, made.truth)
    assert json.loads((tmp_path / "filaments-3.json").read_text()) == record
    assert record["noise"] == [pytest.approx(made.noise, rel=1e-3)]


def test_the_command_line_says_everything_that_the_simulator_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that is swallowed gives a picture of something else."""
    said = "--kind mitochondria --style hollow --scale 2 --shape 16,20 --planes 2 --step 0.4"
    said += " --optics confocal --na 1.2 --index 1.33 --wavelength 600 --excitation 561"
    said += " --pixel-size 0.2 --aberration coma=0.05 --photons 50 --bits 8 --camera scmos"
    said += " --blur 0.3 --scanned --haze 0.2 --count 2 --seed 5 --json -q"
    assert _run(["simulate", "--out", str(tmp_path), *said.split()]) == 0
    first, second = json.loads(capsys.readouterr().out)["pairs"]
    assert (first["seed"], second["seed"]) == (5, 6)
    optics = first["scene"]["optics"]
    assert (optics["modality"], optics["wavelength"], optics["excitation"]) == (
        "confocal",
        0.6,
        0.561,
    )
    assert optics["pixel_size"] == pytest.approx(0.1)
    assert optics["aberrations"] == {"coma": 0.05}
    assert (first["scene"]["style"], first["scene"]["haze"]) == ("hollow", 0.2)
    assert (first["camera"]["photons"], first["camera"]["pixel_spread"]) == (50, 0.3)
    source = sr.read(tmp_path / first["files"]["source"])
    assert (source.axes, source.shape, source.dtype) == ("zyx", (2, 16, 20), np.uint8)
    assert source.pixel_size == pytest.approx((0.4, 0.2, 0.2))
    # The record is enough to make the pair again.
    scene = Scene(
        **{**first["scene"], "optics": Optics(**optics)},
    )
    again = simulate(
        shape=(2, 16, 20),
        seed=5,
        scale=2,
        scene=scene,
        camera=Camera(**first["camera"]),
        blur_sigma=0.3,
        step=0.4,
        scanned=first["scanned"],
    )
    assert first["scanned"]
    np.testing.assert_array_equal(source.data, again.source)


def test_existing_files_are_not_replaced_in_silence(tmp_path: Path) -> None:
    """A validation set must not change under the figures that were made on it."""
    list(write_pairs(tmp_path, SMALL))
    with pytest.raises(OutputError, match="exists already"):
        list(write_pairs(tmp_path, SMALL))
    list(write_pairs(tmp_path, SMALL, overwrite=True))


def test_a_culture_of_cells_has_two_aligned_channels() -> None:
    """The sample data, and the most lifelike stack there is."""
    scene = Scene(optics=Optics("confocal", na=1.2, refractive_index=1.33, pixel_size=0.1))
    settings = PairSettings((24, 30), 3, scale=2, scene=scene, cells=True, camera=NOISELESS)
    pair = simulate_images(settings, 1)
    assert (pair.source.axes, pair.source.shape) == ("czyx", (2, 3, 24, 30))
    truth = np.asarray(pair.truth.data)
    smooth = simulate_images(replace(settings, blur_sigma=0), 1)
    np.testing.assert_allclose(smooth.source.data, area_mean(truth, 2), rtol=1e-5)
    scan = simulate_images(replace(settings, blur_sigma=0, scanned=True), 1)
    np.testing.assert_allclose(scan.source.data, centres(truth, 2), rtol=1e-5)
    assert [channel.name for channel in pair.source.channels] == ["DNA", "microtubules"]
    assert "EmissionWavelength" in pair.source.metadata["ome_xml"]


@pytest.mark.parametrize("planes", [1, 2])
def test_a_thin_culture_of_cells_has_nuclei(planes: int) -> None:
    """A section of one plane, which is the usual one, would be written with an empty channel."""
    settings = PairSettings((32, 32), planes, scale=2, cells=True, camera=NOISELESS)
    for seed in range(3):
        pair = simulate_images(settings, seed)
        nuclei = np.asarray(pair.truth.data)[0]
        assert nuclei.std() > 0.1 * nuclei.mean()


def test_what_chance_chose_does_not_take_the_place_of_what_was_asked_for() -> None:
    """The pair of nuclei would be replaced by another one, or the run would end half-way."""
    settings = PairSettings(shape=(20, 20), scale=2, scene=None, camera=None)
    chosen = simulate_images(settings, 4)
    kind = chosen.record["scene"]["kind"]
    asked = simulate_images(replace(settings, scene=Scene(kind)), 4)
    assert (chosen.record["name"], asked.record["name"]) == ("any-4", f"{kind}-4")


def test_chance_is_decided_by_the_seed_and_recorded() -> None:
    """A set like the training's own must be repeatable too."""
    settings = PairSettings(shape=(20, 20), scale=2, scene=None, camera=None)
    one, two, other = (simulate_images(settings, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.source.data, two.source.data)
    assert one.record["scene"] != other.record["scene"]
    assert one.record["camera"]["photons"] > 0
    # From the numbers that then draw the scene, it would come in few combinations.
    coupled = random_scene(np.random.default_rng(4))
    assert (coupled.kind, coupled.size) != (
        one.record["scene"]["kind"],
        one.record["scene"]["size"],
    )


@pytest.mark.parametrize(
    ("kind", "style"), [(k, s) for k, styles in STYLES.items() for s in styles]
)
def test_every_style_can_be_asked_for(kind: str, style: str) -> None:
    """Hollow mitochondria are what a model that fills them is caught with."""
    one, again, *others = (
        simulate(seed=2, shape=(24, 24), scale=2, scene=Scene(kind, style=name)).truth
        for name in (style, style, *(other for other in STYLES[kind] if other != style))
    )
    np.testing.assert_array_equal(one, again)
    assert one.std() > 1
    assert others
    assert not any(np.array_equal(one, other) for other in others)


def test_styles_differ_and_wrong_ones_are_refused() -> None:
    """Asking for a style must not give another."""
    hollow, filled = (
        simulate(
            seed=2,
            shape=(48, 48),
            scale=2,
            scene=Scene("mitochondria", style=style, size=2.0, optics=None, background=0),
            camera=NOISELESS,
        ).truth
        for style in ("hollow", "filled")
    )
    assert np.median(hollow[filled > 0.8 * filled.max()]) < 0.8 * filled.max()
    with pytest.raises(SettingError, match="hollow"):
        Scene("filaments", style="hollow")
    with pytest.raises(SettingError, match="granular"):
        Scene("granular", style="hollow")


@pytest.mark.parametrize("kind", [k for k in STRUCTURES if k not in FLUORESCENT])
def test_light_that_does_not_add_gives_no_focal_series(kind: str) -> None:
    """A stack of independent sections would pass for a volume."""
    with pytest.raises(SettingError, match="focal series"):
        simulate(kind, (2, 8, 8), seed=0)


def test_all_kinds_are_checked_before_the_first_is_written(tmp_path: Path) -> None:
    """Half a set of pairs looks like a whole one."""
    said = ["simulate", "--out", str(tmp_path), "--shape", "8", "--scale", "2", "--planes", "2"]
    assert _run([*said, "--kind", "nuclei", "--kind", "electron"]) == 2
    assert not list(tmp_path.iterdir())


def test_a_focal_series_left_to_chance_is_of_a_kind_that_has_one() -> None:
    """The third of eight pairs would be none, after two that were written."""
    settings = PairSettings((8, 8), planes=2, scale=2, scene=None)
    kinds = {simulate_images(settings, seed).record["scene"]["kind"] for seed in range(8)}
    assert kinds <= set(FLUORESCENT)
    assert len(kinds) > 1


def test_planes_of_a_focal_series_change_gradually() -> None:
    """Flicker between planes can be judged only where neighbours are alike."""
    rng = np.random.default_rng(0)
    stack = draw_stack(Scene("nuclei"), 9, (40, 40), rng, step=0.25)
    near, far = (
        np.mean(
            [
                np.corrcoef(a.ravel(), b.ravel())[0, 1]
                for a, b in zip(stack, stack[n:], strict=False)
            ]
        )
        for n in (1, 8)
    )
    assert near > 0.9 > far


def test_defocus_blurs() -> None:
    """A defocused plane is what autofocus leaves behind."""
    sharp, soft = (
        simulate(
            "puncta", (32, 32), seed=1, scale=2, scene=Scene("puncta", defocus=z), camera=NOISELESS
        ).truth
        for z in (0.0, 1.0)
    )
    assert soft.std() / soft.mean() < 0.7 * sharp.std() / sharp.mean()


@pytest.mark.parametrize("bits", [8, 12])
def test_cameras_of_few_bits_are_filled_and_not_saturated(bits: int) -> None:
    """A thousand photons at the usual gain would clip everything that is of interest."""
    camera = make_camera("ccd", bits=bits)
    pair = simulate("nuclei", (48, 48), seed=1, scale=2, camera=camera)
    top = 2**bits - 1
    assert pair.source.max() > 0.5 * top
    assert (pair.source == top).mean() < 0.01
    saturated = simulate("nuclei", (48, 48), seed=1, scale=2, camera=Camera(bits=bits, gain=20))
    assert (saturated.source == top).mean() > 0.1


@pytest.mark.parametrize(
    "wrong",
    [
        ["--kind", "unicorns"],
        ["--style", "hollow"],
        ["--na", "2"],
        ["--bits", "8", "--offset", "250"],
        ["--photons", "many"],
        ["--photons", "nan"],
        ["--detail", "nan"],
        ["--blur", "inf"],
        ["--na", "nan"],
        ["--aberration", "coma=nan"],
        ["--seed", "-3"],
        ["--aberration", "coma"],
        ["--haze", "3"],
        ["--scale", "0"],
        ["--kind", "cells", "--optics", "none"],
        ["--kind", "cells", "--inverted"],
        ["--kind", "any", "--na", "1.2"],
        ["--kind", "filaments", "--kind", "any", "--optics", "confocal"],
        ["--optics", "none", "--aberration", "coma=0.1"],
        ["--optics", "confocal", "--sheet", "3"],
        ["--pinhole", "2"],
        ["--planes", "3", "--defocus", "1"],
    ],
)
def test_what_cannot_be_is_a_usage_error(tmp_path: Path, wrong: list[str]) -> None:
    """A typing error must not give a plausible picture."""
    assert _run(["simulate", "--out", str(tmp_path), *wrong]) == 2
    assert not list(tmp_path.iterdir())
