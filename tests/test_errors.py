"""Whoever is refused learns what to do, and scripts learn why."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from napari_superres import errors

PACKAGE = Path(errors.__file__).parent
REFUSALS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.SuperresError)
} - {"SuperresError", "Cancelled"}
SPOKEN_TO_USERS = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.relative_to(PACKAGE).parts[0] not in ("training", "plugin")
]


@pytest.mark.parametrize("path", SPOKEN_TO_USERS, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_refusal_says_what_to_do(path: Path) -> None:
    """A user reads that something is wrong, and is left alone with it."""
    bare = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in REFUSALS
        and len(node.args) + len(node.keywords) < 2
    ]
    assert not bare


@pytest.mark.parametrize(
    ("kind", "builtin", "code"),
    [
        (errors.InputError, ValueError, 4),
        (errors.UnreadableError, OSError, 4),
        (errors.AxesError, ValueError, 4),
        (errors.SettingError, ValueError, 2),
        (errors.OutputError, OSError, 4),
        (errors.WeightsError, OSError, 5),
        (errors.UnknownModelError, LookupError, 5),
        (errors.LicenceError, PermissionError, 5),
        (errors.ResourceError, MemoryError, 6),
        (errors.MissingDependencyError, ImportError, 2),
        (errors.MissingReaderError, ImportError, 4),
        (errors.MissingNetworkError, ImportError, 5),
        (errors.IncompleteError, RuntimeError, 3),
        (errors.Cancelled, Exception, 130),
    ],
)
def test_every_error_is_what_a_stranger_catches(
    kind: type[errors.SuperresError], builtin: type[Exception], code: int
) -> None:
    """A script that expects Python's own errors, or the exit codes of the manual, goes wrong."""
    assert issubclass(kind, builtin)
    assert issubclass(kind, errors.SuperresError)
    assert kind.exit_code == code
    assert str(kind("It is wrong.", "Mend it.")) == "It is wrong. Mend it."
