"""Jinja, in its immutable sandbox, strict about names, and with bounds on what it may build."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import jinja2
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from flowbridge_memory.evaluation import NESTED, ExpressionError, Scope
from flowbridge_memory.usual import FUNCTIONS
from flowbridge_memory.values import MAX_BITS

MAX_TEXT = 10_000_000
MAX_POWER = 1_000

_TOO_LONG = f"more than {MAX_TEXT} characters or parts are not built"

#: Widths and precisions in a format, after `%` or `:`; and the mark of one that is given as a value.
_WIDTH = re.compile(r"(?:%(?:\([^)]*\))?|:)[^\sA-Za-z%:\d]*(\d+)|\.(\d+)")
_WIDTH_APART = re.compile(r"%[^\sA-Za-z%]*\*|\{[^}]*\{")

V = TypeVar("V")


class _Sandbox(ImmutableSandboxedEnvironment):
    """The sandbox, with the operators, filters and methods that can build huge values under a bound.

    Nothing is worked out while an expression is read: that comes with no bounds, and in whoever only checks it.
    """

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
    intercepted_unops = frozenset(ImmutableSandboxedEnvironment.default_unop_table)

    def call(self, context: Any, obj: Any, /, *args: Any, **named: Any) -> Any:
        """Call what an expression calls."""
        method = getattr(obj, "__wrapped__", obj)  # `format` comes in a wrapping
        owner = getattr(method, "__self__", None)
        if isinstance(owner, str | bytes):
            _require_small(method.__name__, owner, (*args, *named.values()))
        return super().call(context, obj, *args, **named)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and _size(right) > MAX_POWER:
            raise ExpressionError(f"a power above {MAX_POWER} is not computed")
        if operator == "*":
            sized = next((one for one in (left, right) if isinstance(one, str | list | tuple | bytes)), None)
            count = right if sized is left else left
            if sized is not None and len(sized) * max(_size(count), 1) > MAX_TEXT:
                raise ExpressionError(f"a repeat of more than {MAX_TEXT} parts is not built")
        if operator == "%" and isinstance(left, str):
            _require_small("format", left, right if isinstance(right, tuple) else (right,))
        if operator == "+" and _length(left) + _length(right) > MAX_TEXT:
            raise ExpressionError(_TOO_LONG)
        if _bits(operator, left, right) > MAX_BITS:
            raise ExpressionError("a number of more digits than can be written is not computed")
        return super().call_binop(context, operator, left, right)


@lru_cache(maxsize=1)
def _environment() -> _Sandbox:
    environment = _Sandbox(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= FUNCTIONS
    del environment.globals["lipsum"]  # nonsense without measure
    bare = environment.overlay()
    bare.filters = environment.filters
    environment.filters = {name: _filter(bare, name) for name in bare.filters}
    return environment


def _filter(bare: jinja2.Environment, name: str) -> Callable[..., Any]:
    """A filter under a bound. What asks for the context is not called while an expression is read."""

    @jinja2.pass_context
    def bounded(context: Context, value: Any, *args: Any, **named: Any) -> Any:
        _require_small(name, value, (*args, *named.values()))
        return bare.call_filter(name, value, args, named, context, context.eval_ctx)

    return bounded


def _require_small(name: str, value: Any, args: Sequence[Any]) -> None:
    """Raise for a filter or a method that would build more than a text may have. The others build less than they get,
    or about as much."""
    size = _SIZES[name](value, args) if name in _SIZES else 0
    if size > MAX_TEXT:
        raise ExpressionError(_TOO_LONG)


def _padded(value: Any, args: Sequence[Any]) -> float:
    text = value if isinstance(value, str) else ""
    return (1 + text.count("\n") + text.count("\t")) * max((max(_size(one), _length(one)) for one in args), default=0)


def _replaced(value: Any, args: Sequence[Any]) -> float:
    text, old, new = (str(one) for one in (value, *args[:2])) if len(args) > 1 else ("", "", "")
    return len(text) + text.count(old) * len(new)


def _joined(value: Any, args: Sequence[Any]) -> float:
    parts, between = (args[0] if args else (), value) if isinstance(value, str) else (value, args[0] if args else "")
    if not isinstance(parts, list | tuple):
        return 0
    return len(parts) * _length(between) + sum(map(_length, parts))


def _formatted(value: Any, args: Sequence[Any]) -> float:
    text = str(value)
    widths = [float(width or precision) for width, precision in _WIDTH.findall(text)]
    if _WIDTH_APART.search(text):
        widths += map(_size, args)
    return sum(widths)


#: How long what these give is at most, by their names, from the value that they are for and what they are given.
_SIZES: Mapping[str, Callable[[Any, Sequence[Any]], float]] = {
    **dict.fromkeys(("center", "ljust", "rjust", "zfill", "expandtabs", "indent", "batch", "slice"), _padded),
    "replace": _replaced,
    "join": _joined,
    "format": _formatted,
}


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


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple | bytes) else 0


def _size(value: Any) -> float:
    return abs(value) if isinstance(value, int | float) else 0


def _bits(operator: str, left: Any, right: Any) -> int:
    """How many bits a product or a power of whole numbers has, at most."""
    if not isinstance(left, int) or not isinstance(right, int):
        return 0
    return left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
