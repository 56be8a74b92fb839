"""The report as one page that needs nothing from elsewhere."""

from __future__ import annotations

import math
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.comparing.drawing import DETAIL, DIFFERENCE, scale_bar, view_of
from napari_superres.comparing.records import FIGURES, Cell, Picture, Row
from napari_superres.comparing.statistics import FEWEST
from napari_superres.models.weights import find_model, state
from napari_superres.resources import human_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_superres.comparing.comparison import Comparison
    from napari_superres.comparing.drawing import View

_LARGE = 1000
"""From here on no digits are shown after the point."""

_WHY = "why not run"

_SMALL = 128
"""Edge in source pixels below which borders and fixed costs are much of a model's time."""

_GRADES = {
    "better": "Better",
    "similar": "Not to be told apart",
    "worse": "Worse",
    "careful": "Only to look at",
    "unproven": "Unproven",
    "not run": "Not run",
}


def page(made: Comparison) -> str:
    """Return a comparison as HTML with style, pictures and script inside.

    Parameters
    ----------
    made : Comparison
        Whose results are still in the folder of the report.
    """
    here = files("napari_superres.comparing")
    style, script = ((here / name).read_text("utf-8") for name in ("page.css", "page.js"))
    body = "\n".join(
        [
            *_head(made),
            *_verdicts(made),
            "<h2>Pictures</h2>",
            _pictures_words(made),
            *(_case(made, picture) for picture in made.pictures),
            "<h2>What it takes on this machine</h2>",
            *_table(made, "feasibility"),
            "<h2>How true it is</h2>",
            *_table(made, "fidelity"),
            *_differences(made),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_title(made)}</title><style>{style}</style></head><body><main>\n{body}\n</main>"
        f'{_DIALOG}<script type="module">{script}</script></body></html>\n'
    )


_DIALOG = """<dialog><div class="pick"><select aria-label="left of the line"></select>
<select aria-label="right of the line"></select><button class="plain">Close</button></div>
<div class="swipe"><img alt=""><img alt=""><i></i></div>
<input id="at" type="range" min="0" max="100" aria-label="where the line is"></dialog>"""


def _title(made: Comparison) -> str:
    return f"{len(made.models)} models on {_count(len(made.pictures))} at x{made.scale}"


def _count(n: int) -> str:
    return "1 picture" if n == 1 else f"{n} pictures"


def _head(made: Comparison) -> Iterator[str]:
    with_truth = sum(picture.truth is not None for picture in made.pictures)
    yield f"<h1>{_title(made)}</h1>"
    truth = (
        f"{with_truth} of {_count(len(made.pictures))} with a truth to compare with."
        if with_truth
        else "No truth was given, so faults can be seen and merit cannot."
    )
    if made.degraded:
        truth += (
            " The inputs are the truths, averaged, without the blur and noise of a coarser "
            "microscope: models look better than on its images."
        )
    yield (
        f'<p class="soft">{truth} Differences are to <b>{escape(made.baseline)}</b>, on the same '
        "pictures. Every number names its row in rows.csv when you point at it.</p>"
    )


def _verdicts(made: Comparison) -> Iterator[str]:
    if not made.verdicts:
        return
    yield '<h2>Verdicts</h2><div class="verdicts">'
    for one in made.verdicts:
        yield (
            f'<section class="verdict {one.grade.replace(" ", "-")}"><h3>{escape(one.model)}</h3>'
            f'<span class="grade">{_GRADES[one.grade]}</span> <span class="soft">on a '
            f"{escape(one.kind)}, {escape(one.device)}</span><p>{escape(one.words)}"
            + (f" <small>({', '.join(one.rows)})</small>" if one.rows else "")
            + "</p></section>"
        )
    yield "</div>"


def _pictures_words(made: Comparison) -> str:
    has_truth = any(picture.truth is not None for picture in made.pictures)
    other = "the truth, or " if has_truth else ""
    return (
        '<p class="soft">Same crop and contrast in each row. Below each picture the part in '
        f"the yellow frame, {DETAIL} times as large, and the difference to {other}"
        f"{escape(made.baseline)}: red is too bright, blue too dark, full colour "
        f"{DIFFERENCE:.0%} of the contrast. "
        '<span class="screen">Click a picture to enlarge it and swipe between two.</span></p>'
    )


def _case(made: Comparison, picture: Picture) -> str:
    view = view_of(picture, made.scale)
    cells = [cell for cell in made.cells if cell.picture == picture.name]
    where = dict.fromkeys(cell.device for cell in cells)
    # Devices agree to 1e-4 of the range: one of them is enough to look at.
    shown = [cell for cell in cells if cell.device == list(where)[-1]]
    base = next((c.pixels for c in shown if c.model == made.baseline and c.pixels), None)
    other = picture.truth if picture.truth is not None else (np.load(base) if base else None)
    parts = [_figure("input", view.png(picture.source, 1), "", view, picture)]
    if picture.truth is not None:
        parts.append(_figure("truth", view.png(picture.truth, made.scale), "", view, picture))
    parts += [_result(made, cell, view, picture, other) for cell in shown]
    return (
        f'<section class="case"><h3>{escape(picture.name)} <span class="soft">'
        f"{escape(picture.kind)}; {escape(picture.whole)}; compared: {picture.size} source pixels"
        f'</span></h3><div class="strip">{"".join(parts)}</div></section>'
    )


def _result(
    made: Comparison, cell: Cell, view: View, picture: Picture, other: np.ndarray | None
) -> str:
    if cell.pixels is None:
        return (
            f"<figure><figcaption><b>{escape(cell.model)}</b></figcaption>"
            f'<div class="failed" title="{escape(cell.reason)}">'
            f"{escape(_first_sentence(cell.reason))}</div></figure>"
        )
    pixels = np.load(cell.pixels)
    figure = "psnr" if picture.truth is not None else "flux_error"
    row = made.row(cell.model, cell.device, figure, picture.name)
    said = f"{FIGURES[figure].title} {_value(row)}" if row is not None else ""
    # A model's difference to itself would be an empty map.
    own = cell.model == made.baseline and picture.truth is None
    difference = "" if other is None or own else view.difference(pixels, other)
    png = view.png(pixels, made.scale)
    return _figure(cell.model, png, said, view, picture, difference)


def _figure(
    title: str, png: str, said: str, view: View, picture: Picture, difference: str = ""
) -> str:
    width, words = scale_bar(picture, view.edge)
    name = escape(title)
    under = (
        f'<span class="map"><img src="{difference}" alt="difference of {name}"></span>'
        if difference
        else '<div class="none">–</div>'
    )
    return (
        f"<figure><figcaption><b>{name}</b><span>{said}</span></figcaption>"
        f'<button class="frame"><img src="{png}" alt="{name}">'
        f'<span class="box" style="top:{view.top:.2%};left:{view.left:.2%}"></span>'
        f'<span class="bar" style="width:{width:.2%}"><span>{escape(words)}</span></span></button>'
        f'<span class="detail"><img src="{png}" alt="detail of {name}" '
        f'style="top:{-DETAIL * view.top:.2%};left:{-DETAIL * view.left:.2%}"></span>'
        f"{under}</figure>"
    )


def _value(row: Row, *, signed: bool = False) -> str:
    """Return a number with its unit, naming the row that it is from."""
    digits = FIGURES[row.figure].digits if abs(row.value) < _LARGE else 0
    number = f"{row.value:{'+' if signed else ''},.{digits}f}"
    text = f"{number} {row.unit}".strip()
    kind = ' class="estimate"' if row.basis == "estimate" else ""
    mark = "≈ " if row.basis == "estimate" else ""
    title = f"row {row.id} of rows.csv: {row.basis}, {_count(row.n)}"
    return f'<span data-row="{row.id}"{kind} title="{title}">{mark}{text}</span>'


def _interval(row: Row) -> str:
    if math.isnan(row.low):
        return ""
    digits = FIGURES[row.figure].digits
    return f"<small>{row.low:.{digits}f} to {row.high:.{digits}f}</small>"


def _entries(made: Comparison) -> list[tuple[str, str]]:
    return list(dict.fromkeys((cell.model, cell.device) for cell in made.cells))


def _table(made: Comparison, group: str) -> Iterator[str]:
    entries = _entries(made)
    kinds = [name for name, figure in FIGURES.items() if figure.group == group]
    found = {(m, d, f): made.row(m, d, f) for m, d in entries for f in kinds}
    shown = [f for f in kinds if any(found[m, d, f] is not None for m, d in entries)]
    feasible = group == "feasibility"
    extra = ["fits the edge device"] if feasible and made.edge_memory else []
    extra += ["licence", "commercial use", "network"] if feasible else []
    extra += [_WHY] if feasible and made.failed else []
    heads = [f'<th title="{escape(FIGURES[f].words)}">{_heading(f)}</th>' for f in shown]
    heads += [f'<th class="words">{title}</th>' for title in extra]
    yield _words(made, group)
    yield '<div class="scroll"><table><thead><tr><th>model</th>'
    yield f"{''.join(heads)}</tr></thead><tbody>"
    for model, device in entries:
        cells = []
        for figure in shown:
            row = found[model, device, figure]
            best = _is_best(row, [found[m, d, figure] for m, d in entries])
            mark = ' class="best"' if best else ""
            cells.append(f"<td{mark}>{'–' if row is None else _value(row) + _interval(row)}</td>")
        if feasible:
            words = _feasible_words(made, model, device)
            cells += [
                f'<td class="words{" why" * (title == _WHY)}">{escape(text)}</td>'
                for title, text in zip(extra, words, strict=True)
            ]
        where = "" if len({d for _, d in entries}) == 1 else f" on {escape(device)}"
        yield f"<tr><th>{escape(model)}{where}</th>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


def _heading(figure: str) -> str:
    meaning = FIGURES[figure]
    arrow = {"high": " ↑", "low": " ↓", "": ""}[meaning.better]
    return f"{escape(meaning.title)}{arrow if meaning.group == 'fidelity' else ''}"


def _is_best(row: Row | None, others: Sequence[Row | None]) -> bool:
    """Return whether a row is the best of several that were measured on as many pictures."""
    if row is None or FIGURES[row.figure].group == "feasibility" or not FIGURES[row.figure].better:
        return False
    values = [o.value for o in others if o is not None and o.n == row.n]
    best = max(values) if FIGURES[row.figure].better == "high" else min(values)
    return len(values) > 1 and row.value == best and values.count(best) == 1


def _words(made: Comparison, group: str) -> str:
    few = (
        f" Below {FEWEST} pictures there are no intervals."
        if len(made.pictures) < FEWEST
        else " Small: 95 % bootstrap interval over pictures."
    )
    if group == "fidelity":
        return (
            f'<p class="soft">Medians over pictures; ↑ more is better, ↓ less is.{few} Figures '
            "against a truth only where there is one.</p>"
        )
    edge = f" The edge device has {human_bytes(made.edge_memory)}." if made.edge_memory else ""
    small = any(min(picture.source.shape[:2]) < _SMALL for picture in made.pictures)
    edge += (
        f" Pictures below {_SMALL} source pixels take longer for each million than large ones."
        if small
        else ""
    )
    return (
        '<p class="soft">Each model ran in a process of its own; memory is that of the whole '
        f"process, time the median of repeats after a warm-up.{few}{edge} "
        '<span class="estimate">≈ marks an estimate</span> where a model was not run.</p>'
    )


def _feasible_words(made: Comparison, model: str, device: str) -> Iterator[str]:
    spec = find_model(model)
    if made.edge_memory:
        yield {True: "yes", False: "no", None: "unknown"}[made.fits(model, device)]
    yield spec.licence_words
    yield "allowed" if spec.commercial else "forbidden"
    now = state(spec) if spec.weights or spec.folders else "bundled"
    yield {"bundled": "never", "ready": "no longer"}.get(now, "once, for the weights")
    own = [c for c in made.failed if (c.model, c.device) == (model, device)]
    if made.failed:
        yield _first_sentence(own[0].reason) if own else ""


def _first_sentence(reason: str) -> str:
    first, stop, _ = reason.partition(". ")
    return first + stop.rstrip()


def _differences(made: Comparison) -> Iterator[str]:
    rows = [row for row in made.rows if row.scope == "difference"]
    if not rows:
        return
    figures = [name for name in FIGURES if any(row.figure == name for row in rows)]
    yield f"<h2>Differences to {escape(made.baseline)}</h2>"
    yield (
        '<p class="soft">Taken on each picture by itself, then the median: pictures differ '
        "far more than models do.</p>"
    )
    heads = "".join(f"<th>{_heading(figure)}</th>" for figure in figures)
    yield '<div class="scroll"><table><thead><tr><th>model</th><th class="words">kind of image</th>'
    yield f"{heads}</tr></thead><tbody>"
    for model, device, kind in dict.fromkeys((r.model, r.device, r.kind) for r in rows):
        own = {r.figure: r for r in rows if (r.model, r.device, r.kind) == (model, device, kind)}
        cells = "".join(
            f"<td>{_value(own[f], signed=True) + _interval(own[f]) if f in own else '–'}</td>"
            for f in figures
        )
        said = f"{escape(kind)}, {escape(device)}"
        yield f'<tr><th>{escape(model)}</th><td class="words">{said}</td>{cells}</tr>'
    yield "</tbody></table></div>"
