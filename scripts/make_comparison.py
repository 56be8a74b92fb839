"""Fill in the tables of docs/explanation/compare.md, and that of the README if it has a place.

Run it from the top of the repository:
``python scripts/make_comparison.py [FOLDER]``. Our own models are compared on ``sample_data/``;
with a FOLDER of micrographs that may not be redistributed, real weights on those too, for the
figures alone. Reports with pictures are left in ``build/comparison``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import napari_superres as sr
from napari_superres.comparing.records import FIGURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.comparing.comparison import Comparison

TOP = Path(__file__).parents[1]
PAGE = TOP / "docs" / "explanation" / "compare.md"
README = TOP / "README.md"
REPORTS = TOP / "build" / "comparison"

OWN = ("nearest", "bicubic", "lanczos", "linear-x4", "microscopy-fast-x4", "microscopy-x4")
ON_REAL = (
    "lanczos",
    "linear-x4",
    "microscopy-fast-x4",
    "microscopy-x4",
    "realesr-general-x4v3",
    "realesrgan-x4plus",
)
REAL = (
    "nuclei_dsb2018.tif",
    "pyramid.ome.tif",
    "xyc_membranes_nuclei_hot_pixel.tif",
)
REGION = (slice(0, 256), slice(0, 256))
"""What of the real files is compared, in their own pixels."""

DIFFERENCES = ("psnr",)
MEDIANS = ("ssim", "recovered", "invented", "flux_error", "spread")
COSTS = ("ram_mb", "weights_mb")
"""What does not depend on how busy the machine is; for time see docs/explanation/speed.md."""

DEVICE = "cpu"


def main(real: Path | None) -> None:
    text = PAGE.read_text("utf-8")
    sample = TOP / "sample_data"
    own = _compared(
        [
            sr.read(sample / "filaments_truth.ome.tif"),
            sr.read(sample / "nuclei.ome.zarr"),
            sr.read(sample / "cells_2ch_zstack.ome.tif"),
        ],
        OWN,
        "sample_data",
    )
    text = filled(text, "own", table(own))
    README.write_text(filled(README.read_text("utf-8"), "own", table(own)), "utf-8")
    if real is not None:
        found = _compared([sr.read(real / name) for name in REAL], ON_REAL, "real", REGION)
        text = filled(text, "real", table(found))
    PAGE.write_text(text, "utf-8")


def _compared(
    images: Sequence[sr.Image],
    models: Sequence[str],
    name: str,
    region: tuple[slice, slice] | None = None,
) -> Comparison:
    return sr.compare(
        images,
        models,
        report=REPORTS / name,
        scale=4,
        degrade=True,
        region=region,
        device=DEVICE,
        repeats=1,
        progress=lambda step: print(f"\r{name} {step.done}/{step.total} {step.words:<60}", end=""),
    )


def table(made: Comparison) -> str:
    """Return a comparison as a table in Markdown."""
    heads = ["model", *(f"{_title(f)} against {made.baseline}" for f in DIFFERENCES)]
    heads += [_title(figure) for figure in (*MEDIANS, *COSTS)]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for model in made.models:
        cells = [model]
        cells += [_difference(made, model, figure) for figure in DIFFERENCES]
        cells += [_median(made, model, figure) for figure in (*MEDIANS, *COSTS)]
        lines.append(f"| {' | '.join(cells)} |")
    kinds = [picture.kind for picture in made.pictures]
    listed = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    lines += ["", f"{len(kinds)} pictures ({listed}); ≈ marks an estimate of what was not run."]
    return "\n".join(lines)


def filled(text: str, name: str, content: str) -> str:
    """Return a page with what stands between two markers replaced."""
    pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    return re.sub(pattern, lambda m: f"{m[1]}\n{content}\n\n{m[2]}", text, flags=re.DOTALL)


def _title(figure: str) -> str:
    meaning = FIGURES[figure]
    return f"{meaning.title} ({meaning.unit})" if meaning.unit else meaning.title


def _difference(made: Comparison, model: str, figure: str) -> str:
    """Return the median difference of each kind of picture, as its own line where they are many."""
    rows = [
        r for r in made.rows if r.scope == "difference" and (r.model, r.figure) == (model, figure)
    ]
    digits = FIGURES[figure].digits
    said = [
        f"{r.value:+.{digits}f}"
        + (f" [{r.low:+.{digits}f}, {r.high:+.{digits}f}]" if r.low == r.low else "")
        + (f" {r.kind}" if len(rows) > 1 else "")
        for r in rows
    ]
    return "<br>".join(said) or "–"


def _median(made: Comparison, model: str, figure: str) -> str:
    row = made.row(model, DEVICE, figure)
    if row is None:
        return "–"
    mark = "≈ " if row.basis == "estimate" else ""
    return f"{mark}{row.value:.{FIGURES[figure].digits}f}"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
