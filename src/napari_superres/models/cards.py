"""Model cards: what a weight file of our own training says about itself.

A card is JSON inside the safetensors file, under ``card``: where the weights come from, what they
were trained on, what they reached on images that they had not seen, and what they cannot do.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_superres.models.checkpoints import read_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_KINDS: Mapping[str, type] = {
    "verdict": str,
    "history": str,
    "held_out": str,
    "limits": list,
    "real_micrographs": list,
    "laws": dict,
    "gain_over_bicubic_db": dict,
    "paired": dict,
    "coverage_of_90_percent_bound": dict,
}
_LICENCE = "BSD-3-Clause"
_SIMULATED = "Held-out simulated images"


def read_card(path: Path) -> dict[str, Any]:
    """Return the card of a weight file; empty where it has none.

    Parameters
    ----------
    path : Path
        A file that `read_tensors` accepts.
    """
    return card_in(read_metadata(path))


def card_in(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the card among a weight file's metadata; empty where it has none."""
    try:
        card = json.loads(metadata.get("card", "{}"))
    except ValueError:  # other programs write under that name, too
        return {}
    if not isinstance(card, dict):
        return {}
    ours = all(isinstance(card.get(name, kind()), kind) for name, kind in _KINDS.items())
    return card if ours else {}


def card_text(card: Mapping[str, Any]) -> str:
    """Return a card for people, as Markdown.

    Parameters
    ----------
    card : mapping
        With ``name``, ``parameters``, ``data``, ``training`` and ``limits``, as far as it has them;
        where it was judged also ``history``, ``verdict``, ``real_micrographs``, ``laws``,
        ``held_out``, ``gain_over_bicubic_db``, ``paired`` and ``coverage_of_90_percent_bound``.
    """
    lines = [f"# {card.get('name', 'A model')}", ""]
    if "parameters" in card:
        lines += [f"{card['parameters']} numbers, {card.get('licence', _LICENCE)}.", ""]
    if "verdict" in card:
        lines += [card["verdict"], ""]
    if "data" in card:
        lines += ["## Data", "", str(card["data"]), ""]
    if "training" in card:
        lines += ["## Training", "", "```json", json.dumps(card["training"], indent=2), "```", ""]
    if "history" in card:
        lines += ["## How these weights came about", "", card["history"], ""]
    lines += _judgement(card)
    if "limits" in card:
        lines += ["## Limits", "", *[f"- {limit}" for limit in card["limits"]], ""]
    return "\n".join(lines)


def _judgement(card: Mapping[str, Any]) -> Iterator[str]:
    if "real_micrographs" in card:
        yield from _real(card["real_micrographs"])
    if "laws" in card:
        yield from ("## Laws and speed", "")
        for law, value in card["laws"].items():
            yield f"- {law.replace('_', ' ')}: {value:.2g}"
        yield ""
    if "gain_over_bicubic_db" in card:
        yield from (f"## {card.get('held_out', _SIMULATED)}: gain over bicubic in dB (PSNR)", "")
        yield "`faithful` is `denoise=0`; `restore` removes the true noise."
        yield from ("`wiener` and `richardson-lucy` are told the blur and the noise.", "")
        for name, row in card["gain_over_bicubic_db"].items():
            yield from (f"### {name}", "", "| method | gain |", "| --- | --- |")
            yield from (f"| {method} | {gain:+.2f} |" for method, gain in row.items())
            yield ""
    if "paired" in card:
        yield from (f"## {card['held_out']}: PSNR, image by image", "")
        yield "| case | images | bicubic | embedded | this model | gain over embedded | better |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for case, row in card["paired"].items():
            decibels = [f"{row[method]:.2f} dB" for method in ("bicubic", "embedded", "tuned")]
            cells = [case, str(row["images"]), *decibels, f"{row['gain']:+.2f} dB"]
            yield f"| {' | '.join(cells)} | {100 * row['better']:.0f} % |"
        yield ""
    if "coverage_of_90_percent_bound" in card:
        yield from ("## Share of pixels within the 90 % error bound", "")
        yield from ("| kind | share |", "| --- | --- |")
        covered = card["coverage_of_90_percent_bound"]
        yield from (f"| {kind} | {share:.3f} |" for kind, share in covered.items())
        yield ""


def _real(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what was reached on sharp micrographs that were made coarser, a line a case."""
    yield from ("## Real micrographs", "")
    yield f"{rows[0]['images']} planes that no training has seen, made coarser, with the defaults;"
    yield "how much noise is told, and how wide the error bound is, were chosen on them."
    yield "The best classical method is told the blur and the noise."
    yield ""
    names = [name for name in rows[0] if name not in ("case", "model", "images")]
    heads = [name.replace("_", " ").replace(" db", ", dB") for name in names]
    yield f"| case | {' | '.join(heads)} |"
    yield f"| --- | {' | '.join('---' for _ in names)} |"
    for row in rows:
        cells = (row[name] for name in names)
        shown = (cell if isinstance(cell, str) else f"{cell:.3g}" for cell in cells)
        yield f"| {row['case']} | {' | '.join(shown)} |"
    yield ""
