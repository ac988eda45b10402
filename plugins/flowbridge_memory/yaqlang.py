"""YAQL, with the settings that the workflow language gives it, and with bounds."""

from __future__ import annotations

import collections.abc  # yaql expects it to be loaded
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import yaql
from yaql.language import factory
from yaql.language.exceptions import YaqlException
from yaql.language.utils import FrozenDict, convert_input_data

from flowbridge_memory.evaluation import ExpressionError, Scope
from flowbridge_memory.usual import FUNCTIONS

_OPTIONS = {
    "yaql.limitIterators": 100_000,
    "yaql.memoryQuota": 100_000_000,
    "yaql.convertTuplesToLists": True,
    "yaql.convertSetsToLists": True,
    "yaql.iterableDicts": False,
    "yaql.convertOutputData": True,
}


def prepare(text: str) -> Callable[[Scope], Any]:
    """A YAQL expression as a function of the scope. Raises `ExpressionError` where it cannot be read."""
    try:
        parsed = _engine()(text)
    except YaqlException as error:
        raise ExpressionError(f"<% {text} %> cannot be read: {_line(error)}") from error

    def evaluate(scope: Scope) -> Any:
        context = _root().create_child_context()
        for name, function in scope.functions.items():
            context.register_function(function, name=name)
        try:
            return _plain(parsed.evaluate(data=convert_input_data(scope.variables), context=context))
        except Exception as error:
            # Functions of the language raise whatever their values make them raise.
            raise ExpressionError(f"<% {text} %> failed: {_line(error)}") from error

    return evaluate


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
    if isinstance(value, FrozenDict | Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | collections.abc.Iterator):
        return [_plain(item) for item in value]
    return value


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
