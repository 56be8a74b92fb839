"""What the core relies on when a network runs in ncnn."""

from __future__ import annotations

import builtins
import gc
import importlib
import multiprocessing
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_superres.errors import MissingDependencyError, ResourceError
from napari_superres.models import ncnn_engine
from napari_superres.models.ncnn_engine import Network, Scratch
from napari_superres.models.ncnn_graph import Graph


def chain(layers: int = 3, features: int = 32) -> Network:
    """Return a network of some valid convolutions, 3 samples in and `features` out."""
    rng = np.random.default_rng(0)
    graph = Graph()
    blob, before = graph.input(), 3
    for _ in range(layers):
        weight = rng.standard_normal((features, before, 3, 3), dtype=np.float32) / 12
        bias = rng.standard_normal(features, dtype=np.float32)
        blob = graph.prelu(graph.convolution(blob, weight, bias), bias)
        before = features
    graph.output(blob)
    return Network(graph)


def tile(side: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((3, side, side), dtype=np.float32)


def run_chain(seed: int) -> np.ndarray:
    """Return what a new network makes of a tile; at the top of the module, for other processes."""
    return chain()(tile(seed=seed))


def test_arithmetic_is_float32_throughout() -> None:
    """Half precision keeps 8 or 11 bits; faint structure in 16-bit data would be lost."""
    graph = Graph()
    weight = np.zeros((32, 32, 3, 3), np.float32)
    for i in range(32):
        weight[i, i, 1, 1] = 1 + 2.0**-23 * i
    blob = graph.input()
    for _ in range(2):
        blob = graph.convolution(blob, weight, pad=1)
    graph.output(blob)
    x = 1 + np.random.default_rng(0).random((32, 30, 30), dtype=np.float32)
    expected = x.astype(np.float64) * (np.diagonal(weight[:, :, 1, 1]) ** 2.0)[:, None, None]
    # Winograd's sums of a few numbers around 10, each rounded to 24 bits.
    np.testing.assert_allclose(Network(graph)(x), expected, rtol=0, atol=3e-5)


def test_weights_outlive_the_graph() -> None:
    """Ncnn may borrow the bytes that it loads; a result must not depend on freed memory."""
    network = chain()
    before = network(tile())
    gc.collect()
    junk = [np.full(64 * 64 * 9, np.nan, np.float32) for _ in range(200)]
    np.testing.assert_array_equal(network(tile()), before)
    del junk


def test_inputs_may_have_any_layout_and_are_not_changed() -> None:
    """Tiles are views of larger arrays, read-only or in Fortran order."""
    x = tile()
    expected = chain()(x)
    views = [
        np.asfortranarray(x),
        np.random.default_rng(1).random((3, 90, 90), dtype=np.float32)[:, 10:50, 20:60],
        x.astype(np.float64),
    ]
    views[1][...] = x
    views[0].setflags(write=False)
    network = chain()
    for view in views:
        np.testing.assert_array_equal(network(view), expected)
        np.testing.assert_array_equal(view, x)


def test_four_threads_give_the_bits_of_one() -> None:
    """Threads share a loaded network; memory that they shared by mistake would mix their tiles."""
    network = chain()
    tiles = [tile(20 + 7 * i, seed=i) for i in range(6)]
    alone = [network(x) for x in tiles]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(network, tiles * 5))
    for result, expected in zip(together, alone * 5, strict=True):
        np.testing.assert_array_equal(result, expected)


def test_part_of_the_output_is_pasted() -> None:
    """Else pieces of a tile would lie beside their place."""
    network = chain()
    x = tile()
    whole = network(x)
    canvas = np.zeros((32, 60, 60), np.float32)
    scratch = Scratch()
    network.paste([x], canvas[:, 5:15, 40:48], scratch, skip=(3, 9))
    np.testing.assert_array_equal(canvas[:, 5:15, 40:48], whole[:, 3:13, 9:17])
    canvas[:, 5:15, 40:48] = 0
    assert not canvas.any()


def test_other_threads_run_while_it_computes() -> None:
    """Else a viewer would freeze during each tile."""
    network = chain(layers=6, features=64)
    x = tile(300)
    longest = 0.0
    stop = threading.Event()

    def ticking() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not stop.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            longest = max(longest, now - last)
            last = now

    thread = threading.Thread(target=ticking)
    thread.start()
    start = time.thread_time()
    network(x)
    worked = time.thread_time() - start
    stop.set()
    thread.join()
    # A computation that held the interpreter's lock would show as one gap of its whole length. Load
    # from other programs may delay the ticks, but hardly by half of it.
    assert longest < 0.5 * worked + 0.5


def test_spawned_process_gives_the_same_bits() -> None:
    """Clusters and Windows start workers afresh; their blocks must fit those of this process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        there = pool.submit(run_chain, 3).result()
    np.testing.assert_array_equal(there, run_chain(3))


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the plausible pixels of nobody would be written."""

    class Full:
        """What ncnn is when memory is used up: the one thing that a test cannot bring about."""

        def __getattr__(self, name: str) -> Any:
            return lambda *args: (-100, None) if name == "extract" else 0

    network = chain()
    monkeypatch.setattr(network, "_net", type("Net", (), {"create_extractor": Full}))
    with pytest.raises(ResourceError, match="not enough memory to run the network on 3 x 40 x 40"):
        network(tile())


def test_memory_does_not_grow_with_the_number_of_networks() -> None:
    """A deep model is some 70 networks; by default each would keep its own working memory."""
    code = (
        "import numpy as np, psutil\n"
        "from tests.models.test_ncnn_engine import chain, tile\n"
        "x, rss = tile(200), psutil.Process().memory_info\n"
        "networks = [chain() for _ in range(31)]\n"
        "networks[0](x)\n"
        "before = rss().rss\n"
        "for network in networks[1:]:\n"
        "    network(x)\n"
        "print(rss().rss - before)\n"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    # Each needs 37 MB while it runs: 1.1 GB if all kept it.
    assert int(result.stdout) < 100e6


def test_missing_ncnn_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else somebody on a platform without ncnn sees an ImportError from deep inside."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "ncnn":
            raise ImportError("no such file")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, ncnn_engine.__name__)
    with pytest.raises(MissingDependencyError, match="use device='cpu/torch'"):
        importlib.import_module(ncnn_engine.__name__)
