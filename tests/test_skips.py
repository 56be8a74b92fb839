"""Tests that quietly stop running protect nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = {
    "nothing is skipped": "def test(): pass",
    "a test lacks Java": "import pytest\ndef test(): pytest.skip('needs a Java runtime')",
    "a module lacks a package": "import pytest\npytest.importorskip('nosuchpackage')",
    "a test lacks a screen": (
        "import pytest\n@pytest.mark.skip(reason='no screen: run under xvfb-run')\ndef test(): pass"
    ),
    "real files are elsewhere": (
        "import pytest\ndef test(): pytest.skip('there are no real files at /shared')"
    ),
    "a failure is expected": (
        "import pytest\n@pytest.mark.xfail(reason='known')\ndef test(): raise ValueError"
    ),
}
PASS_WHERE_ALL_IS_REQUIRED = {
    "nothing is skipped",
    "real files are elsewhere",
    "a failure is expected",
}


@pytest.mark.parametrize("required", ["", "1"])
def test_a_skipped_test_is_a_failure_where_everything_is_required(
    required: str, tmp_path: Path
) -> None:
    """A broken screen on the test server would let the plugin break without a word."""
    for number, text in enumerate(MODULES.values()):
        (tmp_path / f"test_{number}.py").write_text(text, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-q", "-rA",
         "--continue-on-collection-errors", "-p", "no:cacheprovider", "-c", os.devnull,
         f"--rootdir={tmp_path}", str(tmp_path)],
        cwd=Path(__file__).parents[1],
        env={
            **os.environ,
            "NAPARI_SUPERRES_REQUIRE_ALL": required,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    for number, name in enumerate(MODULES):
        failed = any(
            line.startswith(("FAILED", "ERROR")) and f"test_{number}.py" in line
            for line in result.stdout.splitlines()
        )
        expected = bool(required) and name not in PASS_WHERE_ALL_IS_REQUIRED
        assert failed == expected, f"{name}:\n{result.stdout}{result.stderr}"
