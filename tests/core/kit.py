"""A ledger, engines driven by hand, and bridges over both: what most tests of the core start from."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.config import Config
from flowbridge.errors import Unavailable
from flowbridge.ledger.operations import Entry
from flowbridge.model import EngineState, Record, Ref, Status, TaskStatus, Verb
from support.fakes import FakeEngine, task

#: The task of an `errored_family` that failed, as it is named from the root.
BAD = RerunRequest(("sub.bad",))


@dataclass
class Desk:
    """One ledger and two engines. `open` gives a bridge such as another process would have."""

    ledger: Path
    engine: FakeEngine = field(default_factory=FakeEngine)
    other: FakeEngine = field(default_factory=lambda: FakeEngine("other"))
    bridges: list[Bridge] = field(default_factory=list)

    def open(self, actor: str = "me", **config: Any) -> Bridge:
        """A bridge of its own over the same ledger and engines."""
        made = Bridge(
            Config(ledger=self.ledger, actor=actor, **config), backends=[self.engine, self.other], durable=False
        )
        self.bridges.append(made)
        return made

    def close(self) -> None:
        """Close every bridge."""
        for bridge in self.bridges:
            bridge.close()


def one(desk: Desk, *tasks: TaskStatus, id: str = "e0") -> Record:
    """An execution of the first engine whose tasks are t0, t1, ... with these statuses; adopted."""
    looks = [task(f"t{place}", status, of=id) for place, status in enumerate(tasks or (TaskStatus.RUNNING,))]
    desk.engine.add(id, *looks)
    return _adopted(desk, id)


def family(desk: Desk) -> tuple[Record, Record, Record]:
    """A root with two children that its engine links, all running one task each."""
    desk.engine.add("e0", task("sub"))
    for id in ("e1", "e2"):
        desk.engine.add(id, task("work", of=id), parent="e0")
    root = _adopted(desk, "e0")
    return root, current(desk.bridges[0], "e1"), current(desk.bridges[0], "e2")


def mixed(desk: Desk, *, idle: bool = False) -> tuple[Record, Record]:
    """A root on the first engine and a child on the other, linked by the bridge, both running; `idle`: no leaf is."""
    status = TaskStatus.WAITING if idle else TaskStatus.RUNNING
    root = one(desk, status)
    desk.other.add("x0", task("work", status, of="x0"))
    child = Record("child", root.tree, Ref("other", "x0"), parent=root.ref, parent_task="e0.t0", native=False)
    desk.bridges[0].ledger.executions.put([child])
    desk.bridges[0].get(root.id)
    return root, current(desk.bridges[0], "x0", "other")


def errored_family(desk: Desk) -> tuple[Record, Record]:
    """An errored root whose task `sub` has an errored child with an errored task `bad`."""
    desk.engine.add(
        "e0", task("sub", TaskStatus.ERRORED), task("fine", TaskStatus.SUCCEEDED), state=EngineState.ERRORED
    )
    desk.engine.add("e1", task("bad", TaskStatus.ERRORED, of="e1"), parent="e0", state=EngineState.ERRORED)
    return _adopted(desk, "e0"), current(desk.bridges[0], "e1")


def open_rerun(bridge: Bridge, desk: Desk, verb: Verb = Verb.RERUN) -> tuple[Record, Record]:
    """A root and a child whose re-run was lost on the way: the records from before."""
    root, child = errored_family(desk)
    desk.engine.dropped = {"rerun", "skip"}
    assert bridge.operate(verb, root.id, request=BAD, timeout=0).exit_code == Unavailable.exit_code
    desk.engine.dropped = set()
    desk.engine.requests.clear()
    return root, child


def states(bridge: Bridge, verb: str) -> list[str]:
    """How the operations of a verb ended."""
    ids = [entry.operation for entry in told(bridge) if entry.doc.get("verb") == verb]
    return [str(bridge.ledger.operations.get(id).state) for id in ids]


def current(bridge: Bridge, id: str, engine: str = "fake") -> Record:
    """The current record of an engine execution, as it was last written."""
    record = bridge.ledger.executions.current(Ref(engine, id))
    assert record is not None
    return record


def statuses(bridge: Bridge, id: str) -> list[Status]:
    """A fresh look at a whole tree."""
    return [node.record.status for node in bridge.get(id).snapshot.nodes]


def ops(bridge: Bridge) -> list[tuple[str, str]]:
    """What the history says of operations: the verb of each, or how it ended."""
    return [(entry.kind, str(entry.doc.get("verb") or entry.doc.get("state"))) for entry in told(bridge)]


def told(bridge: Bridge) -> list[Entry]:
    """The entries of the history that are about operations."""
    return [entry for entry in bridge.history() if entry.kind in ("operation", "outcome")]


def in_child(work: Callable[[], object]) -> int:
    """Run something in a forked process of its own; gives its exit status, 1 where it raised."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _adopted(desk: Desk, id: str) -> Record:
    bridge = desk.bridges[0] if desk.bridges else desk.open()
    return bridge.find(f"fake:{id}")
