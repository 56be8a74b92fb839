"""How near each model comes to a known truth, beside the best that does not learn.

    python benchmarks/quality.py --quick                        # under two minutes
    python benchmarks/quality.py --real FOLDER --workers 2      # with real micrographs
    python benchmarks/quality.py --real FOLDER --weights mine-x2.safetensors --only candidate
    python benchmarks/quality.py --rival realesr-general-x4v3

Sharp images (simulated ones by seeds that no training uses, and the middle plane of each channel of
the files in ``--real``) are degraded in three ways: *ideal*, the mean over the area of each source
pixel; *psf_hi* and *psf_lo*, a Gaussian PSF of 0.6 source pixels, area mean, Poisson noise of 1000
and 100 photons at the peak, read noise of 1.6 electrons, a gain of 2, a pedestal of 100, uint16.
More are computed if ``--cases`` names them: *scan* and *scan_hi*, the light at the centres of wider
pixels instead of a mean over them, without any blur, with 100 and 1000 photons, as of a confocal
that scans with wider steps; and *wide*, as psf_hi with a PSF of 1.1 source pixels and 500 photons,
as of a confocal beside a STED.
All methods see the same source. Gains are paired: differences on the same image, then their mean.

Wiener and Richardson-Lucy are told the PSF and the noise class, and each row takes the parameters
that did best in it: an opponent nobody has in practice. *true* tells our model the true noise; the
better of it and of ``denoise=0`` is what ``denoise="auto"`` could have chosen in hindsight.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from quality_cases import Method, laws, limit_threads, real_images, seconds
from quality_tables import report

from napari_superres.training.validate import (
    DEGRADATIONS,
    FURTHER,
    Degradation,
    classical_results,
    degraded,
    held_out,
)
from napari_superres.trust.fourier import beyond_sampling, ring_correlation
from napari_superres.trust.light import light
from napari_superres.trust.similarity import grid_shift, psnr, similarity
from napari_superres.trust.squirrel import squirrel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_superres.training.recording import Pair

OURS = (
    Method("microscopy-x{scale} auto", "microscopy-x{scale}", "auto"),
    Method("microscopy-x{scale} 0", "microscopy-x{scale}", 0.0),
    Method("microscopy-x{scale} true", "microscopy-x{scale}", "true"),
    Method("microscopy-fast-x{scale} auto", "microscopy-fast-x{scale}", "auto"),
    Method("microscopy-fast-x{scale} 0", "microscopy-fast-x{scale}", 0.0),
    Method("microscopy-fast-x{scale} true", "microscopy-fast-x{scale}", "true"),
    Method("linear-x{scale}", "linear-x{scale}"),
)
_FULL = ("nearest", "bicubic", "spline", "lanczos")
"""Opponents of which every figure is computed; of the others, the few that are quick."""


def main() -> None:
    """Compare, print Markdown, and keep every figure in a file."""
    chosen = _arguments()
    images = {f"sim:{name}": light for name, light in _simulated(chosen).items()}
    if chosen.real:
        found = real_images(chosen.real, chosen.edge, chosen.skip, chosen.every)
        images |= {f"real:{name}": light for name, light in found.items()}
    images = {name: one for name, one in images.items() if re.search(chosen.images, name)}
    jobs = [
        (name, sharp, number, scale, how, chosen)
        for number, (name, sharp) in enumerate(images.items())
        for scale in chosen.scales
        for how in (*DEGRADATIONS, *FURTHER)
        if how.name in chosen.cases
    ]
    began = time.monotonic()
    records = []
    for done, rows in enumerate(_run(jobs, chosen.workers), 1):
        records += rows
        if chosen.progress:
            print(f"{done} of {len(jobs)}, {time.monotonic() - began:.0f} s", flush=True)
        if chosen.json:  # what is there can be read before the end: see quality_tables.py
            chosen.json.write_text(json.dumps({"figures": records}), encoding="utf-8")
    found: dict[str, Any] = {"figures": records}
    if chosen.laws:
        found |= {"laws": _laws(chosen), "seconds": _seconds(chosen)}
    print(report(found))
    if chosen.json:
        chosen.json.write_text(json.dumps(found), encoding="utf-8")


def compare(
    name: str,
    sharp: np.ndarray,
    number: int,
    scale: int,
    how: Degradation,
    chosen: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Return one record for each method on one degraded image.

    Parameters
    ----------
    name : str
        Of the image: ``real:...`` or ``sim:...``.
    sharp : np.ndarray, shape (y, x)
        Bright parts about 1.
    number : int
        Seed of its noise.
    scale : int
        Scale factor.
    how : Degradation
        What is lost.
    chosen : argparse.Namespace
        The command line.
    """
    torch.set_num_threads(1)
    pair = degraded(sharp, scale, how, number)
    head = {"image": name, "case": f"{how.name} x{scale}"}
    records = []
    for label, result in classical_results(pair, how):
        values = figures(pair, result, full=label in _FULL)
        records.append({**head, "method": label, "classical": True, **values})
    for method in _methods(chosen):
        method = method.at(scale)
        if not method.fits(scale):
            continue
        wants_bound = method.label.startswith(("microscopy", "candidate"))
        began = time.perf_counter()
        result, *bound = method.run(pair, uncertainty=wants_bound)
        record = {**head, "method": method.label, "classical": False}
        record["seconds"] = time.perf_counter() - began
        record |= figures(pair, result, full=True)
        if bound:
            ratio = np.abs(result - pair.truth) / np.maximum(bound[0], 1e-9)
            record["covered"] = float((ratio <= 1).mean())
            record["needed"] = float(np.quantile(ratio, 0.9))
        records.append(record)
    return records


def figures(pair: Pair, result: np.ndarray, *, full: bool) -> dict[str, float]:
    """Return the figures of one result.

    Parameters
    ----------
    pair : Pair
        Source and truth.
    result : np.ndarray, shape (scale * y, scale * x)
    full : bool
        Whether to compute those that take long, too.
    """
    truths, sources = [(result, pair.truth)], [(result, pair.source)]
    kept, detail = light(sources), beyond_sampling(truths, pair.scale)
    values = {
        "psnr": psnr(result, pair.truth),
        "slope": kept.slope,
        "flux": kept.flux_error,
        "recovered": detail.recovered,
        "invented": detail.invented,
        "frc": ring_correlation(truths).mean,
    }
    if full:
        y, x = grid_shift(result, pair.truth)
        values |= {
            "ssim": similarity(truths).ssim,
            "rsp": squirrel(sources).rsp,
            "shift": float(np.hypot(y, x)),
        }
    return values


def _methods(chosen: argparse.Namespace) -> list[Method]:
    methods = list(OURS)
    if chosen.consistency:
        methods = [
            Method(f"{one.label}, {kind}", one.model, one.denoise, kind)
            for kind in chosen.consistency
            for one in OURS[:3]
        ]
    for path in chosen.weights:
        methods += [
            Method(f"candidate {path.stem} {denoise:}", str(path), denoise)
            for denoise in ("auto", 0.0, "true")
        ]
    kept = [m for m in methods if not chosen.only or re.search(chosen.only, m.label)]
    return kept + [Method(Path(rival).stem, rival) for rival in chosen.rival]


def _laws(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Return how well the laws hold, on one simulated image."""
    records = []
    (sharp, *_) = held_out(1, 512).values()
    for scale in chosen.scales:
        pair = degraded(sharp, scale, DEGRADATIONS[1], 0)
        for method in (one.at(scale) for one in _methods(chosen) if one.at(scale).fits(scale)):
            if method.denoise != "auto":  # which looks at the image again
                records.append({"method": method.label, **laws(method, pair)})
    return records


def _seconds(chosen: argparse.Namespace) -> dict[str, float]:
    scale = max(chosen.scales)
    chosen_ones = [one.at(scale) for one in _methods(chosen)]
    kept = [one for one in chosen_ones if one.fits(scale) and one.denoise in (0.0, None)]
    return seconds(kept, edge=512)


def _simulated(chosen: argparse.Namespace) -> dict[str, np.ndarray]:
    if chosen.quick:
        found = held_out(1, 128)
        return dict(list(found.items())[::3])
    return held_out(chosen.count, min(chosen.edge, 256)) if chosen.count else {}


def _run(jobs: Sequence[Any], workers: int) -> Iterator[list[dict[str, Any]]]:
    if workers == 1:
        yield from (compare(*job) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=limit_threads) as pool:
        yield from pool.map(compare, *zip(*jobs, strict=True))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    names = [how.name for how in DEGRADATIONS]
    further = [how.name for how in FURTHER]
    parser.add_argument("--real", type=Path, help="a folder of sharp micrographs")
    parser.add_argument("--skip", type=int, default=0, help="files of it to leave out first")
    parser.add_argument("--every", type=int, default=1, help="take every so manieth file")
    parser.add_argument("--count", type=int, default=2, help="simulated images of each kind")
    parser.add_argument("--edge", type=int, default=384, help="longest edge of a sharp image")
    parser.add_argument("--images", default="", help="pattern that names of images must match")
    parser.add_argument("--cases", nargs="+", choices=names + further, default=names)
    parser.add_argument("--scales", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--only", default="", help="pattern that our methods must match")
    parser.add_argument("--weights", type=Path, action="append", default=[], help="a candidate")
    parser.add_argument("--rival", action="append", default=[], help="another model, or its file")
    parser.add_argument(
        "--consistency", nargs="+", help="judge our model with each of these instead"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a few small images, two minutes")
    parser.add_argument(
        "--laws", action="store_true", help="equivariance, seams, and seconds a plane too"
    )
    parser.add_argument("--progress", action="store_true")
    parser.add_argument("--json", type=Path, help="where every figure goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
