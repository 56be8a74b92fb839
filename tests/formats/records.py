"""What a result tells of how it was made."""

from __future__ import annotations

from typing import Any

RECORD: dict[str, Any] = {
    "program": "napari-superres",
    "version": "1.0",
    "model": "lanczos",
    "trained_on": "nothing",
    "weights": {},
    "licence": "BSD-3-Clause",
    "citation": "Somebody, somewhere.",
    "engine": "numpy 2",
    "plan": {
        "axes": "zyx",
        "shape": [3, 300, 265],
        "scale": 4,
        "precision": "float32",
        "limits": None,
        "denoise": [None],
        "consistency": "pixel",
        "samples": 1,
        "µ": [1, None],
    },
    "tile": [256, 256],
    "source": {"name": "cells"},
    "time": "2026-11-28T01:02:03+00:00",
}
