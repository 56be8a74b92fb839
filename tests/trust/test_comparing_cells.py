"""That `compare` starts its cells, and keeps and repairs what it finds of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import napari_superres as sr
from napari_superres.arrays import as_image

if TYPE_CHECKING:
    from pathlib import Path

    from napari_superres.comparing.comparison import Comparison


def _nearest(report: Path, images: Any, **wishes: Any) -> Comparison:
    keywords = {"scale": 2, "device": "cpu", "repeats": 1, "samples": 1, **wishes}
    return sr.compare(images, ["nearest"], report=report, **keywords)


def test_a_users_own_modules_do_not_break_a_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has a statistics.py of their own in the current folder saw every model fail."""
    (tmp_path / "statistics.py").write_text("raise SystemExit('the user\\'s own')\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    assert _nearest(tmp_path / "out", np.ones((40, 40))).cells[0].state == "done"


@pytest.mark.parametrize("what", ["image", "truth"])
def test_a_lazy_result_is_compared_in_its_own_pixels(tmp_path: Path, what: str) -> None:
    """Taken for a source four times its size, no part of a result could be cut out."""
    pixels = np.random.default_rng(0).integers(0, 999, (150, 140), dtype=np.uint16)
    result = sr.upscale(as_image(pixels), "nearest", scale=2)
    region = {"region": (slice(8, 48), slice(4, 54))}
    wishes = {} if what == "image" else {"truth": result, **region}
    made = _nearest(tmp_path, result if what == "image" else pixels, limit=0.0, **wishes)
    (picture,) = made.pictures
    if what == "image":
        assert picture.size == "256 x 256"
    else:
        assert picture.truth is not None
        np.testing.assert_array_equal(picture.truth[::2, ::2], pixels[8:48, 4:54])


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("result.npy", None),
        ("result.npy", ""),
        ("result.npy", "cut off"),
        ("cell.json", '{"task"'),
        ("cell.json", "[1]"),
        ("cell.json", "{}"),
    ],
)
def test_a_damaged_cell_is_computed_anew(tmp_path: Path, name: str, damage: str | None) -> None:
    """A report could not be made again, and the error did not say which cell to delete."""
    before = _nearest(tmp_path, np.ones((40, 40))).cells[0]
    (file,) = tmp_path.glob(f"cells/*/{name}")
    if damage is None:
        file.unlink()
    else:
        file.write_text(damage, "utf-8")
    (cell,) = _nearest(tmp_path, np.ones((40, 40))).cells
    assert cell.state == "done"
    assert cell.values.keys() == before.values.keys()
    assert cell.pixels is not None
    assert np.load(cell.pixels).shape == (80, 80)
