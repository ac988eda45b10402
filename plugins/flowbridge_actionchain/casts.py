"""Values of a chain's templates, which are text, as the types that an action's metadata names."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from typing import Any

from flowbridge_actionchain.filters import NOTHING

_TRUTH: Mapping[str, bool] = {"true": True, "false": False}


def cast(value: Any, type: str) -> Any:
    """A rendered value as a parameter's type. Text that stands for nothing is None. Raises `ValueError`."""
    if value == NOTHING:
        return None
    if not isinstance(value, str) or type not in _CASTS:
        return value
    try:
        return _CASTS[type](value)
    except (SyntaxError, KeyError, MemoryError, RecursionError) as error:
        raise ValueError from error


def _data(text: str) -> Any:
    """JSON, or what Python writes of the same data: templates give the latter."""
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(text.strip())


_CASTS: Mapping[str, Callable[[str], Any]] = {
    "array": _data,
    "object": _data,
    "boolean": lambda text: _TRUTH[text.strip().lower()],
    "integer": int,
    "number": float,
}
