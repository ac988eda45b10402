"""YAQL, with the settings that the workflow language gives it, and with bounds."""

from __future__ import annotations

import collections.abc  # yaql expects it to be loaded
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import yaql
from yaql.language import factory
from yaql.language.exceptions import YaqlException
from yaql.language.expressions import Expression, MappingRuleExpression, Wrap
from yaql.language.utils import convert_input_data

from flowbridge_memory.evaluation import MAX_NESTED, NESTED, ExpressionError, Scope
from flowbridge_memory.usual import FUNCTIONS
from flowbridge_memory.values import MAX_BITS

_CALLED = re.compile(r"(\w+)\(")
_OPTIONS = {
    "yaql.limitIterators": 100_000,
    "yaql.memoryQuota": 100_000_000,
    "yaql.convertTuplesToLists": True,
    "yaql.convertSetsToLists": True,
    "yaql.iterableDicts": False,
    "yaql.convertOutputData": False,  # done here, once
    "yaql.convertInputData": False,  # done here, variable by variable
}


def prepare(text: str) -> Callable[[Scope], Any]:
    """A YAQL expression as a function of the scope. Raises `ExpressionError` where it cannot be read."""
    try:
        parsed = _engine()(text)
    except YaqlException as error:
        raise ExpressionError.unreadable(f"{type(error).__name__}: {error}", f"<% {text} %>") from error
    if _depth(parsed) > MAX_NESTED:
        raise ExpressionError.unreadable(NESTED, f"<% {text} %>")

    called = frozenset(_CALLED.findall(text))

    def evaluate(scope: Scope) -> Any:
        context = _root().create_child_context()
        for name in called & scope.functions.keys():
            context.register_function(scope.functions[name], name=name)
        try:
            return _plain(parsed.evaluate(data=_data(scope.variables), context=context))
        except Exception as error:
            # Functions of the language raise whatever their values make them raise.
            raise ExpressionError.failed(error, f"<% {text} %>") from error

    return evaluate


class _Variables(Mapping[str, Any]):
    """Variables as YAQL wants its data, each converted only when it is read."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._variables = variables

    def __getitem__(self, name: str) -> Any:
        return convert_input_data(self._variables[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


def _data(variables: Any) -> Any:
    return _Variables(variables) if isinstance(variables, Mapping) else convert_input_data(variables)


@lru_cache(maxsize=1)
def _engine() -> Any:
    return factory.YaqlFactory(keyword_operator="=>", allow_delegates=True).create(options=_OPTIONS)


@lru_cache(maxsize=1)
def _root() -> Any:
    context = yaql.create_context()
    for name, function in FUNCTIONS.items():
        context.register_function(function, name=name)
    return context


def _plain(value: Any) -> Any:
    if isinstance(value, str | bytes):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, collections.abc.Iterable):
        return [_plain(item) for item in value]
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ValueError("it gives a number of more digits than can be written")
    return value


def _depth(parsed: Any) -> int:
    """How deeply an expression is nested; found level by level, since it may be more than a recursion takes."""
    depth, level = 0, [parsed]
    while level:
        depth += 1
        level = [below for one in level for below in _below(one) if isinstance(below, Expression)]
    return depth


def _below(one: Any) -> tuple[Any, ...]:
    if isinstance(one, MappingRuleExpression):
        return one.source, one.destination
    return (one.expr,) if isinstance(one, Wrap) else getattr(one, "args", ())
