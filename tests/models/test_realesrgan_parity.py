"""Our results are those of `RealESRGANer`, the authors' own program, on 8-bit RGB pictures.

It needs the extra ``realesrgan``, whose dependencies seldom import as they are: a torchvision built
for another torch cannot register its operators, and basicsr asks for a module that torchvision no
longer has. Both are put right here, for tests alone; the product never does so.
"""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import napari_superres as sr
from napari_superres.models import library
from napari_superres.models.checkpoints import read_tensors
from napari_superres.models.families.realesrgan.architecture import Architecture, recognise
from tests.models.conftest import RRDB, RRDB_X2, random_tensors, repair_torchvision

if TYPE_CHECKING:
    from pathlib import Path

ENGINES = ("cpu/torch", "cpu/ncnn")


@pytest.fixture(scope="module")
def realesrgan() -> Any:
    """Return the authors' package, or skip with the reason."""
    if importlib.util.find_spec("realesrgan") is None:
        pytest.skip('the reference is not installed: pip install "napari-superres[realesrgan]"')
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _import_reference()
        except (ImportError, RuntimeError, AttributeError) as error:
            pytest.skip(f"the reference is installed but cannot be imported: {error}")


def _import_reference() -> Any:
    repair_torchvision()
    from torchvision.transforms import functional

    gone = "torchvision.transforms.functional_tensor"
    if importlib.util.find_spec(gone) is None:
        alias = types.ModuleType(gone)
        alias.rgb_to_grayscale = functional.rgb_to_grayscale  # type: ignore[attr-defined]
        sys.modules[gone] = alias
    import realesrgan as package

    return package


def reference(
    package: Any, files: list[Path], architecture: Architecture, blend: float | None = None
) -> Any:
    """Return the authors' program with a checkpoint, or with a blend of two."""
    from basicsr.archs.rrdbnet_arch import RRDBNet
    from realesrgan.archs.srvgg_arch import SRVGGNetCompact

    a = architecture
    if a.kind == "compact":
        network = SRVGGNetCompact(a.samples, a.samples, a.features, a.blocks, a.scale, "prelu")
    else:
        network = RRDBNet(a.samples, a.samples, a.scale, a.features, a.blocks, a.growth)
    return package.RealESRGANer(
        scale=a.scale,
        model_path=[str(file) for file in files] if blend is not None else str(files[0]),
        dni_weight=None if blend is None else [blend, 1 - blend],
        model=network,
        tile=0,
        pre_pad=0,
        half=False,
        device=torch.device("cpu"),
    )


def as_torch_file(source: Path, folder: Path) -> Path:
    """Return a checkpoint in the form that the authors' program reads."""
    path = folder / f"{source.stem}.pth"
    tensors = {name: torch.from_numpy(tensor) for name, tensor in read_tensors(source).items()}
    torch.save({"params": tensors}, path)
    return path


@pytest.fixture(scope="module")
def picture(shared: Path) -> np.ndarray:
    """Return part of a colour picture of tissue, shape (45, 62, 3), uint8."""
    import imagecodecs

    pixels = imagecodecs.imread(shared / "real" / "histology_ihc_rgb.png")[..., :3]
    return np.ascontiguousarray(pixels[200:245, 180:242])


def difference(ours: np.ndarray, program: Any, picture: np.ndarray) -> int:
    """Return the largest difference in grey levels between a result and the authors' program."""
    theirs, _ = program.enhance(picture[..., ::-1])  # it takes and gives BGR
    assert theirs.dtype == ours.dtype == np.uint8
    return int(np.abs(theirs[..., ::-1].astype(int) - ours.astype(int)).max())


def upscale(picture: np.ndarray, model: str, device: str, **wishes: Any) -> np.ndarray:
    """Return our result, without conserving light, as the authors' program does not."""
    result = sr.upscale(
        picture, model, axes="yxc", rgb=True, consistency="off", device=device, **wishes
    )
    assert isinstance(result, np.ndarray)
    return result


@pytest.mark.parametrize("device", ENGINES)
@pytest.mark.parametrize(
    "file",
    [
        "realesr-animevideov3.pth",
        "realesr-general-x4v3.safetensors",
        pytest.param("RealESRGAN_x4plus_anime_6B.pth", marks=pytest.mark.slow),
        pytest.param("RealESRGAN_x4plus.safetensors", marks=pytest.mark.slow),
    ],
)
def test_published_models_give_what_the_authors_program_gives(
    realesrgan: Any, shared: Path, tmp_path: Path, picture: np.ndarray, file: str, device: str
) -> None:
    """Else results would be called Real-ESRGAN's and be something else."""
    path = as_torch_file(shared / "weights" / file, tmp_path)
    tensors = read_tensors(path)
    architecture = recognise({name: tensor.shape for name, tensor in tensors.items()})
    program = reference(realesrgan, [path], architecture)
    assert difference(upscale(picture, str(path), device), program, picture) <= 1


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_denoising_strength_is_that_of_the_authors_program(
    realesrgan: Any, shared: Path, tmp_path: Path, picture: np.ndarray, strength: float
) -> None:
    """Else a strength found with their program would mean something else here."""
    name = "realesr-general-x4v3"
    files = []
    for file in (name, "realesr-general-wdn-x4v3"):
        source = shared / "weights" / f"{file}.safetensors"
        library.add(source, name)
        files.append(as_torch_file(source, tmp_path))
    architecture = recognise({key: t.shape for key, t in read_tensors(files[0]).items()})
    program = reference(realesrgan, files, architecture, strength)
    ours = upscale(picture, name, "cpu/torch", denoise=strength)
    assert difference(ours, program, picture) <= 1


@pytest.mark.parametrize("device", ENGINES)
@pytest.mark.parametrize("size", [(30, 40), (31, 40), (30, 41), (31, 41)])
@pytest.mark.parametrize("architecture", [RRDB, RRDB_X2], ids=["x4", "x2"])
def test_networks_that_fold_pixels_pad_as_the_authors_program_does(
    realesrgan: Any,
    tmp_path: Path,
    picture: np.ndarray,
    size: tuple[int, int],
    architecture: Architecture,
    device: str,
) -> None:
    """Else the last row and column of x2plus would be wrong for images of odd size."""
    path = tmp_path / "network.pth"
    tensors = random_tensors(architecture)
    torch.save({"params": {k: torch.from_numpy(t) for k, t in tensors.items()}}, path)
    part = np.ascontiguousarray(picture[: size[0], : size[1]])
    program = reference(realesrgan, [path], architecture)
    assert difference(upscale(part, str(path), device), program, part) <= 1
