"""Recovering a tree over two engines: what is abandoned is taken up, and nothing else is asked for (S6, O3, O6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from flowbridge.backend import Definition, Target
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.errors import EngineRefused, FlowbridgeError
from flowbridge.ledger.database import Database
from flowbridge.ledger.executions import Filter
from flowbridge.ledger.leases import Lease, Leases
from flowbridge.localbackend import LocalBackend
from flowbridge.model import EngineState, Record, Ref, Status
from flowbridge.runners import drive
from flowbridge_memory.backend import MemoryBackend
from links.kit import children, settle
from support.haste import hurry
from support.hosts import HostEngine

LEAF = """
version: '2.0'
leaf: {input: [item], tasks: {t: {action: std.noop}}}
"""


@dataclass
class World:
    """A host whose tasks wait for local runs. The runner of each run whose turn is in `dying` dies at once."""

    ledger: Path
    dying: set[int]
    host: HostEngine = field(default_factory=HostEngine)
    launched: int = 0

    def launch(self, backend: LocalBackend, root: Ref, lease: Lease) -> None:
        self.launched += 1
        database = Database(self.ledger, durable=False)
        if self.launched in self.dying:
            Leases(database).give(lease)
        else:
            drive(database, MemoryBackend("here", {}), root, lease)
        database.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    hurry(monkeypatch, tmp_path)
    return World(tmp_path / "ledger.db", dying={1, 3})


@pytest.fixture
def flow(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bridge]:
    config = Config(ledger=world.ledger, actor="me")
    engines = [world.host, MemoryBackend("here", {})]
    with Bridge(config, backends=engines, launch=world.launch, drive=lambda _: None, durable=False) as made:
        target = Target(Definition(LEAF), backend="here")
        monkeypatch.setattr(made.targets, "catalog", lambda ref: target if ref == "a.leaf" else None)
        yield made


def shot_down(world: World, flow: Bridge) -> tuple[Record, list[Record]]:
    """A root with a child that is abandoned, one that has succeeded, one more that is abandoned, and a task that nobody
    has looked at since it began to wait: recover's own look gives it a child."""
    world.host.host("r", "a.leaf", items=3)
    root = flow.find("host:r")
    below = children(flow.get(root.id))
    assert [flow.find(one.id).status for one in children(flow.get(root.id))] == [
        Status.ABANDONED,
        Status.SUCCEEDED,
        Status.ABANDONED,
    ]
    world.host.host("r", "a.leaf", task="u")
    return root, below


def test_S6_a_list_looks_at_what_has_lost_its_runner_although_the_root_is_as_it_was(world: World, flow: Bridge) -> None:
    root, (lost, *_) = shot_down(world, flow)
    settle(flow, root.id)
    world.host.glances = True
    alive = replace(flow.find(lost.id), status=Status.RUNNING, seen=EngineState.RUNNING)
    flow.ledger.executions.put([alive])  # as it was seen last, before its runner died
    assert [one.status for one in flow.list(Filter())] == [Status.RUNNING]
    assert flow.find(lost.id).status is Status.ABANDONED
    world.host.requests.clear()
    flow.list(Filter())
    assert world.host.count() == {"glance": 1}


def recoveries(flow: Bridge, root: Record) -> list[tuple[str, str]]:
    """Of each row of the history that says what is to be recovered: the execution, and how that ended."""
    rows = flow.history(root.id)
    ends = {row.operation: f"{row.doc['state']}: {row.doc['outcome']}" for row in rows if row.kind == "outcome"}
    return [(row.execution, ends.get(row.operation, "")) for row in rows if row.kind == "recover"]


def test_S6_only_what_is_abandoned_is_asked_for_and_the_whole_tree_goes_on(world: World, flow: Bridge) -> None:
    root, (first, _, third) = shot_down(world, flow)
    flow.recover(root.id)
    assert sorted(recoveries(flow, root)) == sorted([(first.id, "done: done"), (third.id, "done: done")])
    assert settle(flow, root.id).record.status is Status.SUCCEEDED
    assert len(children(flow.get(root.id))) == 4


def test_S6_what_cannot_be_taken_up_is_told_and_keeps_nothing_else_from_it(
    world: World, flow: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, (first, _, third) = shot_down(world, flow)
    recover = MemoryBackend.recover

    def refused(self: MemoryBackend, id: str, assume: str) -> None:
        if id == first.ref.id:
            raise EngineRefused("not this one")
        recover(self, id, assume)

    monkeypatch.setattr(MemoryBackend, "recover", refused)
    told: list[tuple[str, str]] = []

    def failed(id: str, error: FlowbridgeError) -> None:
        told.append((id, error.message))

    flow.recover(root.id, failed=failed)
    assert told == [(first.id, "not this one")]
    assert dict(recoveries(flow, root)) == {first.id: "failed: not this one", third.id: "done: done"}
    statuses = [flow.find(one.id).status for one in (first, third)]
    assert statuses == [Status.ABANDONED, Status.SUCCEEDED]
    with pytest.raises(EngineRefused, match="not this one"):
        flow.recover(root.id)


def test_O4_one_that_is_abandoned_again_at_once_has_not_been_recovered(world: World, flow: Bridge) -> None:
    root, (first, _, third) = shot_down(world, flow)
    world.dying.add(world.launched + 1)
    told: list[str] = []
    flow.recover(root.id, failed=lambda one, _: told.append(one))
    assert told == [first.id]
    ends = dict(recoveries(flow, root))
    assert ends[first.id].startswith("failed: it is still abandoned")
    assert ends[third.id] == "done: done"
