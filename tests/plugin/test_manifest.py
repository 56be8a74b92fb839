"""What napari learns of us before it imports us."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

npe2 = pytest.importorskip("npe2")

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "napari_superres"


@pytest.fixture
def manifest() -> Any:
    """Return the manifest as installed."""
    return npe2.PluginManifest.from_distribution("napari-superres")


def test_manifest_is_valid(manifest: Any) -> None:
    """One invalid entry hides the whole plugin."""
    manifest.validate_imports()
    assert manifest.name == "napari-superres"


def test_manifest_at_the_top_reads_the_same_as_the_one_that_ships() -> None:
    """The copy that people look at must not say something else."""
    link = ROOT / "napari.yaml"
    if not link.exists():
        pytest.skip("not a checkout")
    assert link.read_bytes() == (PACKAGE / "napari.yaml").read_bytes()


def test_napari_finds_us_through_our_entry_point() -> None:
    """Without it napari lists no plugin of ours."""
    (entry,) = importlib.metadata.entry_points(group="napari.manifest", name="napari-superres")
    assert entry.value == "napari_superres:napari.yaml"


def test_formats_are_claimed_narrowly(manifest: Any) -> None:
    """Claiming all files would ask every user of napari which reader to take, for every file."""
    (reader,) = manifest.contributions.readers
    assert set(reader.filename_patterns) == {
        "*.ome.zarr",
        "*.zarr",
        "*.ome.tif",
        "*.ome.tiff",
        "*.tif",
        "*.tiff",
    }


@pytest.mark.parametrize("name", ["scene.png", "notes.txt", "folder/stack.czi", "a.zarr.zip"])
def test_reader_leaves_other_files_to_others(name: str) -> None:
    """A reader that takes what it cannot read hides the one that can."""
    from napari_superres.plugin.reader import get_reader

    assert get_reader(name) is None
    assert get_reader(["a.tif", "b.tif"]) is None
    assert get_reader("a.ome.tif") is not None


def test_opening_the_panel_imports_no_torch_and_takes_little_time() -> None:
    """A plugin that imports its framework at start makes every start of napari slow."""
    pytest.importorskip("qtpy")
    program = (
        "import sys, time\n"
        "from qtpy.QtWidgets import QApplication\n"
        "app = QApplication([])\n"
        "import dask.array, scipy.ndimage, napari.qt.threading\n"  # as a viewer with an image has
        "from napari.components import ViewerModel\n"
        "viewer = ViewerModel()\n"
        "start = time.process_time()\n"
        "from napari_superres.plugin.widget import SuperresWidget\n"
        "widget = SuperresWidget(viewer)\n"
        "seconds = time.process_time() - start\n"
        "heavy = {'torch', 'ncnn', 'zarr', 'tifffile', 'diffusers'} & set(sys.modules)\n"
        "print(round(seconds, 2), sorted(heavy))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )
    assert run.returncode == 0, run.stderr
    seconds, heavy = run.stdout.split(maxsplit=1)
    assert heavy.strip() == "[]"
    # Of the processor, so that other programs on a test machine do not count.
    assert float(seconds) < 1.0
