"""Outcomes: written down before the first call, believed only when seen, finished by whoever comes next (O3 to O6)."""

from __future__ import annotations

import threading

import pytest

from core.deaths import Killed, dies_after, dies_at, revived
from core.kit import Desk, current, errored_family, family, mixed, one, ops, statuses, told
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.errors import EngineRefused, FlowbridgeError, InvalidInput, NotFound, Timeout
from flowbridge.ledger.executions import Filter
from flowbridge.model import EngineState, Record, Status, TaskStatus, Verb, Want
from flowbridge.outcome import Outcome
from flowbridge.sending import Sent
from support.fakes import FakeEngine, task

FLOW = Definition("flow", "flow.yaml")


def idle(desk: Desk) -> str:
    """A family with no running leaf."""
    root, *_ = family(desk)
    for live in desk.engine.has.values():
        live.tasks = [task(one.name, TaskStatus.WAITING, of=live.id) for one in live.tasks]
    return root.id


# O3


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.RESUME, Verb.CANCEL])
@pytest.mark.parametrize("how", ["recover", "next verb"])
def test_O3_a_verb_that_died_before_its_first_call_is_finished(flow: Bridge, desk: Desk, verb: Verb, how: str) -> None:
    id = idle(desk)
    if verb is Verb.RESUME:
        flow.pause(id)
    dies_at(desk.engine, str(verb))
    with pytest.raises(Killed):
        flow.operate(verb, id)
    assert desk.engine.count()[str(verb)] == 0
    later = revived(desk)
    if how == "recover":
        assert [look.record.id for look in later.recover()] == [id]
    elif verb is Verb.CANCEL:
        assert later.cancel(id).done
        later.recover()
    else:
        assert later.operate(verb, id).done  # it was asked for again, and is gone on with
    expected = {"pause": "paused", "resume": "running", "cancel": "canceled"}[verb]
    assert {live.state for live in desk.engine.has.values()} == {expected}
    assert desk.engine.count()[str(verb)] == 1
    assert ops(later)[-1] == ("outcome", "done") or how == "next verb"
    assert later.get(id).open == ()


@pytest.mark.parametrize("verb", [Verb.RERUN, Verb.SKIP])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_O3_a_rerun_or_skip_that_died_at_its_call_happens_once(
    flow: Bridge, desk: Desk, verb: Verb, moment: str
) -> None:
    root, child = errored_family(desk)
    name = "rerun" if verb is Verb.RERUN else "skip"
    if moment == "before":
        dies_at(desk.engine, name)
    else:
        desk.engine.lost = {name}
        dies_after(desk.engine, name)
    with pytest.raises(Killed):
        flow.operate(verb, root.id, request=RerunRequest(("sub.bad",)))
    desk.engine.lost = set()
    later = revived(desk)
    assert [look.record.rerun_of for look in later.recover()] == [root.id]
    assert desk.engine.count()[name] == 1
    assert [task.starts for task in desk.engine.has["e1"].tasks] == [2 if verb is Verb.RERUN else 1]
    assert later.find(child.id).superseded_by == current(later, "e1").id
    assert later.get(current(later, "e0").id).open == ()


@pytest.mark.parametrize("verb", [Verb.RERUN, Verb.SKIP])
def test_O5_a_re_run_of_tasks_waits_for_one_whose_call_may_still_arrive(flow: Bridge, desk: Desk, verb: Verb) -> None:
    root, _ = errored_family(desk)
    desk.engine.ignores = {"rerun"}
    first = flow.rerun(root.id, RerunRequest(("sub.bad",)), timeout=0)
    assert first.exit_code == EngineRefused.exit_code
    with pytest.raises(Timeout, match=r"re-run of .* is not seen at its engine yet") as caught:
        flow.operate(verb, first.execution, request=RerunRequest(("sub.bad",)), timeout=0)
    assert "flowbridge recover" in caught.value.message
    assert ops(flow)[-1] == ("outcome", "rejected")
    desk.engine.ignores = set()
    flow.recover(root.id)
    assert [task.starts for task in desk.engine.has["e1"].tasks] == [2]


@pytest.mark.parametrize(
    ("verb", "others", "status"), [(Verb.SKIP, "succeeded", "succeeded"), (Verb.RERUN, "skipped", "skipped")]
)
def test_O4_a_task_that_somebody_else_was_faster_with_is_told_and_the_operation_is_over(
    flow: Bridge, desk: Desk, verb: Verb, others: str, status: str
) -> None:
    root, _ = errored_family(desk)
    desk.engine.ignores = {"rerun", "skip"}
    desk.engine.before = lambda name: (
        desk.engine.has["e1"].set("bad", status=TaskStatus(others)) if name in desk.engine.ignores else None
    )
    outcome = flow.operate(verb, root.id, request=RerunRequest(("sub.bad",)))
    assert not outcome.done
    assert list(outcome.not_done.values()) == [f"task bad is {status}: something else was done to it meanwhile"]
    assert ops(flow)[-1] == ("outcome", "failed")
    assert flow.get(outcome.execution).open == ()


# O4


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.RESUME, Verb.CANCEL])
def test_O4_what_was_accepted_and_did_not_happen_is_an_error_that_names_it(
    flow: Bridge, desk: Desk, verb: Verb
) -> None:
    id = idle(desk)
    if verb is Verb.RESUME:
        flow.pause(id)
    desk.engine.ignores = {str(verb)}
    outcome = flow.operate(verb, id, timeout=0.05)
    assert (outcome.done, outcome.exit_code) == (False, 6)
    assert outcome.not_done == {id: f"{verb} was accepted by fake, but is not seen yet"}
    assert desk.engine.count()[str(verb)] == 1
    assert [operation.verb for operation in flow.get(id).open] == [verb]
    desk.engine.ignores = set()
    flow.recover(id)
    assert told(flow)[-1].doc["state"] == "done"
    assert flow.get(id).open == ()


@pytest.mark.parametrize("verb", [Verb.RERUN, Verb.SKIP])
def test_O4_a_rerun_or_skip_that_did_not_happen_is_an_error_that_names_it(flow: Bridge, desk: Desk, verb: Verb) -> None:
    root, _ = errored_family(desk)
    desk.engine.ignores = {"rerun", "skip"}
    outcome = flow.operate(verb, root.id, request=RerunRequest(("sub.bad",)), timeout=0.05)
    assert outcome.exit_code == 6
    assert outcome.not_done == {current(flow, "e1").id: f"{verb} was accepted by fake, but is not seen yet"}
    desk.engine.ignores = set()
    flow.recover(outcome.execution)
    assert current(flow, "e1").status is Status.RUNNING


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.RESUME, Verb.CANCEL])
def test_O4_an_engine_that_is_late_is_waited_for(flow: Bridge, desk: Desk, verb: Verb) -> None:
    id = idle(desk)
    if verb is Verb.RESUME:
        flow.pause(id)
    desk.engine.late = 3
    assert flow.operate(verb, id, timeout=20).done
    assert desk.engine.count()[str(verb)] == 1


def ended_first(flow: Bridge, desk: Desk, verb: Verb, state: EngineState) -> Outcome:
    """A verb that its execution was faster than."""
    record = one(desk)
    if verb is Verb.RESUME:
        desk.engine.has["e0"].tasks = []
        flow.pause(record.id)

    def end(called: str) -> None:
        if called == str(verb):
            desk.engine.has["e0"].tasks = []
            desk.engine.has["e0"].go(state)

    desk.engine.before = end
    return flow.operate(verb, record.id)


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.CANCEL])
@pytest.mark.parametrize("state", [EngineState.SUCCEEDED, EngineState.ERRORED])
def test_O4_what_ended_first_is_reported_with_its_status(
    flow: Bridge, desk: Desk, verb: Verb, state: EngineState
) -> None:
    outcome = ended_first(flow, desk, verb, state)
    assert outcome.ended_first == {current(flow, "e0").id: str(state)}
    assert (outcome.done, str(outcome.status)) == (True, str(state))
    assert flow.get("fake:e0").open == ()


def test_O4_a_resume_is_not_sent_again_after_a_timeout_but_looked_for(flow: Bridge, desk: Desk) -> None:
    id = idle(desk)
    flow.pause(id)
    desk.engine.lost = {"resume"}
    assert flow.resume(id).done
    assert desk.engine.count()["resume"] == 1


def test_O4_a_resume_that_never_arrived_stays_open_and_is_sent_by_the_next_command_after_a_look(
    flow: Bridge, desk: Desk
) -> None:
    id = idle(desk)
    flow.pause(id)
    desk.engine.dropped = {"resume"}
    outcome = flow.resume(id, timeout=0.05)
    assert (outcome.done, outcome.exit_code) == (False, 5)
    assert outcome.not_done == {id: "fake did not answer in time; the resume is not seen, and may still arrive"}
    desk.engine.dropped = set()
    asked: list[str] = []
    desk.engine.before = asked.append
    flow.recover(id)
    assert asked[asked.index("resume") - 1] == "observe"
    assert desk.engine.count()["resume"] == 1
    assert set(statuses(flow, id)) == {Status.RUNNING}


@pytest.mark.parametrize("name", ["resume", "rerun", "skip"])
def test_O4_nothing_is_believed_of_an_engine_that_fell_silent_in_between(flow: Bridge, desk: Desk, name: str) -> None:
    verb = {"resume": Verb.RESUME, "rerun": Verb.RERUN, "skip": Verb.SKIP}[name]
    if verb is Verb.RESUME:
        id, request, who = idle(desk), None, "e0"
        flow.pause(id)
    else:
        id, request, who = errored_family(desk)[0].id, RerunRequest(("sub.bad",)), "e1"
    desk.engine.dropped = {name}

    def fall(called: str) -> None:
        desk.engine.down = desk.engine.down or (called == "observe" and falling[0] == name)
        falling[0] = called
        asked.append(called)

    falling = [""]
    asked: list[str] = []
    desk.engine.before = fall
    outcome = flow.operate(verb, id, request=request, timeout=60)
    desk.engine.before = lambda called: None
    assert (outcome.done, outcome.exit_code) == (False, 5)
    assert asked == ["observe", name, "observe"]  # nobody waits for what cannot be seen
    assert outcome.not_done[current(flow, who).id] == "fake did not answer in time"  # as the call was answered
    assert len(flow.get(outcome.execution).open) == 1
    desk.engine.dropped, desk.engine.down = set(), False
    flow.recover()
    assert desk.engine.has["e0"].state is EngineState.RUNNING
    assert flow.ledger.operations.open_trees() == []


@pytest.mark.parametrize("cascades", [True, False])
@pytest.mark.parametrize(
    ("verb", "before"), [(Verb.PAUSE, Want.RUN), (Verb.RESUME, Want.HOLD), (Verb.CANCEL, Want.RUN)]
)
def test_O4_what_an_engine_refuses_is_wanted_no_longer(desk: Desk, verb: Verb, before: Want, cascades: bool) -> None:
    desk.engine = FakeEngine() if cascades else FakeEngine(cascades=frozenset())
    flow = desk.open()
    id = idle(desk)
    if verb is Verb.RESUME:
        flow.pause(id)
    states = [live.state for live in desk.engine.has.values()]
    desk.engine.refuses = {str(verb): EngineRefused("fake says: not today")}
    outcome = flow.operate(verb, id)
    assert (outcome.done, outcome.exit_code) == (False, 6)
    assert set(outcome.not_done.values()) == {"fake says: not today"}
    assert told(flow)[-1].doc["state"] == "failed"
    desk.engine.refuses = {}
    look = desk.open().get(id)
    assert {node.record.want for node in look.snapshot.nodes} == {before}
    assert [live.state for live in desk.engine.has.values()] == states
    assert outcome.status is look.record.status
    assert look.open == ()
    if verb is Verb.RESUME:  # O12: somebody else's resume is not fought afterwards
        desk.engine.resume("e0", "")
        assert statuses(flow, id)[0] is Status.RUNNING


def test_O4_a_rerun_that_the_engine_refuses_supersedes_nothing(flow: Bridge, desk: Desk) -> None:
    root, child = errored_family(desk)
    desk.engine.refuses = {"rerun": EngineRefused("fake says: not today")}
    outcome = flow.rerun(root.id, RerunRequest(("sub.bad",)))
    assert outcome.not_done == {child.id: "fake says: not today"}
    assert outcome.execution == root.id
    assert flow.get(root.id).record.status is Status.ERRORED
    assert (flow.find(root.id).superseded_by, flow.find(child.id).superseded_by) == ("", "")
    desk.engine.refuses = {}
    assert flow.rerun(root.id, RerunRequest(("sub.bad",))).done


REFUSALS: list[tuple[FlowbridgeError, type[FlowbridgeError]]] = [
    (EngineRefused("fake says: no"), EngineRefused),
    (NotFound("fake has no such workflow"), NotFound),
    (InvalidInput("n is missing"), InvalidInput),
]


@pytest.mark.parametrize(("error", "kind"), REFUSALS)
def test_a_start_that_the_engine_refuses_leaves_no_execution(
    flow: Bridge, desk: Desk, error: FlowbridgeError, kind: type[FlowbridgeError]
) -> None:
    desk.engine.refuses = {"start": error}
    with pytest.raises(kind, match=error.message):
        flow.run(FLOW, backend="fake")
    assert flow.list(Filter()) == []
    assert ops(flow) == [("operation", "start"), ("outcome", "failed")]
    assert flow.recover() == []


def test_O2_a_refused_branch_does_not_keep_the_others_from_being_paused(flow: Bridge, desk: Desk) -> None:
    root, child = mixed(desk)
    desk.other.refuses = {"pause": EngineRefused("other says: no")}
    outcome = flow.pause(root.id)
    assert outcome.not_done == {child.id: "other says: no"}
    assert desk.engine.has["e0"].state is EngineState.PAUSED
    assert flow.get(root.id).open == ()


@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_O2_a_verb_that_a_silent_engine_kept_open_is_over_once_a_look_shows_it_done(
    flow: Bridge, desk: Desk, verb: str
) -> None:
    root, _ = mixed(desk)
    desk.other.down = True
    outcome = getattr(flow, verb)(root.id, timeout=0)
    assert (outcome.exit_code, [operation.verb for operation in flow.get(root.id).open]) == (5, [verb])
    desk.other.down = False
    looked_at(flow, root)
    assert flow.get(root.id).open == ()
    assert ends(flow, root) == [("done", "done")]


def left_open(flow: Bridge, desk: Desk) -> tuple[Record, Record]:
    """A tree over two engines, and a pause of it that one of them did not hear; it answers again."""
    root, child = mixed(desk)
    desk.other.down = True
    assert flow.pause(root.id, timeout=0).exit_code == 5
    desk.other.down = False
    return root, child


def looked_at(flow: Bridge, root: Record) -> None:
    """An agent goes on looking."""
    sent = Sent()
    for _ in range(3):
        flow.tend([root.tree], sent)


def ends(flow: Bridge, root: Record) -> list[tuple[str, str]]:
    """How operations ended, and what was told of that."""
    entries = [entry.doc for entry in flow.history(root.id) if entry.kind == "outcome"]
    return [(doc["state"], doc["outcome"]) for doc in entries]


def test_O2_a_pause_that_no_look_shows_yet_stays_open_whoever_looks(flow: Bridge, desk: Desk) -> None:
    root, _ = mixed(desk)
    desk.other.ignores = {"pause"}
    assert flow.pause(root.id, timeout=0).exit_code == 6
    looked_at(flow, root)
    assert [operation.verb for operation in flow.get(root.id).open] == ["pause"]


def test_O4_what_an_engine_refused_is_told_of_a_pause_that_another_kept_open(flow: Bridge, desk: Desk) -> None:
    root, _ = mixed(desk)
    desk.engine.refuses = {"pause": EngineRefused("fake says: no")}
    desk.other.down = True
    assert set(flow.pause(root.id, timeout=0).not_done.values()) == {"fake says: no", "other does not answer"}
    desk.other.down = False
    looked_at(flow, root)
    assert desk.other.has["x0"].state is EngineState.PAUSED
    assert ends(flow, root) == [("failed", f"{root.id}: fake says: no")]


def test_O4_what_ended_before_a_pause_that_was_left_open_is_told_with_its_status(flow: Bridge, desk: Desk) -> None:
    root, child = left_open(flow, desk)
    desk.other.has["x0"].set("work", status=TaskStatus.SUCCEEDED, active=False)
    desk.other.has["x0"].go(EngineState.SUCCEEDED)
    looked_at(flow, root)
    assert ends(flow, root) == [("done", f"done; {child.id} ended first: succeeded")]


def test_S7_what_is_gone_when_its_engine_answers_again_was_not_paused(flow: Bridge, desk: Desk) -> None:
    root, child = left_open(flow, desk)
    del desk.other.has["x0"]
    looked_at(flow, root)
    assert ends(flow, root) == [("failed", f"{child.id}: is gone: other no longer has it (S7)")]


def test_O2_an_engine_that_falls_silent_when_all_is_done_keeps_nothing_open(flow: Bridge, desk: Desk) -> None:
    root, _ = left_open(flow, desk)
    sent = Sent()
    flow.tend([root.tree], sent)
    desk.engine.down = True  # it has shown that it is paused
    flow.tend([root.tree], sent)
    desk.engine.down = False
    assert flow.get(root.id).open == ()


def test_O5_a_verb_ends_when_the_engines_show_it_not_when_the_tree_has_settled(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    outcome = flow.pause(record.id, timeout=20)
    assert (outcome.done, outcome.status) == (True, Status.PAUSING)
    assert flow.get(record.id).open == ()


def test_O5_a_cancel_gets_through_while_a_pause_is_settling(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    flow.pause(record.id)
    assert flow.get(record.id).record.status is Status.PAUSING
    outcome = flow.cancel(record.id, timeout=1)
    assert (outcome.done, outcome.status) == (True, Status.CANCELING)


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.RESUME])
def test_O5_a_cancel_replaces_what_is_left_of_a_pause_or_resume(flow: Bridge, desk: Desk, verb: Verb) -> None:
    id = idle(desk)
    if verb is Verb.RESUME:
        flow.pause(id)
    desk.engine.ignores = {str(verb)}
    flow.operate(verb, id, timeout=0)
    desk.engine.ignores = set()
    sent = desk.engine.count()[str(verb)]
    assert flow.cancel(id, timeout=5).done
    assert desk.engine.count()[str(verb)] == sent
    assert {live.state for live in desk.engine.has.values()} == {EngineState.CANCELED}
    replaced = [entry for entry in told(flow) if entry.doc.get("state") == "replaced"]
    assert len(replaced) == 1
    assert flow.get(id).open == ()


def test_O5_a_second_verb_waits_for_the_first(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    entered, go = threading.Event(), threading.Event()

    def gate(called: str) -> None:
        if called == "pause":
            entered.set()
            assert go.wait(20)

    desk.engine.before = gate
    second = desk.open("second")
    first = threading.Thread(target=lambda: flow.pause(record.id))
    first.start()
    assert entered.wait(20)
    with pytest.raises(Timeout, match="in use by pause by me"):
        second.cancel(record.id, timeout=0.05)
    release = threading.Timer(0.1, go.set)
    release.start()
    assert second.cancel(record.id, timeout=20).done
    first.join(20)
    release.join()
    assert [name for name, _ in desk.engine.sent()] == ["pause", "cancel"]


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.RERUN])
def test_O3_what_an_engine_refused_is_told_as_failed_although_the_command_died_before_it_could_say_so(
    flow: Bridge, desk: Desk, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    if verb is Verb.PAUSE:
        id, request, name = idle(desk), None, "pause"
    else:
        id, request, name = errored_family(desk)[0].id, RerunRequest(("sub.bad",)), "rerun"
    desk.engine.refuses = {name: EngineRefused("not today")}

    def die(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(flow.ledger.operations, "end", die)
    with pytest.raises(Killed):
        flow.operate(verb, id, request=request)
    desk.engine.refuses = {}
    later = revived(desk)
    later.recover()
    assert desk.engine.count()[name] == 1
    came = told(later)[-1]
    assert (came.doc["state"], "not today" in came.doc["outcome"]) == ("failed", True)
    assert later.find(id).superseded_by == ""


def test_C1_a_cancel_that_died_is_taken_over_by_the_next_one(flow: Bridge, desk: Desk) -> None:
    id = idle(desk)
    dies_at(desk.engine, "cancel")
    with pytest.raises(Killed):
        flow.cancel(id)
    later = revived(desk)
    assert later.cancel(id).done
    assert later.get(id).open == ()
    assert [entry.doc["state"] for entry in told(later) if entry.kind == "outcome"] == ["taken over", "done"]
    first, second = (entry for entry in told(later) if entry.kind == "outcome")
    assert first.doc["outcome"] == f"taken over by cancel {second.operation}"


def test_X2_a_watch_follows_two_re_runs_in_a_row(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)
    looks = flow.watch(root.id)
    next(looks)
    other = desk.open("bob")
    latest = ""
    for _ in range(2):
        latest = other.rerun(current(other, "e0").id, RerunRequest(("sub.bad",))).execution
        desk.engine.has["e1"].set("bad", status=TaskStatus.ERRORED, active=False)
        for id in ("e0", "e1"):
            desk.engine.has[id].go(EngineState.ERRORED)
        other.get(latest)
    seen = next(look for look in looks if look.record.id != root.id)
    assert seen.record.id == current(flow, "e0").id == latest


def test_O2_a_look_that_hangs_keeps_no_cancel_waiting_and_overwrites_nothing(flow: Bridge, desk: Desk) -> None:
    id = idle(desk)
    watcher = desk.open("bob")
    cancels: list[Outcome] = []

    def hang(called: str) -> None:
        if called == "observe" and not cancels:
            desk.engine.before = lambda name: None
            cancels.append(flow.cancel(id, timeout=5))

    desk.engine.before = hang
    watcher.get(id)
    assert cancels[0].done
    assert set(statuses(flow, id)) == {Status.CANCELED}
    assert current(flow, "e0").want is Want.CANCEL
