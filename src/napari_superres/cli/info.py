"""``superres info`` and ``superres doctor``."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from typing import Any

import click

from napari_superres._version import __version__
from napari_superres.cli.wording import as_options
from napari_superres.models.catalog import MODELS
from napari_superres.provenance import citations, methods_text
from napari_superres.resources import human_bytes

_PACKAGES = (
    "numpy",
    "scipy",
    "dask",
    "distributed",
    "zarr",
    "tifffile",
    "imagecodecs",
    "torch",
    "ncnn",
    "safetensors",
    "diffusers",
    "transformers",
    "spandrel",
    "napari",
    "npe2",
    "magicgui",
    "PyQt6",
    "PySide6",
)


@click.command()
@click.argument("source", metavar="FILE")
@click.option("--axes", help="One letter an axis, such as zyx, when the file names none.")
@click.option("--series", type=int, default=0, show_default=True, help="Which image of a file.")
@click.option("--level", type=int, default=0, show_default=True, help="Which pyramid level.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(source: str, *, axes: str | None, series: int, level: int, as_json: bool) -> None:
    """Print what FILE holds: axes, sizes, channels, and how a result was made."""
    from napari_superres.formats import read

    image = read(source, axes=axes, series=series, level=level)
    if as_json:
        report = {
            "axes": image.axes,
            "shape": list(image.shape),
            "dtype": str(image.dtype),
            "pixel_size": list(image.pixel_size),
            "units": list(image.units),
            "translation": list(image.translation),
            "channels": [vars(channel) for channel in image.channels],
            "rgb": image.rgb,
            "labels": image.is_labels,
            "levels": [list(level.shape) for level in image.levels],
            "history": [dict(record) for record in image.history],
            "warnings": list(image.warnings),
        }
        click.echo(json.dumps(report))
        return
    lines = [
        ("name", image.name),
        ("axes", f"{image.axes}  {' x '.join(map(str, image.shape))}  {image.dtype}"),
        ("bytes", human_bytes(image.data.nbytes)),
    ]
    for axis, size, unit in zip(image.axes, image.pixel_size, image.units, strict=True):
        if unit:
            lines.append((f"pixel {axis}", f"{size:g} {unit}"))
    for i, channel in enumerate(image.channels):
        if channel.name or channel.color:
            window = "" if channel.window is None else "shown {:g} to {:g}".format(*channel.window)
            color = f"#{channel.color}" if channel.color else ""
            lines.append((f"channel {i}", "  ".join(filter(None, (channel.name, color, window)))))
    lines += [("level", " x ".join(map(str, level.shape))) for level in image.levels]
    lines += [("note", as_options(warning)) for warning in image.warnings]
    for key, value in lines:
        click.echo(f"{key:<12}{value}")
    for record in image.history:
        click.echo(f"{'made by':<12}{record['program']} {record['version']} on {record['time']}")
    if image.history:
        click.echo(f"\nMethods: {methods_text(image.history)}\n")
        for reference in citations(image.history):
            click.echo(f"Cite: {reference}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(*, as_json: bool) -> None:
    """Print versions, devices, memory and models, to paste into a report."""
    facts = {
        "superres": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "memory": human_bytes(_memory()),
        "devices": _devices(),
        "cache": _cache(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "models": _states(),
    }
    if as_json:
        click.echo(json.dumps(facts))
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            click.echo(f"{key}:")
            for name, state in value.items():
                click.echo(f"  {name:<28}{state or 'not installed'}")
        else:
            click.echo(f"{key:<12}{value}")


def _memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> str:
    from napari_superres.models.engine import devices

    return ", ".join(devices())


def _cache() -> str:
    from napari_superres.models.cache import cache_folder

    return str(cache_folder())


def _states() -> dict[str, Any]:
    from napari_superres.models.weights import state

    return {name: state(spec) for name, spec in MODELS.items()}
