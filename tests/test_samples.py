"""Several results of one image: their mean, and how far they differ."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import napari_superres as sr
from napari_superres.errors import SettingError
from napari_superres.image import Image
from napari_superres.job import run, run_together
from napari_superres.kept_tiles import KEPT
from napari_superres.models.camera_noise import Noise
from napari_superres.models.catalog import MODELS
from napari_superres.models.engine import Halo
from napari_superres.models.weights import find_model
from napari_superres.planning import make_plan
from napari_superres.surveying import Survey
from napari_superres.symmetry import SYMMETRIES, Symmetry
from napari_superres.tile_results import without
from napari_superres.upscaling import spread
from tests.models.conftest import RRDB_X2, random_tensors

if TYPE_CHECKING:
    from pathlib import Path

EIGHT = len(SYMMETRIES)


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    """Keep tests from finding one another's tiles."""
    KEPT.forget()


def cells(height: int = 20, width: int = 26) -> np.ndarray:
    """Return a random image of 16 bits."""
    values = np.random.default_rng(0).integers(100, 4000, (height, width))
    return values.astype(np.uint16)


def test_the_eight_symmetries_are_all_there_are() -> None:
    """A flip counted twice would make the spread too small."""
    image = np.arange(6).reshape(2, 3)
    assert len({(s.apply(image).shape, s.apply(image).tobytes()) for s in SYMMETRIES}) == EIGHT == 8
    np.testing.assert_array_equal(SYMMETRIES[0].apply(image), image)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1)])
def test_a_flipped_line_runs_forwards_in_memory(shape: tuple[int, int]) -> None:
    """PyTorch takes no negative strides, and numpy leaves them where an axis is 1 long."""
    for view in SYMMETRIES:
        assert min(view.apply(np.zeros(shape)).strides) > 0


@given(
    st.sampled_from(SYMMETRIES),
    st.tuples(*[st.integers(0, 3)] * 4),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_a_flip_is_undone_and_takes_the_halo_with_it(
    view: Symmetry, halo: tuple[int, int, int, int], size: tuple[int, int]
) -> None:
    """A tile would be put back shifted by its halo, or mirrored."""
    around = Halo(*halo)
    shape = size[0] + halo[0] + halo[1], size[1] + halo[2] + halo[3]
    image = np.random.default_rng(1).random((2, *shape))
    np.testing.assert_array_equal(view.undo(view.apply(image)), image)
    kept = without(view.apply(image), view.halo(around))
    np.testing.assert_array_equal(view.undo(kept), without(image, around))


@pytest.mark.parametrize("count", [2, 4, 8])
def test_a_model_without_random_numbers_is_shown_flips_and_rotations(count: int) -> None:
    """A spread of the same answer eight times would be zero, and look like certainty."""
    wishes: dict[str, Any] = {"dtype": "float32", "tile": 1000}
    mean, away = sr.upscale(cells(), "linear-x2", samples=count, **wishes)
    by_hand = np.stack(
        [
            view.undo(sr.upscale(view.apply(cells()), "linear-x2", **wishes))
            for view in SYMMETRIES[:count]
        ]
    )
    np.testing.assert_allclose(mean, by_hand.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(away, by_hand.std(axis=0, ddof=1), rtol=1e-3, atol=2e-2)
    assert away.dtype == np.float32


@pytest.mark.parametrize("device", ["cpu/torch", "cpu/ncnn"])
@pytest.mark.parametrize("shape", [(61, 76), (60, 75)])
def test_flips_of_a_network_that_folds_pixels_have_no_seams(
    device: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    """In a flipped tile at the plane's end the squares lay elsewhere, and moved the picture."""
    path = tmp_path / "folding.safetensors"
    save_file(random_tensors(RRDB_X2), path)
    wishes: dict[str, Any] = {"limits": (0, 4000), "consistency": "off", "dtype": "float32"}
    wishes |= {"samples": EIGHT, "device": device}
    radius = find_model(str(path)).halo
    whole, _ = sr.upscale(cells(*shape), str(path), **wishes)
    tiled, _ = sr.upscale(cells(*shape), str(path), tile=2 * radius + 16, **wishes)
    assert np.abs(tiled - whole).max() <= 1e-5 * np.ptp(whole)


@settings(deadline=None, max_examples=10)
@given(st.data())
def test_a_region_of_mean_and_spread_is_that_of_the_whole(data: st.DataObject) -> None:
    """The law: a preview shows the pixels that the file will hold, of the spread too."""
    image = Image(da.from_array(cells(40, 50), chunks=(9, 11)), "yx")
    wishes: dict[str, Any] = {"samples": 3, "tile": 34}
    for lazy in sr.upscale(image, "linear-x2", **wishes):
        whole = lazy.data.compute(scheduler="synchronous")
        y, x = data.draw(st.integers(0, 70)), data.draw(st.integers(0, 90))
        KEPT.forget()
        with ThreadPoolExecutor(3) as pool:
            part = lazy.data[y : y + 9, x : x + 9].compute(scheduler="threads", pool=pool)
        np.testing.assert_array_equal(part, whole[y : y + 9, x : x + 9])


def test_samples_keep_the_light_of_the_source() -> None:
    """The mean of results that conserve light conserves it."""
    mean, _ = sr.upscale(cells(), "linear-x2", samples=8, dtype="float32")
    np.testing.assert_allclose(mean.reshape(20, 2, 26, 2).mean(axis=(1, 3)), cells(), rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "wishes", "message"),
    [
        ("lanczos", {"samples": 2}, "no spread"),
        ("lanczos", {"uncertainty": True}, "no spread"),
        ("linear-x2", {"samples": 9}, "Use samples=8 or less"),
        ("linear-x2", {"samples": 0}, "not a number of samples"),
        ("linear-x2", {"uncertainty": True}, "for example samples=8"),
        ("supir-v0f", {"uncertainty": True}, "for example samples=4"),
        ("microscopy-x2", {"uncertainty": True, "samples": 2}, "Ask for one of them"),
        ("supir-v0f", {"options": {"latent_tile": 8, "latent_stride": 9}}, "gaps between tiles"),
        ("supir-v0f", {"options": {"captions": "cells"}}, "captions is not a JSON object"),
    ],
)
def test_samples_that_mean_nothing_are_refused(
    model: str, wishes: dict[str, Any], message: str
) -> None:
    """A user would wait for hours, or take the answer for another one."""
    with pytest.raises(SettingError, match=message):
        make_plan(_image(), model, limits=(0, 1), denoise=_denoise(model), **wishes)


def _image() -> Image:
    return Image(da.from_array(cells()), "yx")


def _denoise(model: str) -> float | None:
    return None if MODELS[model].denoise is None else 0.0


@pytest.mark.parametrize(
    ("model", "wishes", "kind"),
    [
        ("linear-x2", {"samples": 8}, "augmentation spread"),
        ("supir-v0f", {"samples": 20}, "sampling spread"),
        ("supir-v0f", {"samples": 4, "uncertainty": True}, "sampling spread"),
        ("pisa-sr-x4", {"samples": 8}, "augmentation spread"),
        ("microscopy-x2", {"uncertainty": True}, "predicted error"),
        ("linear-x2", {}, ""),
    ],
)
def test_a_spread_is_called_what_it_is(model: str, wishes: dict[str, Any], kind: str) -> None:
    """The spread of a model over flips would be taken for the uncertainty of a measurement."""
    plan = make_plan(_image(), model, limits=(0, 1), denoise=_denoise(model), **wishes)
    assert plan.spread == kind
    if kind:
        away = spread(_image(), plan)
        assert away.name.endswith(kind)
        assert away.history[-1]["spread"] == kind
        assert "spread" in str(plan)


@pytest.mark.parametrize(("denoise", "passes"), [(0.0, 2), (1.0, 2), (0.25, 3)])
def test_a_plan_counts_the_passes_of_a_predicted_error(denoise: float, passes: int) -> None:
    """The expected time would be a third too short where a part of the noise is removed."""
    noisy = Survey(((0, 1),), (Noise(5.0, 50.0, 0.0, 100),), 1, 1)
    plan = make_plan(_image(), "microscopy-x2", noisy, denoise=denoise, uncertainty=True)
    assert plan.passes == passes
    alone = replace(plan, uncertainty=False)
    assert plan.flop == passes * alone.flop, "the work that a plan states would be too little"
    assert f"{passes} passes" in str(plan)


def test_two_jobs_together_are_one_in_progress_and_stop_together(tmp_path: Any) -> None:
    """A bar would run twice from one end to the other, or a lock be left behind."""
    pair = sr.upscale(Image(da.zeros((3, 40, 40), dtype=np.uint16), "zyx"), "linear-x2", samples=2)
    runs = [run(one, tmp_path / f"{i}.ome.zarr") for i, one in enumerate(pair)]
    steps = list(run_together(runs))
    assert (steps[-1].done, steps[-1].total) == (6, 6)
    assert sr.read(tmp_path / "1.ome.zarr").shape == (3, 80, 80)
    runs = [run(one, tmp_path / f"{i}.ome.zarr", overwrite=True) for i, one in enumerate(pair)]
    together = run_together(runs)
    next(together)
    together.close()  # type: ignore[attr-defined]
    assert all(next(steps, None) is None for steps in runs)
