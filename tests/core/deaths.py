"""The end of a process at a moment that a test chooses, and the one that comes next."""

from __future__ import annotations

from collections.abc import Callable

from core.kit import Desk
from flowbridge.bridge import Bridge
from support.fakes import FakeEngine


class Killed(BaseException):
    """Stands for the end of this process: no handler of the bridge takes it."""


def dies_at(engine: FakeEngine, name: str) -> None:
    """The next call of that name finds the process dead."""
    _dies(engine, lambda called: called == name)


def dies_after(engine: FakeEngine, name: str) -> None:
    """The process dies when a call of that name has reached the engine."""
    _dies(engine, lambda called: engine.count()[name] > 0)


def _dies(engine: FakeEngine, when: Callable[[str], bool]) -> None:
    def die(called: str) -> None:
        if when(called):
            raise Killed

    engine.before = die


def revived(desk: Desk) -> Bridge:
    """A fresh process over what the dead one left."""
    desk.engine.before = desk.other.before = lambda name: None
    desk.bridges[0].ledger.database.run("DELETE FROM leases")  # its leases died with it
    return desk.open("next")
