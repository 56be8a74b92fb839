"""The programs behind our claims of speed run, and compare what they say they compare."""

from __future__ import annotations

import ast
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_superres as sr
from napari_superres.models.families.microscopy.tensors import read_trained
from napari_superres.models.weights import find_weights
from napari_superres.training.camera import Camera
from napari_superres.training.simulate import simulate

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_every_engine_of_the_table_can_be_loaded() -> None:
    """A row without its engine would be skipped, and the table would look complete."""
    tree = ast.parse((BENCHMARKS / "engines.py").read_text(encoding="utf-8"))
    values = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    tree = ast.parse((BENCHMARKS / "contenders.py").read_text(encoding="utf-8"))
    loaders = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "CONTENDERS"
    )
    assert isinstance(loaders, ast.Dict)
    keys = tuple(ast.literal_eval(key) for key in loaders.keys if key is not None)
    assert keys == ast.literal_eval(values["NAMES"])


@pytest.mark.slow
def test_engines_are_compared(tmp_path: Path) -> None:
    """Else the figures in the documentation could not be made again."""
    figures = tmp_path / "figures.json"
    names = ["torch float32", "napari-superres", "its engine alone", "ncnn by hand"]
    only = [word for name in names for word in ("--only", name)]
    command = [sys.executable, BENCHMARKS / "engines.py", "--model", "realesr-animevideov3"]
    command += ["--size", "40", "--rounds", "2", "--json", figures, *only]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = json.loads(figures.read_text())["rows"]
    assert set(rows) == {*names, "matmul float32", "matmul bfloat16"}
    for name in names:
        assert len(rows[name]["seconds"]) == 2
        assert rows[name]["error"] < 1e-4
        assert f"| {name} |" in shown


def test_quality_is_compared_on_the_same_images(tmp_path: Path) -> None:
    """The figures by which a model is chosen, and those in the documentation, come from it."""
    pair = simulate("nuclei", (64, 64), seed=0, scale=2, camera=Camera(photons=None, bits=16))
    folder = tmp_path / "sharp"
    folder.mkdir()
    tifffile.imwrite(folder / "cells.tif", pair.truth)
    figures = tmp_path / "figures.json"
    command = [sys.executable, BENCHMARKS / "quality.py", "--real", folder, "--count", "0"]
    command += ["--cases", "ideal", "--scales", "2", "--json", figures, "--only", "auto|linear"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = {row["method"]: row for row in json.loads(figures.read_text())["figures"]}
    assert {row["image"] for row in rows.values()} == {"real:cells/0"}
    assert rows["nearest"]["psnr"] < rows["bicubic"]["psnr"] < rows["wiener-3"]["psnr"]
    # Nearest neighbour repeats the source: all of its light, and nothing beyond its sampling.
    assert rows["nearest"]["flux"] == pytest.approx(0, abs=1e-6)
    gain = rows["microscopy-x2 auto"]["psnr"] - rows["bicubic"]["psnr"]
    assert f"| ideal x2 | microscopy-x2 auto | {gain:+.2f} |" in shown
    assert 0.5 < rows["microscopy-x2 auto"]["covered"] <= 1


def test_figures_are_written_into_a_card_without_touching_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model card has every figure that the documentation has."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    rewrite = importlib.import_module("quality_cards").rewrite
    shipped = find_weights(sr.MODELS["linear-x2"])
    [original] = shipped.values()
    copy = tmp_path / original.name
    shutil.copyfile(original, copy)
    row = {"case": "ideal x2", "model": "linear-x2", "images": 3, "over_bicubic_db": 1.234}
    rewrite(copy, {"real_micrographs": [row], "laws": {"seams": 1e-7}})
    before, after = read_trained(original), read_trained(copy)
    np.testing.assert_array_equal(before.tensors["kernels"], after.tensors["kernels"])
    assert after.card["data"] == before.card["data"]
    assert after.card["real_micrographs"] == [row]
    told = copy.with_suffix(".md").read_text()
    assert "3 planes that no training has seen" in told
    assert "| ideal x2 | 1.23 |" in told
    assert "- seams: 1e-07" in told
