"""Wishes and facts become decisions, or one clear refusal."""

from __future__ import annotations

import inspect
import json
import pickle
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_superres.errors import InputError, SettingError, UnknownModelError
from napari_superres.image import Image
from napari_superres.models.camera_noise import Noise
from napari_superres.models.catalog import MODELS, Option, default_model
from napari_superres.models.noise_line import NoiseLine
from napari_superres.planning import canonical_axes, make_plan
from napari_superres.surveying import Survey
from napari_superres.upscaling import plan_for, upscale


def _image(
    dtype: str = "uint16", axes: str = "czyx", shape: tuple[int, ...] = (2, 3, 64, 80)
) -> Image:
    return Image(da.zeros(shape, dtype=dtype), axes, name="cells.tif")


def test_a_plan_is_plain_data() -> None:
    """It travels to workers, into files, and is compared."""
    plan = make_plan(_image(), "realesr-general-x4v3", limits=(0, 4095))
    assert pickle.loads(pickle.dumps(plan)) == plan
    record = json.loads(json.dumps(plan.record()))
    assert record["model"] == "realesr-general-x4v3"
    assert record["limits"] == [[0, 4095], [0, 4095]]
    assert hash(plan) == hash(make_plan(_image(), "realesr-general-x4v3", limits=(0, 4095)))


def test_every_keyword_of_upscale_but_the_selections_is_a_decision_of_the_plan() -> None:
    """A setting that the plan does not know would be lost when a job resumes."""
    keywords = set(inspect.signature(upscale).parameters) - {"x", "axes", "rgb"}
    selections = {"channels", "planes", "region"}
    machine = {"device", "precision", "batch"}
    known = set(inspect.signature(make_plan).parameters) - {"image", "survey", "compute"}
    assert keywords - selections - machine == known


def test_limits_come_from_the_survey_unless_given() -> None:
    """One pair a channel, never one a tile: a normalisation that differs is a seam."""
    facts = Survey(((1.0, 2.0), (3.0, 4.0)), (Noise(1, 10, 0, 100), Noise(2, 10, 1, 100)), 1, 1)
    assert make_plan(_image(), "realesrgan-x4plus", facts).limits == facts.limits
    given = make_plan(_image(), "realesrgan-x4plus", facts, limits=[(0, 9), (1, 8)])
    assert given.limits == ((0, 9), (1, 8))
    with pytest.raises(SettingError, match="needs to know the intensities"):
        make_plan(_image(), "realesrgan-x4plus")


def test_an_8_bit_rgb_picture_needs_no_survey() -> None:
    """Its black and white are 0 and 255."""
    picture = _image("uint8", "yxs", (64, 64, 3))
    assert make_plan(picture, "realesrgan-x4plus").limits == ((0.0, 255.0),)


def test_models_that_commute_with_gain_need_no_limits() -> None:
    """Nothing is read, nothing is clipped."""
    assert make_plan(_image(), "lanczos").limits is None


@pytest.mark.parametrize(
    ("image", "wishes", "error", "message"),
    [
        (_image(), {"model": "realsr"}, UnknownModelError, "no model named 'realsr'"),
        (_image(), {"scale": 2.5}, SettingError, "not a whole number"),
        (_image(), {"scale": 0}, SettingError, "not a whole number"),
        (
            _image(),
            {"model": "realesrgan-x2plus", "scale": 4, "limits": (0, 1)},
            SettingError,
            "2 times finer, not 4 times",
        ),
        (_image("complex64"), {}, InputError, "complex pixels"),
        (_image(shape=(2, 3, 0, 80)), {}, InputError, "no pixels"),
        (_image("bool"), {}, InputError, "Use the model 'nearest'"),
        (replace(_image(), is_labels=True), {}, InputError, "a label image"),
        (_image("int64"), {}, InputError, "dtype='float32'"),
        (_image("uint16"), {"dtype": "int64"}, SettingError, "dtype='float32'"),
        (_image(), {"dtype": "str"}, SettingError, "cannot hold intensities"),
        (_image(), {"dtype": "nonsense"}, SettingError, "not a type of pixel"),
        (_image(), {"tile": 6}, SettingError, "Use tile=7 or more"),
        (_image(), {"halo": -1}, SettingError, "halo=-1"),
        (_image(), {"consistency": "yes"}, SettingError, "consistency='yes'"),
        (_image(), {"denoise": 0.5}, SettingError, "no denoise setting"),
        (
            _image(),
            {"model": "realesr-general-x4v3", "limits": (0, 1), "denoise": 2},
            SettingError,
            "Use a number from 0",
        ),
        (
            _image(),
            {"model": "realesr-general-x4v3", "limits": (5, 1)},
            SettingError,
            "a lower and an upper",
        ),
        (
            _image(),
            {"model": "realesr-general-x4v3", "limits": [(0, 1)] * 3},
            SettingError,
            "needs a pair, or 2 of them",
        ),
        (_image(), {"samples": 4}, SettingError, "no spread"),
        (_image(), {"options": {"prompt": "cells"}}, SettingError, "no option 'prompt'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(
    image: Image, wishes: dict, error: type[Exception], message: str
) -> None:
    """An error at hour three would have been an error at second one."""
    with pytest.raises(error) as caught:
        make_plan(image, wishes.pop("model", "lanczos"), **wishes)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("model", "wishes", "message"),
    [
        ("lanczos", {"precision": "float16"}, "'lanczos' computes in float32"),
        ("lanczos", {"precision": "bfloat16", "device": "cpu"}, "Leave precision= out"),
        ("linear-x2", {"precision": "float16", "device": "cpu"}, "is for GPUs"),
        ("lanczos", {"feather": 5000}, "wider than the tile's core"),
        ("linear-x2", {"feather": 5000}, "wider than the tile's core"),
    ],
)
def test_what_each_block_would_refuse_is_refused_at_once(
    model: str, wishes: dict, message: str
) -> None:
    """A viewer or a job would begin, and then fail at its first block or on another machine."""
    with pytest.raises(SettingError, match=message):
        upscale(da.zeros((64, 80), dtype=np.uint8), model, **wishes)


def test_auto_denoising_takes_the_noise_of_each_channel_from_the_survey() -> None:
    """A noisy channel is restored, a clean one beside it left faithful; tiles agree."""
    facts = Survey(((0, 1),) * 2, (Noise(5.0, 50.0, 0.0, 100), Noise(5.0, 50.0, 1.0, 100)), 1, 1)
    auto = make_plan(_image(), "microscopy-x2", facts)
    assert auto.denoise == (1.0, 0.0)
    assert auto.noise == (5.0, 0.0)
    half = make_plan(_image(), "microscopy-x2", facts, denoise=0.5)
    assert half.noise == (2.5, 2.5)
    assert "the rest may be the specimen's own grain" in str(half)
    assert "the rest" not in str(auto)
    grainy = Survey(((0, 1),) * 2, (Noise(5.0, 50.0, 0.0, 1.1),) * 2, 1, 1)
    assert make_plan(_image(), "microscopy-x2", grainy).noise == (1.25, 1.25)
    assert "removes noise of standard deviation 5, 0" in str(auto)
    assert make_plan(_image(), "microscopy-x2", denoise=0).noise == (0, 0)
    assert auto.noise_lines == (None, None)
    with pytest.raises(SettingError, match="denoise='auto' needs to know the noise"):
        make_plan(_image(), "microscopy-x2")


def test_a_plan_knows_how_noise_grows_with_brightness() -> None:
    """And a job's fingerprint and a result's history with it; a clean channel has none."""
    line = NoiseLine(100.0, 0.25, 0.01)
    facts = Survey(
        ((0, 1),) * 2, (Noise(5.0, 50.0, 0.0, 9, line), Noise(5.0, 50.0, 1.0, 9, line)), 1, 1
    )
    plan = make_plan(_image(), "microscopy-x2", facts)
    assert plan.noise_lines == (line, None)
    assert plan.record()["noise_lines"] == [[100.0, 0.25, 0.01], None]
    assert "more where it is brighter" in str(plan)


def test_options_are_checked_against_the_row() -> None:
    """A misspelt or impossible option must not be ignored."""
    row = replace(
        MODELS["lanczos"],
        options=(
            Option("steps", 8, "Number of steps.", low=1, high=100),
            Option("preset", "microscopy", "Prompt.", choices=("microscopy", "photo")),
            Option("share", 0.5, "Of noise.", low=0, high=1),
            Option("edge", 64, "Of a tile.", low=8),
        ),
    )
    plan = make_plan(_image(), row, options={"steps": "20"})
    assert plan.options == (("edge", 64), ("preset", "microscopy"), ("share", 0.5), ("steps", 20))
    for bad in ({"steps": 0}, {"steps": "many"}, {"preset": "art"}, {"share": "nan"}):
        with pytest.raises(SettingError, match=next(iter(bad))):
            make_plan(_image(), row, options=bad)
    with pytest.raises(SettingError, match="Use 8 or more"):
        make_plan(_image(), row, options={"edge": 7})


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    """The same seed drew other noise, and a job that was begun went on with it."""
    plan = plan_for(_image(), "lanczos", seed=np.int64(3), batch=np.int64(2))
    assert (type(plan.seed), type(plan.compute.batch)) == (int, int)
    assert repr(plan.record()) == repr(plan_for(_image(), "lanczos", seed=3, batch=2).record())
    for name in ("seed", "batch"):
        for wrong in (1.5, "3"):
            with pytest.raises(SettingError, match=f"{name}={wrong!r} is not a whole number"):
                plan_for(_image(), "lanczos", **{name: wrong})


def test_axes_are_ordered_without_losing_any() -> None:
    """Any order of axes works."""
    assert canonical_axes("xycz") == "czyx"
    assert canonical_axes("syx") == "yxs"


def test_the_plan_says_what_a_halo_costs_and_leaves() -> None:
    """Users of other tools guess at both."""
    exact = make_plan(_image(), "realesr-general-x4v3", limits=(0, 1), tile=128)
    assert "tiled equals untiled" in str(exact)
    assert exact.overhead > 1.5
    short = make_plan(_image(), "realesr-general-x4v3", limits=(0, 1), tile=128, halo=10)
    assert "expect visible seams" in str(short)
    assert short.overhead < exact.overhead


def test_uint32_beyond_float32_is_refused_unless_floats_are_asked_for() -> None:
    """An identifier or a photon count must not be rounded in silence."""
    big = np.full((4, 4), 2**24 + 1, np.uint32)
    with pytest.raises(InputError, match="dtype='float32'"):
        upscale(big, "lanczos")
    assert upscale(big, "lanczos", dtype="float32").dtype == np.float32
    assert upscale(np.full((4, 4), 2**24, np.uint32), "lanczos").dtype == np.uint32
    lowest = np.full((4, 4), np.iinfo(np.int32).min, np.int32)
    with pytest.raises(InputError, match="'scan' has pixels of type int32 that reach 2147483648"):
        upscale(Image(da.from_array(lowest), "yx", name="scan"), "lanczos").data.compute()


def test_numbers_that_models_cannot_hold_are_refused() -> None:
    """They would come back as infinity, which looks like something that was measured."""
    huge = np.ones((4, 4))
    huge[1, 2], huge[0, 0], huge[3, 3] = -1e300, np.nan, np.inf
    with pytest.raises(InputError, match=r"float64 that reach 1e\+300"):
        upscale(huge, "lanczos")
    huge[1, 2] = 1e30
    assert upscale(huge, "lanczos").dtype == np.float64


@pytest.mark.parametrize("device", ["gpu", "cuda:first", "cpu/abacus", "cuda:99"])
def test_a_device_that_is_not_here_is_refused(device: str) -> None:
    """A typing error would be reported as a bug of ours, or run on something else."""
    with pytest.raises(SettingError, match=r"cuda:|device='cpu'|Use one of"):
        plan_for(_image(), "microscopy-x2", device=device, denoise=0)


def test_the_default_model_is_an_embedded_one_or_the_user_is_asked() -> None:
    """Whoever names no model gets another one than the manual says, and is not told."""
    chosen = [default_model(scale) for scale in (1, 2, 3, 4)]
    assert chosen == ["microscopy-x2", "microscopy-x2", "microscopy-x4", "microscopy-x4"]
    plan = plan_for(_image(), scale=3, denoise=0)
    assert (plan.spec.name, plan.scale) == ("microscopy-x4", 3)
    with pytest.raises(SettingError, match=r"scale=5 .* model='lanczos'"):
        plan_for(_image(), scale=5)
    assert plan_for(_image(), "lanczos", scale=5).scale == 5
