"""Values of a command line: what each reads as, and the text that it is. Which is meant, only the target knows."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from flowbridge.errors import InvalidInput


class Written:
    """One value as it was written: `1.10` reads as a number, and is a version to an input that is text."""

    __slots__ = ("text", "value")

    def __init__(self, value: Any, text: str) -> None:
        self.value = value
        self.text = text


def read(inputs: Mapping[str, Any], texts: Collection[str]) -> dict[str, Any]:
    """Plain inputs: those named in `texts` as they were written, the others as they read."""
    return {name: _read(one, as_text=name in texts) for name, one in inputs.items()}


def require_json(inputs: Mapping[str, Any], what: str) -> None:
    """Raises `InvalidInput` where a value is none that JSON has a word for: what is kept must be what was given."""
    for name, one in inputs.items():
        try:
            json.dumps(one.value if isinstance(one, Written) else one, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(f"{what} {name!r} is no JSON value: {error}") from error


def _read(one: Any, *, as_text: bool) -> Any:
    if isinstance(one, Written):
        return one.text if as_text else one.value
    return one
