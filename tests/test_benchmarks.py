"""The programs behind our claims of speed run, and compare what they say they compare."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

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
