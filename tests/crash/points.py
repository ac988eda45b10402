"""Dying on purpose: before or after the N-th commit of the ledger or the N-th call to an engine.

`doomed(point)` counts both in this process and ends it at the point it was given, without a word and without cleaning
up, as a kill would; or does there what it is told to do instead.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from flowbridge.backend import Backend
from flowbridge.ledger.database import Database
from flowbridge.localbackend import LocalBackend

DIED = 9

_CALLS = ("start", "pause", "resume", "cancel", "rerun", "skip", "observe", "recover", "report")


class Counter:
    """Counts points, two for each event: before and after it."""

    def __init__(self, point: int, reached: Callable[[], None]) -> None:
        self.point, self.reached = point, reached
        self.passed = 0

    def pass_by(self) -> None:
        """One more point; the last one a doomed process sees."""
        self.passed += 1
        if self.passed == self.point + 1:
            self.reached()


def die() -> None:
    """End this process as a kill would."""
    os._exit(DIED)


def doomed(point: int, *engines: type[Backend], reached: Callable[[], None] = die) -> Counter:
    """From now on this process dies at a point. A point that is never reached lets it live.

    Calls to local engines are counted, and those to `engines`. Who does not die there is never stopped while it keeps
    others from the ledger: before a commit there is no point then.
    """
    counter = Counter(point, reached)
    commit = around if reached is die else after
    Database.commit = commit(Database.commit, counter)  # type: ignore[method-assign]
    Database.run = around(Database.run, counter, lambda database: not database.inside)  # type: ignore[method-assign]
    for engine in (LocalBackend, *engines):
        for name in filter(partial(hasattr, engine), _CALLS):
            setattr(engine, name, around(getattr(engine, name), counter))
    return counter


def around(
    call: Callable[..., Any], counter: Counter, counts: Callable[[Any], bool] = lambda _: True
) -> Callable[..., Any]:
    """The same call, with a point before it and one behind it."""

    def counted(*arguments: Any, **named: Any) -> Any:
        if not counts(arguments[0]):
            return call(*arguments, **named)
        counter.pass_by()
        result = call(*arguments, **named)
        counter.pass_by()
        return result

    return counted


def after(call: Callable[..., Any], counter: Counter) -> Callable[..., Any]:
    """The same call, with a point behind it."""

    def counted(*arguments: Any, **named: Any) -> Any:
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
        except Exception:  # noqa: BLE001  whatever it is, it is told before the process ends
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
