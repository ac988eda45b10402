"""The small languages inside a task: inline input, `with-items`, `retry`, `on-*` clauses, `publish`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from flowbridge.yamltext import Located, Path
from flowbridge_memory import inline
from flowbridge_memory.definition import Command, Next, Publish, Retry, Transition, WithItems
from flowbridge_memory.evaluation import ExpressionError
from flowbridge_memory.expressions import check, has_expression
from flowbridge_memory.inline import Call, InlineError, InlineNameError
from flowbridge_memory.values import quoted, shown

_EXPRESSION = r"<%.*?%>|\{\{.*?\}\}"
_ITEM = re.compile(rf"\s*([-\w]+)\s+in\s+(\[.+\]|{_EXPRESSION})\s*", re.DOTALL)
_WITH_MESSAGE = frozenset({Command.FAIL, Command.SUCCEED, Command.PAUSE})
_INSTEAD = "put the value in double quotes, or write it under"
_RETRY = ("count", "delay", "break-on", "continue-on")


def known(located: Located, path: Path, data: Any, allowed: Sequence[str]) -> dict[str, Any]:
    """A mapping with none but the allowed keys. Raises `InvalidInput` that names the first other one."""
    if not isinstance(data, dict):
        raise located.wrong(path, f"{_named(path)} must be a mapping, not {_kind(data)}")
    for key in data:
        if key not in allowed:
            near = get_close_matches(key, allowed, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            listed = ", ".join(sorted(allowed))
            raise located.wrong((*path, key), f"unknown keyword {key!r}{hint} Allowed here: {listed}")
    return data


def text(located: Located, path: Path, data: Any) -> str:
    """A text that is not empty."""
    if not isinstance(data, str) or not data.strip():
        kind = "an empty one" if isinstance(data, str) else _kind(data)
        raise located.wrong(path, f"{_named(path)} must be a text, not {kind}")
    return data


class Accepted(Located):
    """A definition that was read before, when it was accepted: its expressions are not read again."""


def expressions(located: Located, path: Path, data: Any) -> Any:
    """Any data whose expressions can be read."""
    if isinstance(located, Accepted):
        return data
    try:
        check(data)
    except ExpressionError as error:
        raise located.wrong(path, f"{_named(path)}: {error}") from error
    return data


def mapping(located: Located, path: Path, data: Any) -> dict[str, Any]:
    """A mapping whose expressions can be read; nothing at all gives an empty one."""
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise located.wrong(path, f"{_named(path)} must be a mapping, not {_kind(data)}")
    for key, value in data.items():
        expressions(located, (*path, key), value)
    return data


def mapping_of_bodies(located: Located, path: Path, data: Any) -> dict[str, Any]:
    """Named parts, read one by one later; nothing at all gives none."""
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise located.wrong(path, f"{_named(path)} must be a mapping of names, not {_kind(data)}")
    return data


def number(located: Located, path: Path, data: Any, *, least: int = 0) -> Any:
    """A whole number from `least` up, or an expression."""
    if isinstance(data, str) and has_expression(data):
        return expressions(located, path, data)
    if isinstance(data, bool) or not isinstance(data, int) or data < least:
        raise located.wrong(path, f"{_named(path)} must be a whole number from {least} up, or an expression")
    return data


def flag(located: Located, path: Path, data: Any) -> Any:
    """True, false, or an expression."""
    if isinstance(data, str) and has_expression(data):
        return expressions(located, path, data)
    if not isinstance(data, bool):
        raise located.wrong(path, f"{_named(path)} must be true, false or an expression, not {_kind(data)}")
    return data


def expression(located: Located, path: Path, data: Any) -> str:
    """A text with an expression in it."""
    if not isinstance(data, str) or not has_expression(data):
        raise located.wrong(path, f"{_named(path)} must be an expression such as <% $.name %>")
    return str(expressions(located, path, data))


def call(located: Located, path: Path, data: Any) -> Call:
    """A name with inline input: `std.echo output=<% $.x %>`. Text that is neither is refused, never left out."""
    instead = "base-input" if path[-1] == "base" else "input"
    try:
        name, given, bare = inline.call(text(located, path, data))
    except InlineNameError as error:
        raise located.wrong(path, f"{_named(path)}: {error}") from error
    except InlineError as error:
        raise located.wrong(path, f"{_named(path)}: {error}; {_INSTEAD} {instead}:") from error
    if not name:
        raise located.wrong(path, f"{_named(path)} must begin with a name")
    return Call(expressions(located, path, name), expressions(located, path, given), bare)


def with_items(located: Located, path: Path, data: Any) -> WithItems | None:
    """`i in LIST`, or a list of them that run in step."""
    if data is None:
        return None
    clauses = [data] if isinstance(data, str) else data
    if not isinstance(clauses, list) or not clauses:
        raise located.wrong(path, "with-items must be a text such as 'i in <% $.list %>', or a list of such texts")
    names, lists = [], []
    for clause in clauses:
        match = _ITEM.fullmatch(clause) if isinstance(clause, str) else None
        if match is None:
            raise located.wrong(path, f"with-items: {shown(clause)} is not of the form 'NAME in LIST'")
        names.append(match.group(1))
        lists.append(expressions(located, path, _items(located, path, match.group(2))))
    return WithItems(tuple(names), tuple(lists))


def _items(located: Located, path: Path, source: str) -> Any:
    if not source.startswith("["):
        return source
    try:
        return json.loads(source)
    except ValueError as error:
        raise located.wrong(path, f"with-items: {quoted(source)} is not a JSON list") from error


def retry(located: Located, path: Path, data: Any) -> Retry | None:
    """A mapping, or the inline form `count=3 delay=1 break-on=<% ... %>`."""
    if data is None:
        return None
    try:
        found = inline.parameters(data) if isinstance(data, str) else data
    except InlineError as error:
        raise located.wrong(path, f"'retry': {error}; {_INSTEAD} retry:, line by line") from error
    clause = known(located, path, found, _RETRY)
    for needed in ("count", "delay"):
        if needed not in clause:
            raise located.wrong(path, f"retry needs {needed!r}")
    return Retry(
        count=number(located, (*path, "count"), clause["count"]),
        delay=number(located, (*path, "delay"), clause["delay"]),
        break_on=_optional(located, (*path, "break-on"), clause.get("break-on")),
        continue_on=_optional(located, (*path, "continue-on"), clause.get("continue-on")),
    )


def _optional(located: Located, path: Path, data: Any) -> str | None:
    return None if data is None else expression(located, path, data)


def publish(located: Located, path: Path, data: Any) -> Publish:
    """`publish` of a transition: `branch` and `global`."""
    if data is None:
        return Publish()
    if isinstance(data, dict) and "atomic" in data:
        raise located.wrong((*path, "atomic"), "publish: 'atomic' is not implemented; allowed here: branch, global")
    clause = known(located, path, data, ("branch", "global"))
    branch = mapping(located, (*path, "branch"), clause.get("branch"))
    return Publish(branch, mapping(located, (*path, "global"), clause.get("global")))


def transition(located: Located, path: Path, data: Any) -> Transition:
    """An `on-*` clause: a name, a list of names and conditions, or a mapping of `publish` and `next`."""
    if data is None:
        return Transition()
    if isinstance(data, dict) and not {"publish", "next"}.isdisjoint(data):
        clause = known(located, path, data, ("publish", "next"))
        published = publish(located, (*path, "publish"), clause.get("publish"))
        return Transition(_targets(located, (*path, "next"), clause.get("next")), published)
    return Transition(_targets(located, path, data))


def _targets(located: Located, path: Path, data: Any) -> tuple[Next, ...]:
    if data is None:
        return ()
    if isinstance(data, str):
        return (_target(located, path, data, None),)
    if isinstance(data, dict):
        return tuple(_conditional(located, path, data))
    if not isinstance(data, list) or not data:
        raise located.wrong(path, f"{_named(path)} must be a task's name, or a list of names and conditions")
    found: list[Next] = []
    for place, entry in enumerate(data):
        if isinstance(entry, dict):
            found += _conditional(located, (*path, place), entry)
        else:
            found.append(_target(located, (*path, place), text(located, (*path, place), entry), None))
    return tuple(found)


def _conditional(located: Located, path: Path, data: Mapping[str, Any]) -> list[Next]:
    return [
        _target(located, (*path, name), name, expression(located, (*path, name), condition))
        for name, condition in data.items()
    ]


def _target(located: Located, path: Path, line: str, condition: str | None) -> Next:
    word = re.split(r"[\s(]", line.strip(), maxsplit=1)[0]
    if word == line.strip():
        return Next(word, condition)
    if word not in _WITH_MESSAGE:
        raise located.wrong(path, f"{quoted(line)!r}: only fail, succeed and pause take a message")
    try:
        name, given, _ = inline.call(line)
    except InlineError as error:
        raise located.wrong(path, f'{_named(path)}: {error}; write {word} msg="..."') from error
    for key in given.keys() - {"msg"}:
        raise located.wrong(path, f"{word} takes no {key!r}; allowed: msg")
    return Next(name, condition, expressions(located, path, given.get("msg")))


def _named(path: Path) -> str:
    return repr(next((part for part in reversed(path) if isinstance(part, str)), "the definition"))


def _kind(data: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return names.get(type(data), "a number")
