"""A call in one line, as a task may write it: `core.local cmd="date" timeout=10`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_PART = r"<%.*?%>|\{\{.*?\}\}|\S"
_NAME = re.compile(rf"\s*((?:{_PART})+)")
_PARAMETER = re.compile(rf"""([-\w]+)=("[^"]*"|'[^']*'|\[.*\]|(?:{_PART})+)""")
_EXPRESSION = re.compile(r"<%.*?%>|\{\{.*?\}\}|\{%.*?%\}")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


@dataclass(frozen=True, slots=True)
class Call:
    """What is called, and the parameters that stand behind its name.

    The engine leaves out what is a bare word, and cuts a number at its point; here both are what they look like.
    """

    name: str
    parameters: dict[str, Any]

    @property
    def by_expression(self) -> bool:
        """Whether the name is known only when the task begins."""
        return _EXPRESSION.search(self.name) is not None

    @property
    def quoted(self) -> tuple[str, ...]:
        """The texts that stand in quotes in an expression for the name."""
        return tuple(one or other for one, other in _QUOTED.findall(self.name))


def parse(text: str) -> Call:
    """A call from its text. What is no call at all is left to the engine to refuse."""
    name = _NAME.match(text)
    if name is None:
        return Call(text, {})
    return Call(name[1], {key: _value(given) for key, given in _PARAMETER.findall(text, name.end())})


def _value(given: str) -> Any:
    if given[0] in "\"'" and given[-1] == given[0]:
        return given[1:-1]
    try:
        return json.loads(given)
    except ValueError:
        return given
