"""Tiles of the torch engine are the untiled image, bit for bit, once the halo covers the radius."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from torch.nn import functional

import napari_superres as sr
from napari_superres.models.checkpoints import read_tensors
from napari_superres.models.engine import Address, Halo, Setting
from napari_superres.models.families.realesrgan.architecture import recognise
from napari_superres.models.families.realesrgan.networks import PIECE, Compact, RRDBNet
from napari_superres.models.families.realesrgan.torch_engine import TorchEngine, load_torch
from tests.models.conftest import TINY, image, random_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from napari_superres.models.families.realesrgan.architecture import Architecture

HERE = [Address(0, 0, 0, 0, 0)]
WHOLE = Halo(0, 0, 0, 0)
ENGINES = {
    name: load_torch(architecture, random_tensors(architecture), Setting())
    for name, architecture in TINY.items()
}


def real_engine(shared: Path, file: str) -> TorchEngine:
    """Return a published model."""
    tensors = read_tensors(shared / "weights" / file)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    return load_torch(recognise(shapes), tensors, Setting())


def tiled(
    engine: TorchEngine, pixels: np.ndarray, step: tuple[int, int], halo: int, margin: int = 0
) -> np.ndarray:
    """Return an image computed tile by tile, as the core does it.

    Each tile gives `margin` pixels more than it keeps, which are cut off afterwards: so the halo of
    a tile near the plane's border can be anything between 0 and `halo`.
    """
    scale = engine.network.architecture.scale
    height, width = pixels.shape[2:]
    out = np.full((1, pixels.shape[1], height * scale, width * scale), np.nan, np.float32)
    for y, x in itertools.product(range(0, height, step[0]), range(0, width, step[1])):
        kept = (y, min(y + step[0], height), x, min(x + step[1], width))
        ends = (height, width)
        near = [max(kept[0] - margin, 0), min(kept[1] + margin, ends[0])]
        near += [max(kept[2] - margin, 0), min(kept[3] + margin, ends[1])]
        seen = [max(near[0] - halo, 0), min(near[1] + halo, ends[0])]
        seen += [max(near[2] - halo, 0), min(near[3] + halo, ends[1])]
        context = Halo(*(abs(a - b) for a, b in zip(near, seen, strict=True)))
        fine = engine(pixels[:, :, seen[0] : seen[1], seen[2] : seen[3]], context, HERE)
        top, left = (kept[0] - near[0]) * scale, (kept[2] - near[2]) * scale
        rows, columns = (kept[1] - kept[0]) * scale, (kept[3] - kept[2]) * scale
        out[:, :, kept[0] * scale : kept[1] * scale, kept[2] * scale : kept[3] * scale] = fine[
            :, :, top : top + rows, left : left + columns
        ]
    return out


def reference(network: Compact | RRDBNet, x: torch.Tensor) -> torch.Tensor:
    """Compute a network as its authors wrote it: the whole image, every layer of the same size."""
    a = network.architecture
    if isinstance(network, Compact):
        y = x
        for layer in network.body:
            y = layer(y)
        return functional.pixel_shuffle(y, a.scale) + functional.interpolate(
            x, scale_factor=a.scale, mode="nearest"
        )
    height, width = x.shape[2:]
    down, right = -height % a.unshuffle, -width % a.unshuffle
    if down or right:
        x = functional.pad(x, (0, right, 0, down), "reflect")
    if a.unshuffle > 1:
        x = functional.pixel_unshuffle(x, a.unshuffle)
    first = y = network.conv_first(x)
    for block in network.body:
        z = y
        for dense in (block.rdb1, block.rdb2, block.rdb3):
            seen = z
            for layer in (dense.conv1, dense.conv2, dense.conv3, dense.conv4):
                seen = torch.cat((seen, functional.leaky_relu(layer(seen), 0.2)), 1)
            z = dense.conv5(seen) * 0.2 + z
        y = z * 0.2 + y
    y = first + network.conv_body(y)
    for name in network.ups:
        y = functional.interpolate(y, scale_factor=2, mode="nearest")
        y = functional.leaky_relu(getattr(network, name)(y), 0.2)
    y = network.conv_last(functional.leaky_relu(network.conv_hr(y), 0.2))
    return y[:, :, : height * a.scale, : width * a.scale]


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("size", [(40, 52), (37, 23), (PIECE + 10, 9)])
def test_whole_image_is_the_network_as_published(name: str, size: tuple[int, int]) -> None:
    """Else results would not be those of the model that a user cites."""
    engine = ENGINES[name]
    pixels = image(engine.network.architecture.samples, *size)
    with torch.inference_mode():
        expected = reference(engine.network, torch.from_numpy(pixels)).numpy()
    # Another order of summation in torch's small convolutions: a few last bits.
    np.testing.assert_allclose(engine(pixels, WHOLE, HERE), expected, atol=2e-5, rtol=2e-5)


@given(st.data())
@settings(max_examples=8, deadline=None)
@pytest.mark.parametrize("name", ["compact", "compact-gray", "rrdb", "rrdb-x2"])
def test_tiled_equals_untiled_bit_for_bit(name: str, data: st.DataObject) -> None:
    """Else seams would show, and a crop would not be the crop of the whole."""
    engine = ENGINES[name]
    a = engine.network.architecture
    fold = a.multiple
    halo = -(-a.radius // fold) * fold + fold * data.draw(st.integers(0, 2))
    height, width = (data.draw(st.integers(1, a.radius + 40)) for _ in "yx")
    step = (data.draw(st.integers(1, 40)) * fold, data.draw(st.integers(1, 40)) * fold)
    margin = data.draw(st.integers(0, 3)) * fold
    assume(-(-height // step[0]) * -(-width // step[1]) <= 9)
    pixels = image(a.samples, height, width, seed=data.draw(st.integers(0, 99)))
    whole = engine(pixels, WHOLE, HERE)
    np.testing.assert_array_equal(tiled(engine, pixels, step, halo, margin), whole)


@pytest.mark.parametrize("name", TINY)
def test_short_halo_gives_what_cutting_off_at_the_end_gives(name: str) -> None:
    """Else saving work inside a tile would cost accuracy where the halo is a compromise."""
    engine = ENGINES[name]
    a = engine.network.architecture
    halo = max(1, a.radius // 3) // a.multiple * a.multiple or a.multiple
    pixels = image(a.samples, 4 * halo, 4 * halo)
    shrunk = engine(pixels, Halo(halo, halo, halo, halo), HERE)
    cut = slice(halo * a.scale, -halo * a.scale)
    np.testing.assert_array_equal(shrunk, engine(pixels, WHOLE, HERE)[:, :, cut, cut])


@pytest.mark.parametrize(
    ("file", "size"),
    [
        ("realesr-animevideov3.pth", (50, 110)),
        ("realesr-general-x4v3.safetensors", (50, 110)),
        pytest.param("RealESRGAN_x4plus_anime_6B.pth", (16, 215), marks=pytest.mark.slow),
    ],
)
def test_published_model_tiled_equals_untiled_on_a_real_micrograph(
    shared: Path, membranes: np.ndarray, file: str, size: tuple[int, int]
) -> None:
    """Else the promise of exact tiles would hold for toy networks alone."""
    engine = real_engine(shared, file)
    pixels = membranes[:, :, 200 : 200 + size[0], 250 : 250 + size[1]]
    halo = engine.network.architecture.radius
    whole = engine(pixels, WHOLE, HERE)
    np.testing.assert_array_equal(tiled(engine, pixels, (61, 53), halo), whole)


@pytest.mark.parametrize("halo", [33, 10])
def test_halo_below_the_radius_is_not_exact(shared: Path, membranes: np.ndarray, halo: int) -> None:
    """Else the tests above could not fail: the network really reaches as far as it says."""
    engine = real_engine(shared, "realesr-general-x4v3.safetensors")
    pixels = membranes[:, :, 200:240, 250:360]
    whole = engine(pixels, WHOLE, HERE)
    assert np.abs(tiled(engine, pixels, (40, 55), halo) - whole).max() > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("file", "halo"),
    [("RealESRGAN_x4plus.safetensors", 96), ("RealESRGAN_x4plus_anime_6B.pth", 80)],
)
def test_default_halo_of_deep_networks_leaves_no_visible_seam(
    shared: Path, membranes: np.ndarray, file: str, halo: int
) -> None:
    """Else tiles of the strongest models would show, as they do in other programs."""
    engine = real_engine(shared, file)
    pixels = membranes[:, :, 150:390, 200:440]
    whole = engine(pixels, WHOLE, HERE)
    seam = np.abs(tiled(engine, pixels, (120, 240), halo) - whole).max()
    print(f"{file}, halo {halo}: largest difference {seam:.2g}")
    assert seam < 1 / 255


@pytest.mark.parametrize("feather", [0, 3])
@pytest.mark.parametrize("consistency", ["off", "pixel", "local"])
def test_tiles_begin_where_folded_pixels_do(tmp_path: Path, consistency: str, feather: int) -> None:
    """Else x2plus would fold other squares of pixels in each tile, and show seams everywhere."""
    path = tmp_path / "x2.safetensors"
    save_file(random_tensors(TINY["rrdb-x2"]), path)
    pixels = image(1, 101, 113)[0, 0]
    wishes = {"consistency": consistency, "limits": (0, 1), "device": "cpu/torch"}
    whole = sr.upscale(pixels, str(path), tile=400, **wishes)
    tiles = sr.upscale(pixels, str(path), tile=110, feather=feather, **wishes)
    # Feathered tiles are sums of equal numbers whose weights add up to one, but for rounding.
    np.testing.assert_allclose(tiles, whole, rtol=0, atol=1e-5 if feather else 0)


def test_bits_do_not_depend_on_size_batch_or_threads() -> None:
    """Else the exactness above would be luck: torch's own dispatch does depend on the size."""
    architecture: Architecture = TINY["compact"]
    engine = ENGINES["compact"]
    pixels = np.concatenate([image(3, 90, 110, seed) for seed in range(5)])
    together = engine(pixels, WHOLE, HERE * 5)
    for i in range(5):
        np.testing.assert_array_equal(engine(pixels[i : i + 1], WHOLE, HERE)[0], together[i])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        np.testing.assert_array_equal(engine(pixels, WHOLE, HERE * 5), together)
    finally:
        torch.set_num_threads(threads)
    assert together.shape == (5, 3, 90 * architecture.scale, 110 * architecture.scale)
