"""Dying on purpose: before or after the N-th commit of the ledger or the N-th call to an engine.

`doomed(point)` counts both in this process and ends it at the point it was given, without a word and without cleaning
up, as a kill would.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from flowbridge.ledger.database import Database
from flowbridge.localbackend import LocalBackend

DIED = 9

_CALLS = ("start", "pause", "resume", "cancel", "rerun", "skip", "observe", "recover")


class Counter:
    """Counts points, two for each event: before and after it."""

    def __init__(self, point: int) -> None:
        self.point = point
        self.passed = 0

    def pass_by(self) -> None:
        """One more point; the last one a doomed process sees."""
        if self.passed == self.point:
            os._exit(DIED)
        self.passed += 1


def doomed(point: int) -> Counter:
    """From now on this process dies at a point. A point that is never reached lets it live."""
    counter = Counter(point)
    Database.commit = _around(Database.commit, counter)  # type: ignore[method-assign]
    Database.run = _around(Database.run, counter, lambda database: not database.inside)  # type: ignore[method-assign]
    for name in _CALLS:
        setattr(LocalBackend, name, _around(getattr(LocalBackend, name), counter))
    return counter


def _around(
    call: Callable[..., Any], counter: Counter, counts: Callable[[Any], bool] = lambda _: True
) -> Callable[..., Any]:
    def counted(*arguments: Any, **named: Any) -> Any:
        if not counts(arguments[0]):
            return call(*arguments, **named)
        counter.pass_by()
        result = call(*arguments, **named)
        counter.pass_by()
        return result

    return counted


def in_child(work: Callable[[], object]) -> int:
    """Run something in a forked child and give its exit status: 0 where it lived, `DIED` where it was killed."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
