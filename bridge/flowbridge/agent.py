"""The agent: drives every tree of a ledger, for as long as it runs (O13).

Trees that live on the same engines are looked at together, and each such group by a thread of its own: an engine that
hangs keeps nobody waiting but the trees that need it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from flowbridge.bridge import Bridge
from flowbridge.detached import reap
from flowbridge.drivers import AGENT
from flowbridge.errors import DamagedRow, FlowbridgeError, LedgerError
from flowbridge.law.tables import DIED, TERMINAL
from flowbridge.ledger.leases import TTL_SECONDS, Lease
from flowbridge.model import Status
from flowbridge.opened import starts_work
from flowbridge.plugins import one_line
from flowbridge.sending import Sent
from flowbridge.sync import Pass
from flowbridge.tending import LOOKING
from flowbridge.views import trouble_view

#: How many trees are looked at in one go, and how many groups at once: one that waits for an engine needs a thread.
_BATCH, _GROUPS = 100, 64

#: An operation younger than that is not called cut short: its command may be about to take its tree.
_AT_IT_SECONDS = 60.0

_UNENDED = tuple(status for status in Status if status not in TERMINAL)

#: The instances that a tree lives on.
Group = frozenset[str]


@dataclass(slots=True)
class Health:
    """How an agent fares: when it last went over its trees, how many there are, and which instances are silent.

    `failing` are the calls that are due and fail, each as `views.trouble_view` has it, with the `execution` it is for.
    `stranded` is what no agent goes on with, but a `recover`: each with its `execution` and `why`.
    """

    at: float = 0.0
    passes: int = 0
    trees: int = 0
    silent: Mapping[str, str] = field(default_factory=dict)
    failing: tuple[Mapping[str, Any], ...] = ()
    stranded: tuple[Mapping[str, Any], ...] = ()
    problems: tuple[str, ...] = ()


class Agent:
    """Drives the trees of one ledger. `open` gives a bridge of its own to each thread."""

    def __init__(self, open: Callable[[], Bridge], *, interval: float = 1.0) -> None:
        self._open = open
        self._interval = interval
        self._own = threading.local()
        self._bridges: list[Bridge] = []
        self._sent: dict[Group, Sent] = {}
        self._found: dict[Group, _Found] = {}
        self._health = Health()
        self._stop = threading.Event()

    def run(self, stop: threading.Event, tell: Callable[[Health], object] = lambda _: None) -> None:
        """Go on until `stop` is set; passes that were begun are finished. `tell` is given the health after each round.

        Raises `LedgerError` where the ledger cannot be used when it begins.
        """
        self._stop = stop
        with self._open() as bridge, ThreadPoolExecutor(_GROUPS, thread_name_prefix="agent") as pool:
            lease = _lease(bridge)
            under_way: dict[Group, Future[None]] = {}
            try:
                while not stop.is_set():
                    try:
                        lease = lease if bridge.ledger.leases.keep(lease) else _lease(bridge)
                        self._round(bridge, pool, under_way)
                        reap()
                    except LedgerError as error:  # a full disk, say: the next round tries again
                        self._health.problems = (error.message,)
                    tell(self._health)
                    stop.wait(self._interval)
            finally:
                pool.shutdown()
                bridge.ledger.leases.give(lease)
                for own in self._bridges:
                    own.close()

    def _round(self, bridge: Bridge, pool: ThreadPoolExecutor, under_way: dict[Group, Future[None]]) -> None:
        groups = _groups(bridge)
        for group in under_way.keys() - groups.keys():
            if under_way[group].done():
                del under_way[group], self._sent[group]
                self._found.pop(group, None)
        for group, trees in groups.items():
            if group not in under_way or under_way[group].done():
                self._sent.setdefault(group, Sent()).lately()
                under_way[group] = pool.submit(self._drive, group, trees)
        found = list(self._found.values())
        self._health = Health(
            at=time.time(),
            passes=self._health.passes + 1,
            trees=sum(map(len, groups.values())),
            silent={name: why for one in found for name, why in one.silent.items()},
            failing=tuple(each for one in found for each in one.failing),
            stranded=(*_unfinished(bridge), *(each for one in found for each in one.abandoned)),
            problems=tuple("; ".join(one.problems) for one in found if one.problems),
        )

    def _drive(self, group: Group, trees: list[str]) -> None:
        found = _Found()
        for begin in range(0, len(trees), _BATCH):
            if self._stop.is_set():  # thousands of trees, or an engine that hangs, are not gone through any more
                return
            batch = trees[begin : begin + _BATCH]
            problem = self._tended(group, batch, found)
            # One of them is at fault: the others are not to wait for it.
            found.problems += filter(None, [self._tended(group, [tree], found) for tree in batch] if problem else [])
        self._found[group] = found

    def _tended(self, group: Group, trees: list[str], found: _Found) -> str:
        """One pass over trees; gives what went wrong, "" where nothing did."""
        try:
            bridge = self._bridge()
            bridge.ledger.unwritten = ""
            for one in bridge.tend(trees, self._sent[group]).values():
                found.add(one)
        except FlowbridgeError as error:
            return error.message
        except Exception as error:  # noqa: BLE001  a bug met on one tree must not end the driving of all others
            return f"tree {trees[0]}: {one_line(error)}"
        if bridge.ledger.unwritten:
            found.problems.append(bridge.ledger.unwritten)
        return ""

    def _bridge(self) -> Bridge:
        if not hasattr(self._own, "bridge"):
            self._own.bridge = self._open()
            self._bridges.append(self._own.bridge)
        bridge: Bridge = self._own.bridge
        return bridge


@dataclass(slots=True)
class _Found:
    """What passes over the trees of one group found."""

    silent: dict[str, str] = field(default_factory=dict)
    failing: list[Mapping[str, Any]] = field(default_factory=list)
    abandoned: list[Mapping[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, one: Pass) -> None:
        """What a pass over one tree found."""
        self.silent |= one.silent
        self.failing += [{"execution": record.id, **(trouble_view(record.trouble) or {})} for record in one.troubled]
        records = [node.record for node in one.snapshot.nodes if node.record.status is Status.ABANDONED]
        self.abandoned += [{"execution": record.id, "why": f"it is abandoned: {DIED} (S6)"} for record in records]


def _unfinished(bridge: Bridge) -> list[Mapping[str, Any]]:
    """The operations that nobody is at any more and that start work: only who asked may have them gone on with (O3)."""
    operations, leases = bridge.ledger.operations, bridge.ledger.leases
    late = time.time() - _AT_IT_SECONDS
    found: list[Mapping[str, Any]] = []
    for tree in operations.open_trees():
        with suppress(DamagedRow):  # whoever names that tree is told, and the others are not to suffer
            found += [
                {"execution": one.target, "why": f"the {one.verb} by {one.actor} is not finished (O3)"}
                for one in starts_work(operations.open(tree))
                if one.at < late and leases.holder(f"tree:{tree}") in (None, LOOKING)
            ]
    return found


def _lease(bridge: Bridge) -> Lease:
    """Say that an agent is alive. Agents on several hosts may go over the same trees: each tree has a lease too."""
    name = f"{AGENT}{socket.gethostname()}:{os.getpid()}"
    lease = bridge.ledger.leases.take(name, f"the agent (process {os.getpid()})")
    if lease is None:
        raise LedgerError(f"another agent of this process holds {name}, for at most {TTL_SECONDS:.0f} s")
    return lease


def _groups(bridge: Bridge) -> dict[Group, list[str]]:
    """The trees that have not ended, or have an operation open, by the instances that a look at them asks."""
    instances: dict[str, set[str]] = {}
    for tree, backend in bridge.ledger.executions.places(_UNENDED):
        instances.setdefault(tree, set()).add(backend)
    groups: dict[Group, list[str]] = {}
    for tree, names in instances.items():
        groups.setdefault(frozenset(names), []).append(tree)
    return groups
