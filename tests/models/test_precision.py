"""Networks on a graphics card compute in the precision that was asked for."""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_superres.models import plane_engine, precision
from napari_superres.models.catalog import MODELS
from napari_superres.models.engine import Address, Halo, Setting, load_engine
from napari_superres.models.families import community
from napari_superres.models.families.microscopy import torch_engine as embedded
from napari_superres.models.families.realesrgan import torch_engine as realesrgan
from napari_superres.models.plane_engine import PlaneEngine
from napari_superres.models.weights import find_weights
from tests.models.conftest import TINY, random_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

CUDA: Any = SimpleNamespace(type="cuda")
WHOLE = Halo(0, 0, 0, 0)
HERE = [Address(0, 0, 0, 0, 0)]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


class Card:
    """What cuDNN's flags would be, and what they were when something was computed."""

    def __init__(self) -> None:
        self.allow_tf32 = True
        self.seen: list[bool] = []

    @contextmanager
    def flags(self, *, allow_tf32: bool, **others: bool) -> Iterator[None]:
        """Set a flag for all threads and put it back, as PyTorch does."""
        before, self.allow_tf32 = self.allow_tf32, allow_tf32
        try:
            yield
        finally:
            self.allow_tf32 = before

    def look(self, *_: Any) -> None:
        """Remember the flag."""
        self.seen.append(self.allow_tf32)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    """Let engines on the CPU treat cuDNN as if they were on a graphics card."""
    card = Card()
    monkeypatch.setattr(torch.backends.cudnn, "flags", card.flags)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    real = precision.exact
    for module in (embedded, realesrgan, plane_engine, precision):
        monkeypatch.setattr(module, "exact", lambda device: real(CUDA))
    return card


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["microscopy-x2", "linear-x2"])
def test_embedded_models_do_not_round_to_tf32(card: Card, name: str, kind: str) -> None:
    """A dim structure on a camera's pedestal would lose its digits on a graphics card."""
    trained = embedded_weights(name)
    network = embedded.TorchNetwork(trained, Setting(precision=kind))
    interpolating = "interpolated" if trained.kind == "network" else "forward"
    inner = getattr(network._network, interpolating)
    setattr(network._network, interpolating, lambda *a: (card.look(), inner(*a))[1])
    network(np.ones((64, 64), np.float32), 0.0)
    assert card.seen == [False]
    assert card.allow_tf32, "what PyTorch does elsewhere is the user's own"


def embedded_weights(name: str) -> Any:
    """Return the numbers of an embedded model."""
    from napari_superres.models.families.microscopy.tensors import read_trained

    (path,) = find_weights(MODELS[name]).values()
    return read_trained(path)


def test_networks_of_users_do_not_round_to_tf32(card: Card) -> None:
    """A network of spandrel's would give other pixels on a graphics card than elsewhere."""

    class Network:
        scale, device, dtype = 1, torch.device("cpu"), torch.float32

        def __call__(self, x: Any) -> Any:
            card.look()
            return x

    community.Community(Network())(np.ones((1, 1, 4, 4), np.float32), WHOLE, HERE)
    assert card.seen == [False]


def test_other_networks_do_not_round_to_tf32(card: Card) -> None:
    """The engines for photographs and for planes would lose what they had."""
    architecture = next(iter(TINY.values()))
    engine = realesrgan.load_torch(architecture, random_tensors(architecture), Setting())
    engine.network.register_forward_pre_hook(card.look)
    engine(np.ones((1, architecture.samples, 16, 16), np.float32), WHOLE, HERE)

    class Plane(PlaneEngine):
        def restore(self, plane: Any, noise: Any, place: Any) -> Any:
            card.look()
            return plane

    Plane("plane", 1, torch.device("cpu"))(np.ones((1, 3, 4, 4), np.float32), WHOLE, HERE)
    assert card.seen == [False, False]


def test_threads_do_not_take_exactness_from_each_other(card: Card) -> None:
    """The flags are the process's: whoever ended first would switch TF32 on for the others."""
    begun, ended = threading.Event(), threading.Event()

    def short() -> None:
        with precision.exact(CUDA):
            begun.set()
            ended.wait(10)

    first = threading.Thread(target=short)
    first.start()
    assert begun.wait(10)
    with precision.exact(CUDA):
        ended.set()
        first.join()
        card.look()
    assert (card.seen, card.allow_tf32) == ([False], True)


@needs_cuda
@pytest.mark.parametrize("name", ["microscopy-x2", "linear-x2"])
def test_embedded_models_on_cuda_keep_a_pedestal(name: str) -> None:
    """A dim structure on a high pedestal would come back with an error as large as itself."""
    spec = MODELS[name]
    rng = np.random.default_rng(0)
    pixels = (30_000 + 100 * rng.random((1, 1, 80, 90))).astype(np.float32)
    tiles = np.concatenate([pixels, np.zeros_like(pixels)], axis=1) if spec.noise_input else pixels
    cpu, gpu = (
        load_engine(spec, find_weights(spec), Setting(device=device))(tiles, WHOLE, HERE)
        for device in ("cpu", "cuda:0")
    )
    # TF32 rounds 30 000 to multiples of 16.
    assert np.abs(gpu - cpu).max() < 0.1
