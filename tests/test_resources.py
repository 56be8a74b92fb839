"""What a process holds is its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from napari_superres.errors import ResourceError
from napari_superres.resources import check_memory, free_memory

PEAK = """
from napari_superres.resources import peak_memory
before = peak_memory()
ballast = bytearray(b"1") * 200_000_000
del ballast
print(before, peak_memory())
"""


def test_peak_memory_is_that_of_the_process_and_not_of_its_parent() -> None:
    """A report would call a model hungry because the program that started it was."""
    ballast = bytearray(b"1") * 1_000_000_000  # more than the child will hold
    run = subprocess.run([sys.executable, "-c", PEAK], check=True, capture_output=True, text=True)
    assert len(ballast) == 1_000_000_000
    before, after = map(int, run.stdout.split())
    assert before < 500_000_000
    assert 190_000_000 < after - before < 300_000_000  # and it stays when memory is given back


def test_a_refusal_says_that_not_all_free_memory_may_be_used() -> None:
    """'It needs 19 GB; 22 GB are free' is no reason to refuse it."""
    with pytest.raises(ResourceError, match=r"80 % of the .* that are free may be used"):
        check_memory(0.9 * free_memory(), "It", "Use less.")
