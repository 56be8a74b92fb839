"""Real-ESRGAN in ncnn gives what the reference in torch gives, with real weights, at any size."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_superres.models.crew import Crew
from napari_superres.models.engine import Halo
from napari_superres.models.families.realesrgan import ncnn as engines
from napari_superres.models.families.realesrgan.ncnn import load_ncnn
from napari_superres.models.families.realesrgan.networks import build
from napari_superres.models.families.realesrgan.tensors import read_one
from tests.models.conftest import COMPACT, RRDB, RRDB_X2, TINY, image, random_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_superres.models.families.realesrgan.architecture import Architecture

WHOLE = Halo(0, 0, 0, 0)
COMPACT_FILES = {
    "realesr-general-x4v3.safetensors": 1e-5,
    # This one amplifies every difference: also engines without Winograd differ by 5e-5.
    "realesr-general-wdn-x4v3.safetensors": 1e-4,
    "realesr-animevideov3.pth": 1e-5,
}
"""How far they may be from torch."""
DENSE_FILES = ("RealESRGAN_x4plus_anime_6B.pth", "RealESRGAN_x4plus.safetensors")


def reference(
    architecture: Architecture, tensors: Mapping[str, np.ndarray], tile: np.ndarray, halo: Halo
) -> np.ndarray:
    with torch.inference_mode():
        return build(architecture, tensors)(torch.from_numpy(tile), halo).numpy()


def small(architecture: Architecture, side: int) -> np.ndarray:
    """Return what a tiny network makes of noise; at the top of the module, for other processes."""
    engine = load_ncnn(architecture, random_tensors(architecture))
    return engine(image(architecture.samples, side, side + 3), WHOLE, [])


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 2), (31, 45)])
def test_tiny_networks_agree_with_torch(name: str, size: tuple[int, int]) -> None:
    """Any checkpoint of the family is accepted: one sample or three, x1 to x8, odd widths."""
    architecture = TINY[name]
    tensors = random_tensors(architecture)
    tile = image(architecture.samples, *size)
    result = load_ncnn(architecture, tensors)(tile, WHOLE, [])
    expected = reference(architecture, tensors, tile, WHOLE)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("halo", [(0, 4, 8, 0), (4, 4, 4, 4), (12, 0, 40, 20), (44, 36, 0, 4)])
def test_any_halo_gives_what_torch_gives(
    name: str, halo: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Halos shorter and longer than the receptive radius, and borders, in many small pieces."""
    for side in ("COMPACT_SIDE", "DENSE_SIDE", "TAIL_SIDE"):
        monkeypatch.setattr(engines, side, 6)
    architecture = TINY[name]
    tensors = random_tensors(architecture)
    top, bottom, left, right = halo
    tile = image(architecture.samples, 12 + top + bottom, 20 + left + right)
    result = load_ncnn(architecture, tensors)(tile, Halo(*halo), [])
    expected = reference(architecture, tensors, tile, Halo(*halo))
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("file", "allowed"), COMPACT_FILES.items())
def test_compact_networks_agree_with_torch(
    file: str, allowed: float, shared: Path, membranes: np.ndarray
) -> None:
    """The default engine must give the published network's pixels, or its name would be a lie."""
    architecture, tensors = read_one(shared / "weights" / file)
    engine = load_ncnn(architecture, tensors)
    for tile, halo in (
        (membranes[:, :, 200:290, 100:220], Halo(36, 20, 0, 40)),
        (image(3, 60, 81), WHOLE),
    ):
        expected = reference(architecture, tensors, tile, halo)
        np.testing.assert_allclose(engine(tile, halo, []), expected, rtol=0, atol=allowed)


@pytest.mark.parametrize("file", DENSE_FILES)
def test_dense_networks_agree_with_torch(file: str, shared: Path, membranes: np.ndarray) -> None:
    """345 convolutions in a row, each rounded in another way, stay within 1e-5 of the range."""
    architecture, tensors = read_one(shared / "weights" / file)
    tile, halo = membranes[:, :, 200:232, 100:140], Halo(4, 0, 8, 4)
    result = load_ncnn(architecture, tensors)(tile, halo, [])
    expected = reference(architecture, tensors, tile, halo)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "file", [file for file, allowed in COMPACT_FILES.items() if allowed == 1e-5]
)
def test_tiled_equals_untiled(file: str, shared: Path, membranes: np.ndarray) -> None:
    """Else there would be seams between tiles."""
    architecture, tensors = read_one(shared / "weights" / file)
    engine = load_ncnn(architecture, tensors)
    plane = membranes[:, :, :150, :190]
    whole = engine(plane, WHOLE, [])
    h, s = architecture.radius, architecture.scale
    for y, x in ((0, 0), (0, 100), (75, 0), (75, 100)):
        top, bottom = max(0, y - h), min(150, y + 75 + h)
        left, right = max(0, x - h), min(190, x + 100 + h)
        stop = min(190, x + 100)
        halo = Halo(y - top, bottom - y - 75, x - left, right - stop)
        part = engine(plane[:, :, top:bottom, left:right], halo, [])
        np.testing.assert_allclose(
            part, whole[:, :, s * y : s * (y + 75), s * x : s * stop], rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("architecture", [COMPACT, RRDB, RRDB_X2], ids=lambda a: a.kind)
def test_any_number_of_threads_gives_the_same_bits(
    architecture: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a file would depend on the machine's load, and a resumed job would have seams."""
    for side in ("COMPACT_SIDE", "DENSE_SIDE", "TAIL_SIDE"):
        monkeypatch.setattr(engines, side, 7)
    tensors = random_tensors(architecture)
    tile = image(architecture.samples, 50, 42)
    results = []
    for cores, helpers in ((1, 0), (2, 1), (4, 3)):
        monkeypatch.setattr("napari_superres.models.crew._crew", Crew(cores, helpers))
        run = partial(load_ncnn(architecture, tensors), tile, Halo(4, 0, 2, 6))
        results.append(run([]))
        with ThreadPoolExecutor(4) as pool:
            results += list(pool.map(run, [[]] * 8))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_spawned_process_gives_the_same_bits() -> None:
    """Blocks from a cluster's workers must fit those from this process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        there = pool.submit(small, RRDB, 30).result()
    np.testing.assert_array_equal(there, small(RRDB, 30))


@pytest.mark.slow
def test_halo_of_the_deep_network_leaves_no_visible_seam(
    shared: Path, membranes: np.ndarray
) -> None:
    """With the halo of 10 that other programs use, seams reach 59 grey levels of 255."""
    architecture, tensors = read_one(shared / "weights" / DENSE_FILES[1])
    engine = load_ncnn(architecture, tensors)
    plane = membranes[:, :, 100:396, 100:396]
    whole = engine(plane, WHOLE, [])
    h, s, cut = 96, architecture.scale, 148
    part = engine(plane[:, :, : cut + h, : cut + h], Halo(0, h, 0, h), [])
    seam = np.abs(part - whole[:, :, : s * cut, : s * cut]).max()
    assert seam < 1 / 255
