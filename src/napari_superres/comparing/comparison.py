"""Which model suits these images and this machine: `compare`."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_superres._version import __version__
from napari_superres.comparing.cell import Task
from napari_superres.comparing.page import page
from napari_superres.comparing.pictures import pictures_of
from napari_superres.comparing.records import FIGURES, Cell, Picture, Row, Step
from napari_superres.comparing.running import Runs
from napari_superres.comparing.statistics import rows_of
from napari_superres.comparing.verdicts import Verdict, verdicts_of
from napari_superres.errors import InputError, OutputError, SettingError, SuperresError
from napari_superres.models.engine import choose_compute
from napari_superres.models.weights import find_model, locate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CELLS = "cells"
"""Folder inside a report's, where finished cells are kept for the next run."""

PAGE = "report.html"

BASELINES = ("lanczos", "bicubic", "nearest")
"""What models are compared with: the first of these that is among them, else the first model."""


@dataclass(frozen=True)
class Comparison:
    """What a comparison found. Printed, it is a table with a verdict for each model.

    Parameters
    ----------
    pictures : tuple of Picture
    models : tuple of str
    baseline : str
        The model that the others are compared with.
    scale : int
    cells : tuple of Cell
        One for each picture, model and device.
    rows : tuple of Row
        Every number, also those of the page.
    verdicts : tuple of Verdict
    edge_memory : float or None
        Bytes of the device that models should fit into.
    folder : Path or None
        Where the report is.
    degraded : bool
        Whether the sources are the truths, averaged.
    """

    pictures: tuple[Picture, ...]
    models: tuple[str, ...]
    baseline: str
    scale: int
    cells: tuple[Cell, ...]
    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    edge_memory: float | None
    folder: Path | None = None
    degraded: bool = False

    @property
    def failed(self) -> tuple[Cell, ...]:
        """The cells without a result."""
        return tuple(cell for cell in self.cells if cell.state == "failed")

    def row(self, model: str, device: str, figure: str, picture: str = "") -> Row | None:
        """Return the row of one picture, or the median over all of them; None if there is none."""
        return next(
            (
                r
                for r in self.rows
                if (r.model, r.device, r.figure, r.picture) == (model, device, figure, picture)
                and (r.scope == "picture" if picture else r.scope == "model" and not r.kind)
            ),
            None,
        )

    def fits(self, model: str, device: str) -> bool | None:
        """Return whether a model's peak memory fits into the edge device; None if unknown."""
        row = self.row(model, device, "ram_mb")
        if row is None or self.edge_memory is None:
            return None
        return row.value * 1e6 <= self.edge_memory

    def record(self) -> dict[str, Any]:
        """Return everything but the pixels as JSON values."""
        pictures = [
            {k: getattr(p, k) for k in ("name", "kind", "whole", "size", "pixel_size", "unit")}
            for p in self.pictures
        ]
        cells = [{**dataclasses.asdict(c), "pixels": None} for c in self.cells]
        for cell in cells:
            del cell["pixels"]
        return {
            "schema": 1,
            "version": __version__,
            "scale": self.scale,
            "baseline": self.baseline,
            "degraded": self.degraded,
            "edge_memory": self.edge_memory,
            "pictures": pictures,
            "cells": cells,
            "rows": [_plain(row) for row in self.rows],
            "verdicts": [dataclasses.asdict(verdict) for verdict in self.verdicts],
        }

    def __str__(self) -> str:
        shown = ("ram_mb", "seconds_mp", "psnr", "ssim", "flux_error")
        titles = [f"{FIGURES[f].title} {FIGURES[f].unit}".strip() for f in shown]
        lines = [f"{'model':<28}" + "".join(f"{title:>18}" for title in titles)]
        for model, device in dict.fromkeys((c.model, c.device) for c in self.cells):
            found = [self.row(model, device, figure) for figure in shown]
            values = [_short(row) for row in found]
            lines.append(f"{f'{model} ({device})':<28}" + "".join(f"{v:>18}" for v in values))
        lines.append("~ is an estimate")
        for verdict in self.verdicts:
            lines += ["", f"{verdict.model} on {verdict.device}, {verdict.kind}: {verdict.grade}"]
            lines.append(f"  {verdict.words}")
        return "\n".join(lines)


def compare(
    images: Any,
    models: Sequence[str],
    *,
    report: str | Path,
    scale: int = 4,
    truth: Any = None,
    degrade: bool = False,
    channels: Sequence[int | str] | None = None,
    planes: Mapping[str, Any] | None = None,
    region: tuple[slice, slice] | None = None,
    kinds: Sequence[str] = (),
    edge_memory: float | None = None,
    device: str = "auto",
    repeats: int = 3,
    samples: int = 4,
    limit: float = 600.0,
    seed: int = 0,
    progress: Callable[[Step], None] | None = None,
) -> Comparison:
    """Return how models do on images, on this machine; with a report to look at.

    Each model runs on each image in a process of its own, one after the other. A model that fails
    has a cell that says why. What is finished is kept in the folder of the report, so the same call
    goes on where it was stopped. Nothing is downloaded.

    Parameters
    ----------
    images : Image, array or sequence of them
        One plane of each is compared.
    models : sequence of str
        Names of the model table or files of weights. The baseline of all differences is the first
        of lanczos, bicubic and nearest among them, else the first of them.
    report : str or Path
        Folder for ``report.html``, ``rows.csv``, ``report.json`` and the cells.
    scale : int
        Result pixels a source pixel.
    truth : Image, array or sequence of them, optional
        What a perfect result shows, for each image, on the result's pixels.
    degrade : bool
        Take the images for the truth, and their means over blocks of ``scale * scale`` pixels for
        the sources. It adds no noise and no blur, so models look better than on a coarser
        microscope's images.
    channels, planes, region
        As for `upscale`; one plane. None: the first channel, the middle along z, the first along
        other axes, and the 256 x 256 source pixels with the most structure.
    kinds : sequence of str
        What sort each image is, for verdicts; by default told from the pixels.
    edge_memory : float, optional
        Bytes of a device that the models should fit into.
    device : str
        "auto" for the CPU and the first GPU, if there is one; or as for `upscale`.
    repeats : int
        How often each model is timed, after a warm-up.
    samples : int
        Flips, rotations or draws from which the spread is told; 1 for none.
    limit : float
        Seconds after which a model is given up on an image.
    seed : int
        For models that draw random numbers, and for the bootstrap.
    progress : callable, optional
        Called with a `Step` several times a second. It may raise `Cancelled` to stop.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        If an image cannot be compared.
    SettingError
        If a setting makes no sense.
    UnknownModelError
        If there is no model of a name.
    OutputError
        If the report cannot be written.
    """
    _check_least(repeats=(repeats, 1), samples=(samples, 1), scale=(scale, 2))
    names = tuple(dict.fromkeys(models))
    if not names:
        raise SettingError("There is no model to compare.", "Name one or more in models=.")
    if edge_memory is not None and not 0 < edge_memory < math.inf:
        raise SettingError(f"A device with {edge_memory} bytes is none.", "Give a positive number.")
    devices = _devices(device)
    pictures = tuple(
        pictures_of(
            _listed(images),
            _listed(truth),
            scale=scale,
            degrade=degrade,
            channels=channels,
            planes=planes,
            region=region,
            kinds=kinds,
        )
    )
    _check_names(pictures)
    base = next((b for b in BASELINES if b in names), names[0])
    jobs = [
        (picture, _task(picture, model, where, scale, repeats, samples, seed))
        for picture in pictures
        for where in devices
        for model in sorted(names, key=lambda name: name != base)
    ]
    folder = Path(report)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        cells = tuple(Runs(folder.absolute() / CELLS, limit, progress).cells(jobs))
        rows = rows_of(pictures, cells, base, seed)
        found = verdicts_of(pictures, cells, rows, base)
        made = Comparison(
            pictures, names, base, scale, cells, rows, found, edge_memory, folder, degrade
        )
        write_tables(made, folder)
        (folder / PAGE).write_text(page(made), "utf-8")
    except FileExistsError as error:
        raise OutputError(f"'{folder}' is a file.", "Name a folder.") from error
    except OSError as error:
        if isinstance(error, SuperresError):
            raise
        raise OutputError(
            f"The report '{folder}' cannot be written: {error.strerror or error}.",
            "Name another folder.",
        ) from error
    return made


def write_tables(made: Comparison, folder: Path) -> None:
    """Write ``rows.csv`` and ``report.json`` into a folder.

    Parameters
    ----------
    made : Comparison
    folder : Path
    """
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [field.name for field in dataclasses.fields(Row)])
        table.writeheader()
        table.writerows(_plain(row) for row in made.rows)
    text = json.dumps(made.record(), indent=1, ensure_ascii=False)
    (folder / "report.json").write_text(text, "utf-8")


def _check_least(**numbers: tuple[int, int]) -> None:
    for name, (value, least) in numbers.items():
        if value < least:
            raise SettingError(f"{name}={value} is too small.", f"Use {least} or more.")


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


def _check_names(pictures: Sequence[Picture]) -> None:
    if not pictures:
        raise SettingError("There is no image to compare.", "Give one or more.")
    names = [picture.name for picture in pictures]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            f"Several images are called '{twice}', which nobody could tell apart in a report.",
            "Rename them, or compare them one by one.",
        )


def _devices(wish: str) -> list[str]:
    # What no model knows is refused here and once, not in the cell of each model.
    here = choose_compute(find_model(), wish.partition("/")[0]).device
    if wish != "auto":
        return [wish]
    return list(dict.fromkeys(["cpu", here]))


def _task(
    picture: Picture, model: str, device: str, scale: int, repeats: int, samples: int, seed: int
) -> Task:
    spec = find_model(model, scale)
    here = [f"{file.name} {file.sha256} {locate(spec, file) is not None}" for file in spec.weights]
    return Task(
        digest=picture.digest,
        axes=picture.axes,
        pixel_size=picture.pixel_size,
        unit=picture.unit,
        limits=picture.limits,
        noise=picture.noise,
        model=model,
        device=device,
        scale=scale,
        repeats=repeats,
        samples=samples,
        seed=seed,
        weights=", ".join(here),
        version=__version__,
    )


def _plain(row: Row) -> dict[str, Any]:
    """Return a row as values for CSV and JSON: None where there is no number."""
    values = dataclasses.asdict(row)
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }


def _short(row: Row | None) -> str:
    if row is None:
        return "-"
    mark = "~" if row.basis == "estimate" else ""
    return f"{mark}{row.value:.{FIGURES[row.figure].digits}f}"
