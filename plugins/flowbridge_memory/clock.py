"""Time, for the engine: the real one, and one that a test moves."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since the epoch, and whether time can be skipped."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def skip(self, seconds: float) -> bool:
        """Move on by `seconds` at once and say True; a clock that cannot says False and does nothing."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def skip(self, seconds: float) -> bool:  # noqa: ARG002
        """Real time cannot be skipped: always False."""
        return False


class VirtualClock:
    """A clock that stands still until it is moved, by a test or by an engine with nothing to do but wait."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        """Seconds since the epoch, as far as it was moved."""
        return self._now

    def skip(self, seconds: float) -> bool:
        """Move on by `seconds`, never back."""
        self._now += max(0.0, seconds)
        return True
