"""A real Slurm: dask workers in its jobs, and an array of parts without any dask."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.formats.zarr_files import make_image
from tests.job.conftest import part_of, stack, tree
from tests.job.one_node_slurm import one_node_slurm

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SUPERRES = [str(Path(sys.executable).with_name("superres"))]


@pytest.fixture
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run a Slurm of one node."""
    with one_node_slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Return a small OME-Zarr whose x4 result has eight blocks."""
    pixels = np.asarray(stack((2, 600, 700)).data)
    return make_image(tmp_path / "in.ome.zarr", [pixels], chunks=(1, 200, 200))


def run(environment: dict[str, str], folder: Path, *words: object) -> str:
    """Run a command in the queue's environment, and return what it said."""
    command = [str(word) for word in words]
    found = subprocess.run(
        command, cwd=folder, env=environment, check=False, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def pixels_of(path: Path) -> dict[str, str]:
    """Return the hashes of all files but the one that says when a result was made."""
    return {name: sum_ for name, sum_ in tree(path).items() if name != "zarr.json"}


def test_dask_workers_in_jobs_of_the_queue(queue: dict[str, str], volume: Path) -> None:
    """``--cluster slurm:2`` without any configuration; a cancelled worker comes back."""
    folder = volume.parent
    words = [*SUPERRES, "upscale", volume]
    options = ["-s", "4", "-m", "lanczos", "-q"]
    run(queue, folder, *words, folder / "a.ome.zarr", *options)
    target = folder / "b.ome.zarr"
    command = [str(w) for w in (*words, target, *options, "--cluster", "slurm:2")]
    with subprocess.Popen(command, cwd=folder, env=queue) as process:
        first = ""
        while not first:  # the first worker is at work
            assert process.poll() is None
            first = run(queue, folder, "squeue", "--noheader", "--format=%A", "--states=R")
            time.sleep(0.2)
        run(queue, folder, "scancel", first.split()[0])
        assert process.wait(600) == 0
    assert pixels_of(target) == pixels_of(folder / "a.ome.zarr")
    time.sleep(5)
    assert run(queue, folder, "squeue", "--noheader") == "", "no job is left in the queue"


def test_an_array_of_parts(queue: dict[str, str], volume: Path) -> None:
    """No server, no ports: each task of the array does its share, the last one finishes."""
    folder = volume.parent
    options = ["-s", "4", "-m", "lanczos", "-q"]
    run(queue, folder, *SUPERRES, "upscale", volume, folder / "a.ome.zarr", *options)
    target = folder / "b.ome.zarr"
    script = folder / "array.sh"
    command = " ".join(map(str, [*SUPERRES, "upscale", volume, target, *options]))
    script.write_text(f"#!/bin/sh\n{command} --part $SLURM_ARRAY_TASK_ID/3\n")
    run(queue, folder, "sbatch", "--wait", "--array=1-3", script)
    assert pixels_of(target) == pixels_of(folder / "a.ome.zarr")
    assert not part_of(target).exists()
