"""The house stands as its map says: who imports whom, and how light the import is."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from napari_superres.models.catalog import MODELS
from tests.models.conftest import TINY, random_tensors

PACKAGE = Path(__file__).parents[1] / "src" / "napari_superres"

ALLOWED = {
    "torch": ("models/", "training/"),
    "ncnn": ("models/",),
    "diffusers": ("models/",),
    "spandrel": ("models/",),
    "tifffile": ("formats/", "job"),
    "zarr": ("formats/", "job"),
    "napari": ("plugin/",),
    "qtpy": ("plugin/",),
    "magicgui": ("plugin/",),
    "superqt": ("plugin/",),
}

FLOORS = {
    "errors": 0,
    "_version": 0,
    "tiles": 0,
    "progress": 0,
    "models": 0,
    "image": 1,
    "pixels": 1,
    "consistency": 1,
    "plan": 1,
    "plan_words": 1,
    "planning": 1,
    "provenance": 1,
    "surveying": 1,
    "regions": 0,
    "resources": 0,
    "selection": 1,
    "symmetry": 1,
    "kept_tiles": 1,
    "tile_results": 2,
    "upscaled_array": 2,
    "arrays": 2,
    "repeating": 2,
    "upscaling": 2,
    "labelling": 2,
    "estimate": 2,
    "formats": 2,
    "job": 3,
    "batching": 3,
    "comparing": 3,
    "trust": 3,
    "training": 3,
    "cli": 4,
    "plugin": 4,
    "__init__": 4,
}
"""The floor of each room; an import points down, or sideways on the same floor."""


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _imports(path: Path, *, typing_too: bool = False) -> set[str]:
    """Return what a module imports anywhere, by full name; not what only annotations need."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    hidden: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            hidden |= {inner for part in node.body for inner in ast.walk(part)}
    for node in ast.walk(tree):
        if node in hidden and not typing_too:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            if node.module == "napari_superres":
                names |= {f"napari_superres.{alias.name}" for alias in node.names}
    return names


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_are_imported_only_where_the_map_allows(path: Path) -> None:
    """One careless import makes every script wait for torch, or every server need Qt."""
    place = path.relative_to(PACKAGE).as_posix()
    for name in _imports(path):
        top = name.partition(".")[0]
        if top in ALLOWED:
            assert place.startswith(ALLOWED[top]), f"{place} imports {top}"


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    """Circles begin with one import that points up."""
    room = _room(path)
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] != "napari_superres" or len(parts) == 1 or parts[1] not in FLOORS:
            continue
        assert FLOORS[parts[1]] <= FLOORS[room], f"{room} imports {name}"
        if "plugin" in parts:
            assert room == "plugin", "nobody imports the plugin"
        assert (room, parts[1]) != ("trust", "training"), "training is judged by trust"


def test_every_room_is_on_the_map() -> None:
    """A new module finds its floor here first."""
    rooms = {_room(path) for path in _modules()}
    assert rooms <= set(FLOORS), rooms - set(FLOORS)


def test_files_stay_short_enough_to_read() -> None:
    """A file of over 400 lines has two purposes."""
    long = {
        str(path.relative_to(PACKAGE)): n
        for path in _modules()
        if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long


def test_importing_the_package_imports_neither_torch_nor_napari_nor_qt() -> None:
    """``import napari_superres`` is free, and so is listing its names and models."""
    code = (
        "import sys, napari_superres as sr; dir(sr); sr.MODELS; sr.upscale; "
        "heavy = {'torch', 'napari', 'qtpy', 'ncnn', 'PyQt6', 'PySide6', 'diffusers', 'tifffile'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_networks_in_ncnn_do_not_wait_for_torch(tmp_path: Path) -> None:
    """The viewer's first tile, and every short run, would begin with seconds of importing."""
    file = tmp_path / "tiny.safetensors"
    save_file(random_tensors(TINY["compact"]), file)
    code = (
        "import sys, numpy as np, napari_superres as sr; plane = np.ones((9, 9), np.float32)\n"
        "embedded = [name for name, spec in sr.MODELS.items() if spec.bundled]\n"
        "for model in (*embedded, sys.argv[1]):\n"
        "    sr.upscale(plane, model, device='cpu')\n"
        "print(len(embedded), 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True
    )
    embedded = [name for name, spec in MODELS.items() if spec.bundled]
    assert result.stdout.split() == [str(len(embedded)), "False"]
