"""What every engine of every family promises to the core, whatever runs inside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save_file

from napari_superres.errors import SettingError
from napari_superres.models.catalog import MODELS, ModelSpec
from napari_superres.models.engine import (
    Address,
    Engine,
    Halo,
    Setting,
    forget_engines,
    load_engine,
    load_family,
)
from napari_superres.models.library import add
from napari_superres.models.weights import find_model, find_weights, state
from tests.models.conftest import TINY, random_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PUBLISHED = {
    "realesr-general-x4v3": "realesr-general-x4v3.safetensors",
    "realesr-animevideov3": "realesr-animevideov3.pth",
}
DEEP = {
    "realesrgan-x4plus": "RealESRGAN_x4plus.safetensors",
    "realesrgan-x4plus-anime-6b": "RealESRGAN_x4plus_anime_6B.pth",
}
WHOLE = Halo(0, 0, 0, 0)


@dataclass(frozen=True)
class Case:
    """A model on one of its implementations."""

    spec: ModelSpec
    engine: Engine
    name: str
    weights: dict[str, Path]

    def tiles(self, n: int, height: int, width: int, seed: int = 0) -> np.ndarray:
        """Return tiles of noise in [0, 1], with a plane for the noise level where one is wanted."""
        rng = np.random.default_rng(seed)
        tiles = rng.random((n, self.spec.samples, height, width), dtype=np.float32)
        if self.spec.noise_input:
            noise = np.full((n, 1, height, width), 0.05, np.float32)
            tiles = np.concatenate([tiles, noise], axis=1)
        return tiles

    def run(self, tiles: np.ndarray, halo: Halo = WHOLE) -> np.ndarray:
        """Return what the engine makes of tiles."""
        at = [Address(0, 0, i, 0, 0) for i in range(len(tiles))]
        return self.engine(tiles, halo, at)

    def compare(self, result: np.ndarray, expected: np.ndarray, *, parity: bool = False) -> None:
        """Refuse results that differ by more than the engine is allowed to."""
        reach = float(np.abs(expected).max()) or 1.0
        # ncnn: Winograd rounds differently at other positions. Parity: other orders of summation.
        allowed = 1e-4 if parity else (1e-5 if self.name == "ncnn" else 0.0)
        np.testing.assert_allclose(result, expected, rtol=0, atol=allowed * reach)


def names() -> list[str]:
    """Return the models to test: the table's that can be run, and a tiny one of every kind."""
    rows = [
        n for n, s in MODELS.items() if not (s.weights or s.folders) or s.bundled or n in PUBLISHED
    ]
    return [*rows, *(f"tiny-{kind}" for kind in TINY)]


def implementations() -> list[tuple[str, str]]:
    """Return every model with each of its engines."""
    pairs = []
    for name in names():
        family = MODELS[name].family if name in MODELS else "realesrgan"
        pairs += [(name, engine) for engine in load_family(family).ENGINES]
    return pairs


def prepare(
    name: str, request: pytest.FixtureRequest, folder: Path
) -> tuple[ModelSpec, dict[str, Path]]:
    """Return the row of a model and where its weights are."""
    if name.startswith("tiny-"):
        path = folder / f"{name}.safetensors"
        save_file(random_tensors(TINY[name.removeprefix("tiny-")]), path)
        spec = find_model(str(path))
        return spec, find_weights(spec)
    published = {**PUBLISHED, **DEEP}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_SUPERRES_CACHE", str(folder))
        if name in published:
            shared: Path = request.getfixturevalue("shared")
            add(shared / "weights" / published[name], name)
        spec = find_model(name).at(2)
        assert state(spec) in ("ready", "bundled")
        return spec, find_weights(spec)


def load(spec: ModelSpec, weights: dict[str, Path], engine: str) -> Case:
    """Load a model on one of its implementations."""
    denoise = spec.denoise if isinstance(spec.denoise, float) else None
    setting = Setting(engine=engine, denoise=denoise)
    return Case(spec, load_engine(spec, weights, setting), engine, weights)


@pytest.fixture(scope="module", params=implementations(), ids="/".join)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    """Return each model on each of its implementations."""
    name, engine = request.param
    spec, weights = prepare(name, request, tmp_path_factory.mktemp("weights"))
    yield load(spec, weights, engine)
    forget_engines()  # the next model may need their memory


def test_result_is_finer_and_without_halo(case: Case) -> None:
    """Else tiles would not fit together."""
    m, s = case.spec.multiple, case.spec.scale
    halo = Halo(m, 2 * m, 3 * m, 0)
    result = case.run(case.tiles(2, 5 * m, 7 * m), halo)
    assert result.shape == (2, case.spec.samples, s * 2 * m, s * 4 * m)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()


def test_same_tiles_give_the_same_bits(case: Case) -> None:
    """Else a job that is killed and resumed would have seams."""
    tiles = case.tiles(1, 24, 20)
    first = case.run(tiles)
    np.testing.assert_array_equal(case.run(tiles), first)
    other = np.asfortranarray(tiles)
    other.setflags(write=False)
    np.testing.assert_array_equal(case.run(other), first)


def test_tiles_are_left_as_they_were(case: Case) -> None:
    """Else the core, which uses them again to conserve light, would use something else."""
    tiles = case.tiles(1, 12, 16)
    before = tiles.copy()
    case.run(tiles)
    np.testing.assert_array_equal(tiles, before)


def test_threads_do_not_disturb_each_other(case: Case) -> None:
    """Else parallel blocks would mix their pixels, as happens in other programs."""
    inputs = [case.tiles(1, 16 + 2 * i, 24 - 2 * i, seed=i) for i in range(4)]
    alone = [case.run(tiles) for tiles in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(case.run, inputs * 2))
    for result, expected in zip(together, alone * 2, strict=True):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 3)])
def test_smallest_planes_work(case: Case, size: tuple[int, int]) -> None:
    """Else a line scan or a single pixel would crash."""
    result = case.run(case.tiles(1, *size))
    s = case.spec.scale
    assert result.shape == (1, case.spec.samples, s * size[0], s * size[1])
    assert np.isfinite(result).all()


def test_batch_gives_what_single_tiles_give(case: Case) -> None:
    """Else a tile's pixels would depend on its neighbours in the batch."""
    tiles = case.tiles(3, 14, 18)
    together = case.run(tiles)
    for i in range(3):
        np.testing.assert_allclose(case.run(tiles[i : i + 1])[0], together[i], rtol=0, atol=1e-5)


def test_tile_with_enough_halo_is_the_part_of_the_whole(case: Case) -> None:
    """Else there would be seams between tiles, at the plane's border or away from it."""
    m, s = case.spec.multiple, case.spec.scale
    h = -(-case.spec.radius // m) * m
    if h > 40:
        pytest.skip(f"a receptive radius of {h} pixels takes too long here")
    height, width = h + 6 * m, 2 * h + 8 * m
    whole = case.tiles(1, height, width)
    expected = case.run(whole)[:, :, : s * 6 * m, s * h : s * (h + 8 * m)]
    case.compare(case.run(whole, Halo(0, h, h, h)), expected)


def test_engine_that_a_family_does_not_have_is_refused(case: Case) -> None:
    """Else a typing error would silently run something else."""
    with pytest.raises(SettingError, match="does not run on the engine 'abacus'"):
        load_engine(case.spec, case.weights, Setting(engine="abacus"))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, 24) for name in names() if name not in MODELS or MODELS[name].weights),
        ("realesrgan-x4plus-anime-6b", 12),
        pytest.param("realesrgan-x4plus", 24, marks=pytest.mark.slow),
    ],
)
def test_engines_of_a_model_agree(
    name: str, size: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Else a result would depend on which engine happened to be installed."""
    spec, weights = prepare(name, request, tmp_path)
    cases = [load(spec, weights, engine) for engine in load_family(spec.family).ENGINES]
    m = spec.multiple
    tiles = cases[0].tiles(1, size * m, (size + 2) * m)
    for halo in (WHOLE, Halo(0, 4 * m, 6 * m, 2 * m)):
        results = [case.run(tiles, halo) for case in cases]
        for case, result in zip(cases, results, strict=True):
            case.compare(result, results[-1], parity=True)
