"""The torch engine: precision, threads, memory, and a GPU where there is one."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_superres.errors import ResourceError, SettingError
from napari_superres.models.checkpoints import read_tensors
from napari_superres.models.convolutions import SameBits, convolve2d
from napari_superres.models.engine import Address, Halo, Setting
from napari_superres.models.families.realesrgan.architecture import recognise
from napari_superres.models.families.realesrgan.torch_engine import TorchEngine, load_torch
from napari_superres.models.threads import one_thread_in_workers
from tests.models.conftest import COMPACT, TINY, image, random_tensors

if TYPE_CHECKING:
    from pathlib import Path

HERE = [Address(0, 0, 0, 0, 0)]
WHOLE = Halo(0, 0, 0, 0)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def general(shared: Path, setting: Setting) -> TorchEngine:
    """Return a published model."""
    tensors = read_tensors(shared / "weights" / "realesr-general-x4v3.safetensors")
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    return load_torch(recognise(shapes), tensors, setting)


def test_bfloat16_on_a_cpu_is_close(shared: Path, membranes: np.ndarray) -> None:
    """Else the fast precision would be another model."""
    tile = membranes[:, :, 200:230, 250:290]
    exact = general(shared, Setting())(tile, WHOLE, HERE)
    fast = general(shared, Setting(precision="bfloat16"))(tile, WHOLE, HERE)
    assert fast.dtype == np.float32
    # Eight bits of mantissa, through 34 layers: a few grey levels of 255.
    assert 0 < np.abs(fast - exact).max() < 0.05


def test_bfloat16_is_computed_where_no_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PyTorch's own error names instruction sets, of which a user has never heard."""
    monkeypatch.setattr("napari_superres.models.convolutions._multiplies_bfloat16", lambda: False)
    rng = torch.Generator().manual_seed(0)
    x, weight, bias = (
        torch.randn(*shape, generator=rng).to(torch.bfloat16)
        for shape in ((1, 4, 9, 9), (5, 4, 3, 3), (5,))
    )
    found = convolve2d(x, weight, bias, (1, 1))
    exact = torch.nn.functional.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    assert found.dtype == torch.bfloat16
    # Rounded once, to eight bits of mantissa.
    assert (found.double() - exact).abs().max() <= 2**-8 * exact.abs().max()


def test_float16_on_a_cpu_is_refused() -> None:
    """Else a user would wait for hours, or get an error out of the depths of torch."""
    with pytest.raises(SettingError, match="float16"):
        load_torch(COMPACT, random_tensors(COMPACT), Setting(precision="float16"))


def test_overflow_in_half_precision_is_an_error() -> None:
    """Else a result would be black, as older GPUs make it in other programs."""
    tensors = {name: tensor * np.float32(1e12) for name, tensor in random_tensors(COMPACT).items()}
    engine = load_torch(COMPACT, tensors, Setting(precision="bfloat16"))
    with pytest.raises(SettingError, match=r"bfloat16.*not finite.*float32"):
        engine(image(3, 8, 8), WHOLE, HERE)


def test_worker_threads_compute_on_one_core_and_leave_torch_as_it_was() -> None:
    """Else tiles in parallel would slow one another down, or the user's own torch code would."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        inside, after = [], []

        def work(_: int) -> None:
            with one_thread_in_workers():
                inside.append(torch.get_num_threads())
            after.append(torch.get_num_threads())

        with ThreadPoolExecutor(1) as pool:
            list(pool.map(work, range(3)))
        assert inside == [1, 1, 1]
        assert after == [3, 3, 3]
        assert torch.get_num_threads() == 3
        with one_thread_in_workers():
            assert torch.get_num_threads() == 3, "on the main thread the user's setting holds"
        seen: list[int] = []
        fresh = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        fresh.start()
        fresh.join()
        assert seen == [3], "threads to come have the user's setting, too"
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited with Linux's own means")
def test_full_memory_is_an_error_that_names_the_tile() -> None:
    """Else a user would see a traceback of torch's allocator, and not what to change."""
    code = """
import resource
import numpy as np
from napari_superres.errors import ResourceError
from napari_superres.models.engine import Halo, Setting
from napari_superres.models.families.realesrgan.torch_engine import load_torch
from tests.models.conftest import COMPACT, random_tensors
engine = load_torch(COMPACT, random_tensors(COMPACT), Setting())
engine(np.zeros((1, 3, 8, 8), np.float32), Halo(0, 0, 0, 0), [])
tile = np.zeros((1, 3, 3000, 3000), np.float32)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000,) * 2)
try:
    engine(tile, Halo(0, 0, 0, 0), [])
except ResourceError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "1 tile of 3000 x 3000 pixels: too much for the memory of 'cpu'" in run.stdout
    assert "smaller tile" in run.stdout


def test_conv2d_of_other_code_gets_the_same_bits_too() -> None:
    """Else the embedded models, written with torch's own convolution, would show seams."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(8, 1, 5, 5, generator=generator)
    x = torch.rand(1, 1, 200, 200, generator=generator)
    strided = torch.nn.Conv2d(1, 8, 3, stride=2, padding="valid")
    with torch.inference_mode():
        expected = strided(x)
        with SameBits():
            whole = torch.nn.functional.conv2d(x, weight)
            part = torch.nn.functional.conv2d(x[..., :30, :30], weight)
            padded = torch.nn.functional.conv2d(input=x, weight=weight, padding=2)
            torch.testing.assert_close(strided(x), expected, rtol=0, atol=0)
    assert torch.equal(whole[..., :26, :26], part)
    assert torch.equal(whole, convolve2d(x, weight))
    assert torch.equal(padded[..., 2:-2, 2:-2], whole)


@needs_cuda
@pytest.mark.parametrize("name", TINY)
def test_cuda_agrees_with_the_cpu(name: str) -> None:
    """Else a result would depend on whose computer it was made on."""
    architecture = TINY[name]
    tensors = random_tensors(architecture)
    pixels = np.concatenate([image(architecture.samples, 64, 48, seed) for seed in range(3)])
    cpu = load_torch(architecture, tensors, Setting())(pixels, WHOLE, HERE * 3)
    gpu = load_torch(architecture, tensors, Setting(device="cuda:0"))
    result = gpu(pixels, WHOLE, HERE * 3)
    np.testing.assert_allclose(result, cpu, rtol=0, atol=1e-4 * np.abs(cpu).max())
    np.testing.assert_array_equal(gpu(pixels, WHOLE, HERE * 3), result)


@needs_cuda
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_on_cuda_is_close(
    shared: Path, membranes: np.ndarray, precision: str
) -> None:
    """Else the fast precision would be another model."""
    tile = membranes[:, :, 200:260, 250:330]
    exact = general(shared, Setting(device="cuda:0"))(tile, WHOLE, HERE)
    fast = general(shared, Setting(device="cuda:0", precision=precision))(tile, WHOLE, HERE)
    assert 0 < np.abs(fast - exact).max() < 0.05


@needs_cuda
def test_full_gpu_is_an_error_that_names_what_fits(shared: Path) -> None:
    """Else a user would have to guess the batch and the tile."""
    engine = general(shared, Setting(device="cuda:0"))
    free, _ = torch.cuda.mem_get_info()
    hog = torch.empty(int(free - 600e6), dtype=torch.uint8, device="cuda:0")
    try:
        with pytest.raises(ResourceError, match=r"8 tiles of 1024 x 1024.*batch=1 and tile=\d+"):
            engine(np.zeros((8, 3, 1024, 1024), np.float32), WHOLE, HERE * 8)
    finally:
        del hog
        torch.cuda.empty_cache()
