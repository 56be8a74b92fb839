"""The tables of `quality.py`, from its records; also from a file that it wrote.

python benchmarks/quality_tables.py figures.json
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Records = list[dict[str, Any]]

_WORSE = -0.1
"""Decibels below bicubic from which an image counts as harmed."""


def report(found: dict[str, Any]) -> str:
    """Return all tables as Markdown, real and simulated images apart."""
    parts, records = [], found["figures"]
    for prefix, title in (("real:", "Real micrographs"), ("sim:", "Simulated images")):
        own = [one for one in records if one["image"].startswith(prefix)]
        if own:
            count = len({one["image"] for one in own})
            parts += [f"## {title} ({count})", summary_table(own), classical_table(own)]
            parts += [gain_table(own)]
            parts += [hindsight_table(own), coverage_table(own)]
    if "laws" in found:
        lines = [
            [one["method"], f"{one['equivariance']:.1e}", f"{one['seams']:.1e}"]
            for one in found["laws"]
        ]
        parts += ["## Laws", _table(["share of the range", "gain and offset", "seams"], lines)]
        fastest = min(found["seconds"].values())
        lines = [
            [label, f"{took:.2f}", f"{took / fastest:.1f}"]
            for label, took in found["seconds"].items()
        ]
        parts += [_table(["512 x 512 pixels", "seconds", "times the fastest"], lines)]
    return "\n\n".join(part for part in parts if part)


def summary(records: Records) -> list[dict[str, Any]]:
    """Return what each of our models reached in each case, as it is used: ``denoise="auto"``."""
    rows = []
    for case, own in _by(records, "case").items():
        methods = _by(own, "method")
        best = _best_classical(methods)
        bicubic, wanted = (_column(methods[label], "psnr") for label in ("bicubic", best))
        for label, found in methods.items():
            if "auto" not in label and not label.startswith("linear"):
                continue
            psnr = _column(found, "psnr")
            over = [psnr[image] - bicubic[image] for image in psnr]
            above = [psnr[image] - wanted[image] for image in psnr]
            row = {
                "case": case,
                "model": label.removesuffix(" auto"),
                "images": len(psnr),
                "over_bicubic_db": _mean(over),
                "over_best_classical_db": _mean(above),
                "best_classical": best,
                "above_it": _mean(gain > 0 for gain in above),
                "harmed": _mean(gain < _WORSE for gain in over),
                "flux_error": _mean(_column(found, "flux").values()),
                "slope": _mean(_column(found, "slope").values()),
            }
            for name in ("invented", "shift"):
                row[name] = _median(found, name)
                row[f"{name}_by_bicubic"] = _median(methods["bicubic"], name)
            if "covered" in found[0]:
                row["in_90_percent_bound"] = _mean(_column(found, "covered").values())
            if hindsight := _hindsight(methods, label):
                row["auto_against_hindsight_db"] = _mean(hindsight[1].values())
            rows.append(row)
    return rows


def summary_table(records: Records) -> str:
    """Return `summary` of the networks as a table."""
    lines = [
        [
            row["case"],
            row["model"],
            f"{row['over_bicubic_db']:+.2f}",
            f"{row['over_best_classical_db']:+.2f} ({row['best_classical']})",
            f"{row['above_it']:.0%}".replace("%", " %"),
            f"{row['harmed']:.0%}".replace("%", " %"),
            f"{row['flux_error']:.4f}",
            f"{row['slope']:.3f}",
            f"{row['invented']:.4f} ({row['invented_by_bicubic']:.4f})",
            f"{row['shift']:.3f} ({row['shift_by_bicubic']:.3f})",
            f"{row['in_90_percent_bound']:.2f}",
        ]
        for row in summary(records)
        if "in_90_percent_bound" in row
    ]
    header = [
        "case",
        "model",
        "over bicubic, dB",
        "over the best classical, dB",
        "images above it",
        "images harmed",
        "flux error",
        "slope",
        "invented (bicubic's)",
        "shift, px (bicubic's)",
        "in the 90 % bound",
    ]
    return _table(header, lines) if lines else ""


def gain_table(records: Records) -> str:
    """Return what each model gained, row by row, against bicubic and the best classical method."""
    lines = []
    for case, own in _by(records, "case").items():
        methods = _by(own, "method")
        best = _best_classical(methods)
        bicubic = _column(methods["bicubic"], "psnr")
        wanted = _column(methods[best], "psnr")
        frc = _column(methods["bicubic"], "frc")
        for label, rows in methods.items():
            if rows[0]["classical"] and label not in ("bicubic", best):
                continue
            psnr = _column(rows, "psnr")
            over = {image: psnr[image] - bicubic[image] for image in psnr}
            above = {image: psnr[image] - wanted[image] for image in psnr}
            gained = _column(rows, "frc")
            lines.append(
                [
                    case,
                    label,
                    f"{_mean(over.values()):+.2f}",
                    f"{_mean(above.values()):+.2f}",
                    _share(above.values(), lambda gain: gain > 0),
                    _share(over.values(), lambda gain: gain < _WORSE),
                    f"{min(over.values()):+.2f}",
                    f"{_mean(gained[i] - frc[i] for i in gained):+.3f}",
                    *(_figure(rows, name) for name in ("ssim", "recovered")),
                    _figure(rows, "invented", 4, np.median),
                    _figure(rows, "flux", 4),
                    _figure(rows, "slope"),
                    _figure(rows, "rsp", 4),
                    _figure(rows, "shift", 3, np.median),
                    _figure(rows, "seconds", 2, np.median),
                ]
            )
    header = [
        "case",
        "method",
        "over bicubic, dB",
        "over best classical, dB",
        "images above it",
        "images below bicubic by 0.1 dB",
        "worst image, dB",
        "FRC over bicubic",
        "SSIM",
        "recovered",
        "invented (median)",
        "flux error",
        "slope",
        "RSP",
        "shift, px (median)",
        "s an image",
    ]
    return _table(header, lines)


def classical_table(records: Records) -> str:
    """Return the mean PSNR of everything that does not learn."""
    lines = []
    for case, own in _by(records, "case").items():
        methods = _by([one for one in own if one["classical"]], "method")
        families: dict[str, tuple[float, str]] = {}
        for label, rows in methods.items():
            family, _, parameter = label.rpartition("-")
            known = parameter.replace(".", "").isdigit()
            value = _mean(_column(rows, "psnr").values())
            entry = (value, f"{value:.2f}" + (f" ({parameter})" if known else ""))
            key = family if known else label
            families[key] = max(families.get(key, entry), entry)
        lines.append([case, *(text for _, text in families.values())])
        header = ["case, PSNR in dB", *families]
    return _table(header, lines)


def hindsight_table(records: Records) -> str:
    """Return how far ``denoise="auto"`` stays behind the better of 0 and the true noise."""
    lines = []
    for case, own in _by(records, "case").items():
        methods = _by(own, "method")
        for label in methods:
            if not (hindsight := _hindsight(methods, label)):
                continue
            better, behind = hindsight
            worst = min(behind, key=lambda image: behind[image])
            mean = f"{_mean(behind.values()):+.2f}"
            lines.append([case, label, better, mean, f"{behind[worst]:+.2f} ({worst})"])
    header = ["case", "method", "better in hindsight", "auto against it, dB", "worst image"]
    return _table(header, lines)


def _hindsight(methods: dict[str, Records], label: str) -> tuple[str, dict[str, float]] | None:
    """Return the better of 0 and the true noise, and by image what auto gained over it, in dB."""
    others = {
        told: _column(methods[label.replace("auto", told)], "psnr")
        for told in ("0", "0.0", "true")
        if "auto" in label and label.replace("auto", told) in methods
    }
    if not others:
        return None
    better = max(others, key=lambda told: _mean(others[told].values()))
    auto = _column(methods[label], "psnr")
    return better, {image: auto[image] - others[better][image] for image in auto}


def coverage_table(records: Records) -> str:
    """Return the share of pixels whose error lies under the stated 90 % bound, by kind of image."""
    lines = []
    own = [one for one in records if "covered" in one and "auto" in one["method"]]
    for kind, rows in _by(own, lambda one: _kind(one["image"])).items():
        cases = _by(rows, "case")
        every = [row["covered"] for row in rows]
        lines.append(
            [kind]
            + [f"{100 * np.mean([r['covered'] for r in cases[case]]):.0f} %" for case in cases]
            + [f"{100 * np.mean(every):.0f} %"]
        )
        header = ["within the 90 % bound", *cases, "all"]
    if not lines:
        return ""
    needed = [one for one in own if "needed" in one]
    if needed:  # what the bound would have to be multiplied by
        factors = [_figure(rows, "needed", 2, np.median) for rows in _by(needed, "case").values()]
        lines.append(["times its width for 90 % (median image)", *factors])
        lines[-1].append(_figure(needed, "needed", 2, np.median))
    return _table(header, lines)


def _kind(image: str) -> str:
    """Return the kind of a simulated image, the file of a real one."""
    name = image.split(":", 1)[1]
    return name.split("/")[0] if image.startswith("real:") else name.rsplit("-", 1)[0]


def _best_classical(methods: dict[str, Records]) -> str:
    means = {
        label: _mean(_column(rows, "psnr").values())
        for label, rows in methods.items()
        if rows[0]["classical"]
    }
    return max(means, key=lambda label: means[label])


def _by(records: Records, key: str | Callable[[dict[str, Any]], str]) -> dict[str, Records]:
    groups: dict[str, Records] = defaultdict(list)
    for one in records:
        groups[key(one) if callable(key) else one[key]].append(one)
    return dict(groups)


def _column(rows: Records, name: str) -> dict[str, float]:
    return {row["image"]: row[name] for row in rows}


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _median(rows: Records, name: str) -> float:
    return float(np.median([row[name] for row in rows]))


def _share(values: Iterable[float], holds: Callable[[float], bool]) -> str:
    return f"{100 * _mean(float(holds(value)) for value in values):.0f} %"


def _figure(
    rows: Records, name: str, digits: int = 3, average: Callable[[Any], Any] = np.mean
) -> str:
    values = [row[name] for row in rows if np.isfinite(row.get(name, np.nan))]
    return f"{float(average(values)):.{digits}f}" if values else ""


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    print(report(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
