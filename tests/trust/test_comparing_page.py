"""The report as people see it: one page, and every number in it a row."""

from __future__ import annotations

import base64
import csv
import re
from typing import TYPE_CHECKING

import dask.array as da
import imagecodecs
import numpy as np
import pytest

import napari_superres as sr
from napari_superres.comparing.drawing import scale_bar, view_of
from napari_superres.comparing.records import Picture
from napari_superres.models.camera_noise import Noise
from napari_superres.training.simulate import simulate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report of two models on two pictures, and of one model that cannot run."""
    folder = tmp_path_factory.mktemp("report")
    pair = simulate("filaments", (48, 64), seed=1, scale=2)
    image = sr.Image(
        da.from_array(np.stack([pair.source, pair.source[::-1]])),
        "cyx",
        name="<cells>",
        channels=(sr.Channel("red"), sr.Channel("blue")),
        pixel_size=(1.0, 0.5, 0.5),
        units=(None, "<furlong>", "<furlong>"),
    )
    sr.compare(
        image,
        ["nearest", "lanczos", "realesrgan-x4plus"],
        report=folder,
        scale=2,
        channels=["red", "blue"],
        device="cpu",
        repeats=1,
        samples=1,
    )
    return folder


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    """Return the page."""
    return (folder / "report.html").read_text("utf-8")


def test_the_page_needs_nothing_from_elsewhere(html: str) -> None:
    """A report is looked at on a train, and must not tell a server that it is."""
    assert all(
        value.startswith("data:image/png;base64,")
        for value in re.findall(r'(?:src|href)="([^"]+)"', html)
    )
    assert "url(" not in html
    assert "@import" not in html
    assert "fetch(" not in html


def test_every_number_of_the_page_is_the_one_in_its_row(html: str, folder: Path) -> None:
    """A number that nobody can trace is a claim."""
    with (folder / "rows.csv").open(encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    shown = re.findall(r'data-row="(r\d+)"[^>]*>(?:≈ )?([+-]?[\d,]+(?:\.(\d+))?)', html)
    assert len(shown) > 20
    for name, number, digits in shown:
        value = float(number.replace(",", ""))
        assert value == pytest.approx(float(rows[name]["value"]), abs=0.51 * 10.0 ** -len(digits))


def test_names_cannot_break_the_page(html: str) -> None:
    """A file may be called anything, and a report is opened in a browser."""
    assert "<cells>" not in html
    assert "&lt;cells&gt; red" in html
    assert "<furlong>" not in html
    assert "&lt;furlong&gt;" in html


def test_a_model_that_cannot_run_says_why_on_the_page(html: str) -> None:
    """An empty column leaves its reader to guess."""
    assert "&#x27;realesrgan-x4plus&#x27; needs the weights" in html
    assert "≈" in html


def test_all_pictures_of_a_row_show_the_same_crop_with_the_same_contrast() -> None:
    """Stretched one by one, a dim result looks as good as a bright one."""
    source = np.arange(40 * 40, dtype=np.float32).reshape(40, 40)
    view = view_of(_picture(source), 2)
    fine = np.kron(source, np.ones((2, 2), np.float32))
    shown = (fine, 2), (fine / 2, 2), (source, 1)
    one, half, coarse = (_decoded(view.png(pixels, factor)) for pixels, factor in shown)
    assert one.shape == (80, 80)
    np.testing.assert_array_equal(one[::2, ::2], coarse)
    assert half.max() < 0.51 * one.max()


def test_difference_maps_are_red_where_the_result_is_too_bright() -> None:
    """With the signs the wrong way round, every conclusion from a map is."""
    source = np.random.default_rng(0).normal(100, 10, (40, 40)).astype(np.float32)
    view = view_of(_picture(source), 1)
    brighter = source.copy()
    brighter[:, 20:] += 100
    seen = _decoded(view.difference(brighter, source))
    assert (seen[:, :20] == 255).all()
    np.testing.assert_array_equal(seen[:, 20:], np.broadcast_to((178, 24, 43), (40, 20, 3)))


@pytest.mark.parametrize(
    ("pixel_size", "unit", "share", "words"),
    [
        (0.1, "micrometer", 2 / 6.4, "2 µm"),
        (1.0, None, 20 / 64, "20 source pixels"),
        (65.0, "nanometer", 1000 / 4160, "1000 nm"),
    ],
)
def test_scale_bars_have_round_lengths(
    pixel_size: float, unit: str | None, share: float, words: str
) -> None:
    """A bar of another length than it says makes every size in the picture wrong."""
    picture = _picture(np.ones((64, 64), np.float32), pixel_size, unit)
    found = scale_bar(picture, 64)
    assert found[0] == pytest.approx(share)
    assert found[1] == words


def _picture(source: np.ndarray, pixel_size: float = 1.0, unit: str | None = None) -> Picture:
    noise = Noise(0.0, 1.0, 1.0, 1.0)
    return Picture(
        "one", "clean image", "", "yx", source, None, (0, 1), noise, pixel_size, unit, ""
    )


def _decoded(uri: str) -> np.ndarray:
    return np.asarray(imagecodecs.png_decode(base64.b64decode(uri.partition(",")[2])))
