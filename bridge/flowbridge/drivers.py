"""Who drives a tree: what links engines moves only while a bridge process goes on looking (O13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flowbridge.law.driving import awaits_driver
from flowbridge.law.tables import ACTIVE
from flowbridge.ledger.leases import Lease
from flowbridge.ledger.ledger import Ledger
from flowbridge.model import Snapshot

#: Begins the names of agents' leases: an agent drives every tree of its ledger.
AGENT = "agent:"


class Drivers:
    """The drivers of one ledger's trees. `start` begins one for a tree in a process of its own."""

    def __init__(self, ledger: Ledger, start: Callable[[str], object]) -> None:
        self._ledger = ledger
        self._start = start

    def is_driven(self, tree: str) -> bool:
        """Whether a living process drives a tree."""
        leases = self._ledger.leases
        return any(map(leases.holder, (_name(tree), _standby(tree)))) or bool(leases.holders(AGENT))

    def take(self, tree: str, who: str) -> Lease | None:
        """Be the tree's driver as long as the lease is renewed; None where there is one."""
        return self._ledger.leases.take(_name(tree), who)

    def stand_by(self, tree: str, who: str) -> Lease | None:
        """Be the one process that drives a tree whenever nobody else does; None where there is one."""
        return self._ledger.leases.take(_standby(tree), who)

    @contextmanager
    def driving(self, tree: str, who: str) -> Iterator[Callable[[], bool]]:
        """Be the tree's driver for a while, as soon as there is none.

        What it gives is to be called now and then, and tells whether it is this one that drives.
        """
        held: list[Lease] = []

        def keep() -> bool:
            with self._ledger.if_possible():  # a look is good also where nothing can be written down
                if held and not self._ledger.leases.keep(held[0]):
                    held.clear()
                if not held:
                    held.extend(filter(None, [self.take(tree, who)]))
            return bool(held)

        try:
            keep()
            yield keep
        finally:
            for lease in held:
                with self._ledger.if_possible():
                    self._ledger.leases.give(lease)

    def waits(self, snapshot: Snapshot) -> bool:
        """Whether a tree waits for a driver, and none is alive."""
        return awaits_driver(snapshot) and not self.is_driven(_tree(snapshot))

    def ensure(self, snapshot: Snapshot, *, links: bool = False) -> None:
        """Have a tree driven that needs it. `links` tells that its tasks may come to wait for other engines."""
        may_come = links and snapshot.nodes[0].record.status in ACTIVE
        if (may_come or awaits_driver(snapshot)) and not self.is_driven(_tree(snapshot)):
            self._start(_tree(snapshot))


def _name(tree: str) -> str:
    return f"drive:{tree}"


def _standby(tree: str) -> str:
    return f"standby:{tree}"


def _tree(snapshot: Snapshot) -> str:
    return snapshot.nodes[0].record.tree
