"""What both expression languages share: the scope they see, and the error they raise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


class ExpressionError(Exception):
    """An expression that cannot be read or evaluated. The message is one line and names the expression."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What expressions see: `variables` as `$` or `_`, and `functions` by their names beside the usual ones."""

    variables: Mapping[str, Any] | Any
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
