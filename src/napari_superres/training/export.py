"""Turn a training's checkpoint into the weight files and model cards that ship.

::

    python -m napari_superres.training.export STATE_FOLDER DESTINATION
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import save

from napari_superres.errors import OutputError
from napari_superres.models.cards import card_text
from napari_superres.models.families.microscopy.tensors import FORMAT
from napari_superres.training.heads import (
    bound_of,
    coverage_by_kind,
    error_ratios,
    fit_errors,
    fit_linear,
    fresh_batches,
    state_for,
)
from napari_superres.training.stream import BEFORE, StreamSettings
from napari_superres.training.train import CHECKPOINT, load_average
from napari_superres.training.validate import DEGRADATIONS, degraded_pairs, evaluate, held_out

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHARE = (
    "Simulated microscopy alone (filaments, nuclei, puncta, membranes, mitochondria, reticulum, "
    "rods, phase contrast, transmitted light, stained tissue, electron micrographs, granular "
    "texture, opaque fragments, test lines); no recorded image was used."
)
MARGIN = 2.2
"""How much wider than on simulated images the 90 % bound is made. Real micrographs hold grain that
no simulation has: without it the bound of the larger models held 79 to 88 % of the pixels of real
ones, case by case; with it, 91 to 97 %, and 82 to 98 % file by file."""
LIMITS = (
    "Planes are treated one by one; nothing is learned along z or time.",
    "Detail finer than the source's pixels is an estimate. Do not count, measure or name a "
    "structure that the source does not show.",
    "Blur is removed only where noise removal is asked for (denoise above 0), and only as far as "
    "a Gaussian of up to 0.85 source pixels explains it.",
    "Regular patterns near the sampling limit can come out with the wrong orientation, as they do "
    "with any interpolation.",
)


def export(
    folder: Path,
    destination: Path,
    *,
    name: str = "microscopy",
    checkpoint: str = CHECKPOINT,
    scenes: Path | None = None,
    history: str = "",
    error_steps: int = 400,
    count: int = 2,
    edge: int = 256,
) -> list[Path]:
    """Write ``NAME-x*.safetensors`` with their cards.

    The error heads are fitted with the rest frozen. The bound that is to hold 90 % of the errors is
    set on one half of the held-out images, and what it covers is reported on the other half.

    Parameters
    ----------
    folder : Path
        State of a training.
    destination : Path
        Where the files go; existing ones are replaced.
    name : str
        Of the files, before the scale factor.
    checkpoint : str
        Which of the folder's checkpoints.
    scenes : Path, optional
        Where the training kept its scenes; None for its folder.
    history : str
        What the card says of how the weights came about, where it was not the recipe alone.
    error_steps : int
        Steps of fitting the error head.
    count : int
        Held-out images of each kind, in each half.
    edge : int
        Their edge in truth pixels.

    Returns
    -------
    list of Path
        The weight files.
    """
    destination.mkdir(parents=True, exist_ok=True)
    network, settings, step = load_average(folder, checkpoint)
    stream = _stream(settings)
    fit_errors(
        network,
        fresh_batches(stream, scenes or folder / "scenes", error_steps),
        steps=error_steps,
        low_precision=settings["low_precision"],
    )
    judging, setting = held_out(count, edge), held_out(count, edge, first=count)
    records = evaluate(network, judging, network.scales)
    paths = []
    for scale in network.scales:
        bound = MARGIN * bound_of(error_ratios(network, degraded_pairs(setting, scale)))
        ratios = error_ratios(network, degraded_pairs(judging, scale))
        card = {
            "name": f"{name}-x{scale}",
            "parameters": parameter_count(network, scale),
            "data": _SHARE,
            "training": {**settings, "steps_done": step},
            "gain_over_bicubic_db": gains(records, scale),
            "coverage_of_90_percent_bound": coverage_by_kind(ratios, bound),
            "limits": list(LIMITS),
        }
        if history:
            card["history"] = history
        sizes = {"channels": network.channels, "pairs": network.pairs, "bound": bound}
        paths.append(
            write_weights(destination, "network", scale, state_for(network, scale), card, sizes)
        )
    return paths


def export_linear(folder: Path, destination: Path, *, steps: int = 150) -> None:
    """Write ``linear-x*.safetensors`` with their cards.

    Parameters
    ----------
    folder : Path
        State of a training, for its scenes.
    destination : Path
        Where the files go.
    steps : int
        How many batches the kernels are solved for.
    """
    destination.mkdir(parents=True, exist_ok=True)
    _, settings, _ = load_average(folder)
    stream = _stream(settings)
    for scale in stream.scales:
        # The scenes are those of the training, so their edge has to be the same.
        own = replace(stream, scales=(scale,), faithful=1.0, patch=stream.edge // scale)
        model = fit_linear(own, folder / "scenes", steps=steps)
        kernels = model.kernels.detach().numpy()
        card = {
            "name": f"linear-x{scale}",
            "parameters": int(kernels.size),
            "data": _SHARE,
            "training": {"stream": asdict(own), "batches": steps, "method": "least squares"},
            "limits": [*LIMITS[:2], "Linear: it cannot invent anything, and removes no noise."],
        }
        write_weights(destination, "linear", scale, {"kernels": kernels}, card, {})


def gains(records: Iterable[dict[str, Any]], scale: int) -> dict[str, dict[str, float]]:
    """Return the mean gain over bicubic in decibels, by degradation and method."""
    table: dict[str, dict[str, float]] = {}
    for how in DEGRADATIONS:
        rows = [
            record["psnr"]
            for record in records
            if record["scale"] == scale and record["degradation"] == how.name
        ]
        if not rows:
            continue
        table[how.name] = {
            method: round(float(np.mean([row[method] - row["bicubic"] for row in rows])), 2)
            for method in rows[0]
        }
    return table


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse a name that no weight file can have, or may not have without being asked.

    Raises
    ------
    OutputError
        If it does not end in ``.safetensors``, or is there already and is not to be replaced.
    """
    if path.suffix != ".safetensors":
        raise OutputError(f"'{path}' is no name for a model.", "Let it end in .safetensors.")
    if path.exists() and not overwrite:
        raise OutputError(
            f"'{path}' exists already.", "Choose another name, or allow it: overwrite=True."
        )


def write_weights(
    destination: Path,
    kind: str,
    scale: int,
    tensors: dict[str, np.ndarray],
    card: dict[str, Any],
    sizes: dict[str, Any],
) -> Path:
    """Write one weight file, its card inside, and the card again as Markdown; return its path."""
    path = destination / f"{card['name']}.safetensors"
    save_weights(path, kind, scale, tensors, card, sizes)
    path.with_suffix(".md").write_text(card_text(card), encoding="utf-8")
    return path


def save_weights(
    path: Path,
    kind: str,
    scale: int,
    tensors: dict[str, np.ndarray],
    card: dict[str, Any],
    sizes: dict[str, Any],
) -> None:
    """Write one weight file, its card inside; a kill leaves the old file or the new one."""
    metadata = {"format": FORMAT, "kind": kind, "scale": str(scale), "card": json.dumps(card)}
    metadata |= {name: str(value) for name, value in sizes.items()}
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(save(tensors, metadata=metadata))  # save_file shuts out other users
    unfinished.replace(path)


def parameter_count(network: Any, scale: int) -> int:
    """Return how many numbers a file for one scale factor holds."""
    return sum(int(tensor.size) for tensor in state_for(network, scale).values())


def _stream(settings: dict[str, Any]) -> StreamSettings:
    kept = settings["stream"]
    lists = {name: tuple(value) for name, value in kept.items() if isinstance(value, list)}
    return StreamSettings(**{**BEFORE, **kept, **lists})


def main() -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path, help="where the training keeps its state")
    parser.add_argument("destination", type=Path, help="where the weight files go")
    parser.add_argument("--linear", action="store_true", help="fit the linear models instead")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.linear:
        export_linear(chosen.folder, chosen.destination)
    else:
        export(chosen.folder, chosen.destination)


if __name__ == "__main__":
    main()
