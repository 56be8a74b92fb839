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
        peak = this.memory_info().rss
        steps = run(stack((planes, 1024, 1024), chunk=1024), path, workers=2)
        for step in steps:
            peak = max(peak, this.memory_info().rss)
        print(peak)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_four_times_the_planes_need_the_same_memory(tmp_path: Path) -> None:
    """A terabyte is written by a laptop, or it is not written at all."""
    script = tmp_path / "measure.py"
    script.write_text(textwrap.dedent(MEASURE))
    here = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([here, *sys.path])}
    peaks = []
    for planes in (100, 400):  # both beyond the 64 planes that a display window looks at
        result = subprocess.run(
            [sys.executable, str(script), str(planes), str(tmp_path / f"{planes}.ome.zarr")],
            env=environment, cwd=here, check=True, capture_output=True, text=True,
        )  # fmt: skip
        peaks.append(int(result.stdout))
    assert peaks[1] < 1.1 * peaks[0]
