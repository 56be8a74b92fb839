"""What `compare` measures of models, and what it says of them."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import tifffile
from scipy import ndimage

import napari_superres as sr
from napari_superres.cli import _run
from napari_superres.comparing.cell import Task, _beyond, _estimates
from napari_superres.comparing.records import Cell, Picture, Row, Step
from napari_superres.comparing.statistics import interval, rows_of
from napari_superres.comparing.verdicts import verdicts_of
from napari_superres.estimate import REACHED
from napari_superres.models.camera_noise import Noise
from napari_superres.selection import select
from napari_superres.training.simulate import simulate

if TYPE_CHECKING:
    from pathlib import Path

    from napari_superres.comparing.comparison import Comparison

MODELS = ("lanczos", "linear-x2", "supir-v0q")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Compare two models that run and one that cannot, on one picture with its truth."""
    pair = simulate("filaments", (64, 64), seed=1, scale=2)
    return sr.compare(
        pair.source,
        MODELS,
        report=tmp_path_factory.mktemp("report"),
        scale=2,
        truth=pair.truth,
        device="cpu",
        repeats=1,
        samples=1,
        edge_memory=1e6,
    )


def _cells(made: Comparison) -> dict[str, Cell]:
    return {cell.model: cell for cell in made.cells}


def test_a_model_that_cannot_run_has_a_cell_that_says_why(made: Comparison) -> None:
    """One model without weights would take the whole report with it."""
    cells = _cells(made)
    assert [cells[model].state for model in MODELS] == ["done", "done", "failed"]
    assert "licence" in cells["supir-v0q"].reason


def test_what_was_not_run_is_estimated_and_says_so(made: Comparison) -> None:
    """An estimate that looks like a measurement decides what a laboratory buys."""
    basis = {
        model: {row.figure: row.basis for row in made.rows if row.model == model}
        for model in MODELS
    }
    assert basis["supir-v0q"]["ram_mb"] == "estimate"
    assert basis["supir-v0q"]["seconds_mp"] == "estimate"
    assert basis["supir-v0q"]["weights_mb"] == "fact"
    assert basis["lanczos"]["ram_mb"] == "measured"
    assert "psnr" not in basis["supir-v0q"]


@pytest.mark.parametrize("model", ["supir-v0q", "sd-x4", "realesrgan-x4plus"])
def test_an_estimated_time_is_that_of_a_large_picture(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crop of 64 pixels, enlarged to what SUPIR was trained for, made it look 5 times as slow."""
    monkeypatch.setattr("napari_superres.models.speed.product_speed", lambda *_: 1e12)
    found = []
    for edge in (40, 200):
        pixels = np.random.default_rng(0).integers(0, 4000, (edge, edge + 8)).astype(np.uint16)
        limits, noise = (0.0, 4000.0), Noise(0.0, 1.0, 1.0, 1.0)
        task = Task("", "yx", 1.0, None, limits, noise, model, "cpu", 4, 1, 1, 0, "", "")
        image = task.image(pixels, 1)
        found.append(_estimates(task, image, task.plan(image))["seconds_mp"])
    assert found[0] == pytest.approx(found[1])
    plan = task.plan(task.image(np.zeros((1000, 1000), np.uint16), 1))
    assert found[0] == pytest.approx(plan.flop / (REACHED * 1e12))


def test_figures_are_those_of_measure(made: Comparison) -> None:
    """Two rulers in one program would give two answers."""
    pair = simulate("filaments", (64, 64), seed=1, scale=2)
    result = sr.upscale(pair.source, "linear-x2", device="cpu")
    (channel,) = sr.measure(result, pair.source, pair.truth).channels
    values = _cells(made)["linear-x2"].values
    assert channel.similarity is not None
    assert channel.light is not None
    assert values["psnr"] == pytest.approx(channel.similarity.psnr)
    assert values["flux_error"] == pytest.approx(100 * channel.light.flux_error)


def test_costs_are_those_of_a_process_of_its_own(made: Comparison) -> None:
    """The peak of a shared process is that of the hungriest model in it."""
    values = _cells(made)["lanczos"].values
    assert 30 < values["ram_mb"] < 2000
    assert values["seconds_mp"] > 0
    assert values["start_s"] > 0.1
    assert made.fits("lanczos", "cpu") is False


def test_every_number_is_a_row_of_the_table(made: Comparison) -> None:
    """A number in a report that nobody can trace is a claim."""
    assert made.folder is not None
    with (made.folder / "rows.csv").open(encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    record = json.loads((made.folder / "report.json").read_text("utf-8"))
    assert set(rows) == {row["id"] for row in record["rows"]} == {row.id for row in made.rows}
    for row in made.rows:
        assert float(rows[row.id]["value"]) == pytest.approx(row.value)
    assert {name for verdict in made.verdicts for name in verdict.rows} <= set(rows)


def test_a_second_run_takes_what_is_finished(made: Comparison) -> None:
    """Who stops a run of hours would begin anew; and what failed is to be tried again."""
    assert made.folder is not None
    pair = simulate("filaments", (64, 64), seed=1, scale=2)
    files = {cell.model: cell.pixels for cell in made.cells}
    before = {m: f.stat().st_mtime_ns for m, f in files.items() if f is not None}
    again = sr.compare(
        pair.source,
        ("lanczos", "linear-x2"),
        report=made.folder,
        scale=2,
        truth=pair.truth,
        device="cpu",
        repeats=1,
        samples=1,
    )
    after = {c.model: c.pixels.stat().st_mtime_ns for c in again.cells if c.pixels is not None}
    assert after == before
    assert _cells(again)["lanczos"].values == _cells(made)["lanczos"].values


def test_results_are_compared_whatever_lies_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script of the user's own would be run in the place of a module, and lazy results fail."""
    (tmp_path / "statistics.py").write_text("raise SystemExit('my analysis script runs')")
    monkeypatch.chdir(tmp_path)
    finer = sr.upscale(sr.Image(da.ones((40, 40), dtype="float32"), "yx"), "bicubic", scale=2)
    wishes: dict[str, Any] = {"scale": 2, "device": "cpu", "repeats": 1}
    made = sr.compare(finer, ["lanczos"], report=tmp_path / "report", **wishes)
    assert [cell.state for cell in made.cells] == ["done"]
    pixels = made.cells[0].pixels
    assert pixels is not None
    pixels.unlink()
    again = sr.compare(finer, ["lanczos"], report=tmp_path / "report", **wishes)
    assert [cell.state for cell in again.cells] == ["done"]


def test_a_run_can_be_stopped_and_leaves_no_process(tmp_path: Path) -> None:
    """A model that runs for hours would run on after the window was closed."""
    steps: list[Step] = []

    def stop(step: Step) -> None:
        steps.append(step)
        if len(steps) > 1:  # the process of the first cell has begun
            raise sr.Cancelled("Stopped.")

    with pytest.raises(sr.Cancelled):
        sr.compare(np.ones((40, 40)), ["nearest"], report=tmp_path, device="cpu", progress=stop)
    assert steps[0].total == 1
    assert not list(tmp_path.rglob("result.npy"))


def test_a_model_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """One slow model would hold up all the others."""
    (cell,) = sr.compare(
        np.ones((40, 40)), ["nearest"], report=tmp_path, device="cpu", limit=0.0
    ).cells
    assert cell.state == "failed"
    assert "given up after 0 s" in cell.reason


def test_a_part_is_made_finer_as_the_whole_is(tmp_path: Path) -> None:
    """Another noise was measured in the part that is compared, and more or less of it removed."""
    rng = np.random.default_rng(0)
    light = np.full((320, 320), 100.0)
    light[96:224, 96:224] = ndimage.gaussian_filter(rng.uniform(0, 2000, (128, 128)), 1)
    image = rng.poisson(light).astype(np.uint16)
    part = (slice(100, 220), slice(100, 220))
    made = sr.compare(image, ["microscopy-x2"], report=tmp_path, scale=2, region=part)
    (cell,) = made.cells
    assert cell.pixels is not None
    whole = sr.upscale(image)[200:440, 200:440]
    # The part does not know what lies around it.
    inner = slice(60, -60), slice(60, -60)
    np.testing.assert_allclose(np.load(cell.pixels)[inner], whole[inner], atol=1)  # rounded


def test_degrading_makes_the_source_that_a_coarser_camera_sees(tmp_path: Path) -> None:
    """The user's own sharp image is the truth, and its block means are the source."""
    sharp = np.random.default_rng(0).normal(1000, 50, (130, 129)).astype(np.float32)
    made = sr.compare(
        sharp, ["nearest"], report=tmp_path, scale=4, degrade=True, device="cpu", limit=0.0
    )
    (picture,) = made.pictures
    assert picture.truth is not None
    np.testing.assert_array_equal(picture.truth, sharp[:128, :128])
    np.testing.assert_allclose(
        picture.source, sharp[:128, :128].reshape(32, 4, 32, 4).mean((1, 3)), rtol=1e-5
    )
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "models look better than on its images" in page
    assert "take longer for each million" in page


@pytest.mark.parametrize("chosen", [[0, 1], ["DNA", "actin"]])
def test_a_truth_is_paired_by_the_names_of_its_channels(
    tmp_path: Path, chosen: list[int | str]
) -> None:
    """Every model would be called wrong where the truth lists its channels in another order."""
    values = np.random.default_rng(0).integers(0, 999, (2, 40, 40), dtype=np.uint16)
    channels = sr.Channel("DNA"), sr.Channel("actin")
    source = sr.Image(da.from_array(values), "cyx", channels=channels)
    fine = np.kron(values[::-1], np.ones((2, 2), np.uint16))
    made = sr.compare(
        source,
        ["nearest"],
        report=tmp_path,
        scale=2,
        truth=sr.Image(da.from_array(fine), "cyx", channels=channels[::-1]),
        channels=chosen,
        device="cpu",
        limit=0.0,
    )
    for picture in made.pictures:
        assert picture.truth is not None
        np.testing.assert_array_equal(picture.truth[::2, ::2], picture.source)


@pytest.mark.parametrize("names", [("actin",), ("", ""), ("actin", "DNA", "membrane")])
def test_a_truth_of_other_channels_or_planes_is_refused(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    """DNA would be judged by actin, and the middle plane by the only one."""
    rng = np.random.default_rng(0)
    two = sr.Channel("DNA"), sr.Channel("nuclei")
    source = sr.Image(da.from_array(rng.random((2, 5, 40, 40))), "czyx", channels=two)
    fine = da.from_array(rng.random((len(names), 5, 80, 80)))
    truth = sr.Image(fine, "czyx", channels=tuple(map(sr.Channel, names)))
    wishes = {"report": tmp_path, "scale": 2, "device": "cpu", "limit": 0.0}
    if len(names) != 2:
        with pytest.raises(sr.InputError, match="no names say which"):
            sr.compare(source, ["nearest"], truth=truth, channels=["nuclei"], **wishes)
    if "DNA" in names:
        (picture,) = sr.compare(
            source, ["nearest"], truth=truth, channels=["DNA"], **wishes
        ).pictures
        np.testing.assert_array_equal(picture.truth, fine[1, 2])
    if len(names) == 1:
        plain = replace(truth, channels=(sr.Channel(),))
        (picture,) = sr.compare(
            source, ["nearest"], truth=plain, channels=["nuclei"], **wishes
        ).pictures
        np.testing.assert_array_equal(picture.truth, fine[0, 2])
        with pytest.raises(sr.InputError, match="no names say which"):
            sr.compare(source, ["nearest"], truth=plain, **wishes)
    one = select(truth, planes={"z": 0})
    with pytest.raises(sr.InputError, match="1 planes along z"):
        sr.compare(source, ["nearest"], truth=one, **wishes)


def test_what_a_result_adds_does_not_depend_on_how_it_lies() -> None:
    """Half a spectrum stands for the whole, and its columns for two each."""
    rng = np.random.default_rng(0)
    stripes = np.sin(np.arange(96)[:, None] * 1.3) + 0.3 * rng.random((96, 96))
    for width in (96, 95):
        part = stripes[:, :width]
        assert _beyond(part, 4) == pytest.approx(_beyond(part.T, 4), rel=1e-9)


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"truth": np.ones((80, 81))}, "81 pixels along x"),
        ({"truth": [np.ones((80, 80))] * 2}, "1 images and 2"),
        ({"truth": np.ones((80, 80)), "degrade": True}, "makes its own truths"),
        ({"repeats": 0}, "repeats=0"),
        ({"models": []}, "no model"),
        ({"device": "foo"}, "device='foo' is not known"),
        ({"edge_memory": float("nan")}, "nan bytes"),
        ({"models": ["lanczoss"]}, "Did you mean lanczos"),
        ({"region": (slice(0, 9), slice(0, 9))}, "too few to measure"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(
    tmp_path: Path, wishes: dict[str, object], words: str
) -> None:
    """Found after an hour, a wrong truth is an hour lost."""
    keywords = {"models": ["nearest"], "scale": 2, **wishes}
    with pytest.raises(sr.SuperresError, match=words):
        sr.compare(np.ones((40, 40)), report=tmp_path, **keywords)
    mask, plain = np.ones((80, 80), bool), np.ones((40, 40))
    for image, truth in ((mask, None), (plain, mask)):
        with pytest.raises(sr.SuperresError, match="is a mask"):
            sr.compare(image, ["nearest"], report=tmp_path, scale=2, truth=truth)


def test_an_interval_is_given_only_for_enough_pictures() -> None:
    """Of three pictures a bootstrap gives an interval that means nothing."""
    assert all(math.isnan(end) for end in interval([1.0, 2.0, 3.0, 4.0], 0))
    low, high = interval([1.0, 2.0, 3.0, 4.0, 5.0], 0)
    assert 1 <= low < 3 < high <= 5
    assert interval([2.0] * 5, 0) == (2.0, 2.0)


def _picture(name: str, kind: str = "clean image") -> Picture:
    pixels = np.ones((32, 32), np.float32)
    noise = Noise(0.0, 1.0, 1.0, 1.0)
    return Picture(name, kind, "yx 32 x 32", "yx", pixels, None, (0, 1), noise, 1.0, None, "")


def _found(psnr: dict[str, list[float]]) -> tuple[Row, ...]:
    count = len(psnr["lanczos"])
    cells = [
        Cell(f"p{i}", model, "cpu", "done", values={"psnr": values[i], "flux_error": 0.1})
        for i in range(count)
        for model, values in psnr.items()
    ]
    return rows_of([_picture(f"p{i}") for i in range(count)], cells, "lanczos", 0)


def _grade(
    psnr: dict[str, list[float]], kind: str = "clean image", **more: float
) -> tuple[str, str]:
    count = len(psnr["lanczos"])
    pictures = [_picture(f"p{i}", kind) for i in range(count)]
    cells = [
        Cell(f"p{i}", model, "cpu", "done", values={"psnr": values[i], **more})
        for i in range(count)
        for model, values in psnr.items()
    ]
    rows = rows_of(pictures, cells, "lanczos", 0)
    (verdict,) = verdicts_of(pictures, cells, rows, "lanczos")
    return verdict.grade, verdict.words


def test_differences_are_taken_on_the_same_pictures() -> None:
    """Pictures differ by 20 dB; models by one. Unpaired, nothing would ever be seen."""
    rows = _found({"lanczos": [20, 30, 40, 50, 25], "mine": [21, 31.2, 40.8, 51, 26.1]})
    (row,) = (r for r in rows if r.scope == "difference" and r.figure == "psnr")
    assert row.value == pytest.approx(1.0)
    assert 0.79 < row.low <= row.high < 1.21
    assert row.n == 5


def test_verdicts_say_what_the_numbers_allow() -> None:
    """A verdict that goes beyond the numbers is worse than none."""
    base = [20.0, 30.0, 40.0, 50.0, 25.0]
    up = [value + 1 + i / 10 for i, value in enumerate(base)]
    mixed = [value + (-1) ** i for i, value in enumerate(base)]
    assert _grade({"lanczos": base, "mine": up})[0] == "better"
    assert _grade({"lanczos": up, "mine": base})[0] == "worse"
    assert _grade({"lanczos": base, "mine": mixed})[0] == "similar"
    grade, words = _grade({"lanczos": base[:1], "mine": up[:1]})
    assert grade == "better"
    assert "no interval can be given" in words
    grade, words = _grade({"lanczos": base, "mine": up}, flux_error=7.0)
    assert grade == "careful"
    assert "Light was moved (7 %)" in words


def test_a_verdict_on_a_noisy_image_says_that_its_truth_may_be_noisy_too() -> None:
    """A model that removes noise is farther from a truth that holds it, and may be right."""
    values = {"lanczos": [20.0] * 5, "mine": [19.0] * 5}
    grade, words = _grade(values, "noisy image")
    assert grade == "worse"
    assert "rated too low" in words
    assert "rated too low" not in _grade(values)[1]


def test_the_command_line_prints_what_python_returns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts read the JSON; people the table, and where the report is."""
    file = tmp_path / "one.tif"
    tifffile.imwrite(file, np.full((40, 40), 7, np.uint8))
    command = ["compare", str(file), "--models", "nearest", "--report", str(tmp_path / "out")]
    assert _run([*command, "--device", "cpu", "--repeats", "1", "--samples", "1", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["cells"][0]["state"] == "done"
    assert str(tmp_path / "out") in said.err
    assert (tmp_path / "out" / "rows.csv").is_file()


def test_a_comparison_of_nothing_is_not_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script took a report without a single number for a finished one."""
    monkeypatch.setenv("NAPARI_SUPERRES_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "one.tif"
    tifffile.imwrite(file, np.full((40, 40), 7, np.uint8))
    command = ["compare", str(file), "--models", "realesrgan-x4plus", "--device", "cpu", "--report"]
    assert _run([*command, str(tmp_path / "out"), "--json"]) == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["cells"][0]["state"] == "failed"
    assert "No model gave a result" in said.err
    assert _run([*command, str(file / "inside" / "it")]) == 4
    assert "cannot be written: Not a directory" in capsys.readouterr().err
