"""Runners of local runs that hang: all of them together cost a pass or a verb one wait, and hold up no other (O2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flowbridge import patience, runners
from flowbridge.backend import Definition, Target
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.ledger.leases import Lease
from flowbridge.local import Command
from flowbridge.localbackend import LocalBackend
from flowbridge.model import EngineState, Record, Ref
from flowbridge_memory.backend import MemoryBackend
from links.kit import children
from support.haste import hurry
from support.hosts import HostEngine
from support.threads import ThreadLauncher

LEAF = """
version: '2.0'
leaf: {input: [item], tasks: {t: {action: std.noop, wait-before: 3600}}}
"""
STUCK, ITEMS = 3, 6


@dataclass
class Time:
    """Time that goes on only while somebody waits for a runner. `before` is called before each such moment."""

    waited: float = 0.0
    before: Callable[[], object] = lambda: None
    time: Callable[[], float] = time.time

    def monotonic(self) -> float:
        return self.waited

    def sleep(self, seconds: float) -> None:
        self.before()
        self.waited += seconds


@dataclass
class World:
    """A host whose task waits for six local runs; the runners of the first three hang."""

    ledger: Path
    clock: Time
    hung: list[Ref] = field(default_factory=list)
    host: HostEngine = field(default_factory=HostEngine)

    def __post_init__(self) -> None:
        self.threads = ThreadLauncher(self.ledger, lambda: MemoryBackend("here", {}))

    def launch(self, backend: LocalBackend, root: Ref, lease: Lease) -> None:
        if len(self.hung) < STUCK:
            self.hung.append(root)  # it holds the lease, and does nothing
        else:
            self.threads(backend, root, lease)

    def begun(self, flow: Bridge) -> Record:
        self.host.host("r", "a.leaf", items=ITEMS)
        root = flow.find("host:r")
        flow.get(root.id)
        assert len(self.hung) == STUCK
        return root


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    hurry(monkeypatch, tmp_path)
    clock = Time()
    monkeypatch.setattr(patience, "time", clock)
    monkeypatch.setattr(runners, "time", clock)
    return World(tmp_path / "ledger.db", clock)


@pytest.fixture
def flow(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bridge]:
    config = Config(ledger=world.ledger, actor="me")
    engines = [world.host, MemoryBackend("here", {})]
    made = Bridge(config, backends=engines, launch=world.launch, drive=lambda _: None, durable=False)
    target = Target(Definition(LEAF), backend="here")
    monkeypatch.setattr(made.targets, "catalog", lambda ref: target if ref == "a.leaf" else None)
    yield made
    world.clock.before = lambda: answered(made, world.hung)
    for record in made.ledger.executions.tree(made.find("host:r").tree):
        if record.ref.backend == "here" and record.ref not in world.hung:
            made.instances.get("here").cancel(record.ref.id)
    world.threads.join()
    made.close()


def answered(flow: Bridge, hung: list[Ref]) -> None:
    """Until every runner that does not hang has nothing left to do; the gate of a wait."""
    deadline = time.monotonic() + 20.0
    runs = [record.ref for record in flow.ledger.executions.tree(flow.find("host:r").tree) if record.key]
    while any(flow.ledger.rows.pending(str(ref)) for ref in runs if ref not in hung):
        assert time.monotonic() < deadline, "a runner that does not hang was not told"


def test_O2_several_hung_runners_cost_a_verb_one_wait_and_the_others_do_as_they_are_told(
    world: World, flow: Bridge
) -> None:
    root = world.begun(flow)
    world.clock.before = lambda: answered(flow, world.hung)
    before = world.clock.waited
    outcome = flow.cancel(root.id, timeout=600)
    assert patience.ANSWER_SECONDS <= world.clock.waited - before < patience.ANSWER_SECONDS + 0.1
    hung = {child.id for child in children(flow.get(root.id)) if child.ref in world.hung}
    assert outcome.not_done.keys() == hung
    assert all("did not answer" in why for why in outcome.not_done.values())
    seen = {child.id: child.seen for child in children(flow.get(root.id))}
    assert {id for id, state in seen.items() if state is EngineState.CANCELED} == seen.keys() - hung


def test_hung_runners_are_waited_for_no_longer_than_the_verb_may_take(world: World, flow: Bridge) -> None:
    root = world.begun(flow)
    world.clock.before = lambda: answered(flow, world.hung)
    before = world.clock.waited
    assert not flow.cancel(root.id, timeout=0).done
    assert world.clock.waited - before < patience.ANSWER_SECONDS / 2


def test_O2_several_hung_runners_cost_a_look_one_wait(world: World, flow: Bridge) -> None:
    root = world.begun(flow)
    for number, ref in enumerate(world.hung):
        flow.ledger.rows.send(str(ref), Command(f"c{number}", "pause", ref.id), time.time())
    before = world.clock.waited
    look = flow.get(root.id)
    assert patience.ANSWER_SECONDS <= world.clock.waited - before < patience.ANSWER_SECONDS + 0.1
    assert "did not answer" in look.silent["here"]
    unseen = {node.record.ref for node in look.snapshot.nodes if not node.reachable}
    assert unseen >= set(world.hung)
    for number in range(STUCK):
        flow.ledger.rows.withdraw(f"c{number}")


def test_O3_a_call_that_was_announced_and_not_made_is_no_answer_to_a_later_one(world: World, flow: Bridge) -> None:
    root = world.begun(flow)
    engine = flow.instances.get("here")
    ref = next(child.ref for child in children(flow.get(root.id)) if child.ref not in world.hung)
    with flow.instances.patience.announced([lambda: engine.pause(ref.id), lambda: engine.pause(ref.id)]):
        pass
    rows = "SELECT count(*) FROM inbox WHERE root = ? AND json_extract(doc, '$.name') = 'pause'"
    assert flow.ledger.database.one(rows, (str(ref),))[0] == 1
    world.clock.before = lambda: answered(flow, world.hung)
    engine.pause(ref.id)
    assert flow.ledger.database.one(rows, (str(ref),))[0] == 2


def test_O2_what_is_sent_after_the_time_was_used_up_has_a_moment_all_the_same() -> None:
    time_for = patience.Patience()
    with time_for.one_wait():
        time_for._spent = patience.ANSWER_SECONDS + 5
        begin = time.monotonic()
        with time_for.waiting(begin) as deadline:
            assert deadline == begin + patience.MOMENT_SECONDS
    with time_for.waiting() as deadline:
        assert deadline >= begin + patience.ANSWER_SECONDS
