"""The words that a script is started with, as StackStorm makes them of an action's parameters."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowbridge_actionchain.jobs import shell
from flowbridge_actionchain.packs.model import PackAction

_SHELLS = frozenset({"sh", "bash", "dash", "ksh", "zsh"})


def of(action: PackAction, parameters: Mapping[str, Any]) -> list[str]:
    """Named arguments first, `--name=value`, then those with a position, in its order; an absent one is empty."""
    own = [parameter for parameter in action.parameters.values() if not parameter.runner]
    operator = str(parameters.get("kwarg_op") if parameters.get("kwarg_op") is not None else "--")
    named = [
        word
        for parameter in own
        if parameter.position is None
        for word in _named(f"{operator}{parameter.name}", parameters.get(parameter.name))
    ]
    placed = sorted((one for one in own if one.position is not None), key=lambda one: one.position or 0)
    return named + [_positional(parameters.get(parameter.name)) for parameter in placed]


def _named(name: str, value: Any) -> list[str]:
    """A flag for True; nothing for False, for nothing and for an empty text."""
    if isinstance(value, bool):
        return [name] if value else []
    return [] if value is None or value == "" else [f"{name}={value}"]


def _positional(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return json.dumps(value, separators=(",", ":")) if isinstance(value, Mapping) else str(value)


def text(value: Any) -> str:
    """A value as a variable of the environment."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def program(script: Path) -> list[str]:
    """How a script is started: by itself, or by what its first line names; a text without one is for the shell."""
    words = _first_line(script)
    if words is None or (words and os.access(script, os.X_OK)):
        return [str(script)]
    return [*(words or [shell.name()]), str(script)]


def shell_of(script: Path) -> list[str] | None:
    """The shell that a script is written for, None where it is for another program."""
    words = _first_line(script)
    if words is None:
        return None
    if not words:
        return [shell.name()]
    names = [os.path.basename(word) for word in words]
    return words if names[0] in _SHELLS or (names[0] == "env" and len(names) > 1 and names[1] in _SHELLS) else None


def _first_line(script: Path) -> list[str] | None:
    """The words after `#!`; none of them in a text that has no such line, None where it is no text."""
    line = shell.first_line(script)
    return None if line is None else shlex.split(line.decode(errors="replace"))
