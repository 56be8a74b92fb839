"""What the documentation says is true, and what it takes from the program is there."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

import napari_superres as sr
from napari_superres import errors, plugin
from napari_superres.cli import cli
from napari_superres.models.catalog import MODELS

TOP = Path(__file__).parents[1]
DOCS = TOP / "docs"
PAGES = [TOP / "README.md", *sorted(DOCS.rglob("*.md"))]


@pytest.fixture(scope="module")
def pages() -> Any:
    """Return the module that makes pages from the program."""
    spec = importlib.util.spec_from_file_location("docs_pages", TOP / "scripts" / "docs_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(path: Path, language: str) -> list[str]:
    """Return the code blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.+?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def test_messages_that_are_explained_are_messages_of_the_program(pages: Any) -> None:
    """People search for the words on their screen: an old wording is never found."""
    texts = [message.text for message in pages.messages()]
    page = (DOCS / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
    explained = re.findall(r"^### (.+)$", page, re.MULTILINE)
    assert len(explained) > 15
    for heading in explained:
        assert any(heading in text for text in texts), heading


def test_all_messages_are_listed_with_what_to_do(pages: Any) -> None:
    """The list is made from the source, also where a text is put together."""
    listed = pages.message_tables()
    assert "### LicenceError" in listed
    assert "There is not enough memory to run the network on … numbers." in listed
    assert "Make space, or write to another disk." in listed
    assert len(pages.messages()) > 200


def test_models_and_commands_are_listed_as_they_are(pages: Any) -> None:
    """A table that is kept by hand is wrong after the next model."""
    tables = pages.model_tables()
    for name in MODELS:
        assert f"| `{name}` |" in tables, name
    reference = pages.command_reference()
    for name, command in cli.commands.items():
        assert f"## superres {name}\n" in reference, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[0] in reference, (name, parameter.name)
    assert "\b" not in reference


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_pages_are_understood(page: Path) -> None:
    """A command that is copied from a page and refused is worse than none."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                words = shlex.split(part.partition(" # ")[0])
                if words[:1] == ["superres"]:
                    understand(words[1:])


def understand(words: list[str]) -> None:
    """Parse a command without running it."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command, words = command.commands[words[0]], words[1:]
    try:
        command.make_context("superres", list(words))
    except click.exceptions.Exit:
        assert "--help" in words or "--version" in words


def test_the_tutorial_in_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of it, in order, as somebody who follows it would type."""
    shutil.copytree(TOP / "sample_data", tmp_path / "sample_data")
    monkeypatch.chdir(tmp_path)
    code = [b for b in blocks(DOCS / "tutorial" / "python.md", "python") if "viewer" not in b]
    names: dict[str, Any] = {}
    for block in code:
        exec(block, names)
    assert (tmp_path / "part_x4.ome.zarr").is_dir()
    assert names["corner"].shape == (256, 256)


def test_the_python_reference_has_every_public_name() -> None:
    """The tutorial sends people there for `upscale_layer`, and it was not to be found."""
    page = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    listed = {line.rpartition(".")[2] for line in page.splitlines() if line.startswith(":::")}
    assert "errors" in listed
    public = {*sr.__all__, *plugin.__all__} - {*vars(errors), "MODELS", "__version__"}
    assert public <= listed


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    """A warning is a dead link, a page that nobody finds or a docstring that cannot be read."""
    pytest.importorskip("mkdocs")
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert not re.search("^WARNING", run.stderr, re.MULTILINE)  # a notice names such a variable
    reference = (tmp_path / "reference" / "models" / "index.html").read_text(encoding="utf-8")
    assert "microscopy-x4" in reference
