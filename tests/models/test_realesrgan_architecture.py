"""Networks of the Real-ESRGAN family are told from the names and shapes of their tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_superres.errors import WeightsError
from napari_superres.models.catalog import MODELS
from napari_superres.models.checkpoints import read_tensors
from napari_superres.models.families.realesrgan.architecture import (
    Architecture,
    recognise,
)
from napari_superres.models.families.realesrgan.names import official_names
from napari_superres.models.families.realesrgan.networks import build
from tests.models.conftest import COMPACT, RRDB, TINY, random_tensors

if TYPE_CHECKING:
    import random
    from pathlib import Path

REAL = {
    "RealESRGAN_x4plus.safetensors": "realesrgan-x4plus",
    "RealESRGAN_x4plus_anime_6B.pth": "realesrgan-x4plus-anime-6b",
    "realesr-general-x4v3.safetensors": "realesr-general-x4v3",
    "realesr-general-wdn-x4v3.safetensors": "realesr-general-x4v3",
    "realesr-animevideov3.pth": "realesr-animevideov3",
}


@pytest.mark.parametrize("file", REAL)
def test_published_weights_are_recognised_as_their_row_says(shared: Path, file: str) -> None:
    """Else a published model would not load, or tiles would get a halo that is too short."""
    tensors = read_tensors(shared / "weights" / file)
    found = recognise({name: t.shape for name, t in tensors.items()}, file)
    spec = MODELS[REAL[file]]
    assert (found.scale, found.samples, found.multiple) == (4, 3, 1)
    assert found.radius == spec.radius
    assert found.parameters == spec.parameters
    assert found.flop == pytest.approx(spec.flop, rel=0.03)


@pytest.mark.parametrize("file", REAL)
def test_published_weights_load_strictly(shared: Path, file: str) -> None:
    """Else some layer would keep random numbers, and nobody would notice."""
    tensors = read_tensors(shared / "weights" / file)
    network = build(recognise({name: t.shape for name, t in tensors.items()}), tensors)
    state = network.state_dict()
    assert set(state) == set(tensors)
    assert all(np.array_equal(state[name].numpy(), tensors[name]) for name in tensors)


@pytest.mark.parametrize("name", [n for n, s in MODELS.items() if s.family == "realesrgan"])
def test_row_of_the_table_agrees_with_its_network(name: str) -> None:
    """Else the plan's halo, work and download size would belong to another network."""
    spec = MODELS[name]
    blocks = {1_213_296: 32, 621_424: 16, 4_467_779: 6}.get(spec.parameters, 23)
    kind = "compact" if spec.parameters < 2e6 else "rrdb"
    growth = 0 if kind == "compact" else 32
    network = Architecture(kind, 3, 64, blocks, growth, spec.scale, spec.multiple)
    assert network.parameters == spec.parameters
    assert network.radius == spec.radius
    assert network.flop == pytest.approx(spec.flop, rel=0.03)


architectures = st.one_of(
    st.builds(
        Architecture,
        kind=st.just("compact"),
        samples=st.sampled_from([1, 3]),
        features=st.integers(1, 70),
        blocks=st.integers(1, 40),
        growth=st.just(0),
        scale=st.integers(1, 5),
    ),
    st.builds(
        lambda samples, features, blocks, growth, sizes: Architecture(
            "rrdb", samples, features, blocks, growth, *sizes
        ),
        samples=st.sampled_from([1, 3]),
        features=st.integers(1, 70),
        blocks=st.integers(1, 25),
        growth=st.integers(1, 40),
        sizes=st.sampled_from([(1, 1), (2, 1), (4, 1), (8, 1), (2, 2), (4, 2), (1, 4), (2, 4)]),
    ),
)


@given(architectures, st.randoms())
def test_any_architecture_is_recognised_from_its_tensors(
    network: Architecture, order: random.Random
) -> None:
    """Else a checkpoint of unusual size would be refused, or run as another network."""
    shapes = list(network.tensors.items())
    order.shuffle(shapes)
    assert recognise(dict(shapes)) == network


def first_release_name(name: str) -> str:
    """Return what the first ESRGAN release called a tensor."""
    parts = name.split(".")
    if parts[0] == "body":
        return f"RRDB_trunk.{parts[1]}.{parts[2].upper()}.{parts[3]}.{parts[4]}"
    old = {"conv_body": "trunk_conv", "conv_hr": "HRconv"}
    return ".".join([old.get(parts[0], parts[0].replace("conv_up", "upconv")), parts[1]])


def sequence_name(name: str, network: Architecture) -> str:
    """Return what the code before that called it: a number in a sequence of layers."""
    parts = name.split(".")
    if parts[0] == "body":
        return f"model.1.sub.{parts[1]}.{parts[2].upper()}.{parts[3]}.0.{parts[4]}"
    if parts[0] == "conv_body":
        return f"model.1.sub.{network.blocks}.{parts[1]}"
    place = {"conv_first": 0, "conv_hr": 2 + 3 * network.ups, "conv_last": 4 + 3 * network.ups}
    if parts[0].startswith("conv_up"):  # each doubling, its convolution and its activation
        return f"model.{3 * int(parts[0][-1])}.{parts[1]}"
    return f"model.{place[parts[0]]}.{parts[1]}"


@given(architectures.filter(lambda network: network.kind == "rrdb"))
@settings(max_examples=30)
def test_old_names_become_the_official_ones(network: Architecture) -> None:
    """Else the many ESRGAN checkpoints of other people would not load."""
    for rename in (first_release_name, lambda name: sequence_name(name, network)):
        old = {rename(name): shape for name, shape in network.tensors.items()}
        assert recognise(old) == network
        assert {new: old[name] for name, new in official_names(old).items()} == network.tensors


def test_missing_and_unexpected_tensors_are_named() -> None:
    """Else a user with a damaged file would not know what is wrong with it."""
    shapes = dict(RRDB.tensors)
    del shapes["body.1.rdb2.conv3.bias"]
    shapes["discriminator.weight"] = (3,)
    shapes["conv_hr.bias"] = (9,)
    with pytest.raises(WeightsError) as caught:
        recognise(shapes, "mine.pth")
    for word in ("mine.pth", "body.1.rdb2.conv3.bias", "discriminator.weight", "conv_hr.bias"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({}, "neither an RRDBNet"),
        ({"layers.0.weight": (3, 3)}, "layers.0.weight"),
        ({"conv_first.weight": (64, 3, 3, 3)}, "body.0.rdb1.conv1.weight"),
        ({"body.0.weight": (64, 3, 7, 7)}, "3 x 3"),
        ({"body.0.weight": (8, 3, 3, 3), "body.2.weight": (8, 8, 3, 3)}, "no whole scale factor"),
        ({"model.0.weight": (8, 3, 3, 3), "model.1.weight": (8, 8, 3, 3)}, "neither an RRDBNet"),
    ],
)
def test_other_networks_are_refused(shapes: dict[str, tuple[int, ...]], words: str) -> None:
    """Else a checkpoint of something else would fail deep inside, or not at all."""
    with pytest.raises(WeightsError, match=words):
        recognise(shapes, "other.pth")


@pytest.mark.parametrize("network", [COMPACT, RRDB])
def test_high_number_in_a_name_is_refused_at_once(network: Architecture) -> None:
    """Else one odd name in a file would keep the program busy for ever."""
    name = "body.999999998.weight" if network is COMPACT else "body.999999998.rdb1.conv1.weight"
    shapes = {**network.tensors, name: (48, network.features, 3, 3)}
    with pytest.raises(WeightsError, match=r"numbers its blocks up to \d+, but has only"):
        recognise(shapes, "odd.pth")


def test_network_whose_output_has_other_samples_is_refused() -> None:
    """Else an inpainting network with a mask would be fed with an image."""
    shapes = {**RRDB.tensors, "conv_first.weight": (8, 4, 3, 3)}
    with pytest.raises(WeightsError, match="takes 4 samples, gives 3"):
        recognise(shapes, "masked.pth")


@pytest.mark.parametrize("name", TINY)
def test_radius_is_exact(name: str) -> None:
    """Else a halo would be too short (seams), or longer than needed (slow)."""
    a = TINY[name]
    side = 2 * a.radius + 1 + 2 * a.unshuffle
    side += -side % a.unshuffle
    # Positive weights pass a change on everywhere, and cannot cancel it.
    tensors = {key: np.abs(tensor) for key, tensor in random_tensors(a).items()}
    network = build(a, tensors).double()
    reach = 0
    with torch.inference_mode():
        line = torch.zeros(1, a.samples, side, side, dtype=torch.float64)
        before = network(line)
        for centre in range(side // 2, side // 2 + a.unshuffle):
            line[:, :, :, centre] += 1
            changed = (network(line) - before).abs().amax(dim=(0, 1, 2)) > 0
            line[:, :, :, centre] -= 1
            first, last = changed.nonzero()[[0, -1]].flatten().tolist()
            reach = max(reach, centre - first // a.scale, last // a.scale - centre)
    assert reach == a.radius
