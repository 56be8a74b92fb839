"""Fixtures for all tests: real files where this computer has them, and a cache of their own.

With ``NAPARI_SUPERRES_REQUIRE_ALL=1`` a test that is skipped has failed, unless it lacks something
that the README's test command does not install. So neither a screen nor a package nor Java can go
missing from the continuous integration unnoticed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# A busy machine makes an example slow, and that is no fault of what it shows.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

MAY_BE_MISSING = (
    "there are no real files",
    "there is no CUDA device",
    "takes too long here",
    # Users that are called root may write and read anywhere.
    "this user may write anywhere",
    "permissions do not bind here",
    # Extras that the test command leaves out: large, or without releases for this Python.
    "extra 'vendor'",
    "spandrel is",
    "the reference is",
    # Programs for devices, in other languages.
    "there is no ncnn for C++",
    "there is no onnxruntime-node",
)
"""Parts of reasons for which a test may be skipped even then."""


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    required = os.environ.get("NAPARI_SUPERRES_REQUIRE_ALL", "") not in ("", "0")
    if not required or not report.skipped or hasattr(report, "wasxfail"):
        return
    *_, reason = report.longrepr if isinstance(report.longrepr, tuple) else (str(report.longrepr),)
    if not any(known in reason for known in MAY_BE_MISSING):
        report.outcome = "failed"
        report.longrepr = f"{reason}; and NAPARI_SUPERRES_REQUIRE_ALL allows no skipping for that."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Fail tests that are skipped without a good reason, where everything is required."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """Fail modules that are skipped without a good reason, where everything is required."""
    report = yield
    _refuse_skip(report)
    return report


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


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give fixtures of a whole module an empty cache too: they come before those of a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_SUPERRES_CACHE", str(tmp_path_factory.mktemp("no-cache")))
        yield


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an empty cache of weights, so that it neither sees nor changes the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("NAPARI_SUPERRES_CACHE", str(folder))
    return folder
