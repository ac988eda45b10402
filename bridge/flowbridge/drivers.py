"""Who drives a tree: what links engines moves only while a bridge process goes on looking (O13)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from flowbridge.deadline import in_time_for
from flowbridge.detached import Detached
from flowbridge.errors import LedgerError
from flowbridge.law.driving import LATE_SECONDS, awaits_driver, awaits_driver_as_known
from flowbridge.law.tables import ACTIVE
from flowbridge.ledger.executions import Executions
from flowbridge.ledger.leases import Lease, Leases
from flowbridge.ledger.ledger import Ledger
from flowbridge.model import Snapshot

#: Begins the names of agents' leases: an agent drives every tree of its ledger.
AGENT = "agent:"


def late_since() -> float:
    """When, in seconds since the epoch, a call was asked for at the earliest that a driver still stays for. An agent
    looks on."""
    return time.time() - LATE_SECONDS


class Drivers:
    """The drivers of one ledger's trees. `start` begins one for a tree in a process of its own."""

    def __init__(self, ledger: Ledger, start: Callable[[str], object]) -> None:
        self._ledger = ledger
        self._start = start

    def is_driven(self, tree: str) -> bool:
        """Whether a living process drives a tree."""
        return _is_driven(self._ledger.leases, tree)

    def take(self, tree: str, who: str) -> Lease | None:
        """Be the tree's driver as long as the lease is renewed; None where there is one."""
        return self._ledger.leases.take(_name(tree), who)

    def stand_by(self, tree: str, who: str) -> Lease | None:
        """Be the one process that drives a tree whenever nobody else does; None where there is one."""
        return self._ledger.leases.take(_standby(tree), who)

    @contextmanager
    def driving(self, tree: str, who: str, deadline: float | None = None) -> Iterator[Callable[[], bool]]:
        """Be the tree's driver for a while, as soon as there is none.

        What it gives is to be called now and then, and tells whether it is this one that drives. Nobody is kept waiting
        for the ledger behind `deadline` (monotonic seconds).
        """
        held: list[Lease] = []

        def keep() -> bool:
            # A look is good also where nothing can be written down, and not kept waiting: this is tried at each.
            with in_time_for(deadline), suppress(LedgerError), self._ledger.database.at_once():
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
                with in_time_for(deadline), self._ledger.if_possible():
                    self._ledger.leases.give(lease)

    def waits(self, snapshot: Snapshot) -> bool:
        """Whether a tree waits for a driver, and none is alive."""
        return awaits_driver(snapshot, since=late_since()) and not self.is_driven(_tree(snapshot))

    def ensure(self, snapshot: Snapshot, *, links: bool = False) -> None:
        """Have a tree driven that needs it. `links` tells that its tasks may come to wait for other engines."""
        may_come = links and snapshot.nodes[0].record.status in ACTIVE
        if (may_come or awaits_driver(snapshot, since=late_since())) and not self.is_driven(_tree(snapshot)):
            self._start(_tree(snapshot))


def undriven(executions: Executions, leases: Leases, trees: Iterable[str]) -> frozenset[str]:
    """Those of these trees that wait for a driver while none is alive, by what the ledger knows of them."""
    return frozenset(tree for tree in trees if _awaits_driver(executions, tree) and not _is_driven(leases, tree))


def _awaits_driver(executions: Executions, tree: str) -> bool:
    records = executions.tree(tree)
    hosts = {record.parent for record in records if record.key}
    kept = executions.looks([record.id for record in records if record.ref in hosts])
    waiting = {id: waiting for id, (_, waiting) in kept.items()}
    return awaits_driver_as_known(records, waiting, since=late_since())


def _is_driven(leases: Leases, tree: str) -> bool:
    return any(map(leases.holder, (_name(tree), _standby(tree)))) or bool(leases.holders(AGENT))


def starting_drivers(detached: Detached | None) -> Callable[[str], object]:
    """How a driver is begun: as a process of its own, or, where local runs are driven in another way, not at all."""

    def start(tree: str) -> None:
        with suppress(OSError):  # the verb is done all the same, and the tree says that nobody drives it (O13)
            _ = detached and detached.start("flowbridge.driver", [tree])

    return start


def _name(tree: str) -> str:
    return f"drive:{tree}"


def _standby(tree: str) -> str:
    return f"standby:{tree}"


def _tree(snapshot: Snapshot) -> str:
    return snapshot.nodes[0].record.tree
