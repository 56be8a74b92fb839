"""From cells to rows: medians over pictures, differences on the same pictures, intervals."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.comparing.records import FIGURES, Basis, Cell, Picture, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DRAWS = 2000
"""Bootstrap samples of an interval."""

FEWEST = 5
"""Pictures below which no interval is given: with fewer, a bootstrap says less than it seems to."""

FACTS = ("weights_mb", "parameters_m")


def rows_of(
    pictures: Sequence[Picture], cells: Sequence[Cell], baseline: str, seed: int
) -> tuple[Row, ...]:
    """Return every number of a comparison.

    Parameters
    ----------
    pictures : sequence of Picture
    cells : sequence of Cell
    baseline : str
        The model that the others are compared with, picture by picture.
    seed : int
        Of the bootstrap.

    Returns
    -------
    tuple of Row
        First of single pictures, then medians, then differences; ids count through.
    """
    kinds = {picture.name: picture.kind for picture in pictures}
    numbers = itertools.count(1)

    def name() -> str:
        return f"r{next(numbers)}"

    single = list(_singles(cells, kinds, baseline, name))
    medians = list(_medians(single, name, seed))
    return (*single, *medians, *_differences(single, baseline, name, seed))


def interval(values: Sequence[float], seed: int) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a median; NaN for fewer than `FEWEST` values.

    Parameters
    ----------
    values : sequence of float
        One a picture: pictures are drawn with replacement.
    seed : int
    """
    if len(values) < FEWEST:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    draws = rng.choice(np.asarray(values), size=(DRAWS, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), (2.5, 97.5))
    return float(low), float(high)


def _singles(
    cells: Sequence[Cell], kinds: dict[str, str], baseline: str, name: Callable[[], str]
) -> Iterator[Row]:
    for cell in cells:
        values = {**cell.values, **_gain(cell, cells, baseline)}
        for figure in FIGURES:
            if figure not in values:
                continue
            basis: Basis = "fact" if figure in FACTS else _basis(cell)
            yield Row(
                name(),
                "picture",
                cell.picture,
                kinds[cell.picture],
                cell.model,
                cell.device,
                figure,
                float(values[figure]),
                math.nan,
                math.nan,
                FIGURES[figure].unit,
                basis,
                1,
            )


def _basis(cell: Cell) -> Basis:
    return "estimate" if cell.basis == "estimate" else "measured"


def _gain(cell: Cell, cells: Sequence[Cell], baseline: str) -> dict[str, float]:
    """Return how much finer a period is shared with the truth than by the baseline's result.

    The median over windows of ratios within the same window.
    """
    same = next(
        (
            one.cutoffs
            for one in cells
            if (one.picture, one.model, one.device) == (cell.picture, baseline, cell.device)
        ),
        (),
    )
    pairs = zip(cell.cutoffs, same, strict=False)
    ratios = [mine / other for mine, other in pairs if other > 0]
    return {"gain": float(np.median(ratios))} if ratios else {}


def _medians(single: Sequence[Row], name: Callable[[], str], seed: int) -> Iterator[Row]:
    groups = dict.fromkeys((row.model, row.device, row.figure) for row in single)
    for model, device, figure in groups:
        rows = [r for r in single if (r.model, r.device, r.figure) == (model, device, figure)]
        # An estimate stands in only where nothing was measured.
        kept = [row for row in rows if row.basis != "estimate"] or rows
        yield _summary("model", kept, [row.value for row in kept], name, seed)
        for kind in dict.fromkeys(row.kind for row in kept):
            part = [row for row in kept if row.kind == kind]
            if len(part) < len(kept):
                yield _summary("model", part, [r.value for r in part], name, seed, kind)


def _differences(
    single: Sequence[Row], baseline: str, name: Callable[[], str], seed: int
) -> Iterator[Row]:
    base = {
        (row.picture, row.device, row.figure): row.value for row in single if row.model == baseline
    }
    chosen = [
        row
        for row in single
        if row.model != baseline
        and FIGURES[row.figure].group == "fidelity"
        and row.figure != "gain"  # is itself a comparison with the baseline
        and (row.picture, row.device, row.figure) in base
    ]
    for model, device, figure, kind in dict.fromkeys(
        (row.model, row.device, row.figure, row.kind) for row in chosen
    ):
        rows = [
            r
            for r in chosen
            if (r.model, r.device, r.figure, r.kind) == (model, device, figure, kind)
        ]
        values = [row.value - base[row.picture, row.device, row.figure] for row in rows]
        yield _summary("difference", rows, values, name, seed, kind)


def _summary(
    scope: str,
    rows: Sequence[Row],
    values: Sequence[float],
    name: Callable[[], str],
    seed: int,
    kind: str = "",
) -> Row:
    first = rows[0]
    low, high = interval(values, seed)
    return Row(
        name(),
        "difference" if scope == "difference" else "model",
        "",
        kind,
        first.model,
        first.device,
        first.figure,
        float(np.median(values)),
        low,
        high,
        first.unit,
        first.basis,
        len(values),
    )
