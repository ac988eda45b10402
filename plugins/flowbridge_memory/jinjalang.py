"""Jinja, in its immutable sandbox, strict about names, and with bounds on what it may build."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from flowbridge_memory.evaluation import NESTED, ExpressionError, Scope
from flowbridge_memory.usual import FUNCTIONS
from flowbridge_memory.values import MAX_BITS

MAX_TEXT = 10_000_000
MAX_POWER = 1_000

V = TypeVar("V")


class _Sandbox(ImmutableSandboxedEnvironment):
    """The sandbox, with the operators that can build huge values under a bound."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and _size(right) > MAX_POWER:
            raise ExpressionError(f"a power above {MAX_POWER} is not computed")
        if operator == "*":
            sized = next((one for one in (left, right) if isinstance(one, str | list | tuple | bytes)), None)
            count = right if sized is left else left
            if sized is not None and len(sized) * max(_size(count), 1) > MAX_TEXT:
                raise ExpressionError(f"a repeat of more than {MAX_TEXT} parts is not built")
        if _bits(operator, left, right) > MAX_BITS:
            raise ExpressionError("a number of more digits than can be written is not computed")
        return super().call_binop(context, operator, left, right)


@lru_cache(maxsize=1)
def _environment() -> _Sandbox:
    environment = _Sandbox(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= FUNCTIONS
    return environment


def expression(text: str) -> Callable[[Scope], Any]:
    """One Jinja expression, whose value keeps its type. Raises `ExpressionError` where it cannot be read."""
    shown = f"{{{{ {text} }}}}"
    compiled = _read(shown, lambda: _environment().compile_expression(text, undefined_to_none=False))

    def evaluate(scope: Scope) -> Any:
        return _guarded(shown, lambda: _defined(compiled(**_names(scope))))

    return evaluate


def template(text: str) -> Callable[[Scope], str]:
    """A text with Jinja in it. Raises `ExpressionError` where it cannot be read."""
    compiled = _read(text, lambda: _environment().from_string(text))

    def evaluate(scope: Scope) -> str:
        return str(_guarded(text, lambda: _bounded(compiled.generate(**_names(scope)))))

    return evaluate


def _names(scope: Scope) -> dict[str, Any]:
    return {**FUNCTIONS, **scope.functions, "_": scope.variables}


def _read(shown: str, read: Callable[[], V]) -> V:
    try:
        return read()
    except jinja2.TemplateError as error:
        raise ExpressionError.unreadable(error.message or type(error).__name__, shown) from error
    except (RecursionError, SyntaxError, MemoryError) as error:
        # Jinja recurses, and has Python read what it makes of it; that has bounds of its own.
        raise ExpressionError.unreadable(NESTED, shown) from error


def _guarded(shown: str, evaluate: Callable[[], Any]) -> Any:
    try:
        return evaluate()
    except Exception as error:
        # Filters and methods raise whatever their values make them raise.
        raise ExpressionError.failed(error, shown) from error


def _defined(value: Any) -> Any:
    if isinstance(value, jinja2.Undefined):
        str(value)  # a strict undefined tells its name when it is used
    return value


def _bounded(pieces: Any) -> str:
    built: list[str] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_TEXT:
            raise ExpressionError(f"more than {MAX_TEXT} characters are not built")
        built.append(piece)
    return "".join(built)


def _size(value: Any) -> float:
    return abs(value) if isinstance(value, int | float) else 0


def _bits(operator: str, left: Any, right: Any) -> int:
    """How many bits a product or a power of whole numbers has, at most."""
    if not isinstance(left, int) or not isinstance(right, int):
        return 0
    return left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
