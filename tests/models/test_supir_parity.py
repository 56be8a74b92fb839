"""SUPIR computes what the original computes, and finds a place for every published tensor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("diffusers")

ADAPTER = Path(__file__).parents[1] / "supir_adapter.py"


@pytest.mark.parametrize("mode", ["check", "keys"])
def test_parity_program_passes(shared: Path, mode: str) -> None:
    """A result labelled SUPIR would not be SUPIR's, or the published files would not load."""
    program = shared / "supir" / "supir_parity.py"
    if not program.is_file():
        pytest.skip(f"there are no real files at {program}")
    run = subprocess.run(
        [sys.executable, str(program), mode, f"{ADAPTER}:factory"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    if mode == "check":
        assert run.stdout.endswith("PASS\n")
    else:
        assert "2962 keys, 0 not consumed" in run.stdout
