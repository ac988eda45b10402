"""Expressions in values: `<% YAQL %>` and `{{ Jinja }}`, at any depth of any data.

`compile` prepares a value once; a value without expressions costs nothing to evaluate. A text that is one expression
keeps that expression's type; a text around expressions becomes text. Names in data are never evaluated. Both languages
run with bounds and see nothing but the scope. YAQL and Jinja are imported when the first expression of their kind is
read: by `check`, or when it is evaluated. So a look at a run, which evaluates nothing, does not pay for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from flowbridge_memory.evaluation import ExpressionError, Scope
from flowbridge_memory.timelimit import in_time

__all__ = ["Compiled", "ExpressionError", "Scope", "check", "compile", "condition", "has_expression"]

_YAQL = re.compile(r"<%.*?%>", re.DOTALL)
_JINJA_VALUE = re.compile(r"{{(.*?)}}", re.DOTALL)
_JINJA = re.compile(r"{{.*?}}|{%.*?%}", re.DOTALL)

#: An expression's text as a function of the scope.
_Evaluate = Callable[[Scope], Any]


class Compiled:
    """A value, ready to be evaluated. `constant` tells that no expression is in it."""

    __slots__ = ("_evaluate", "_value", "constant")

    def __init__(self, value: Any) -> None:
        self._value = value
        self._evaluate = _prepared(value)
        self.constant = self._evaluate is None

    def evaluate(self, scope: Scope) -> Any:
        """The value in a scope. Raises `ExpressionError`."""
        return self._value if self._evaluate is None else in_time(self._evaluate, scope)


def compile(value: Any) -> Compiled:
    """Prepare a value. An expression in it that cannot be read raises when it is evaluated: see `check`."""
    return Compiled(value)


def check(value: Any) -> None:
    """Raise `ExpressionError` where an expression anywhere in a value cannot be read."""
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            check(item)
    elif isinstance(value, list | tuple):
        for item in value:
            check(item)


def has_expression(text: str) -> bool:
    """Whether a text holds an expression."""
    return bool(_YAQL.search(text) or _JINJA.search(text))


def condition(text: str) -> str:
    """A condition as an expression: a bare text is taken as YAQL."""
    return text if has_expression(text) else f"<% {text} %>"


def _prepared(value: Any) -> _Evaluate | None:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, list | tuple):
        return _list(value)
    return None


def _mapping(value: Mapping[str, Any]) -> _Evaluate | None:
    parts = [(key, _prepared(item), item) for key, item in value.items()]
    if all(item is None for _, item, _ in parts):
        return None

    def evaluate(scope: Scope) -> dict[str, Any]:
        return {key: (constant if item is None else item(scope)) for key, item, constant in parts}

    return evaluate


def _list(value: list[Any] | tuple[Any, ...]) -> _Evaluate | None:
    parts = [(_prepared(item), item) for item in value]
    if all(item is None for item, _ in parts):
        return None

    def evaluate(scope: Scope) -> list[Any]:
        return [constant if item is None else item(scope) for item, constant in parts]

    return evaluate


@lru_cache(maxsize=4096)
def _text(text: str) -> _Evaluate | None:
    if "<%" in text and _YAQL.search(text):
        return _mixed(text)
    if "{" in text and _JINJA.search(text):
        return _later(_jinja_read, text)
    return None


def _check_text(text: str) -> None:
    if "<%" in text and (found := _YAQL.findall(text)):
        for inner in found:
            _yaql_read(inner)
    elif "{" in text and _JINJA.search(text):
        _jinja_read(text)


def _mixed(text: str) -> _Evaluate:
    pieces: list[tuple[str, _Evaluate | None]] = []
    end = 0
    for match in _YAQL.finditer(text):
        pieces += [(text[end : match.start()], None), ("", _later(_yaql_read, match.group()))]
        end = match.end()
    pieces = [piece for piece in (*pieces, (text[end:], None)) if piece != ("", None)]
    if len(pieces) == 1 and (only := pieces[0][1]) is not None:
        return only

    def evaluate(scope: Scope) -> str:
        return "".join(plain if inner is None else str(inner(scope)) for plain, inner in pieces)

    return evaluate


def _later(read: Callable[[str], _Evaluate], text: str) -> _Evaluate:
    """An expression that is read when it is first evaluated."""

    def evaluate(scope: Scope) -> Any:
        return read(text)(scope)

    return evaluate


@lru_cache(maxsize=4096)
def _yaql_read(text: str) -> _Evaluate:
    from flowbridge_memory import yaqlang  # noqa: PLC0415  YAQL is only imported where it is used

    return yaqlang.prepare(text[2:-2].strip())


@lru_cache(maxsize=4096)
def _jinja_read(text: str) -> _Evaluate:
    from flowbridge_memory import jinjalang  # noqa: PLC0415  Jinja is only imported where it is used

    whole = _JINJA_VALUE.fullmatch(text.strip())
    if whole and "}}" not in whole.group(1):
        return jinjalang.expression(whole.group(1).strip())
    return jinjalang.template(text)
