"""Linked children: found, started once, reported, by the rules that hold inside one engine too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import cast

import pytest

from flowbridge.agent import Agent
from flowbridge.bridge import Bridge
from flowbridge.driver import is_over
from flowbridge.drivers import undriven
from flowbridge.errors import EngineRefused, LedgerError, NotFound, Unavailable
from flowbridge.law.driving import waits_for
from flowbridge.model import EngineState, Status, TaskStatus
from flowbridge.sending import Sent
from flowbridge.sync import Pass
from flowbridge.treeviews import tree_view
from links.kit import Desk, children, settle, statuses, task

_R, _P = Status.RUNNING, Status.PAUSED


def test_a_task_that_waits_gets_its_child_started_once_with_its_input(desk: Desk) -> None:
    root = desk.root(input={"a": 1})
    flow = desk.bridges[0]
    (child,) = children(settle(flow, root.id))
    assert (child.status, child.ref.backend, child.parent, child.native) == (_R, "other", root.ref, False)
    assert [(one.workflow, one.input) for one in desk.other.started] == [("flow", {"a": 1, "item": None})]
    assert child.tree == root.tree


def test_O3_a_child_is_started_once_by_however_many_processes(desk: Desk) -> None:
    flows = [desk.open(), desk.open("somebody else")]
    root = desk.root(items=3)
    for _ in range(3):
        for flow in flows:
            flow.get(root.id)
    assert desk.other.count()["start"] == 3
    assert [child.item for child in children(flows[0].get(root.id))] == [0, 1, 2]


def test_O3_a_start_whose_answer_was_lost_starts_nothing_a_second_time(desk: Desk) -> None:
    flow = desk.open()
    desk.other.lost = {"start"}
    root = desk.root()
    desk.other.lost = set()
    assert statuses(flow, root.id) == [_R, _R]
    assert len(desk.other.has) == 1


def test_O3_a_start_is_over_once_it_is_seen_whatever_else_of_its_tree_is_not_as_it_is_wanted(desk: Desk) -> None:
    flow = desk.open()
    desk.host.has_links_to("other:flow")
    desk.host.lost, desk.host.silent, desk.other.down = {"start"}, {"observe"}, True
    with pytest.raises(Unavailable):
        flow.run("flow", backend="host")
    desk.host.lost = desk.host.silent = set()
    root = flow.find("last")
    assert statuses(flow, root.id) == [_R, Status.REQUESTED]
    assert flow.ledger.operations.open(root.tree) == []
    assert [entry.doc["state"] for entry in flow.history(root.id) if entry.kind == "outcome"] == ["done"]
    assert (desk.host.count()["start"], desk.other.count()["start"]) == (1, 0)


def test_O2_a_child_whose_engine_is_down_is_started_when_that_is_back(desk: Desk) -> None:
    flow = desk.open()
    desk.other.down = True
    root = desk.root()
    assert statuses(flow, root.id) == [_R, Status.REQUESTED]
    desk.other.down = False
    settle(flow, root.id)
    assert statuses(flow, root.id) == [_R, _R]


@pytest.mark.parametrize("end", ["succeeded", "errored", "canceled"])
def test_C5_the_end_of_a_child_is_told_to_the_task_that_waits(desk: Desk, end: str) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    (child,) = children(flow.get(root.id))
    desk.end(child, EngineState(end), got=5)
    settle(flow, root.id)
    ((_, status, result),) = desk.host.reports
    assert status is TaskStatus(end)
    assert result == {"got": 5} if end == "succeeded" else result["execution"] == child.id
    assert statuses(flow, root.id) == [Status(end), Status(end)]


def test_O2_an_end_is_told_when_the_host_is_back(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    (child,) = children(flow.get(root.id))
    desk.end(child, EngineState.SUCCEEDED)
    desk.host.silent = {"report"}
    settle(flow, root.id)
    assert desk.host.reports == []
    desk.host.silent = set()
    settle(flow, root.id)
    assert [status for _, status, _ in desk.host.reports] == [TaskStatus.SUCCEEDED]


@pytest.mark.parametrize("target", ["nowhere:flow", "no.such_name", "", "other:missing"])
def test_a_link_that_leads_nowhere_fails_its_task_and_says_why(desk: Desk, target: str) -> None:
    root = desk.root(target=target)
    flow = desk.bridges[0]
    look = settle(flow, root.id)
    (child,) = children(look)
    assert child.status is Status.ERRORED
    ((_, status, result),) = desk.host.reports
    assert status is TaskStatus.ERRORED
    assert (target.rsplit(":", maxsplit=1)[-1] or "link without a target") in result["error"]
    assert look.record.status is Status.ERRORED


@pytest.mark.parametrize("error", [EngineRefused("no room"), NotFound("no workflow of that name")])
def test_a_start_that_is_refused_is_told_once_and_not_tried_again(desk: Desk, error: EngineRefused | NotFound) -> None:
    flow = desk.open()
    desk.other.refuses = {"start": error}
    root = desk.root()
    look = settle(flow, root.id)
    assert children(look)[0].error == error.message
    assert desk.other.count()["start"] == 1
    assert [result["error"] for _, _, result in desk.host.reports] == [error.message]


def test_another_ledgers_links_are_never_started_and_run_until_it_ends_them(desk: Desk) -> None:
    root = desk.root(owner="another")
    flow = desk.bridges[0]
    assert statuses(flow, root.id) == [_R]
    assert desk.other.sent() == []
    assert flow.pause(root.id).status is Status.PAUSING
    ours = desk.root(owner=flow.ledger.id, task="u")
    assert len(children(settle(flow, ours.id))) == 1


def test_P2_a_pause_reaches_children_on_other_engines(desk: Desk) -> None:
    root = desk.root(items=2)
    flow = desk.bridges[0]
    flow.pause(root.id)
    for child in children(flow.get(root.id)):
        assert desk.other.has[child.ref.id].state is EngineState.PAUSED
    assert statuses(flow, root.id) == [Status.PAUSING] * 3
    for live in desk.other.has.values():
        live.set("work", active=False, status=TaskStatus.SUCCEEDED)
    assert statuses(flow, root.id) == [_P, _P, _P]


def test_P3_a_pause_of_a_child_pauses_its_parent_and_peers_elsewhere(desk: Desk) -> None:
    root = desk.root(items=2)
    flow = desk.bridges[0]
    first, second = children(flow.get(root.id))
    flow.pause(first.id)
    assert desk.host.has["r"].state is EngineState.PAUSED
    assert desk.other.has[second.ref.id].state is EngineState.PAUSED


def test_P6_a_child_born_under_a_hold_is_not_started_and_the_resume_starts_it(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    desk.end(children(flow.get(root.id))[0], EngineState.SUCCEEDED)
    settle(flow, root.id)
    desk.host.has["r"].go(EngineState.RUNNING)
    flow.get(root.id)
    flow.pause(root.id)
    desk.host.host("r", "other:flow", task="late")
    look = settle(flow, root.id)
    born = children(look)[-1]
    assert (born.status, look.record.status) == (_P, _P)
    assert born.ref.id not in desk.other.has
    flow.resume(root.id)
    settle(flow, root.id)
    assert desk.other.has[born.ref.id].state is EngineState.RUNNING
    assert desk.other.count()["start"] == 2


def test_P6_a_child_born_under_a_cancel_is_never_started(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    flow.cancel(root.id)
    desk.host.host("r", "other:flow", task="late")
    settle(flow, root.id)
    assert desk.other.count()["start"] == 1
    assert (None, TaskStatus.CANCELED) in [(item, status) for item, status, _ in desk.host.reports]


def test_C3_a_cancel_reaches_children_on_other_engines_and_their_end_is_told(desk: Desk) -> None:
    root = desk.root(items=2)
    flow = desk.bridges[0]
    flow.cancel(root.id)
    assert statuses(flow, root.id)[0] is Status.CANCELING
    for child in children(flow.get(root.id)):
        desk.end(child, EngineState.CANCELED)
    settle(flow, root.id)
    assert statuses(flow, root.id) == [Status.CANCELED] * 3
    assert [status for _, status, _ in desk.host.reports] == [TaskStatus.CANCELED] * 2


def test_C2_the_cancel_of_a_child_names_the_tasks_that_run_in_that_child_alone(desk: Desk) -> None:
    root = desk.root(items=2)
    flow = desk.bridges[0]
    first, _ = children(flow.get(root.id))
    desk.other.has[first.ref.id].workflow = "first"
    flow.get(root.id)
    assert flow.cancel(first.id).running == ("flow.t[0].work",)


def test_C2_who_waits_for_a_canceled_tree_sees_no_task_that_still_waits_to_be_told(desk: Desk) -> None:
    root = desk.root(items=2)
    flow = desk.bridges[0]
    flow.cancel(root.id)
    for child in children(flow.get(root.id)):
        desk.end(child, EngineState.CANCELED)
    look = flow.wait(root.id, timeout=30.0)
    assert look.record.status is Status.CANCELED
    assert waits_for(look.snapshot) == ["", "", ""]
    assert [status for _, status, _ in desk.host.reports] == [TaskStatus.CANCELED] * 2


def test_C2_an_end_that_cannot_be_told_keeps_nobody_waiting_who_waits_for_the_tree(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    flow.cancel(root.id)
    desk.end(children(flow.get(root.id))[0], EngineState.CANCELED)
    desk.host.refuses["report"] = EngineRefused("it listens to nobody")
    looks = desk.host.count()["observe"]
    look = flow.wait(root.id, timeout=30.0)
    assert [node.record.trouble is not None for node in look.snapshot.nodes] == [False, True]
    assert desk.host.count()["observe"] == looks + 1


class Clock:
    """A time that goes on where somebody sleeps, by a second at least."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(1.0, seconds)


def telling(monkeypatch: pytest.MonkeyPatch, answers: Iterable[bool]) -> None:
    """Have the looks of a watch find these, one after the other: whether an end is about to be told."""
    said = iter(answers)
    monkeypatch.setattr("flowbridge.bridge.tells_last_ends", lambda _: next(said))
    monkeypatch.setattr("flowbridge.bridge.time", Clock())


@pytest.mark.parametrize(("timeout", "looks"), [(None, 6), (30.0, 6), (2.0, 3), (0.0, 1)])
def test_C2_who_waits_sees_an_end_that_is_never_told_after_five_seconds_or_in_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, timeout: float | None, looks: int
) -> None:
    root = desk.root()
    desk.host.has["r"].go(EngineState.CANCELED)
    desk.end(children(desk.bridges[0].get(root.id))[0], EngineState.CANCELED)
    telling(monkeypatch, [True] * looks)  # there is no more to be asked for
    before = desk.host.count()["observe"]
    assert desk.bridges[0].wait(root.id, timeout=timeout).record.status is Status.CANCELED
    assert desk.host.count()["observe"] == before + looks


def test_C2_each_end_that_is_told_late_is_waited_for_anew(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    root = desk.root()
    telling(monkeypatch, [True, False] + [False] * 9 + [True, False])
    before = desk.host.count()["observe"]
    watch = desk.bridges[0].watch(root.id, every=1.0)
    for _ in range(11):
        next(watch)
    assert desk.host.count()["observe"] == before + 13


def test_R3_a_child_resumed_alone_runs_to_its_end_which_is_told_when_its_parent_is_resumed(desk: Desk) -> None:
    root = desk.root(items=2)
    flow = desk.bridges[0]
    flow.pause(root.id)
    for live in desk.other.has.values():
        live.set("work", active=False)
    first, _ = children(flow.get(root.id))
    assert statuses(flow, root.id) == [_P, _P, _P]
    flow.resume(first.id)
    desk.end(first, EngineState.SUCCEEDED)
    look = settle(flow, root.id)
    assert [node.record.status for node in look.snapshot.nodes] == [_P, Status.SUCCEEDED, _P]
    assert desk.host.reports == []
    flow.resume(root.id)
    settle(flow, root.id)
    assert [(item, status) for item, status, _ in desk.host.reports] == [(0, TaskStatus.SUCCEEDED)]


def test_P7_a_child_that_pauses_itself_pauses_the_tree_on_every_engine(desk: Desk) -> None:
    root = desk.root(items=2)
    flow = desk.bridges[0]
    first, second = children(flow.get(root.id))
    desk.other.has[first.ref.id].go(EngineState.PAUSED)
    settle(flow, root.id)
    assert desk.host.has["r"].state is EngineState.PAUSED
    assert desk.other.has[second.ref.id].state is EngineState.PAUSED
    assert flow.find(root.id).held_by == "engine"


def test_S7_a_child_that_its_engine_lost_fails_the_task_that_waits_for_it(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    (child,) = children(settle(flow, root.id))
    desk.other.forget(child.ref.id)
    settle(flow, root.id)
    ((_, status, result),) = desk.host.reports
    assert (status, "no longer has" in result["error"]) == (TaskStatus.ERRORED, True)


def test_S7_a_child_whose_host_is_gone_has_nobody_to_be_told_and_needs_no_driver(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    (child,) = children(settle(flow, root.id))
    desk.host.forget("r")
    desk.end(child, EngineState.SUCCEEDED)
    look = settle(flow, root.id)
    (below,) = tree_view(look.snapshot)["tasks"][0]["children"]
    assert (below["status"], below["waits_for"], look.waits_for_driver) == ("succeeded", None, False)
    assert is_over(look.snapshot)
    assert undriven(flow.ledger.executions, flow.ledger.leases, [root.tree]) == frozenset()
    desk.other.requests.clear()
    flow.tend([root.tree], set())
    assert desk.other.requests == []


def test_S7_a_task_is_not_shown_as_running_for_a_child_that_is_gone(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    (child,) = children(settle(flow, root.id))
    desk.other.forget(child.ref.id)
    look = settle(flow, root.id)
    (shown,) = tree_view(look.snapshot)["tasks"]
    assert (look.record.status, shown["status"], shown["active"]) == (Status.ERRORED, "errored", False)


def test_a_child_that_nothing_waits_for_any_more_is_not_started(desk: Desk) -> None:
    flow = desk.open()
    desk.other.down = True
    root = desk.root()
    desk.host.waits.clear()
    flow.get(root.id)
    desk.other.down = False
    settle(flow, root.id)
    assert desk.other.count()["start"] == 0
    assert children(flow.get(root.id))[0].status is Status.CANCELED


def test_O13_a_tree_that_waits_for_a_driver_says_so_until_one_is_alive(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    assert flow.get(root.id).waits_for_driver
    with flow.drivers.driving(root.tree, "a test"):
        assert not desk.open().get(root.id).waits_for_driver
    (child,) = children(flow.get(root.id))
    desk.end(child, EngineState.SUCCEEDED)
    assert not settle(flow, root.id).waits_for_driver


def test_O13_a_list_knows_by_the_ledger_alone_which_trees_wait_for_a_driver(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    alone = desk.host.add("alone")
    other = flow.find(f"host:{alone.id}")
    desk.host.requests.clear()
    desk.other.requests.clear()
    executions, leases = flow.ledger.executions, flow.ledger.leases
    assert executions.linking([root.tree, other.tree]) == {root.tree}
    assert undriven(executions, leases, [root.tree]) == {root.tree}
    with flow.drivers.driving(root.tree, "a test"):
        assert undriven(executions, leases, [root.tree]) == frozenset()
    assert (desk.host.requests, desk.other.requests) == ([], [])
    (child,) = children(flow.get(root.id))
    desk.end(child, EngineState.SUCCEEDED)
    settle(flow, root.id)
    assert undriven(executions, leases, [root.tree]) == frozenset()


def test_O13_every_verb_has_a_tree_driven_that_needs_it(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    desk.driven.clear()
    flow.pause(root.id)
    assert desk.driven == [root.tree]
    with flow.drivers.driving(root.tree, "a test"):
        desk.driven.clear()
        flow.cancel(root.id)
    assert desk.driven == []


def test_a_links_input_stands_in_no_look_that_is_kept(desk: Desk) -> None:
    root = desk.root(input={"password": "hunter2"})
    kept = desk.bridges[0].ledger.database.all("SELECT doc FROM looks")
    assert root.id
    assert all("hunter2" not in doc for (doc,) in kept)


def test_O3_trouble_of_our_own_ledger_fails_no_child(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = desk.open()
    with monkeypatch.context() as patch:
        patch.setattr(flow.targets, "request", _refuse(LedgerError("the key cannot be read")))
        root = desk.root()
        assert statuses(flow, root.id) == [_R]
    settle(flow, root.id)
    assert statuses(flow, root.id) == [_R, _R]


def _refuse(error: Exception) -> Callable[..., object]:
    def refuse(*_: object) -> object:
        raise error

    return refuse


def test_O3_a_start_that_may_have_been_taken_is_not_called_refused_for_what_is_said_later(desk: Desk) -> None:
    flow = desk.open()
    desk.other.dropped = {"start"}
    root = desk.root()
    desk.other.dropped = set()
    desk.other.refuses = {"start": EngineRefused("the token has expired")}
    settle(flow, root.id)
    assert desk.host.reports == []
    desk.other.refuses = {}
    settle(flow, root.id)
    assert statuses(flow, root.id) == [_R, _R]


def test_P2_children_of_an_engine_that_takes_several_calls_at_once_are_all_paused(desk: Desk) -> None:
    desk.other.concurrent = True  # type: ignore[misc]  # a fact of the class, told of this one
    root = desk.root(items=20)
    flow = desk.bridges[0]
    flow.pause(root.id)
    assert {live.state for live in desk.other.has.values()} == {EngineState.PAUSED}
    assert desk.other.count()["pause"] == 20


def test_O13_the_agent_drives_the_other_trees_where_one_of_them_is_broken() -> None:
    tended: list[str] = []

    class Broken:
        ledger = SimpleNamespace(unwritten="")

        def tend(self, trees: list[str], _: object) -> dict[str, Pass]:
            if "bad" in trees:
                raise RuntimeError("a bug")
            tended.extend(trees)
            return {}

    agent = Agent(lambda: cast(Bridge, Broken()))
    group = frozenset({"engine"})
    agent._sent[group] = Sent()
    agent._drive(group, ["one", "bad", "two"])
    assert tended == ["one", "two"]
    assert "tree bad: RuntimeError: a bug" in agent._found[group].problems


def test_O13_who_stops_watching_leaves_the_tree_to_a_driver(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    desk.driven.clear()
    for _ in flow.watch(root.id, deadline=0.0):
        assert desk.driven == []
    assert desk.driven == [root.tree]


def test_O13_a_driver_stands_by_while_somebody_watches_and_takes_over(desk: Desk) -> None:
    root = desk.root()
    watcher, driver = desk.bridges[0], desk.open()
    with watcher.drivers.driving(root.tree, "a watch"), driver.drivers.driving(root.tree, "the driver") as keep:
        assert not keep()
    with driver.drivers.driving(root.tree, "the driver") as keep:
        assert keep()
    standby = driver.drivers.stand_by(root.tree, "the driver")
    assert standby is not None
    assert watcher.drivers.is_driven(root.tree)
    assert watcher.drivers.stand_by(root.tree, "another") is None


def test_S2_a_task_whose_children_elsewhere_are_all_paused_or_over_is_shown_as_paused(desk: Desk) -> None:
    root = desk.root(items=2)
    flow = desk.bridges[0]
    first, _ = children(flow.get(root.id))
    desk.end(first, EngineState.SUCCEEDED)
    flow.pause(root.id)
    for live in desk.other.has.values():
        live.set("work", active=False)
    (shown,) = tree_view(settle(flow, root.id).snapshot)["tasks"]
    assert (shown["status"], shown["active"]) == ("paused", False)


def test_S2_so_is_one_whose_only_child_is_over_and_not_told_under_a_hold(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    flow.pause(root.id)
    (child,) = children(flow.get(root.id))
    desk.end(child, EngineState.SUCCEEDED)
    look = settle(flow, root.id)
    (shown,) = tree_view(look.snapshot)["tasks"]
    assert (look.record.status, shown["status"], shown["active"]) == (Status.PAUSED, "paused", False)


def test_O3_a_look_that_another_overtook_is_made_once_more_so_that_what_it_shows_is_known(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = desk.root()
    flow, other = desk.bridges[0], desk.open()
    look_at = flow._sync.look_at

    def overtaken(trees: list[str], **how: bool) -> dict[str, Pass]:
        monkeypatch.undo()
        other.pause(root.id)
        desk.host.add("born", task("work", of="born"), parent="r", task="t")
        return look_at(trees, **how)

    monkeypatch.setattr(flow._sync, "look_at", overtaken)
    shown = flow.get(root.id)
    assert len(shown.snapshot.nodes) == 3
    assert [other.find(node.record.id).id for node in shown.snapshot.nodes] == [
        node.record.id for node in shown.snapshot.nodes
    ]
