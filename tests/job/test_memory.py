"""Memory does not grow with the volume."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

MEASURE = """
    import sys
    import threading
    import time
    import psutil
    from napari_superres.job import run
    from tests.job.conftest import stack
    if __name__ == "__main__":
        planes, path = int(sys.argv[1]), sys.argv[2]
        this = psutil.Process()
        start = peak = this.memory_info().rss
        steps = run(stack((planes, 1500, 1500)), path, workers=2)
        for step in steps:
            peak = max(peak, this.memory_info().rss)
        print(peak - start)
"""


@pytest.mark.slow
def test_four_times_the_planes_need_the_same_memory(tmp_path: Path) -> None:
    """A terabyte is written by a laptop, or it is not written at all."""
    script = tmp_path / "measure.py"
    script.write_text(textwrap.dedent(MEASURE))
    here = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([here, *sys.path])}
    growth = []
    for planes in (60, 240):
        result = subprocess.run(
            [sys.executable, str(script), str(planes), str(tmp_path / f"{planes}.ome.zarr")],
            env=environment, cwd=here, check=True, capture_output=True, text=True,
        )  # fmt: skip
        growth.append(int(result.stdout))
    assert growth[1] < 1.1 * growth[0] + 5e6
