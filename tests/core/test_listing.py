"""Lists: as fresh as few requests can make them, and of what an engine itself has."""

from __future__ import annotations

import threading

import pytest

from core.kit import Desk, current, family, mixed, one
from flowbridge.bridge import Bridge
from flowbridge.deadline import left
from flowbridge.ledger.executions import Filter
from flowbridge.listing import listed
from flowbridge.model import EngineState, Status, TaskStatus
from support.fakes import task


def test_a_list_asks_each_engine_once_for_all_its_trees(flow: Bridge, desk: Desk) -> None:
    for number in range(20):
        one(desk, id=f"f{number}")
    desk.engine.requests.clear()
    assert len(flow.list(Filter())) == 20
    assert desk.engine.count() == {"observe": 1}


def test_a_list_looks_closely_only_at_what_its_engine_calls_something_else_than_before(
    flow: Bridge, desk: Desk
) -> None:
    desk.engine.glances = True
    runs, paused, ends = one(desk, id="f0"), one(desk, TaskStatus.WAITING, id="f1"), one(desk, id="f2")
    flow.pause(paused.id)
    desk.engine.has["f2"].tasks = []
    desk.engine.has["f2"].go(EngineState.ERRORED)
    desk.engine.requests.clear()
    found = {record.id: record.status for record in flow.list(Filter())}
    assert found == {runs.id: Status.RUNNING, paused.id: Status.PAUSED, ends.id: Status.ERRORED}
    assert [(name, id) for name, id in desk.engine.requests if name == "observe"] == [("observe", "f2")]


@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_S5_a_list_looks_closely_at_what_is_not_settled_although_its_engine_says_so(
    flow: Bridge, desk: Desk, verb: str
) -> None:
    desk.engine.glances = True
    record = one(desk)
    {"pause": flow.pause, "cancel": flow.cancel}[verb](record.id)
    assert flow.list(Filter())[0].status in (Status.PAUSING, Status.CANCELING)
    desk.engine.has["e0"].set("t0", status=TaskStatus.SUCCEEDED, active=False)
    assert flow.list(Filter())[0].status in (Status.PAUSED, Status.CANCELED)


def test_a_list_of_children_looks_closely_at_their_trees(flow: Bridge, desk: Desk) -> None:
    desk.engine.glances = True
    _, child, _ = family(desk)
    desk.engine.has["e1"].set("work", status=TaskStatus.SUCCEEDED, active=False)
    desk.engine.has["e1"].go(EngineState.SUCCEEDED)
    found = {record.id: record.status for record in flow.list(Filter(roots=False))}
    assert found[child.id] is Status.SUCCEEDED


def test_what_an_engine_did_not_show_keeps_the_time_of_its_last_look(flow: Bridge, desk: Desk) -> None:
    root, child = mixed(desk)
    seen = {id: flow.find(id).looked for id in (root.id, child.id)}
    desk.other.down = True
    found = {record.id: record.looked for record in flow.list(Filter(roots=False))}
    assert found[root.id] > seen[root.id]
    assert found[child.id] == seen[child.id]


def test_engines_are_asked_beside_one_another_so_that_one_that_is_down_takes_no_time_from_another(
    flow: Bridge, desk: Desk
) -> None:
    one(desk)
    desk.other.add("x0", task("t", of="x0"))
    flow.find("other:x0")
    both = threading.Barrier(2, timeout=30)
    for engine in (desk.engine, desk.other):
        engine.glances = True
        engine.before = lambda name: both.wait() if name == "glance" else None
    assert [record.status for record in flow.list(Filter())] == [Status.RUNNING, Status.RUNNING]


def test_an_engine_may_take_as_long_as_a_list_waits_for_it_at_each_of_both_looks(flow: Bridge, desk: Desk) -> None:
    one(desk)
    one(desk, id="e1")
    desk.engine.has["e1"].go(EngineState.SUCCEEDED)
    desk.engine.glances = True
    times: dict[str, float | None] = {}
    desk.engine.before = lambda name: times.update({name: left()})
    driven = flow.ledger.leases.is_driven
    records = listed(flow.ledger.executions, flow.instances, Filter(), flow.look_at, driven, 1000.0)
    assert len(records) == 2
    assert {name: 990 < (seconds or 0) <= 1000 for name, seconds in times.items()} == {"glance": True, "observe": True}


def test_what_an_engine_has_is_listed_whoever_started_it(flow: Bridge, desk: Desk) -> None:
    known = one(desk)
    desk.engine.add("theirs", state=EngineState.PAUSED)
    found = [(str(member.ref), member.raw, record and record.id) for member, record in flow.list_engine("fake")]
    assert found == [("fake:e0", "RUNNING", known.id), ("fake:theirs", "PAUSED", None)]
    assert flow.ledger.executions.current(flow.list_engine("fake")[1][0].ref) is None
    taken_in = flow.find("fake:theirs")
    assert current(flow, "theirs").id == taken_in.id
