"""A tree over two engines that a test drives by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.looks import Look
from flowbridge.model import EngineState, ExecutionRead, Record, Status, TaskStatus
from support.fakes import FakeEngine, task
from support.hosts import HostEngine


@dataclass
class Desk:
    """One ledger, an engine that hosts children, and another one. `driven`: the trees that a driver was begun for."""

    ledger: Path
    host: HostEngine = field(default_factory=HostEngine)
    other: FakeEngine = field(default_factory=lambda: FakeEngine("other"))
    bridges: list[Bridge] = field(default_factory=list)
    driven: list[str] = field(default_factory=list)

    def open(self, actor: str = "me") -> Bridge:
        """A bridge of its own over the same ledger and engines."""
        made = Bridge(
            Config(ledger=self.ledger, actor=actor),
            backends=[self.host, self.other],
            drive=self.driven.append,
            durable=False,
        )
        self.bridges.append(made)
        return made

    def close(self) -> None:
        """Close every bridge."""
        for bridge in self.bridges:
            bridge.close()

    def root(self, *, target: str = "other:flow", items: int | None = None, **more: Any) -> Record:
        """A root on the host whose task `t` waits; adopted, and its children started."""
        self.host.host("r", target, items=items, **more)
        flow = self.bridges[0] if self.bridges else self.open()
        root = flow.find("host:r")
        flow.get(root.id)
        return root

    def end(self, child: Record, state: EngineState, **output: Any) -> None:
        """End a child at its engine."""
        live = self.other.has[child.ref.id]
        status = {EngineState.SUCCEEDED: TaskStatus.SUCCEEDED, EngineState.CANCELED: TaskStatus.CANCELED}
        live.set("work", status=status.get(state, TaskStatus.ERRORED), active=False)
        live.read = ExecutionRead(live.read.input, output or None)
        live.go(state)


def children(look: Look) -> list[Record]:
    """The records below the root, by item, the newest of each item last."""
    return sorted(
        (node.record for node in look.snapshot.nodes if node.parent >= 0),
        key=lambda record: -1 if record.item is None else record.item,
    )


def settle(flow: Bridge, id: str, looks: int = 4) -> Look:
    """A few passes, as a driver would make them."""
    look = flow.get(id)
    for _ in range(looks - 1):
        look = flow.get(id)
    return look


def errored(desk: Desk, *ends: EngineState) -> tuple[Bridge, Record, list[Record]]:
    """An errored root whose task `t` has an item for each end; without any, a single errored child."""
    root = desk.root(items=len(ends) or None)
    flow = desk.bridges[0]
    below = children(flow.get(root.id))
    for place, (child, end) in enumerate(zip(below, ends or (EngineState.ERRORED,), strict=True)):
        desk.end(child, end, of=place)
    assert settle(flow, root.id).record.status is Status.ERRORED
    desk.host.reports.clear()
    desk.host.requests.clear()
    desk.other.requests.clear()
    return flow, root, children(flow.get(root.id))


def statuses(flow: Bridge, id: str) -> list[Status]:
    """A fresh look at a whole tree."""
    return [node.record.status for node in flow.get(id).snapshot.nodes]


__all__ = ["Desk", "children", "errored", "settle", "statuses", "task"]
