"""Which engines stay loaded."""

from __future__ import annotations

import weakref
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from napari_superres.models import engine
from napari_superres.models.catalog import MODELS
from napari_superres.models.engine import MOST_ENGINES, Setting, forget_engines, load_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

TILES, PLANES = MODELS["realesr-general-x4v3"], MODELS["ldm-sr-x4"]


class Loaded:
    """An engine that can be referred to weakly."""


@pytest.fixture(autouse=True)
def _stub_family(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Load engines of nothing, and leave none of them behind."""
    family = SimpleNamespace(ENGINES=("torch",), load=lambda *arguments: Loaded())
    monkeypatch.setattr(engine, "load_family", lambda name: family)
    forget_engines()
    yield
    forget_engines()


def load(denoise: float, spec: Any = TILES) -> Any:
    """Return the engine for a strength of denoising."""
    return load_engine(spec, {}, Setting(denoise=denoise))


def test_strengths_of_denoising_do_not_fill_the_memory() -> None:
    """Each step of a slider in the viewer kept another fifty megabytes until the program ended."""
    strengths = [i / 12 for i in range(12)]
    at_work = load(strengths[0])
    plane = load(0, PLANES)
    loaded = []
    for strength in strengths[1:]:
        loaded.append(weakref.ref(load(strength)))
        assert load(strengths[1]) is loaded[0](), "the one in use would be loaded again and again"
    alive = [reference() is not None for reference in loaded]
    assert sum(alive) == MOST_ENGINES
    assert alive == [True] + [False] * 3 + [True] * 7
    assert at_work is not load(strengths[0]), "only who computes with it holds it"
    assert load(0, PLANES) is plane, "a model of gigabytes would be loaded again"
