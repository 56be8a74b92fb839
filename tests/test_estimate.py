"""The time that a plan says is about the time that it takes."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest

from napari_superres.estimate import Speed, measure_speed
from napari_superres.image import Image
from napari_superres.models import crew
from napari_superres.upscaled_array import UpscaledArray
from napari_superres.upscaling import plan_for

if TYPE_CHECKING:
    from napari_superres.plan import Plan


def _image(side: int = 2048) -> Image:
    return Image(da.zeros((side, side), dtype=np.uint8, chunks=512), "yx")


def _plan(image: Image, device: str = "cpu") -> Plan:
    """Return a plan of 16 tiles for 2048 pixels."""
    wishes: dict[str, Any] = {"denoise": 0, "consistency": "off", "tile": 512 + 22}
    return plan_for(image, "microscopy-fast-x2", device=device, **wishes)


@pytest.mark.parametrize(("helpers", "at_once"), [(7, 1), (0, 8)])
def test_workers_who_share_the_cores_are_not_counted_twice(
    helpers: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night would turn out to be a week: a tile has all cores already, whoever asks for it."""
    monkeypatch.setattr(crew, "_crew", crew.Crew(8, helpers))
    plan = _plan(_image(8192))
    plan = replace(plan, compute=replace(plan.compute, engine="ncnn"))
    assert Speed(5.0, 1.0).seconds(plan, workers=8) == 5 + plan.tiles / at_once


@pytest.mark.parametrize(
    ("engine", "device", "at_once"), [("torch", "cuda:0", 1), ("torch", "cpu", 3)]
)
def test_only_workers_on_cores_of_their_own_share_the_time(
    engine: str, device: str, at_once: int
) -> None:
    """Three threads of one graphics card would be said to be three times as fast."""
    plan = _plan(_image())
    plan = replace(plan, compute=replace(plan.compute, engine=engine, device=device))
    speed = Speed(start=5.0, tile=1.0)
    assert speed.seconds(plan, workers=3) == 5 + plan.tiles / at_once


def test_a_tile_is_measured_where_workers_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the main thread torch takes all cores, and workers have one each."""
    where = []
    plain = UpscaledArray.__getitem__
    monkeypatch.setattr(
        UpscaledArray,
        "__getitem__",
        lambda *a: (where.append(threading.current_thread()), plain(*a))[1],
    )
    image = _image(64)
    measure_speed(image, plan_for(image, "linear-x2", device="cpu/torch"))
    assert len(where) == 2
    assert threading.main_thread() not in where
