"""Who goes on looking: no call is made at each look, none is waited for in vain, and a stop comes soon (O13)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from flowbridge import agent as agents
from flowbridge import sending
from flowbridge.agent import Agent, Health
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.driver import drive
from flowbridge.drivers import AGENT
from flowbridge.model import EngineState, Record, Status, TaskStatus
from flowbridge.sending import Sent
from flowbridge.sync import Pass
from links.kit import Desk, children


def lost(desk: Desk, flow: Bridge, *names: str) -> list[Record]:
    """Trees that were adopted, and the starts of whose children were taken by an engine that has lost them."""
    for name in names:
        desk.host.host(name, "other:flow")
    desk.other.ignores = {"start"}
    roots = [flow.find(f"host:{name}") for name in names]
    assert desk.other.count()["start"] == len(names)
    return roots


def test_O4_a_call_that_was_taken_and_lost_is_made_again_after_a_while_by_the_same_driver(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, sent, clock = desk.open(), Sent(), SimpleNamespace(now=1000.0)
    monkeypatch.setattr("time.monotonic", lambda: clock.now)
    (root,) = lost(desk, flow, "r")
    for _ in range(3):
        flow.tend([root.tree], sent.lately())
    assert desk.other.count()["start"] == 1 + 1
    desk.other.ignores = set()
    clock.now += sending._REMEMBERED_SECONDS
    flow.tend([root.tree], sent.lately())
    assert desk.other.count()["start"] == 1 + 2
    (child,) = children(flow.get(root.id))
    assert desk.other.has[child.ref.id].state is EngineState.RUNNING


def test_O4_a_call_that_was_taken_is_not_made_at_each_look_however_many_trees_are_looked_at(desk: Desk) -> None:
    flow, sent = desk.open(), Sent()
    trees = [root.tree for root in lost(desk, flow, "r1", "r2", "r3")]
    for _ in range(3):
        flow.tend(trees, sent)
    assert desk.other.count()["start"] == 3 + 3


def test_O13_an_agent_that_is_told_to_stop_goes_through_no_more_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "_BATCH", 1)
    stop, tended = threading.Event(), []

    class Told:
        ledger = SimpleNamespace(unwritten="")

        def tend(self, trees: list[str], _: object) -> dict[str, Pass]:
            tended.extend(trees)
            stop.set()
            return {}

    agent = Agent(lambda: cast(Bridge, Told()))
    agent._stop, group = stop, frozenset({"engine"})
    agent._sent[group] = Sent()
    agent._drive(group, ["one", "two", "three"])
    assert tended == ["one"]


def test_O13_an_agent_that_is_told_to_stop_finishes_the_call_under_way_and_leaves_no_lease(desk: Desk) -> None:
    root = desk.root()
    flow, stop, under_way = desk.bridges[0], threading.Event(), threading.Event()
    (child,) = children(flow.get(root.id))
    desk.end(child, EngineState.SUCCEEDED)

    def slow(name: str) -> None:
        if name == "report":
            under_way.set()
            assert stop.wait(20)

    desk.host.before = slow
    agent = threading.Thread(target=Agent(desk.open, interval=0.01).run, args=(stop,), daemon=True)
    agent.start()
    assert under_way.wait(20)
    assert flow.ledger.leases.holders(AGENT)
    stop.set()
    agent.join(20)
    assert not agent.is_alive()
    assert [status for _, status, _ in desk.host.reports] == [TaskStatus.SUCCEEDED]
    assert flow.ledger.database.all("SELECT name FROM leases") == []


def healths(desk: Desk, enough: Callable[[Health], bool]) -> Health:
    """The health of an agent, as soon as it says enough."""
    stop, told = threading.Event(), list[Health]()

    def tell(health: Health) -> None:
        told.append(health)
        if enough(health):
            stop.set()

    Agent(desk.open, interval=0.01).run(stop, tell)
    return told[-1]


def test_S6_the_agents_health_names_what_is_abandoned_and_goes_on_only_when_it_is_recovered(desk: Desk) -> None:
    root = desk.root()
    (child,) = children(desk.bridges[0].get(root.id))
    desk.other.has[child.ref.id].go(EngineState.ABANDONED)
    (stranded,) = healths(desk, lambda health: bool(health.stranded)).stranded
    assert stranded == {"execution": child.id, "why": "it is abandoned: its runner died (S6)"}


def test_O3_the_agents_health_names_a_re_run_that_was_cut_short_once_nobody_can_be_at_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    (child,) = children(flow.get(root.id))
    desk.end(child, EngineState.ERRORED)
    flow.wait(root.id, timeout=20)
    desk.host.dropped = {"rerun"}
    again = flow.rerun(root.id, RerunRequest(tasks=("t",)), timeout=0)
    assert again.exit_code == 5
    assert healths(desk, lambda health: health.passes > 3).stranded == ()
    monkeypatch.setattr(agents, "_AT_IT_SECONDS", -1.0)
    with flow.ledger.leases.held(f"tree:{root.tree}", "re-run by me", what="it", timeout=0):
        assert healths(desk, lambda health: health.passes > 3).stranded == ()
    (stranded,) = healths(desk, lambda health: bool(health.stranded)).stranded
    assert stranded["why"] == "the re-run by me is not finished (O3)"


def test_an_operation_that_cannot_be_read_does_not_keep_the_agent_from_saying_how_it_fares(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    desk.other.ignores = {"pause"}
    flow.pause(root.id, timeout=0)
    assert flow.ledger.database.run("UPDATE operations SET doc = '{' WHERE state = 'open'") == 1
    assert healths(desk, lambda health: health.passes > 3).passes > 3


@pytest.mark.parametrize("moment", ["while it looks", "when it has looked"])
def test_O13_a_driver_that_is_about_to_leave_as_the_tree_is_resumed_stays(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    root = desk.root()
    flow, driver = desk.bridges[0], desk.open()
    (child,) = children(flow.get(root.id))
    desk.other.has[child.ref.id].set("work", active=False)
    assert flow.pause(root.id).done
    assert flow.get(root.id).record.status is Status.PAUSED
    desk.driven.clear()
    of, name = (driver._sync, "look_at") if moment == "while it looks" else (driver, "tend")
    look = getattr(of, name)

    def resumed_meanwhile(*trees: object, **how: object) -> object:
        found = look(*trees, **how)
        monkeypatch.setattr(of, name, look)
        assert flow.resume(root.id).done
        desk.end(child, EngineState.SUCCEEDED)
        return found

    monkeypatch.setattr(of, name, resumed_meanwhile)
    drive(driver, root.tree)
    assert desk.driven == [], "whoever resumed it saw that it is driven"
    assert [status for _, status, _ in desk.host.reports] == [TaskStatus.SUCCEEDED]
    assert flow.ledger.database.all("SELECT name FROM leases") == []


def test_O3_an_agent_ends_a_cancel_that_was_killed_as_it_was_done_although_all_has_ended(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    root = desk.root()
    flow = desk.bridges[0]
    (child,) = children(flow.get(root.id))
    desk.other.has[child.ref.id].set("work", active=False)
    with monkeypatch.context() as patch:
        patch.setattr(flow.ledger.operations, "end", killed)
        with pytest.raises(Killed):
            flow.cancel(root.id)
    assert {node.record.status for node in flow.known(root.tree).nodes} == {Status.CANCELED}
    healths(desk, lambda _: not flow.ledger.operations.open_trees())
    assert (flow.history()[-1].kind, flow.history()[-1].doc["state"]) == ("outcome", "done")
