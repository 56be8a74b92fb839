"""``superres models``: the table of models and the weights on this computer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from napari_superres.cli.console import talk, transfer_bar
from napari_superres.cli.opening import accept as agree
from napari_superres.cli.wording import as_options
from napari_superres.errors import SuperresError, WeightsError
from napari_superres.models import custom, library
from napari_superres.models.cache import accepted_licences, cache_folder
from napari_superres.models.cards import card_text, read_card
from napari_superres.models.catalog import MODELS
from napari_superres.models.hub import local_place
from napari_superres.models.weights import find_model, find_weights, locate, state

if TYPE_CHECKING:
    from napari_superres.models.catalog import ModelSpec

_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="No progress, no talk.")


@click.group()
def models() -> None:
    """Choose models, and get, add, check and delete their weights.

    \b
    Which models there are, and which can be used now:
        superres models list
    Fetch the weights of one (nothing is ever fetched unasked):
        superres models download realesr-general-x4v3
    Use a file that you have, for a model of the table or by a name of your own:
        superres models add RealESRGAN_x4plus.pth --as realesrgan-x4plus
        superres models add mine.safetensors --as my-network
    Write a network for a program without Python:
        superres models export microscopy-x4 --format onnx
    """  # noqa: D301, click wants the character


@models.command("list")
@_json
def list_models(*, as_json: bool) -> None:
    """Print every model: scale factor, size, licence, how it was proven, whether it is here."""
    rows, broken = _rows()
    if as_json:
        report = {
            "cache": str(cache_folder()),
            "models": [_facts(spec) for spec in rows],
            "unusable": {name: str(error) for name, error in broken.items()},
        }
        click.echo(json.dumps(report))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("scale", no_wrap=True)
    table.add_column("size", no_wrap=True, justify="right")
    for heading in ("state", "proven with", "licence", "what it is"):
        table.add_column(heading)
    for spec in rows:
        scale = f"x{spec.scale}" if spec.scale else "any"
        words = (state(spec), spec.proven, spec.licence_words, spec.title)
        table.add_row(spec.name, scale, _size(spec), *words)
    _print(table)
    for error in broken.values():
        talk(f"Not usable: {error}")


@models.command()
@click.argument("name")
@_json
def info(name: str, *, as_json: bool) -> None:
    """Print all about the model NAME (or a FILE of weights): origin, licence, needs, citation."""
    spec = find_model(name)
    if as_json:
        click.echo(json.dumps({**_facts(spec), "card": _card(spec)}))
        return
    proven = {
        "exact": "arithmetic",
        "real weights": "its published weights were run",
        "reference tensors": "its parts were compared with reference tensors",
        "layout only": "names and shapes of its tensors; its own weights were not run by us",
    }
    lines = [
        ("name", spec.name),
        ("what", spec.title),
        ("scale", f"x{spec.scale}" if spec.scale else "any whole factor"),
        ("trained on", spec.domain),
        ("proven", f"{spec.proven}: {proven[spec.proven]}"),
        ("licence", spec.licence_words),
        *([("terms", spec.terms)] if spec.terms else []),
        ("state", state(spec)),
    ]
    if spec.parameters:
        lines.append(("size", f"{spec.parameters / 1e6:.2f} million numbers"))
    if spec.flop:
        lines.append(("work", f"{spec.flop / 1e6:.3g} MFLOP a source pixel"))
    if spec.unit == "tile":
        lines.append(("halo", f"{spec.halo} pixels (reaches {spec.radius})"))
    for folder in spec.folders:
        lines.append(("folder", f"{folder}  {local_place(folder) or 'not here'}"))
    for file in spec.weights:
        path = locate(spec, file)
        size = f"{file.size / 1e6:.1f} MB" if file.size else "size not published"
        lines.append(("file", f"{file.name}  {size}  {path or 'not here'}"))
        lines.append(("sha256", file.sha256 or "none published"))
        lines += [("from", url) for url in file.urls]
    for o in spec.options:
        default = f" Default: {o.default}." if o.default != "" else ""
        lines.append((f"option {o.name}", o.help + default))
    lines += [("about", spec.homepage)] if spec.homepage else []
    lines.append(("cite", spec.citation))
    width = max(11, *(len(key) for key, _ in lines)) + 1
    for key, value in lines:
        click.echo(f"{key:<{width}}{value}")
    card = _card(spec)
    if card:
        click.echo(f"\n{card_text(card)}", nl=False)


@models.command()
@click.argument("name")
@_quiet
def download(name: str, *, quiet: bool) -> None:
    """Fetch the weights of the model NAME into the cache; goes on where it was cut off."""
    from napari_superres.models.download import download as fetch

    spec = find_model(name)
    if not quiet:
        talk(f"{spec.name}: {spec.title}. Licence: {spec.licence_words}.")
    with transfer_bar(quiet=quiet) as show:
        paths = fetch(spec, show)
    for path in paths:
        click.echo(path)


@models.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "name", help="The model it is for, or a name of your own.")
@_json
def add(file: Path, *, name: str | None, as_json: bool) -> None:
    """Copy FILE, a .pth or .safetensors file of weights, into the cache.

    For a model of the table the tensors must fit it. Files of several parts are named NAME:PART,
    such as realesr-general-x4v3:wdn.
    """
    added = library.add(file, name)
    if as_json:
        report = {
            "model": added.model,
            "path": str(added.path),
            "sha256": added.sha256,
            "official": added.is_official if added.official else None,
        }
        click.echo(json.dumps(report))
        return
    click.echo(added.path)
    if added.is_official:
        talk(f"This is the official file of '{added.model}'.")
    elif added.official:
        talk(
            f"The tensors fit '{added.model}', but this is not the official file: its SHA-256 is "
            f"{added.sha256}, the official one is {added.official}. Results will name it."
        )
    else:
        talk(f"Use it with --model {added.model}. {find_model(added.model).title}.")


@models.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
def verify(names: tuple[str, ...]) -> None:
    """Read the weights again and compare their checksums; of all models if no NAME is given."""
    ours = [name for name, spec in MODELS.items() if _is_here(spec)]
    chosen = names or [*ours, *(name for name in custom.added_models() if name not in MODELS)]
    wrong: list[WeightsError] = []
    for name in chosen:
        try:
            for path in library.verify(name):
                click.echo(f"{path}: right")
        except WeightsError as error:
            wrong.append(error)
    for each in wrong[:-1]:
        talk(f"Error: {as_options(str(each))}")
    if wrong:
        raise wrong[-1]
    if not chosen:
        talk(f"There are no weights in {cache_folder()}.")


@models.command()
@click.argument("name", required=False)
def path(name: str | None) -> None:
    """Print where the weights of NAME are; without NAME, the folder of the cache."""
    if name is None:
        click.echo(cache_folder())
        return
    for found in find_weights(find_model(name)).values():
        click.echo(found)


@models.command("rm")
@click.argument("name")
def remove(name: str) -> None:
    """Delete the weights of the model NAME from the cache."""
    for deleted in library.remove(name):
        click.echo(deleted)


@models.command("export")
@click.argument("name")
@click.option(
    "--format",
    type=click.Choice(["onnx", "ncnn"]),
    required=True,
    help="onnx: one file, for ONNX Runtime and others; ncnn: two files.",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="File, or folder with a slash at its end; NAME in this folder if left out.",
)
@click.option(
    "--denoise", type=float, help="Strength that is fixed in the file, where a model has one."
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@_json
@_quiet
def export_(
    name: str,
    *,
    format: str,
    output: str | None,
    denoise: float | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write the network of the model NAME (or a FILE of weights) for other programs.

    The files run without Python and PyTorch. They are compared with the engine before they get
    their names, and what somebody who runs them has to know lies beside them as JSON: inputs,
    context, intensities, licence, origin.
    """
    from napari_superres.models.exporting import export_model

    made = export_model(name, output, format=format, denoise=denoise, overwrite=overwrite)
    if as_json:
        report = {"paths": [str(written) for written in made.paths], "facts": made.facts}
        click.echo(json.dumps(report))
        return
    for written in made.paths:
        click.echo(written)
    if not quiet:
        talk(str(made.check))
        talk(f"Not in the files: {made.facts['left_out']}")


@models.command()
@click.argument("name")
def accept(name: str) -> None:
    """Accept the licence of the model NAME, after you have read it."""
    agree(find_model(name))


def _rows() -> tuple[list[ModelSpec], dict[str, SuperresError]]:
    """Return every model, and why added files that cannot be used cannot."""
    rows, broken = [find_model(name) for name in MODELS], {}
    for name, file in custom.added_models().items():
        try:
            rows.append(custom.row(file, name))
        except SuperresError as error:
            broken[name] = error
    return rows, broken


def _facts(spec: ModelSpec) -> dict[str, Any]:
    """Return what `--json` prints of a model."""
    return {
        "name": spec.name,
        "title": spec.title,
        "family": spec.family,
        "scale": spec.scale,
        "domain": spec.domain,
        "licence": spec.licence,
        "commercial": spec.commercial,
        "accepted": not spec.consent or spec.name in accepted_licences(),
        "citation": spec.citation,
        "homepage": spec.homepage,
        "proven": spec.proven,
        "state": state(spec),
        "parameters": spec.parameters,
        "halo": spec.halo,
        "radius": spec.radius,
        "options": {option.name: option.default for option in spec.options},
        "files": [
            {
                "name": file.name,
                "sha256": file.sha256,
                "size": file.size,
                "urls": list(file.urls),
                "path": str(found) if (found := locate(spec, file)) else None,
            }
            for file in spec.weights
        ],
    }


def _card(spec: ModelSpec) -> dict[str, Any]:
    """Return the card inside the weights; empty where they are not here or carry none."""
    path = locate(spec, spec.weights[0]) if spec.weights else None
    return read_card(path) if path else {}


def _is_here(spec: ModelSpec) -> bool:
    return any(locate(spec, file) is not None for file in spec.weights)


def _size(spec: ModelSpec) -> str:
    size = sum(file.size for file in spec.weights)
    return f"{size / 1e6:.3g} MB" if size else ""


def _print(table: Table) -> None:
    """Print a table as wide as the terminal, or unbroken where stdout is a file."""
    console = Console()
    if console.is_terminal:
        console.print(table)
    else:
        Console(width=240, color_system=None).print(table)
