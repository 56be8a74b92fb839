"""What the numbers allow to say, in words; and what they do not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_superres.comparing.records import FIGURES, NOISY, Cell, Picture, Row
from napari_superres.comparing.statistics import FEWEST
from napari_superres.trust.measures import INVENTED, MOVED_LIGHT, MOVED_PIXELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOTICED = 0.5
"""Decibels below which nobody sees a difference between two results."""


_NOISY_TRUTH = (
    "If the truth holds noise of its own, as a noisy image that was made coarse does, a model that "
    "removes noise is rated too low."
)


@dataclass(frozen=True)
class Verdict:
    """What can be said of one model on one kind of image.

    Parameters
    ----------
    model, device, kind : str
    grade : {"better", "similar", "worse", "unproven", "careful", "not run"}
        Against the baseline: by the truth where there is one. "careful": a fault was measured that
        forbids use for measurements. "unproven": no truth, so only faults can be seen.
    words : str
    rows : tuple of str
        Ids of the rows that it rests on.
    """

    model: str
    device: str
    kind: str
    grade: str
    words: str
    rows: tuple[str, ...]


def verdicts_of(
    pictures: Sequence[Picture], cells: Sequence[Cell], rows: Sequence[Row], baseline: str
) -> tuple[Verdict, ...]:
    """Return a verdict for each model but the baseline, on each kind of image.

    Parameters
    ----------
    pictures, cells, rows
        Of one comparison.
    baseline : str
        What the others are compared with.
    """
    kinds = {picture.name: picture.kind for picture in pictures}
    found = []
    for model, device in dict.fromkeys((c.model, c.device) for c in cells if c.model != baseline):
        for kind in dict.fromkeys(kinds.values()):
            own = [
                c
                for c in cells
                if (c.model, c.device) == (model, device) and kinds[c.picture] == kind
            ]
            if not any(cell.state == "done" for cell in own):
                reason = own[0].reason.partition(". ")[0].rstrip(".")
                found.append(Verdict(model, device, kind, "not run", f"{reason}.", ()))
                continue
            found.append(_verdict(model, device, kind, rows, baseline))
    return tuple(found)


def _verdict(model: str, device: str, kind: str, rows: Sequence[Row], baseline: str) -> Verdict:
    mine = [r for r in rows if (r.model, r.device) == (model, device) and r.kind == kind]
    # Of single pictures: the worst counts for a fault.
    faults = list(_faults([r for r in mine if r.scope == "picture"]))
    against = next((r for r in mine if r.scope == "difference" and r.figure == "psnr"), None)
    used = [row for row, _ in faults]
    if against is None:
        grade = "unproven"
        words = f"No truth to compare with, or no {baseline}: only faults can be seen, no merit."
    else:
        grade, words = _by_truth(against, baseline)
        if kind == NOISY:
            words = f"{words} {_NOISY_TRUTH}"
        used.append(against)
    if faults:
        grade = "worse" if grade == "worse" else "careful"
        words = f"{words} {' '.join(said for _, said in faults)}"
    return Verdict(model, device, kind, grade, words, tuple(row.id for row in used))


def _by_truth(row: Row, baseline: str) -> tuple[str, str]:
    """Return grade and words for a difference of PSNR to the baseline."""
    said = f"{row.value:+.2f} dB against {baseline} (median of {_count(row.n)}"
    if math.isnan(row.low):
        words = f"{said}; below {FEWEST} pictures no interval can be given)."
        if abs(row.value) < NOTICED:
            return "similar", f"Not to be told apart: {words}"
        better = "Nearer to the truth" if row.value > 0 else "Farther from the truth"
        return ("better" if row.value > 0 else "worse"), (
            f"{better} on these pictures: {words} Whether it holds for others is open."
        )
    words = f"{said}; 95 % interval {row.low:+.2f} to {row.high:+.2f})."
    if row.low > 0:
        visible = "" if row.value >= NOTICED else " It is too little to be seen."
        return ("better" if row.value >= NOTICED else "similar"), (
            f"Nearer to the truth: {words}{visible}"
        )
    if row.high < 0:
        return "worse", f"Farther from the truth: {words}"
    return "similar", f"The numbers do not say which is better: {words}"


def _count(n: int) -> str:
    return "1 picture" if n == 1 else f"{n} pictures"


def _faults(rows: Sequence[Row]) -> Iterator[tuple[Row, str]]:
    for figure, most, said in (
        ("flux_error", 100 * MOVED_LIGHT, "Light was moved ({}): read no intensities from it."),
        ("shift", MOVED_PIXELS, "Structures lie off their place ({}): measure no distances."),
        ("invented", INVENTED, "It adds detail that the truth does not have ({} of the truth's)."),
    ):
        worst = max((r for r in rows if r.figure == figure), key=lambda r: r.value, default=None)
        if worst is not None and worst.value > most:
            meaning = FIGURES[figure]
            yield worst, said.format(f"{worst.value:.{meaning.digits}g} {meaning.unit}".strip())
