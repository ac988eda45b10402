"""Input on one line: `std.echo output=<% $.x %> delay=3`, or the same in parentheses.

All of the text is read: what is no `NAME=VALUE` is an error, never left out. The language itself reads a value without
quotes only where it is a whole number, `true`, `false` or `null`; the names of other values are told as `bare`.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from flowbridge_memory.values import quoted

_EXPRESSION = r"<%.*?%>|\{\{.*?\}\}"
_WORD = r"[^\s,()]+"
_NAME = re.compile(rf"\s*({_EXPRESSION}|[^\s(]+)", re.DOTALL)
_PARAMETER = re.compile(r"([-\w]+)=")
_VALUE = re.compile(rf"\[.*?\]|\"[^\"]*\"|'[^']*'|{_EXPRESSION}|{_WORD}", re.DOTALL)
_PLAIN = re.compile(r"\d+|true|false|null")
_WHOLE = re.compile(rf"{_EXPRESSION}|\{{%.*?%\}}", re.DOTALL)
_BETWEEN = re.compile(r"[\s,]*")
_OPEN = ("<%", "%>", "{{", "}}", "{%", "%}")
_LIST = json.JSONDecoder().raw_decode


class InlineError(ValueError):
    """A text that is no call with inline input. The message is one line and quotes where it goes wrong."""


class InlineNameError(InlineError):
    """The name before the input is what goes wrong."""


class Call(NamedTuple):
    """A name with inline input. `bare` are the parameters whose value is a word that the language does not read."""

    name: str
    given: dict[str, Any]
    bare: tuple[str, ...] = ()


def call(line: str) -> Call:
    """The name at the beginning ("" where there is none), and the input behind it. Raises `InlineError`."""
    match = _NAME.match(line)
    if match is None:
        return Call("", {})
    name, rest = match.group(1), line[match.end() :].strip()
    if _broken(name):
        raise InlineNameError(f"the name in {quoted(line)!r} is cut off; write it as one expression from end to end")
    if rest.startswith("("):
        if not rest.endswith(")"):
            raise InlineError(f"the parenthesis of {quoted(line)!r} is not closed")
        rest = rest[1:-1]
    return Call(name, *_parameters(rest))


def parameters(text: str) -> dict[str, Any]:
    """Inline input as a mapping: values are JSON where they are, else text without its quotes. Raises `InlineError`."""
    return _parameters(text)[0]


def _parameters(text: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Inline input, and the names in it whose value is a bare word."""
    found: dict[str, Any] = {}
    bare: list[str] = []
    place = _gap(text, 0)
    while place < len(text):
        match = _PARAMETER.match(text, place)
        if match is None:
            raise InlineError(f"{quoted(text[place:])!r} is not of the form NAME=VALUE")
        name = match.group(1)
        if name in found:
            raise InlineError(f"{name!r} stands there twice")
        end, found[name] = _value(text, match.end(), name)
        if _is_bare(text[match.end() : end]):
            bare.append(name)
        place = _gap(text, end)
        if place == end < len(text):
            raise InlineError(f"the value of {name!r} goes on behind its end, with {quoted(text[end:])!r}")
    return found, tuple(bare)


def _is_bare(value: str) -> bool:
    return value[0] not in "\"'[" and not _PLAIN.fullmatch(value) and not _WHOLE.fullmatch(value)


def _gap(text: str, place: int) -> int:
    match = _BETWEEN.match(text, place)
    return match.end() if match else place


def _value(text: str, place: int, name: str) -> tuple[int, Any]:
    """A value, and where it ends."""
    if text.startswith("[", place):
        try:
            value, end = _LIST(text, place)
        except ValueError:
            pass  # a list with an expression in it, say, is a text
        else:
            return end, value
    match = _VALUE.match(text, place)
    if match is None:
        raise InlineError(f"{name!r} has no value")
    value = match.group()
    if value[0] in "\"'" and len(value) > 1 and value[-1] == value[0]:
        return match.end(), value[1:-1]
    if _broken(value) or value[0] in "\"'" or (value[0] == "[" and value[-1] != "]"):
        raise InlineError(f"the value of {name!r} is cut off at {quoted(text[place:])!r}")
    return match.end(), _data(value)


def _data(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _broken(word: str) -> bool:
    """Whether an expression begins or ends in a word without being there as a whole."""
    rest = _WHOLE.sub("", word)
    return any(mark in rest for mark in _OPEN)
