"""What a verb finds open: a cancel starts nothing, a rejected verb carries out nothing (O2, O3, O5, O10)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import pytest

from core.kit import BAD, Desk, current, errored_family, family, one, open_rerun, ops, states, statuses, told
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.driver import is_over
from flowbridge.errors import EngineRefused, Rejected, Timeout, Unavailable
from flowbridge.ledger.executions import Filter
from flowbridge.ledger.operations import Operation
from flowbridge.model import EngineState, Record, Status, TaskStatus, Verb
from flowbridge.sending import Sender
from support.fakes import task

FLOW = Definition("flow", "flow.yaml")


def open_start(flow: Bridge, desk: Desk) -> Record:
    """An execution whose start was lost on the way."""
    desk.engine.dropped = {"start"}
    with pytest.raises(Unavailable):
        flow.run(FLOW, backend="fake")
    desk.engine.dropped = set()
    return flow.find("last")


# A cancel starts nothing


def test_O10_a_cancel_of_a_start_that_never_arrived_starts_nothing(flow: Bridge, desk: Desk) -> None:
    record = open_start(flow, desk)
    (line,) = flow.plan(Verb.CANCEL, record.id).lines
    assert (line.action, line.by) == ("cancel", "bridge")
    assert line.reason == "its start was seen nowhere, and is sent no more (C1)"
    outcome = flow.cancel(record.id)
    assert (outcome.done, outcome.status) == (True, Status.CANCELED)
    assert desk.engine.has == {}
    flow.recover()
    flow.recover(record.id)
    assert desk.engine.sent() == []
    assert statuses(flow, record.id) == [Status.CANCELED]
    assert states(flow, "start") == ["replaced"]
    assert flow.get(record.id).open == ()


def arrives(desk: Desk, record: Record) -> None:
    """What was on its way reaches the engine after all."""
    desk.engine.add(record.ref.id, workflow=record.workflow)


@pytest.mark.parametrize("silent", [False, True])
def test_C1_a_start_that_arrives_after_its_cancel_is_canceled_by_an_agents_look(
    flow: Bridge, desk: Desk, silent: bool
) -> None:
    record = open_start(flow, desk)
    desk.engine.down = silent
    outcome = flow.cancel(record.id, timeout=0)
    assert (outcome.status, outcome.exit_code) == (Status.CANCELED, 0)
    seen = "its engine cannot be asked for it" if silent else "is seen nowhere"
    assert f"fake:{record.ref.id}: its start was sent, and {seen}" in outcome.plan.warnings[0]
    desk.engine.down = False
    flow.tend([record.tree], set())  # nothing is there yet, and who looks goes on looking
    assert [tree for tree, _ in flow.ledger.executions.places(("running",))] == [record.tree]
    assert states(flow, "start") == ["replaced"]
    arrives(desk, record)
    for _ in range(2):
        flow.tend([record.tree], set())
    assert desk.engine.has[record.ref.id].state is EngineState.CANCELED
    came = [(entry.kind, entry.actor) for entry in flow.history() if entry.doc.get("new") == "canceling"]
    assert came == [("arrived_late", "engine")]


def test_C1_a_start_that_was_accepted_and_not_shown_is_looked_for_after_its_cancel(flow: Bridge, desk: Desk) -> None:
    desk.engine.ignores = {"start"}
    with pytest.raises(EngineRefused, match="is not seen yet"):
        flow.run(FLOW, backend="fake", timeout=0)
    record = flow.find("last")
    assert flow.cancel(record.id).plan.warnings
    outcomes = [entry.doc["outcome"] for entry in told(flow) if entry.kind == "outcome"]
    assert "it was seen nowhere, and what still arrives is canceled" in outcomes[0]
    arrives(desk, record)
    flow.tend([tree for tree, _ in flow.ledger.executions.places(("running",))], set())
    assert desk.engine.has[record.ref.id].state is EngineState.CANCELED


def test_O13_no_driver_stays_for_a_start_that_links_nothing(flow: Bridge, desk: Desk) -> None:
    record = open_start(flow, desk)
    flow.cancel(record.id)
    assert not flow.get(record.id).waits_for_driver
    assert is_over(flow.known(record.tree))


def test_O3_a_start_that_is_refused_after_an_earlier_try_that_may_arrive_is_not_forgotten(
    flow: Bridge, desk: Desk
) -> None:
    record = open_start(flow, desk)
    desk.engine.refuses = {"start": EngineRefused("403")}
    flow.recover(record.id)
    assert states(flow, "start") == ["open"]
    arrives(desk, record)
    assert flow.get(record.id).record.status is Status.RUNNING
    assert states(flow, "start") == ["done"]


def test_C1_recover_cancels_a_start_that_has_arrived_after_its_cancel(flow: Bridge, desk: Desk) -> None:
    record = open_start(flow, desk)
    flow.cancel(record.id)
    arrives(desk, record)
    flow.recover()
    assert desk.engine.has[record.ref.id].state is EngineState.CANCELED
    assert flow.ledger.executions.late() == []


def test_C1_recover_calls_no_canceled_start_over_while_its_engine_is_silent(flow: Bridge, desk: Desk) -> None:
    record = open_start(flow, desk)
    flow.cancel(record.id)
    desk.engine.down = True
    with pytest.raises(Unavailable, match="whether its start has arrived cannot be told; it is looked for: fake"):
        flow.recover(record.id, timeout=0)
    assert flow.ledger.executions.late() == [record.tree]
    desk.engine.down = False
    flow.recover(record.id)
    assert flow.ledger.executions.late() == []
    assert [entry.doc["outcome"] for entry in told(flow) if entry.kind == "outcome"][-1] == (
        "its start was seen nowhere at fake, and is waited for no longer"
    )


def test_C1_a_start_that_was_written_down_and_never_sent_is_not_waited_for(
    flow: Bridge, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Sender, "_announce", killed)
        with pytest.raises(KeyboardInterrupt):
            flow.run(FLOW, backend="fake")
    desk.engine.down = True
    outcome = flow.cancel("last")
    assert (outcome.status, outcome.plan.warnings) == (Status.CANCELED, ())
    assert flow.ledger.executions.late() == []
    assert states(flow, "start") == ["replaced"]


def test_O10_a_cancel_of_a_start_that_was_taken_cancels_what_is_there(flow: Bridge, desk: Desk) -> None:
    desk.engine.lost, desk.engine.silent = {"start"}, {"observe"}
    with pytest.raises(Unavailable):
        flow.run(FLOW, backend="fake")
    desk.engine.lost = desk.engine.silent = set()
    desk.engine.requests.clear()
    assert flow.cancel("last").done
    assert [name for name, _ in desk.engine.sent()] == ["cancel"]
    assert [live.state for live in desk.engine.has.values()] == [EngineState.CANCELED]
    assert states(flow, "start") == ["done"]


@pytest.mark.parametrize("verb", [Verb.RERUN, Verb.SKIP])
@pytest.mark.parametrize("named", ["root", "child"])
def test_O10_a_cancel_takes_back_a_re_run_that_never_arrived(flow: Bridge, desk: Desk, verb: Verb, named: str) -> None:
    root, child = open_rerun(flow, desk, verb)
    target = {"root": "e0", "child": "e1"}[named]
    plan = flow.plan(Verb.CANCEL, current(flow, target).id)
    assert [line.action for line in plan.lines] == ["cancel", "cancel"]
    assert f"fake:e1: its {verb} was sent, and is seen nowhere. What still arrives is canceled" in plan.warnings[0]
    assert "taken back" in plan.warnings[1]
    outcome = flow.cancel(current(flow, target).id)
    assert (outcome.done, outcome.status) == (True, Status.ERRORED)
    assert outcome.execution == {"root": root.id, "child": child.id}[named]
    assert desk.engine.sent() == []
    assert (current(flow, "e0").id, current(flow, "e1").id) == (root.id, child.id)
    flow.recover()
    flow.recover(root.id)
    assert desk.engine.sent() == []
    assert states(flow, str(verb)) == ["replaced"]
    assert "taken back by cancel" in next(entry.doc["outcome"] for entry in told(flow) if entry.kind == "outcome")
    flow.recover(child.id)
    assert flow.rerun(root.id, BAD).done


def test_O10_a_cancel_of_a_re_run_that_was_taken_cancels_what_runs(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)
    desk.engine.lost, desk.engine.down = {"rerun"}, False
    desk.engine.before = lambda called: setattr(desk.engine, "down", bool(desk.engine.count()["rerun"]))
    assert flow.rerun(root.id, BAD, timeout=0).exit_code == Unavailable.exit_code
    desk.engine.before = lambda called: None
    desk.engine.lost, desk.engine.down = set(), False
    desk.engine.requests.clear()
    outcome = flow.cancel(current(flow, "e0").id)
    assert (outcome.done, outcome.status) == (True, Status.CANCELING)
    assert [name for name, _ in desk.engine.sent()] == ["cancel"]
    assert flow.get(outcome.execution).open == ()


def test_O10_a_cancel_of_another_branch_leaves_a_re_run_alone(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)
    desk.engine.add("e2", parent="e0", task="fine", state=EngineState.SUCCEEDED)
    desk.engine.add("e3", parent="e2", state=EngineState.PAUSED)
    desk.engine.dropped = {"rerun"}
    fresh = flow.rerun(root.id, BAD, timeout=0).execution
    desk.engine.dropped = set()
    desk.engine.requests.clear()
    assert flow.cancel(current(flow, "e3").id).done
    assert [name for name, _ in desk.engine.sent()] == ["cancel"]
    assert [operation.verb for operation in flow.get(fresh).open] == ["re-run"]
    flow.recover(fresh)
    assert [one.starts for one in desk.engine.has["e1"].tasks] == [2]


def test_O10_of_two_branches_that_are_run_again_only_the_canceled_one_is_taken_back(flow: Bridge, desk: Desk) -> None:
    root, child = errored_family(desk)

    desk.engine.has["e0"].tasks.append(task("more", TaskStatus.ERRORED))
    desk.engine.add("e2", task("bad", TaskStatus.ERRORED, of="e2"), parent="e0", task="more", state=EngineState.ERRORED)
    desk.engine.dropped = {"rerun"}
    fresh = flow.rerun(root.id, RerunRequest(("sub.bad", "more.bad")), timeout=0).execution
    desk.engine.dropped = set()
    desk.engine.requests.clear()
    assert flow.cancel(current(flow, "e1").id).done
    assert desk.engine.sent() == []
    assert current(flow, "e1").id == child.id
    assert current(flow, "e0").id == fresh
    flow.recover(fresh)
    assert [one.starts for id in ("e1", "e2") for one in desk.engine.has[id].tasks] == [1, 2]


# A rejected verb carries out nothing

VERBS: list[Callable[[Bridge, str], object]] = [
    lambda flow, of: flow.pause(of),
    lambda flow, of: flow.resume(of),
    lambda flow, of: flow.rerun(of),
    lambda flow, of: flow.skip(of, ["work"]),
]


@pytest.mark.parametrize("verb", VERBS)
def test_O2_a_rejected_verb_does_not_carry_out_a_start_that_is_open(
    flow: Bridge, desk: Desk, verb: Callable[[Bridge, str], object]
) -> None:
    record = open_start(flow, desk)
    is_open = f"The start of execution {record.id} (flow) by me is still open: `flowbridge recover {record.id}` goes on"
    with pytest.raises(Rejected, match=re.escape(is_open)):
        verb(flow, record.id)
    assert desk.engine.has == {}
    assert ops(flow)[-1] == ("outcome", "rejected")
    assert [look.record.status for look in flow.recover()] == [Status.RUNNING]


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.RESUME])
def test_O2_a_rejected_verb_does_not_carry_out_a_re_run_that_is_open(flow: Bridge, desk: Desk, verb: Verb) -> None:
    open_rerun(flow, desk)
    now = current(flow, "e0").id
    with pytest.raises(Rejected, match=rf"The re-run of execution {now} \(flow\) by me is still open: `flow.* {now}` "):
        flow.operate(verb, now)
    assert desk.engine.sent() == []


@pytest.mark.parametrize("verb", [Verb.RESUME, Verb.RERUN])
def test_O2_what_is_refused_because_its_engine_is_silent_is_told_of_the_re_run_that_is_open(
    flow: Bridge, desk: Desk, verb: Verb
) -> None:
    open_rerun(flow, desk)
    desk.engine.down = True
    now = current(flow, "e0").id
    is_open = rf"fake does not answer\. The re-run of execution {now} \(flow\) by me is still open"
    with pytest.raises(Unavailable, match=is_open) as told:
        flow.plan(verb, current(flow, "e1").id, request=RerunRequest(("bad",)))
    assert told.value.instance == "fake"


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("request_", [None, RerunRequest(("sub",))])
def test_O5_another_re_run_waits_and_does_not_carry_out_the_open_one(
    flow: Bridge, desk: Desk, request_: RerunRequest | None, silent: bool
) -> None:
    open_rerun(flow, desk)
    desk.engine.down = silent
    now = current(flow, "e0").id
    with pytest.raises(Timeout, match=rf"the re-run of execution {now} \(flow\) by me is not seen at its engine yet"):
        flow.rerun(now, request_)
    assert desk.engine.sent() == []


# Asked for again


def test_O3_the_re_run_that_is_open_asked_for_again_is_gone_on_with(flow: Bridge, desk: Desk) -> None:
    open_rerun(flow, desk)
    outcome = flow.rerun(current(flow, "e0").id, BAD)
    assert (outcome.done, outcome.execution) == (True, current(flow, "e0").id)
    assert [name for name, _ in desk.engine.sent()] == ["rerun"]
    assert states(flow, "re-run") == ["done", "done"]


def test_O7_a_resume_that_is_open_asked_for_again_is_done_also_where_it_ends_at_once(flow: Bridge, desk: Desk) -> None:
    root, *_ = family(desk)
    for live in desk.engine.has.values():
        live.tasks = []
    flow.pause(root.id)
    desk.engine.dropped = {"resume"}
    assert flow.resume(root.id, timeout=0).exit_code == Unavailable.exit_code
    desk.engine.dropped = set()
    resumed: list[str] = []

    def end(called: str) -> None:
        if resumed and called == "observe":
            for live in desk.engine.has.values():
                live.state = EngineState.SUCCEEDED
        resumed.extend([called] if called == "resume" else [])

    desk.engine.before = end
    outcome = flow.resume(root.id)
    assert (outcome.done, outcome.status) == (True, Status.SUCCEEDED)
    assert told(flow)[-1].doc["outcome"].startswith("went on with the resume that me had left open")
    assert len(flow.list(Filter())) == 1


# Killed as it was done


class Killed(BaseException):
    """The process is no more."""


def killed_as_it_was_done(flow: Bridge, desk: Desk, verb: Verb) -> Record:
    """An execution that a verb was carried out on, by a process that was killed before it could say so."""

    def killed(*_: object, **__: object) -> None:
        raise Killed

    root = errored_family(desk)[0] if verb in (Verb.RERUN, Verb.SKIP) else one(desk, TaskStatus.WAITING)
    if verb is Verb.RESUME:
        flow.pause(root.id)
    start, again = partial(flow.run, FLOW, backend="fake"), partial(flow.operate, verb, root.id, request=BAD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow.ledger.operations, "end", killed)
        with pytest.raises(Killed):
            (start if verb is Verb.START else again)()
    assert states(flow, str(verb)) == ["open"]
    return flow.find("last") if verb is Verb.START else current(flow, "e0")


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.CANCEL, Verb.RESUME, Verb.RERUN, Verb.SKIP, Verb.START])
@pytest.mark.parametrize("look", ["get", "tend", "list"])
def test_O3_a_verb_that_was_killed_as_it_was_done_is_ended_by_the_next_look(
    flow: Bridge, desk: Desk, verb: Verb, look: str
) -> None:
    record = killed_as_it_was_done(flow, desk, verb)
    looks: dict[str, Callable[[], object]] = {
        "get": lambda: flow.get(record.id),
        "tend": lambda: flow.tend([record.tree], set()),
        "list": lambda: flow.look_at([record.tree]),
    }
    sent = desk.engine.sent()
    looks[look]()
    assert flow.ledger.operations.open(record.tree) == []
    assert told(flow)[-1].doc == {"state": "done", "outcome": "done"}
    assert desk.engine.sent() == sent


def test_O3_a_recover_tells_of_a_verb_that_was_killed_as_it_was_done(flow: Bridge, desk: Desk) -> None:
    killed_as_it_was_done(flow, desk, Verb.PAUSE)
    ended: list[Operation] = []
    flow.recover(finished=ended.append)
    assert [(one.verb, one.state) for one in ended] == [("pause", "done")]


@pytest.mark.parametrize("verb", [Verb.RERUN, Verb.SKIP])
def test_O3_a_look_ends_nothing_that_is_not_done(flow: Bridge, desk: Desk, verb: Verb) -> None:
    open_rerun(flow, desk, verb)
    flow.get(current(flow, "e0").id)
    assert states(flow, str(verb)) == ["open"]
    assert desk.engine.sent() == []


def test_O3_a_look_leaves_what_another_command_is_still_at_and_looks_once(flow: Bridge, desk: Desk) -> None:
    record = killed_as_it_was_done(flow, desk, Verb.PAUSE)
    with flow.ledger.leases.held(f"tree:{record.tree}", "pause by her", what="it", timeout=0):
        asked = len(desk.engine.requests)
        desk.open("him").get(record.id)
        assert len(desk.engine.requests) == asked + 1, "one look is enough where somebody else will end it"
        assert states(flow, "pause") == ["open"]


@pytest.mark.parametrize("who", ["a verb", "recover", "a look"])
def test_O12_what_a_re_run_that_was_cut_short_has_re_opened_is_that_ones_whoever_finishes_it(
    flow: Bridge, desk: Desk, who: str
) -> None:
    root, _ = errored_family(desk)
    desk.engine.lost = {"rerun"}
    desk.engine.before = lambda called: setattr(desk.engine, "down", bool(desk.engine.count()["rerun"]))
    assert flow.rerun(root.id, BAD, timeout=0).exit_code == Unavailable.exit_code
    desk.engine.before = lambda called: None
    desk.engine.lost, desk.engine.down = set(), False
    hers, again = desk.open("her"), current(flow, "e0").id
    finishes: dict[str, Callable[[], object]] = {
        "a verb": lambda: hers.pause(again),
        "recover": lambda: hers.recover(again),
        "a look": lambda: hers.get(again),
    }
    finishes[who]()
    went_on = [entry for entry in flow.history() if entry.doc.get("old") == "errored"]
    assert {(entry.kind, entry.actor) for entry in went_on} == {("status", "me")}
    (asked,) = [entry.operation for entry in told(flow) if entry.doc.get("verb") == "re-run"]
    assert {entry.operation for entry in went_on} == {asked}


# The same again


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.RESUME, Verb.CANCEL])
def test_O2_a_verb_that_is_asked_for_again_goes_on_with_the_open_one_and_says_how_it_stands(
    flow: Bridge, desk: Desk, verb: Verb
) -> None:
    record = one(desk)
    if verb is Verb.RESUME:
        desk.engine.has["e0"].set("t0", active=False)
        assert flow.pause(record.id).done
    desk.engine.dropped = {str(verb)}
    for _ in range(2):
        assert flow.operate(verb, record.id, timeout=0).exit_code == Unavailable.exit_code
        (found,) = flow.list(Filter(unfinished=verb), look=False)
        assert found.id == record.id
        assert flow.plan(verb, record.id).goes_on == f"{verb} by me"
    assert flow.list(Filter(unfinished="skip"), look=False) == []
    assert flow.list(Filter(unfinished=verb, backend="other"), look=False) == []
    desk.engine.dropped = set()
    assert flow.operate(verb, record.id).done
    assert flow.list(Filter(unfinished=verb), look=False) == []
    assert flow.plan(Verb.CANCEL, record.id).goes_on == ""


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.CANCEL])
def test_O4_a_verb_that_is_asked_for_again_tells_what_ended_before_the_open_one_reached_it(
    flow: Bridge, desk: Desk, verb: Verb
) -> None:
    record = one(desk)
    desk.engine.dropped = {str(verb)}
    assert not flow.operate(verb, record.id, timeout=0).done
    desk.engine.dropped = set()
    desk.engine.has["e0"].set("t0", status=TaskStatus.SUCCEEDED, active=False)
    desk.engine.has["e0"].go(EngineState.SUCCEEDED)
    outcome = flow.operate(verb, record.id)
    assert (outcome.done, outcome.ended_first) == (True, {record.id: "succeeded"})
    assert f"done; {record.id} ended first: succeeded" in [entry.doc.get("outcome") for entry in told(flow)]


def test_O3_a_cancel_that_was_taken_and_never_ended_is_ended_by_the_same_again_and_not_rejected(
    flow: Bridge, desk: Desk
) -> None:
    record = one(desk)
    desk.engine.has["e0"].set("t0", active=False)
    desk.engine.before = lambda called: setattr(desk.engine, "down", bool(desk.engine.count()["cancel"]))
    assert flow.cancel(record.id, timeout=0).exit_code == Unavailable.exit_code
    desk.engine.before, desk.engine.down = lambda called: None, False
    assert desk.engine.has["e0"].state is EngineState.CANCELED
    outcome = flow.cancel(record.id)
    assert (outcome.done, outcome.status) == (True, Status.CANCELED)
    assert flow.ledger.operations.open(record.tree) == []
    with pytest.raises(Rejected, match="already canceled"):
        flow.cancel(record.id)
