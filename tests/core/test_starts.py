"""Starts: written down first, made once, and finished by whoever comes next; re-runs from the beginning too (O3)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from core.deaths import Killed, dies_after, dies_at, revived
from core.kit import Desk, ops, statuses, told
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.errors import EngineRefused, FlowbridgeError, Unavailable
from flowbridge.ledger.database import Database
from flowbridge.ledger.executions import Filter
from flowbridge.model import EngineState, Record, Status, TaskStatus
from flowbridge.outcome import Outcome

FLOW = Definition("flow", "flow.yaml")


def test_O4_a_start_whose_answer_was_lost_is_done_when_it_is_seen(flow: Bridge, desk: Desk) -> None:
    desk.engine.lost = {"start"}
    assert flow.run(FLOW, backend="fake").status is Status.RUNNING
    assert flow.ledger.operations.open_trees() == []


@pytest.mark.parametrize("moment", ["before", "lost", "look"])
def test_O3_a_start_is_never_done_twice(flow: Bridge, desk: Desk, moment: str) -> None:
    if moment == "before":
        dies_at(desk.engine, "start")
    elif moment == "lost":
        desk.engine.lost, desk.engine.silent = {"start"}, {"observe"}
    else:
        dies_after(desk.engine, "start")
    with pytest.raises((Killed, Unavailable)):
        flow.run(FLOW, backend="fake")
    desk.engine.lost = desk.engine.silent = set()
    later = revived(desk)
    looks = later.recover()
    assert [look.record.status for look in looks] == [Status.RUNNING]
    assert [live.tasks[0].starts for live in desk.engine.has.values()] == [1]
    assert later.recover() == []
    assert [record.id for record in later.list(Filter())] == [looks[0].record.id]


def test_O3_a_start_whose_answer_was_lost_names_how_to_finish_it(flow: Bridge, desk: Desk) -> None:
    desk.engine.dropped = {"start"}
    with pytest.raises(Unavailable, match=r"did not answer in time; .*`flowbridge recover [0-9a-f-]{36}` finishes it"):
        flow.run(FLOW, backend="fake")
    desk.engine.dropped = set()
    flow.recover("last")
    assert len(desk.engine.has) == 1
    assert statuses(flow, "last") == [Status.RUNNING]


@pytest.mark.parametrize("state", [EngineState.RUNNING, EngineState.SUCCEEDED])
def test_O3_a_start_whose_answer_did_not_come_in_time_is_over_once_a_watch_has_seen_what_it_started(
    flow: Bridge, desk: Desk, state: EngineState
) -> None:
    desk.engine.lost, desk.engine.silent = {"start"}, {"observe"}
    with pytest.raises(Unavailable):
        flow.run("flow", backend="fake", timeout=4)
    desk.engine.lost = desk.engine.silent = set()
    (live,) = desk.engine.has.values()
    live.set("work", status=TaskStatus(state), active=state is EngineState.RUNNING)
    live.go(state)
    (look,) = flow.watch("last", deadline=time.monotonic())
    assert (look.record.status, look.open) == (Status(state), ())
    assert ops(flow) == [("operation", "start"), ("outcome", "done")]


def test_O3_a_start_that_was_sent_and_canceled_while_its_engine_is_silent_is_canceled_there(
    flow: Bridge, desk: Desk
) -> None:
    desk.engine.lost, desk.engine.silent = {"start"}, {"observe"}
    with pytest.raises(Unavailable):
        flow.run(FLOW, backend="fake")
    desk.engine.silent = set()
    desk.engine.down = True
    flow.cancel("last", timeout=0)
    desk.engine.down = False
    desk.engine.lost = set()
    flow.recover()
    (live,) = desk.engine.has.values()
    assert live.state is EngineState.CANCELED


def test_O3_a_start_that_never_arrived_and_was_canceled_is_not_made_up_for(flow: Bridge, desk: Desk) -> None:
    desk.engine.dropped = {"start"}
    with pytest.raises(Unavailable):
        flow.run("flow", backend="fake")
    desk.engine.down = True
    flow.cancel("last", timeout=0)
    desk.engine.down = False
    desk.engine.dropped = set()
    flow.recover()
    flow.recover("last")
    assert desk.engine.has == {}
    assert statuses(flow, "last") == [Status.CANCELED]


@pytest.mark.parametrize("how", ["unsent", "down", "refused"])
def test_O2_a_start_that_surely_never_arrived_leaves_nothing_to_be_started_one_day(
    flow: Bridge, desk: Desk, how: str
) -> None:
    desk.engine.down = how == "down"
    desk.engine.silent = {"start"} if how == "unsent" else set()
    desk.engine.refuses = {"start": EngineRefused("wrong password")} if how == "refused" else {}
    with pytest.raises(FlowbridgeError) as caught:
        flow.run("flow", backend="fake")
    assert caught.value.exit_code == (6 if how == "refused" else 5)
    assert ("nothing was started" in caught.value.message) == (how != "refused")
    desk.engine.down, desk.engine.silent, desk.engine.refuses = False, set(), {}
    assert flow.recover() == []
    assert flow.list(Filter()) == []
    assert [entry.doc.get("state") for entry in told(flow)] == [None, "failed"]
    assert desk.engine.has == {}


@pytest.fixture(params=["committed", "before", "after"])
def cut_short(flow: Bridge, desk: Desk, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Record:
    """An execution whose re-run with the input 2 was killed: once written down, or before or behind its start."""
    old = flow.run(FLOW, {"n": 1}, backend="fake")
    desk.engine.has[old.ref.id].tasks = []
    desk.engine.has[old.ref.id].go(EngineState.SUCCEEDED)
    flow.get(old.id)
    desk.engine.requests.clear()
    if request.param == "before":
        dies_at(desk.engine, "start")
    elif request.param == "after":
        dies_after(desk.engine, "start")
    else:
        monkeypatch.setattr(flow.ledger.database, "commit", lambda: dies_once_committed(flow))
    with pytest.raises(Killed):
        flow.rerun(old.id, RerunRequest(input={"n": 2}))
    return old


def test_X1_a_rerun_from_the_beginning_that_died_is_started_once_by_who_comes_next(
    flow: Bridge, desk: Desk, cut_short: Record
) -> None:
    later = revived(desk)
    later.recover()
    assert desk.engine.count()["start"] == 1
    assert [live.read.input for live in desk.engine.has.values()] == [{"n": 1}, {"n": 2}]
    assert ops(later)[-1] == ("outcome", "done")
    assert later.ledger.operations.open_trees() == []
    assert flow.find("last").rerun_of == cut_short.id


def test_X1_a_rerun_from_the_beginning_that_died_is_gone_on_with_where_it_is_asked_for_again(
    desk: Desk, cut_short: Record
) -> None:
    later = revived(desk)
    begun = [record.id for record in later.ledger.executions.list(Filter()) if record.rerun_of == cut_short.id]
    assert [later.rerun(cut_short.id, RerunRequest(input={"n": 2})).execution] == begun
    assert later.ledger.operations.open_trees() == []
    assert [live.read.input for live in desk.engine.has.values()] == [{"n": 1}, {"n": 2}]
    # That one is started and seen now: who asks once more wants another one.
    assert later.rerun(cut_short.id, RerunRequest(input={"n": 2})).execution not in begun


def test_X1_a_rerun_with_another_input_is_another_one_than_that_which_was_cut_short(
    desk: Desk, cut_short: Record
) -> None:
    later = revived(desk)
    later.rerun(cut_short.id, RerunRequest(input={"n": 3}))
    later.recover()
    assert sorted(live.read.input["n"] for live in desk.engine.has.values()) == [1, 2, 3]


def dies_once_committed(flow: Bridge) -> None:
    """Commit, and die right after the commit that holds the re-run."""
    Database.commit(flow.ledger.database)
    if any(entry.doc.get("verb") == "re-run" for entry in flow.history()):
        raise Killed


def test_X1_a_start_that_another_command_finished_first_is_not_finished_twice(
    flow: Bridge, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = flow.run(FLOW, backend="fake")
    desk.engine.has[old.ref.id].tasks = []
    desk.engine.has[old.ref.id].go(EngineState.ERRORED)
    carry_start = flow._operator.carry_written_start

    def once_somebody_recovered(record: Record, *given: Any) -> Outcome:
        assert len(desk.open("somebody").recover(record.id)) == 1
        return carry_start(record, *given)

    monkeypatch.setattr(flow._operator, "carry_written_start", once_somebody_recovered)
    fresh = flow.rerun(old.id)
    assert fresh.status is Status.RUNNING
    assert [entry.kind for entry in flow.history(fresh.execution)].count("outcome") == 1
    assert desk.engine.count()["start"] == 2


def test_O4_a_start_is_done_when_it_is_seen(flow: Bridge, desk: Desk) -> None:
    desk.engine.late = 3
    record = flow.run(FLOW, backend="fake")
    assert record.status is Status.RUNNING
    assert desk.engine.count()["start"] == 1
