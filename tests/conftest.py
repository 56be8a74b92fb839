"""Fixtures for all tests: real files where this computer has them, and a cache of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real images and weights, which are too large for the repository.

    It lies beside the checkout, or where NAPARI_SUPERRES_SHARED says; without it the tests that
    need it are skipped.
    """
    chosen = os.environ.get("NAPARI_SUPERRES_SHARED")
    folder = Path(chosen) if chosen else Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"there are no real files at {folder}")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an empty cache of weights, so that it neither sees nor changes the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("NAPARI_SUPERRES_CACHE", str(folder))
    return folder
