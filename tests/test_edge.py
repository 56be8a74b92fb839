"""The programs for devices give the pixels of `upscale`, without Python and PyTorch.

They need what the test command does not install: ncnn for C++ where CMake finds it, as in the
folder that CMAKE_PREFIX_PATH names, and Node.js with onnxruntime-node in a folder of NODE_PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import napari_superres as sr
from napari_superres.arrays import as_image
from napari_superres.models.exporting import export_model
from napari_superres.upscaling import plan_for
from tests.models.conftest import COMPACT, COMPACT_GRAY, RRDB_X2, random_tensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_superres.models.families.realesrgan.architecture import Architecture

    Program = Callable[..., np.ndarray]

pytestmark = pytest.mark.slow

PROGRAMS = Path(__file__).parents[1] / "docs" / "how-to" / "edge"


def write_pnm(path: Path, pixels: np.ndarray) -> None:
    """Write a PGM or PPM image."""
    most = np.iinfo(pixels.dtype).max
    kind = "P6" if pixels.ndim == 3 else "P5"
    head = f"{kind} {pixels.shape[1]} {pixels.shape[0]} {most}\n"
    path.write_bytes(head.encode() + pixels.astype(pixels.dtype.newbyteorder(">")).tobytes())


def read_pnm(path: Path) -> np.ndarray:
    """Read one, as int64."""
    head, body = path.read_bytes().split(b"\n", 1)
    kind, width, height, most = head.split()
    shape = (int(height), int(width), 3) if kind == b"P6" else (int(height), int(width))
    return np.frombuffer(body, ">u2" if int(most) > 255 else "u1").reshape(shape).astype(np.int64)


@pytest.fixture(scope="module")
def in_cpp(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Compile the C++ program, and return the words that start it."""
    if not shutil.which("cmake"):
        pytest.skip("there is no ncnn for C++: CMake is not installed")
    build = tmp_path_factory.mktemp("build")
    configured = subprocess.run(
        ["cmake", "-S", str(PROGRAMS), "-B", str(build)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "ncnn" in configured.stderr:
        pytest.skip("there is no ncnn for C++: set CMAKE_PREFIX_PATH to where it is installed")
    assert configured.returncode == 0, configured.stderr
    subprocess.run(["cmake", "--build", str(build)], check=True)
    return [str(build / "superres_ncnn")]


@pytest.fixture(scope="module")
def in_node(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Put the Node.js program where it finds its package, and return the words that start it."""
    pytest.importorskip("onnx")
    folders = [Path(folder) for folder in os.environ.get("NODE_PATH", "").split(os.pathsep)]
    found = next((f for f in folders if (f / "onnxruntime-node").is_dir()), None)
    if not shutil.which("node") or found is None:
        pytest.skip("there is no onnxruntime-node: set NODE_PATH to a folder that has it")
    here = tmp_path_factory.mktemp("node")
    (here / "node_modules").symlink_to(found.absolute())
    return ["node", shutil.copy(PROGRAMS / "superres_onnx.mjs", here)]


@pytest.fixture(params=["ncnn", "onnx"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    """Return one of the programs: it exports a model, and makes pixels finer without us."""
    start = request.getfixturevalue("in_cpp" if request.param == "ncnn" else "in_node")

    def run(model: str, pixels: np.ndarray, noise: str = "0", tile: int = 48) -> np.ndarray:
        made = export_model(model, tmp_path / "model", format=request.param, overwrite=True)
        source, result = tmp_path / "in.pnm", tmp_path / "out.pnm"
        write_pnm(source, pixels)
        file = made.paths[0] if request.param == "onnx" else made.paths[0].with_suffix("")
        words = [*start, str(file), str(source), str(result), noise, str(tile)]
        # No Python: nothing of ours on its paths.
        clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        subprocess.run(words, check=True, env=clean)
        return read_pnm(result)

    return run


def check_same(result: np.ndarray, expected: np.ndarray) -> None:
    """Only roundings at one half may fall to the other side."""
    assert result.shape == expected.shape
    difference = np.abs(result - expected.astype(np.int64))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("model", ["microscopy-x4", "microscopy-x2", "linear-x4"])
def test_embedded_models_in_tiles(model: str, program: Program) -> None:
    """With and without noise to remove, over seams and borders."""
    y, x = np.mgrid[:70, :101]
    light = 400 + 300 * np.sin(y / 4) * np.cos(x / 5)
    pixels = np.random.default_rng(0).poisson(light).astype(np.uint16)
    wishes: dict[str, Any] = {"consistency": "off"}
    noise = "0"
    if sr.MODELS[model].noise_input:
        plain = sr.upscale(pixels, model, **wishes, denoise=0)
        check_same(program(model, pixels), plain)
        wishes["denoise"] = 1.0
        plan = plan_for(as_image(pixels), model, **wishes)
        assert plan.noise_lines[0]
        noise = ",".join(map(str, (*plan.noise, *plan.noise_lines[0])))
    finer = sr.upscale(pixels, model, **wishes)
    check_same(program(model, pixels, noise), finer)


@pytest.mark.parametrize("noise", ["much", "12.5,abc", "12.5,136,0.38"])
def test_noise_that_is_told_by_halves_is_refused(noise: str, program: Program) -> None:
    """A result with other noise removed than was meant looks as good as any."""
    with pytest.raises(subprocess.CalledProcessError):
        program("microscopy-x2", np.full((20, 20), 9, np.uint16), noise)


@pytest.mark.parametrize("architecture", [COMPACT, COMPACT_GRAY, RRDB_X2], ids=lambda a: a.kind)
@pytest.mark.parametrize("colour", [False, True], ids=["gray", "rgb"])
def test_networks_of_the_user(
    architecture: Architecture, colour: bool, program: Program, tmp_path: Path
) -> None:
    """Colour through networks of one sample and gray through those of three, and odd sizes."""
    file = tmp_path / "tiny.safetensors"
    save_file(random_tensors(architecture), file)
    shape = (61, 75, 3) if colour else (61, 75)
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    finer = sr.upscale(
        pixels,
        str(file),
        axes="yxs" if colour else "yx",
        limits=(0, 255),
        consistency="off",
        device="cpu",
    )
    check_same(program(str(file), pixels), finer)
