"""What the README says is true."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from napari_superres.cli import _run

TOP = Path(__file__).parents[1]
README = (TOP / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the sample data, as the current one."""
    shutil.copytree(TOP / "sample_data", tmp_path / "sample_data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_command_does_the_main_job(clone: Path) -> None:
    """The first thing that a newcomer types."""
    command = re.search(r"superres (upscale .+)\n", README)
    assert command is not None
    assert _run([*command[1].split(), "-q"]) == 0
    assert (clone / command[1].split()[2]).is_dir()


def test_the_lines_of_python_run(clone: Path) -> None:
    """The second thing."""
    block = re.search(r"```python\n(.+?)```", README, re.DOTALL)
    assert block is not None
    names: dict[str, object] = {}
    exec(block[1], names)
    assert (clone / "cells_x4.ome.zarr").is_dir()
    assert names["crop"].shape == (256, 256)  # type: ignore[attr-defined]


def test_the_links_lead_somewhere() -> None:
    """A dead link on the first screen."""
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (TOP / target).exists(), target


@pytest.mark.skipif(sys.platform == "win32", reason="a checkout without links has a text file")
def test_the_manifest_at_the_top_is_the_one_in_the_package() -> None:
    """Two manifests would disagree one day."""
    top, inside = TOP / "napari.yaml", TOP / "src" / "napari_superres" / "napari.yaml"
    assert top.resolve() == inside.resolve()
