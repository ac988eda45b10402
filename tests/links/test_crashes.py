"""A tree over three engines, and whoever looks after it killed at every point: nothing is lost, or done twice (O3).

A kill is an exception that nobody catches, before or after every commit of the ledger and every call to an engine; the
leases of the dead process are then gone, as those of a killed one are, and another bridge goes on.
"""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.config import Config
from flowbridge.errors import FlowbridgeError, Rejected
from flowbridge.law.tables import TERMINAL
from flowbridge.ledger.database import Database
from flowbridge.ledger.leases import Lease
from flowbridge.model import EngineState, Record, Ref, Status, TaskStatus
from flowbridge.sync import Pass
from support.fakes import FakeEngine
from support.hosts import HostEngine

_CALLS = ("start", "pause", "resume", "cancel", "rerun", "report", "observe")


class Killed(BaseException):
    """The process is no more."""


class World:
    """Three engines and a ledger: a root with two items on `host`, each a child on `mid`, each with one on `leaf`."""

    def __init__(self, ledger: Path) -> None:
        self.ledger = ledger
        self.host, self.mid, self.leaf = HostEngine("host"), HostEngine("mid"), FakeEngine("leaf")
        self.mid.has_links_to("leaf:flow")
        self.host.host("r", "mid:flow", items=2)

    def open(self) -> Bridge:
        """Another process's bridge."""
        config = Config(ledger=self.ledger, actor="me")
        engines = [self.host, self.mid, self.leaf]
        return Bridge(config, backends=engines, drive=lambda _: None, durable=False)

    def prepared(self, how: str) -> str:
        """Bring the tree to where a scenario begins; gives the root's id."""
        with self.open() as flow:
            root = flow.find("host:r")
            passes(flow, root.id)
            if how == "resume":
                self.calm()
                flow.pause(root.id)
                passes(flow, root.id)
            if how == "errored":
                self.end(EngineState.ERRORED)
                passes(flow, root.id)
            if how == "ended":
                self.end(EngineState.SUCCEEDED)
        return root.id

    def copied(self, ledger: Path) -> World:
        """The same world once more, with a ledger of its own."""
        with closing(sqlite3.connect(self.ledger)) as mine, closing(sqlite3.connect(ledger)) as theirs:
            mine.backup(theirs)
        for engine in (self.host, self.mid, self.leaf):
            engine.resolve = lambda _: None  # that of a bridge which is closed
        twin = World(ledger)
        twin.host, twin.mid, twin.leaf = copy.deepcopy((self.host, self.mid, self.leaf))
        for engine in (twin.host, twin.mid, twin.leaf):
            engine.requests.clear()
        return twin

    def calm(self) -> None:
        """The running leaves end, and their executions do not."""
        for live in self.leaf.has.values():
            live.set("work", active=False)

    def end(self, state: EngineState) -> None:
        """End every leaf."""
        status = TaskStatus.SUCCEEDED if state is EngineState.SUCCEEDED else TaskStatus.ERRORED
        for live in self.leaf.has.values():
            live.set("work", status=status, active=False)
            live.go(state)


def passes(flow: Bridge, id: str) -> list[Status]:
    """As many passes as the deepest news needs to reach the root."""
    for _ in range(4):
        flow.get(id)
    return [node.record.status for node in flow.get(id).snapshot.nodes]


SCENARIOS: dict[str, tuple[str, Callable[[Bridge, str], object]]] = {
    "tend": ("", passes),
    "report": ("ended", passes),
    "pause": ("running", lambda flow, of: flow.pause(of, timeout=0.2)),
    "resume": ("resume", lambda flow, of: flow.resume(of, timeout=0.2)),
    "cancel": ("running", lambda flow, of: flow.cancel(of, timeout=0.2)),
    "rerun": ("errored", lambda flow, of: flow.rerun(of, RerunRequest(("t.u.work",)), timeout=0.2)),
}


def doomed(world: World, flow: Bridge, point: int, patch: pytest.MonkeyPatch) -> list[int]:
    """From now on the bridge dies at a point; gives a list of the points that were passed."""
    passed: list[int] = []

    def pass_by() -> None:
        if len(passed) == point:
            raise Killed
        passed.append(point)

    def around(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            pass_by()
            result = call(*arguments, **named)
            pass_by()
            return result

        return counted

    database: Database = flow.ledger.database
    patch.setattr(database, "commit", around(database.commit))
    for engine in (world.host, world.mid, world.leaf):
        for name in _CALLS:
            patch.setattr(engine, name, around(getattr(engine, name)))
    return passed


def carried_out(world: World, id: str, scenario: str, point: int) -> int:
    """A scenario, killed at a point; gives how many points there were before."""
    with pytest.MonkeyPatch.context() as patch:
        flow = world.open()
        passed = doomed(world, flow, point, patch)
        try:
            SCENARIOS[scenario][1](flow, id)
        except Killed:
            pass
        except FlowbridgeError as error:
            raise AssertionError(f"{scenario} at point {point}: {error.message}") from error
        finally:
            patch.undo()
            flow.close()
    with world.open() as after:
        after.ledger.database.run("DELETE FROM leases")
    return len(passed)


def current(flow: Bridge) -> Record:
    """The root's record, which a re-run may have made."""
    found = flow.ledger.executions.current(Ref("host", "r"))
    assert found is not None
    return found


def afterwards(world: World, scenario: str) -> tuple[list[Status], Record]:
    """What the next process makes of it."""
    with world.open() as flow:
        passes(flow, current(flow).id)  # finishes what starts no work, and does no harm to the rest
        if scenario not in ("pause", "cancel"):
            flow.recover()
        now = current(flow)
        if scenario not in ("tend", "report") and not _was_asked(flow, scenario):
            SCENARIOS[scenario][1](flow, now.id)  # it died before the intention was written: nothing was done
        now = current(flow)
        found = passes(flow, now.id)
        assert flow.ledger.operations.open_trees() == []
        return found, now


def _was_asked(flow: Bridge, scenario: str) -> bool:
    verb = "re-run" if scenario == "rerun" else scenario
    return any(entry.kind == "operation" and entry.doc["verb"] == verb for entry in flow.history())


def once(world: World) -> None:
    """Nothing was started, re-run or reported twice."""
    assert (len(world.mid.has), len(world.leaf.has)) == (2, 2)
    for engine in (world.host, world.mid):
        told = [(key, item) for key, item in engine.taken]
        assert len(told) == len(set(told))
    for live in (*world.leaf.has.values(), *world.mid.has.values()):
        assert all(task.starts <= 2 for task in live.tasks)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_O3_killed_at_every_point_the_tree_ends_where_the_law_says(scenario: str, tmp_path: Path) -> None:
    _killed_at_every_point(World(tmp_path / "base.db"), scenario, tmp_path)


@pytest.mark.parametrize("scenario", ["tend", "report", "rerun"])
def test_O3_so_it_does_where_calls_are_made_side_by_side(
    scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEngine, "concurrent", True)
    _killed_at_every_point(World(tmp_path / "base.db"), scenario, tmp_path)


def _killed_at_every_point(base: World, scenario: str, tmp_path: Path) -> None:
    id = base.prepared(SCENARIOS[scenario][0]) if SCENARIOS[scenario][0] else _adopted(base)
    point = 0
    while True:
        world = base.copied(tmp_path / f"{point}.db")
        points = carried_out(world, id, scenario, point)
        found, root = afterwards(world, scenario)
        once(world)
        _as_it_should_be(world, scenario, found, root)
        if points < point:
            break
        point += 1
    assert point > 10


def test_S5_a_cancel_behind_a_re_run_that_was_killed_at_any_point_leaves_nothing_canceling_or_open(
    tmp_path: Path,
) -> None:
    base = World(tmp_path / "base.db")
    id = base.prepared("errored")
    point, points = -1, 0
    while points >= point:
        point += 1
        world = base.copied(tmp_path / f"{point}.db")
        points = carried_out(world, id, "rerun", point)
        with world.open() as flow:
            with suppress(Rejected):  # where the re-run was not begun, or is taken back, all has ended
                flow.cancel(current(flow).id, timeout=0.2)
            for live in world.leaf.has.values():
                live.set("work", active=False)
            assert set(passes(flow, current(flow).id)) <= TERMINAL
            assert flow.ledger.operations.open_trees() == []
        once(world)
    assert point > 10


def _adopted(world: World) -> str:
    with world.open() as flow:
        record = Record("root", "tree", Ref("host", "r"))
        flow.ledger.executions.put([record])
        return record.id


def _as_it_should_be(world: World, scenario: str, found: list[Status], root: Record) -> None:
    running = [Status.RUNNING] * 5
    expected = {
        "tend": running,
        "report": [Status.SUCCEEDED] * 5,
        "pause": [Status.PAUSING] * 5,
        "resume": running,
        "cancel": [Status.CANCELING] * 5,
        "rerun": running,
    }
    assert found == expected[scenario]
    assert bool(root.rerun_of) is (scenario == "rerun")
    if scenario == "report":
        assert [status for _, status, _ in world.host.reports] == [TaskStatus.SUCCEEDED] * 2
    if scenario == "rerun":
        assert [task.starts for live in world.leaf.has.values() for task in live.tasks] == [2, 2]


@pytest.mark.parametrize("moment", ["done meanwhile", "being done"])
def test_O3_a_look_made_while_another_acts_is_not_acted_upon(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path / "ledger.db")
    with world.open() as first, world.open() as second:
        root = first.find("host:r")
        passes(first, root.id)
        world.end(EngineState.SUCCEEDED)
        look_at = second._sync.look_at
        held: list[Lease] = []

        def meanwhile(trees: list[str], **how: bool) -> dict[str, Pass]:
            found = look_at(trees, **how)
            first.get(root.id)
            return found

        def under_way(trees: list[str], **how: bool) -> dict[str, Pass]:
            for lease in held:
                first.ledger.leases.give(lease)
            return look_at(trees, **how)

        if moment == "done meanwhile":
            monkeypatch.setattr(second._sync, "look_at", meanwhile)
        else:
            held += filter(None, [first.ledger.leases.take(f"tree:{root.tree}", "another")])
            assert held, "the tree was free"
            monkeypatch.setattr(second._sync, "look_at", under_way)
        before = len(world.mid.requests), len(world.host.requests)
        second.tend([root.tree], set())
        told = [name for name, _ in [*world.mid.requests[before[0] :], *world.host.requests[before[1] :]]]
        assert told.count("report") == (2 if moment == "done meanwhile" else 0)
        monkeypatch.undo()
        second.tend([root.tree], set())
        second.tend([root.tree], set())
        assert first.get(root.id).record.status is Status.SUCCEEDED
    once(world)
    reports = [id for engine in (world.mid, world.host) for name, id in engine.requests if name == "report"]
    assert len(reports) == 4


def test_O3_two_that_look_after_a_tree_at_once_do_nothing_twice(tmp_path: Path) -> None:
    world = World(tmp_path / "ledger.db")
    with world.open() as first, world.open() as second:
        root = first.find("host:r")
        for _ in range(6):
            first.tend([root.tree], set())
            second.tend([root.tree], set())
        world.end(EngineState.SUCCEEDED)
        for _ in range(6):
            second.tend([root.tree], set())
            first.tend([root.tree], set())
        assert first.get(root.id).record.status is Status.SUCCEEDED
    once(world)
