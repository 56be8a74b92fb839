"""Files of weights are named in any way that Python and shells know, and may come and go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import napari_superres as sr
from napari_superres.errors import UnknownModelError
from napari_superres.models import weights
from napari_superres.models.cache import cache_folder
from napari_superres.models.catalog import MODELS
from napari_superres.models.download import _waiting
from napari_superres.models.hub import local_place
from tests.models.conftest import COMPACT, random_tensors


def test_file_may_be_a_path(tmp_path: Path) -> None:
    """A script that builds its paths with pathlib would end in a TypeError."""
    path = tmp_path / "net.safetensors"
    save_file(random_tensors(COMPACT), path)
    pixels = np.ones((8, 8), np.uint8)
    expected = sr.upscale(pixels, str(path), limits=(0, 255))
    np.testing.assert_array_equal(sr.upscale(pixels, path, limits=(0, 255)), expected)
    with pytest.raises(UnknownModelError, match=r"no file of weights.*absent\.pth"):
        sr.upscale(pixels, path.with_name("absent.pth"))


def test_home_of_nobody_is_a_path_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error behind a tilde would end in a traceback that asks to report it."""
    with pytest.raises(UnknownModelError, match=r"no file of weights.*~nosuchuser"):
        weights.find_model("~nosuchuser/net.pth")
    assert local_place("~nosuchuser/a model") is None
    monkeypatch.setenv("NAPARI_SUPERRES_CACHE", "~nosuchuser/cache")
    assert cache_folder().parts[-2:] == ("~nosuchuser", "cache")


def test_download_that_ends_while_another_waits_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who waits for a file would fail at the moment when it is there."""
    monkeypatch.setattr(Path, "exists", lambda self: True)
    told: list[tuple[str, int, int]] = []
    file = MODELS["realesrgan-x4plus"].weights[0]
    _waiting(file, lambda *words: told.append(words))
    assert told == [(file.name, 0, file.size)]
