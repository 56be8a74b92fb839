"""Messages of the core, with its keywords as one types them on the command line."""

from __future__ import annotations

import re

import click

_PAIR = r"\((?P<low>[\w.-]+), (?P<high>[\w.-]+)\)"
_SETTING = re.compile(
    r"(?<![\w'/.-])(?P<name>[a-z_]+)="
    rf"(?:{_PAIR}|(?P<value>'[^']*'|-?\w+(?:\.\w+)*)?(?=[\s,.;:)]|$))"
)
"""A keyword as the core's messages write it, with a pair, a simple value or none. No part of a
path."""

_PAIRS = {"limits": ":", "tile": ","}
"""What stands between two values of an option that takes a pair."""


def as_options(text: str, commands: click.Group | None = None) -> str:
    """Return a message of the core with its keywords as one types them here.

    Parameters
    ----------
    text : str
        Such as ``"Choose another name, or allow it: overwrite=True."``
    commands : click.Group, optional
        Whose commands have the options; None for those of the program that runs.

    Returns
    -------
    str
        Such as ``"Choose another name, or allow it: --overwrite."``; what is no option of any
        command, and mappings, stay as they are.
    """
    if commands is None:
        program = click.get_current_context().find_root().command
        assert isinstance(program, click.Group)
        commands = program
    options = {
        str(parameter.name): max(parameter.opts, key=len)
        for command in commands.commands.values()
        for parameter in command.params
        if isinstance(parameter, click.Option)
    }

    def typed(found: re.Match[str]) -> str:
        name, value = found["name"], found["value"] or ""
        between = _PAIRS.get(name)
        if name not in options or value in ("False", "None") or (found["low"] and not between):
            return found[0]
        if found["low"]:
            value = f"{found['low']}{between}{found['high']}"
        words = [options[name], "" if value == "True" else value.strip("'")]
        return " ".join(word for word in words if word)

    return _SETTING.sub(typed, text)
