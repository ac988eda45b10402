"""A linked child that is over and told costs nothing more: who goes on looking does not ask for it (O13, S7, O12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.ledger.executions import Filter
from flowbridge.model import EngineState, ExecutionLook, Record, Status, TaskStatus, WaitingChild
from links.kit import Desk, children, settle, statuses, task
from support.fakes import Live


def asked(desk: Desk, name: str = "other") -> list[str]:
    """The executions that an engine was asked for since the last time."""
    engine = desk.other if name == "other" else desk.host
    ids = [id for call, of in engine.requests if call == "observe" for id in of.split(",")]
    engine.requests.clear()
    return ids


def partly_over(desk: Desk, over: int, items: int) -> tuple[Bridge, Record, list[Record]]:
    """A tree some of whose children have ended and were told."""
    root = desk.root(items=items)
    flow = desk.bridges[0]
    below = children(flow.get(root.id))
    for child in below[:over]:
        desk.end(child, EngineState.SUCCEEDED)
    settle(flow, root.id)
    asked(desk)
    return flow, root, below


@pytest.mark.parametrize("items", [3, 30])
def test_O13_children_that_are_over_and_told_cost_who_goes_on_looking_nothing(desk: Desk, items: int) -> None:
    flow, root, below = partly_over(desk, items - 1, items)
    passes = [flow.tend([root.tree], set())[root.tree] for _ in range(5)]
    assert asked(desk) == [below[-1].ref.id] * 5
    told = [Status.SUCCEEDED] * (items - 1)
    for found in passes:
        assert [node.record.status for node in found.snapshot.nodes] == [Status.RUNNING, *told, Status.RUNNING]


def test_O13_a_watch_and_a_list_do_not_ask_for_them_either(desk: Desk) -> None:
    flow, root, below = partly_over(desk, 2, 3)
    for _ in flow.watch(root.id, deadline=0.0):
        pass
    assert set(asked(desk)) == {below[-1].ref.id}
    listed = flow.list(Filter(roots=False))
    assert set(asked(desk)) == {below[-1].ref.id}
    assert {record.id for record in listed} == {root.id, *(child.id for child in below)}


def test_O13_what_is_over_and_not_told_yet_is_asked_for(desk: Desk) -> None:
    root = desk.root(items=2)
    flow = desk.bridges[0]
    first, second = children(flow.get(root.id))
    desk.end(first, EngineState.SUCCEEDED)
    desk.host.silent = {"report"}
    settle(flow, root.id)
    asked(desk)
    flow.tend([root.tree], set())
    assert set(asked(desk)) == {first.ref.id, second.ref.id}


def test_S2_a_child_is_done_with_only_when_all_below_it_is(desk: Desk) -> None:
    root = desk.root(items=2)
    flow = desk.bridges[0]
    first, second = children(flow.get(root.id))
    desk.other.add("deep", task("work", of="deep"), parent=first.ref.id, task="work")
    desk.end(first, EngineState.SUCCEEDED)
    desk.host.waits.clear()
    settle(flow, root.id)
    asked(desk)
    flow.tend([root.tree], set())
    assert first.ref.id in asked(desk)
    desk.other.has["deep"].set("work", active=False, status=TaskStatus.SUCCEEDED)
    desk.other.has["deep"].go(EngineState.SUCCEEDED)
    settle(flow, root.id)
    asked(desk)
    flow.tend([root.tree], set())
    assert asked(desk) == [second.ref.id]


def test_S7_one_that_its_engine_lost_is_not_asked_for_once_that_was_told(desk: Desk) -> None:
    root = desk.root(items=2)
    flow = desk.bridges[0]
    first, second = children(flow.get(root.id))
    desk.other.forget(first.ref.id)
    settle(flow, root.id)
    asked(desk)
    found = flow.tend([root.tree], set())[root.tree]
    assert asked(desk) == [second.ref.id]
    assert [node.record.gone for node in found.snapshot.nodes] == [False, True, False]


def test_O12_an_outside_re_run_of_such_a_child_is_seen_by_a_person_who_looks_and_from_then_on_by_all(
    desk: Desk,
) -> None:
    flow, root, below = partly_over(desk, 2, 3)
    live = desk.other.has[below[0].ref.id]
    live.set("work", status=TaskStatus.RUNNING, active=True, starts=2)
    live.go(EngineState.RUNNING)
    found = flow.tend([root.tree], set())[root.tree]
    assert found.snapshot.nodes[1].record.status is Status.SUCCEEDED
    look = flow.get(root.id)
    assert children(look)[0].status is Status.RUNNING
    assert "reopened_outside" in [entry.kind for entry in flow.history()]
    asked(desk)
    flow.tend([root.tree], set())
    assert set(asked(desk)) == {below[0].ref.id, below[2].ref.id}


def test_O1_a_verb_asks_for_all_of_the_tree(desk: Desk) -> None:
    flow, root, below = partly_over(desk, 2, 3)
    flow.pause(root.id, timeout=0.2)
    assert {child.ref.id for child in below} <= set(asked(desk))


def test_O4_behind_its_calls_a_verb_asks_for_those_that_it_concerns_and_what_is_above_them(desk: Desk) -> None:
    root = desk.root(items=30)
    flow = desk.bridges[0]
    for live in desk.other.has.values():
        live.set("work", active=False)
    flow.pause(root.id)
    child = children(flow.get(root.id))[7]
    asked(desk)
    assert flow.resume(child.id).done
    assert asked(desk)[30:] == [child.ref.id]


def test_O4_while_it_waits_a_verb_asks_for_those_that_are_not_seen_yet(desk: Desk) -> None:
    root = desk.root(items=30)
    flow = desk.bridges[0]
    slow = children(flow.get(root.id))[7]
    pause, looks = desk.other.pause, 0

    def pausing(id: str) -> None:
        if id != slow.ref.id:
            pause(id)

    def looked(call: str) -> None:
        nonlocal looks
        looks += call == "observe"
        if looks == 5:
            desk.other.has[slow.ref.id].go(EngineState.PAUSED)

    desk.other.pause = pausing  # type: ignore[method-assign]
    desk.other.before = looked
    asked(desk)
    assert flow.pause(root.id).done
    assert asked(desk)[60:] == [slow.ref.id] * 3


def test_O2_an_engine_that_was_silent_is_asked_again_behind_the_calls_of_a_verb(desk: Desk) -> None:
    root = desk.root(items=3)
    flow = desk.bridges[0]
    desk.other.down = True

    desk.host.before = lambda call: setattr(desk.other, "down", desk.other.down and call != "pause")
    assert flow.pause(root.id).done
    assert desk.other.count()["pause"] == 3


def test_X7_a_child_that_is_run_again_is_asked_for_again(desk: Desk) -> None:
    root = desk.root(items=2)
    flow = desk.bridges[0]
    first, second = children(flow.get(root.id))
    desk.end(first, EngineState.ERRORED)
    desk.end(second, EngineState.SUCCEEDED)
    assert settle(flow, root.id).record.status is Status.ERRORED
    again = flow.rerun(root.id, RerunRequest(("t.work",)))
    asked(desk)
    for _ in range(3):
        flow.tend([root.tree], set())
    assert first.ref.id in asked(desk)
    desk.end(children(flow.get(again.execution))[0], EngineState.SUCCEEDED)
    for _ in range(4):
        flow.tend([root.tree], set())
    assert statuses(flow, again.execution) == [Status.SUCCEEDED] * 3


class Counted(tuple[WaitingChild, ...]):
    """Waiting actions that count how often one of them is taken."""

    taken = 0

    def __iter__(self) -> Iterator[WaitingChild]:
        for waiting in super().__iter__():
            Counted.taken += 1
            yield waiting


@pytest.mark.parametrize("state", ["held", "ended", "run again"])
def test_a_look_goes_through_what_waits_a_few_times_however_many_children_there_are(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    items = 200
    look_of = desk.host._look

    def looked(live: Live) -> ExecutionLook:
        look = look_of(live)
        return replace(look, waiting=Counted(look.waiting))

    monkeypatch.setattr(desk.host, "_look", looked)
    flow = desk.open()
    desk.host.host("r", "other:flow", items=items)
    if state == "held":
        desk.host.has["r"].go(EngineState.PAUSED)
    root = flow.find("host:r")
    below = children(flow.get(root.id))
    if state != "held":
        for child in below:
            desk.end(child, EngineState.ERRORED)
    if state == "run again":
        settle(flow, root.id)
        root = flow.find(flow.rerun(root.id, RerunRequest(("t.work",))).execution)
    Counted.taken = 0
    flow.tend([root.tree], set())
    assert items <= Counted.taken <= 8 * items
