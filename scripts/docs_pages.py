"""What the documentation takes from the program itself: models, commands, messages.

MkDocs calls `on_page_markdown` for each page; a line such as ``<!-- from the program: models -->``
is replaced by what the program says at the time of the build, so that no page can drift from it.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

PACKAGE = Path(__file__).parents[1] / "src" / "napari_superres"

_MARK = re.compile(r"<!-- from the program: (\w+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what a page takes from the program (called by MkDocs).

    Parameters
    ----------
    markdown : str
        The page as it is written.
    """
    makers = {"models": model_tables, "commands": command_reference, "messages": message_tables}
    return _MARK.sub(lambda match: makers[match[1]](), markdown)


# Models -------------------------------------------------------------------------------------------


def model_tables() -> str:
    """Return the model table, the models' own options and their references, from the rows."""
    from napari_superres.models.catalog import MODELS

    rows = [
        [
            f"`{spec.name}`",
            f"x{spec.scale}" if spec.scale else "any",
            spec.domain,
            _weight(spec),
            spec.licence + ("" if spec.commercial else ", not for commercial use"),
            spec.proven,
            f"{spec.consistency}",
            "found in the image" if spec.denoise == "auto" else _number(spec.denoise),
        ]
        for spec in MODELS.values()
    ]
    head = ["model", "factor", "trained on", "weights", "licence", "proven with"]
    parts = [_table([*head, "default `consistency`", "default `denoise`"], rows)]
    parts.append("## Options of a model\n\nFor `options=` in Python and `--option` in a shell.")
    for spec in MODELS.values():
        if spec.options:
            listing = [[f"`{o.name}`", f"`{o.default}`", _range(o), o.help] for o in spec.options]
            parts += [f"### {spec.name}", _table(["name", "default", "values", ""], listing)]
    parts.append("## References\n")
    citations: dict[str, list[str]] = {}
    for spec in MODELS.values():
        citations.setdefault(spec.citation, []).append(f"`{spec.name}`")
    parts.append("\n".join(f"- {', '.join(names)}: {text}" for text, names in citations.items()))
    return "\n\n".join(parts)


def _weight(spec: Any) -> str:
    size = sum(file.size for file in spec.weights)
    if not size:
        return "none" if not spec.weights else "from their author"
    text = f"{size / 1e6:.1f} MB" if size < 1e8 else f"{size / 1e9:.1f} GB"
    return f"{text}, in the package" if spec.bundled else text


def _range(option: Any) -> str:
    if option.choices:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    if option.low is None and option.high is None:
        return ""
    return f"{_number(option.low)} to {_number(option.high)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


# Commands -----------------------------------------------------------------------------------------


def command_reference() -> str:
    """Return every command with its help and options, from the parser."""
    from napari_superres.cli import cli

    return "\n\n".join(_command("superres", cli, level=2))


def _command(path: str, command: click.Command, level: int) -> Iterator[str]:
    import click

    context = click.Context(command, info_name=path)
    if path != "superres":
        yield f"{'#' * level} {path}"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```\n{path} {usage}\n```"
    yield from _help(command.help or "")
    options = [
        parameter.get_help_record(context)
        for parameter in command.params
        if isinstance(parameter, click.Option)
    ]
    shown = [[f"`{names}`", text] for names, text in filter(None, options)]
    if shown:
        yield _table(["option", ""], shown)
    if isinstance(command, click.Group):
        below = level if path == "superres" else level + 1
        for name in command.list_commands(context):
            yield from _command(f"{path} {name}", command.commands[name], below)
    if command.epilog:
        yield _escaped(command.epilog)


def _help(text: str) -> Iterator[str]:
    """Yield the paragraphs of a command's help; click keeps lines after a backspace as they are."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = [line.rstrip() for line in paragraph.splitlines()]
        if lines[0].strip() == "\b":
            yield "```sh\n" + "\n".join(_as_shell(line) for line in lines[1:]) + "\n```"
        else:
            yield _escaped(" ".join(line.strip() for line in lines))


def _as_shell(line: str) -> str:
    stripped = line.strip()
    return stripped if stripped.startswith("superres") else f"# {stripped}"


# Messages -----------------------------------------------------------------------------------------


class Message(NamedTuple):
    """One message of the program: what it is raised as, what it says, what it advises."""

    error: str
    text: str
    hint: str


@cache
def messages() -> list[Message]:
    """Return all messages of errors raised in the package, with … where a value is filled in."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")]
    kinds = _kinds(trees)
    shared = {name: text for tree in trees for name, text in _constants(tree).items()}
    found: dict[tuple[str, str], Message] = {}
    for tree in trees:
        names = {**shared, **_constants(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in kinds and node.args:
                parts = [*node.args, ast.Constant("")][:2]
                text, hint = (_template(part, names) for part in parts)
                error = kinds[node.func.id]  # type: ignore[attr-defined]
                if text.strip("… "):
                    found.setdefault((error, text), Message(error, text, hint))
    return sorted(found.values())


def _kinds(trees: list[ast.Module]) -> dict[str, str]:
    """Return the kind of each class of errors; those made elsewhere count as what they extend."""
    from napari_superres import errors

    kinds = {
        name: name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.SuperresError)
    }
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name not in kinds:
                for base in node.bases:
                    if isinstance(base, ast.Name) and base.id in kinds:
                        kinds[node.name] = kinds[base.id]
    return kinds


def message_tables() -> str:
    """Return all messages, one table a kind of error."""
    from napari_superres import errors

    parts = []
    for name, kind in vars(errors).items():
        rows = [[_escaped(m.text), _escaped(m.hint)] for m in messages() if m.error == name]
        if rows:
            about = (kind.__doc__ or "").strip().splitlines()[0]
            parts += [
                f"### {name}",
                f"{_escaped(about)} The command line exits with {kind.exit_code}.",
                _table(["message", "what to do"], rows),
            ]
    return "\n\n".join(parts)


def _constants(tree: ast.Module) -> dict[str, str]:
    """Return the texts that a module gives a name."""
    return {
        target.id: _template(node.value, {})
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _template(node: ast.AST, names: dict[str, str]) -> str:
    """Return a text as it is built, with … for what is filled in when it is said."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part, names) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _template(node.value, names)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _template(node.left, names) + _template(node.right, names)
    if isinstance(node, ast.IfExp):
        return _template(node.body, names)
    return names.get(node.id, "…") if isinstance(node, ast.Name) else "…"


# Markdown -----------------------------------------------------------------------------------------


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_<>\[\]{}#])", r"\\\1", text.replace("``", "`"))
