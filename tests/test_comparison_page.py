"""The tables of models compared are those that their script makes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import napari_superres as sr

if TYPE_CHECKING:
    from types import ModuleType

TOP = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """Load the script as a module."""
    spec = importlib.util.spec_from_file_location(
        "make_comparison", TOP / "scripts" / "make_comparison.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _table(text: str, name: str) -> list[list[str]]:
    part = text.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_tables_of_the_docs_have_the_rows_and_columns_of_today(
    script: ModuleType, tmp_path: Path
) -> None:
    """A model or figure that was renamed would live on in the docs."""
    made = sr.compare(
        np.random.default_rng(0).normal(size=(40, 40)),
        ["nearest", "lanczos"],
        report=tmp_path,
        scale=4,
        device="cpu",
        limit=0.0,
    )
    heads = [cell.strip() for cell in script.table(made).splitlines()[0].strip("|").split("|")]
    page = script.PAGE.read_text("utf-8")
    for name, models in (("own", script.OWN), ("real", script.ON_REAL)):
        head, _, *rows = _table(page, name)
        assert head == heads
        assert [row[0] for row in rows] == list(models)
        assert all(len(row) == len(head) for row in rows)


def test_filling_a_page_replaces_only_what_stands_between_its_markers(script: ModuleType) -> None:
    """A second run would double the table, or swallow the text around it."""
    page = "a\n<!-- own -->\nold\n<!-- /own -->\nb\n"
    once = script.filled(page, "own", "| new |")
    assert once == "a\n<!-- own -->\n\n| new |\n\n<!-- /own -->\nb\n"
    assert script.filled(once, "own", "| new |") == once
