"""What both expression languages share: the scope they see, and the error they raise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowbridge_memory.values import quoted

#: So many levels an expression may be nested: reading and evaluating it recurses.
MAX_NESTED = 90
NESTED = f"it is nested too deeply; {MAX_NESTED} levels are read, and fewer where a level takes much"

#: Of a reason, a message keeps at most so many characters; it may tell values.
_REASON = 500


class ExpressionError(Exception):
    """An expression that cannot be read or evaluated. The message is one line and names the expression."""

    @classmethod
    def unreadable(cls, reason: str, expression: str) -> ExpressionError:
        """The reason first, then as much of the expression as a line takes."""
        return cls(f"an expression cannot be read: {quoted(reason, _REASON)}: {quoted(expression)}")

    @classmethod
    def failed(cls, error: Exception, expression: str) -> ExpressionError:
        """The same of an expression that was read and cannot be evaluated."""
        return cls(f"an expression failed: {_told(error)}: {quoted(expression)}")


@dataclass(frozen=True, slots=True)
class Scope:
    """What expressions see: `variables` as `$` or `_`, and `functions` by their names beside the usual ones."""

    variables: Mapping[str, Any] | Any
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)


def _told(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return NESTED
    text = quoted(str(error), _REASON)
    named = isinstance(error, ExpressionError) or not text
    return text or type(error).__name__ if named else f"{type(error).__name__}: {text}"
