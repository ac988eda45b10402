"""Values that expressions give where a number of seconds is wanted, and how a wrong one stands in a message."""

from __future__ import annotations

from math import isfinite
from typing import Any

SECONDS = "a finite number of seconds, zero or more"

#: Of a value, and of an expression, a message quotes at most so many characters.
QUOTED = 120

#: A whole number may have so many bits, about 4,200 digits; Python writes and reads no longer ones.
MAX_BITS = 14_000


def seconds_of(value: Any) -> float | None:
    """A number of zero or more, also one that stands in a text; None where it is no such number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if isfinite(found) and found >= 0 else None


def shown(value: Any) -> str:
    """A value for a message: short, whatever it is."""
    try:
        return quoted(repr(value))
    except Exception:  # noqa: BLE001  (a number of thousands of digits, say, has no text)
        return f"a value of type {type(value).__name__}"


def quoted(text: str, most: int = QUOTED) -> str:
    """A text for a message, on one line and cut off where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
