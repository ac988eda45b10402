"""Re-runs: new ids, what becomes of the old ones, and what they start with (X1, X2, S7)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.kit import Desk, current, errored_family, one, statuses
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.errors import EngineRefused, FlowbridgeError, NotFound, Rejected, Unavailable
from flowbridge.ledger.executions import Filter
from flowbridge.model import EngineState, ExecutionRead, Record, Status, TaskStatus, Verb, Want
from flowbridge.treeviews import tree_view

BAD = RerunRequest(("sub.bad",))
FLOW = Definition("flow", "flow.yaml")


def ended(flow: Bridge, desk: Desk, state: EngineState = EngineState.ERRORED, **input: object) -> Record:
    """A run of ours that has ended."""
    record = flow.run(FLOW, input, backend="fake", env={"e": 1})
    desk.engine.has[record.ref.id].tasks = []
    desk.engine.has[record.ref.id].go(state)
    return flow.get(record.id).record


# X1


@pytest.mark.parametrize("state", [EngineState.SUCCEEDED, EngineState.ERRORED, EngineState.CANCELED])
def test_X1_from_the_beginning_is_a_new_execution_with_the_same_input_but_for_what_is_overridden(
    flow: Bridge, desk: Desk, state: EngineState
) -> None:
    old = ended(flow, desk, state, a=1, b={"c": 2})
    outcome = flow.rerun(old.id, RerunRequest(input={"a": 9}), reason="again")
    fresh = flow.find(outcome.execution)
    assert (outcome.verb, outcome.done, outcome.status) == ("re-run", True, Status.RUNNING)
    assert fresh.id != old.id
    assert fresh.ref != old.ref
    assert fresh.tree != old.tree
    assert fresh.rerun_of == old.id
    # The engine knows the workflow by its name: the text of then must not undo a newer one.
    assert flow.ledger.executions.request(fresh.id) == {
        "workflow": "flow",
        "input": {"a": 9, "b": {"c": 2}},
        "env": {"e": 1},
    }
    assert desk.engine.has[fresh.ref.id].read.input == {"a": 9, "b": {"c": 2}}
    assert flow.find(old.id).superseded_by == ""
    assert statuses(flow, old.id) == [str(state)]


def test_X1_a_rerun_can_be_re_run_and_keeps_its_own_input(flow: Bridge, desk: Desk) -> None:
    first = ended(flow, desk, a=1)
    second = flow.find(flow.rerun(first.id, RerunRequest(input={"a": 2})).execution)
    desk.engine.has[second.ref.id].tasks = []
    desk.engine.has[second.ref.id].go(EngineState.ERRORED)
    third = flow.find(flow.rerun(second.id).execution)
    assert desk.engine.has[third.ref.id].read.input == {"a": 2}
    assert (third.rerun_of, flow.find("last").id) == (second.id, third.id)


def test_X1_what_somebody_else_started_is_started_with_what_its_engine_tells(flow: Bridge, desk: Desk) -> None:
    desk.engine.add("e0", state=EngineState.ERRORED, read=ExecutionRead(input={"n": 3, "m": 4}))
    fresh = flow.find(flow.rerun("fake:e0", RerunRequest(input={"m": 5})).execution)
    assert desk.engine.has[fresh.ref.id].read.input == {"n": 3, "m": 5}


def test_X1_a_child_is_started_anew_as_a_tree_of_its_own(flow: Bridge, desk: Desk) -> None:
    _, child = errored_family(desk)
    fresh = flow.find(flow.rerun(child.id).execution)
    assert (fresh.parent, fresh.rerun_of) == (None, child.id)
    assert current(flow, "e0").status is Status.ERRORED


@pytest.mark.parametrize("name", ["start", "read"])
def test_X1_with_its_engine_silent_a_rerun_is_told_and_finished_later_or_not_begun(
    flow: Bridge, desk: Desk, name: str
) -> None:
    if name == "read":
        desk.engine.add("e0", state=EngineState.ERRORED)
        old = flow.find("fake:e0")
    else:
        old = ended(flow, desk)
    before = len(desk.engine.has)
    desk.engine.silent = {name}
    with pytest.raises(Unavailable):
        flow.rerun(old.id, timeout=0.05)
    desk.engine.silent = set()
    flow.recover()
    assert len(desk.engine.has) == before + (name == "start")
    assert flow.ledger.operations.open_trees() == []


def test_O6_a_rerun_whose_start_is_refused_has_one_end_in_the_history_that_says_so(flow: Bridge, desk: Desk) -> None:
    old = ended(flow, desk)
    desk.engine.refuses["start"] = EngineRefused("surplus is no input")
    with pytest.raises(EngineRefused):
        flow.rerun(old.id, RerunRequest(input={"surplus": 1}))
    (end,) = [entry.doc for entry in flow.history(old.id) if entry.kind == "outcome"][1:]
    assert (end["state"], "surplus is no input" in end["outcome"]) == ("failed", True)


def test_O6_a_rerun_that_is_started_ends_once_and_names_what_it_started(flow: Bridge, desk: Desk) -> None:
    old = ended(flow, desk)
    fresh = flow.rerun(old.id).execution
    (end,) = [entry.doc for entry in flow.history(old.id) if entry.kind == "outcome"][1:]
    assert end == {"state": "done", "outcome": f"started as {fresh}"}


def test_O3_a_rerun_that_died_before_its_start_ends_as_what_it_is_and_the_start_is_made_once(
    flow: Bridge, desk: Desk
) -> None:
    old = ended(flow, desk)

    def die(name: str) -> None:
        if name == "start":
            raise MemoryError

    desk.engine.before = die
    with pytest.raises(MemoryError):
        flow.rerun(old.id)
    desk.engine.before = lambda name: None
    flow.recover()
    (end,) = [entry.doc for entry in flow.history(old.id) if entry.kind == "outcome"][1:]
    assert end == {"state": "done", "outcome": "written down to be started anew"}
    assert desk.engine.count()["start"] == 2  # the first run, and the re-run
    assert flow.ledger.operations.open_trees() == []


def test_O1_a_plan_says_that_only_the_start_tells_whether_an_input_is_taken(flow: Bridge, desk: Desk) -> None:
    old = ended(flow, desk)
    (warning,) = flow.plan(Verb.RERUN, old.id, request=RerunRequest(input={"a": 1})).warnings
    assert "looks at the input only when it is started" in warning
    assert flow.plan(Verb.RERUN, old.id).warnings == ()


# X2


def test_X2_what_is_reopened_gets_a_new_record_and_the_rest_keeps_its_own(flow: Bridge, desk: Desk) -> None:
    root, child = errored_family(desk)
    desk.engine.add("e2", parent="e0", task="fine", state=EngineState.SUCCEEDED)
    flow.get(root.id)
    peer = current(flow, "e2")
    outcome = flow.rerun(root.id, BAD)
    fresh, below = current(flow, "e0"), current(flow, "e1")
    assert outcome.execution == fresh.id
    assert (fresh.rerun_of, below.rerun_of) == (root.id, child.id)
    assert (fresh.ref, fresh.tree) == (root.ref, root.tree)
    assert (fresh.want, fresh.held_by, fresh.status) == (Want.RUN, "", Status.RUNNING)
    assert current(flow, "e2").id == peer.id
    assert flow.find(root.id).superseded_by == fresh.id
    assert flow.find(child.id).superseded_by == below.id


def test_X2_named_by_the_child_the_id_returned_is_the_childs(flow: Bridge, desk: Desk) -> None:
    _, child = errored_family(desk)
    assert flow.rerun(child.id, RerunRequest(("bad",))).execution == current(flow, "e1").id


def test_X2_a_superseded_record_shows_its_tree_as_it_stood(flow: Bridge, desk: Desk) -> None:
    root, child = errored_family(desk)
    before = {id: tree_view((look := flow.get(id)).snapshot, look.place) for id in (root.id, child.id)}
    flow.rerun(root.id, BAD)
    desk.engine.has["e1"].set("bad", status=TaskStatus.SUCCEEDED, active=False)
    desk.engine.has["e1"].go(EngineState.SUCCEEDED)
    flow.get(current(flow, "e0").id)
    desk.engine.requests.clear()
    for record in (root, child):
        look = flow.get(record.id)
        assert look.record.superseded_by
        assert look.record.status is Status.ERRORED
        assert look.frozen is not None
        assert _without_times(dict(look.frozen)) == _without_times(before[record.id])
        assert len(look.snapshot.nodes) == 1
    assert desk.engine.requests == []
    assert flow.get(current(flow, "e0").id).frozen is None


def _without_times(view: object) -> object:
    if isinstance(view, dict):
        return {key: _without_times(value) for key, value in view.items() if key != "observed_at"}
    return [_without_times(one) for one in view] if isinstance(view, list) else view


VERBS: list[Callable[[Bridge, str], object]] = [
    lambda flow, of: flow.pause(of),
    lambda flow, of: flow.resume(of),
    lambda flow, of: flow.cancel(of),
    lambda flow, of: flow.rerun(of),
    lambda flow, of: flow.rerun(of, BAD),
    lambda flow, of: flow.skip(of, ["sub.bad"]),
    lambda flow, of: flow.plan(Verb.CANCEL, of),
]


@pytest.mark.parametrize("verb", VERBS)
def test_X2_every_operation_on_a_superseded_record_is_rejected_naming_its_successor(
    flow: Bridge, desk: Desk, verb: Callable[[Bridge, str], object]
) -> None:
    root, _ = errored_family(desk)
    fresh = flow.rerun(root.id, BAD).execution
    sent = desk.engine.sent()
    with pytest.raises(Rejected, match=f"superseded by {fresh}") as caught:
        verb(flow, root.id)
    assert (caught.value.rule, caught.value.reason) == ("X2", "superseded")
    assert desk.engine.sent() == sent


def test_X2_waiting_for_a_superseded_record_is_over_and_watching_it_shows_it_once(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)
    flow.rerun(root.id, BAD)
    assert flow.wait(root.id, timeout=0).record.id == root.id
    assert [look.record.id for look in flow.watch(root.id)] == [root.id]


def test_X2_who_watches_while_it_is_re_run_goes_on_with_its_successors(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)
    other = desk.open()
    watched = flow.watch(root.id)
    assert next(watched).record.id == root.id
    ids = []
    for _ in range(2):
        ids.append(other.rerun(current(other, "e0").id, BAD).execution)
        seen = next(look for look in watched if look.record.status is Status.RUNNING)
        assert seen.record.id == ids[-1]
        for id in ("e1", "e0"):
            for name in ("bad", "sub"):
                desk.engine.has[id].set(name, status=TaskStatus.ERRORED, active=False)
            desk.engine.has[id].go(EngineState.ERRORED)
        assert next(look for look in watched if look.record.status is Status.ERRORED).record.id == ids[-1]


def test_X2_a_rerun_of_a_rerun_supersedes_it_in_its_turn(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)
    second = flow.rerun(root.id, BAD).execution
    for id, name in (("e1", "bad"), ("e0", "sub")):
        desk.engine.has[id].set(name, status=TaskStatus.ERRORED, active=False)
        desk.engine.has[id].go(EngineState.ERRORED)
    third = flow.rerun(second, BAD).execution
    assert [flow.find(id).superseded_by for id in (root.id, second, third)] == [second, third, ""]
    assert [flow.find(id).rerun_of for id in (root.id, second, third)] == ["", root.id, second]
    assert [record.id for record in flow.list(Filter())] == [third]
    assert [task.starts for task in desk.engine.has["e1"].tasks] == [3]


def test_X3_what_was_errored_at_the_last_look_and_is_not_now_is_rejected(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)
    desk.engine.rerun("e1", [])  # somebody else was faster
    desk.engine.requests.clear()
    with pytest.raises(Rejected) as caught:
        flow.rerun(root.id, BAD)
    assert caught.value.rule == "X3"
    assert desk.engine.sent() == []


def test_K1_a_skipped_task_ends_skipped_and_the_execution_goes_on(flow: Bridge, desk: Desk) -> None:
    root, child = errored_family(desk)
    outcome = flow.skip(root.id, ["sub.bad"])
    assert (outcome.done, outcome.status) == (True, Status.RUNNING)
    assert [(task.status, task.starts) for task in desk.engine.has["e1"].tasks] == [(TaskStatus.SKIPPED, 1)]
    assert (flow.find(root.id).superseded_by, flow.find(child.id).superseded_by) != ("", "")


# S7


def test_S7_what_its_engine_has_forgotten_keeps_its_last_status_and_is_gone(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    desk.engine.forget("e0")
    look = flow.get(record.id)
    assert (look.record.status, look.record.gone) == (Status.RUNNING, True)
    assert [task.name for task in look.snapshot.nodes[0].tasks] == ["t0"]
    assert flow.wait(record.id, timeout=0).record.gone
    desk.engine.requests.clear()
    flow.list(Filter())
    assert desk.engine.requests == []


@pytest.mark.parametrize("verb", VERBS[:3])
def test_S7_only_a_rerun_from_the_beginning_is_possible(
    flow: Bridge, desk: Desk, verb: Callable[[Bridge, str], object]
) -> None:
    old = flow.run(FLOW, {"a": 1}, backend="fake")
    desk.engine.forget(old.ref.id)
    with pytest.raises(Rejected) as caught:
        verb(flow, old.id)
    assert (caught.value.rule, caught.value.reason) == ("S7", "gone")
    fresh = flow.find(flow.rerun(old.id).execution)
    assert desk.engine.has[fresh.ref.id].read.input == {"a": 1}


def test_S7_what_nobody_knows_the_input_of_cannot_be_re_run(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    desk.engine.forget("e0")
    with pytest.raises(NotFound, match="start it with `flowbridge run`"):
        flow.rerun(record.id)
    assert desk.engine.has == {}


def test_S7_a_gone_child_does_not_keep_its_parent_from_settling(flow: Bridge, desk: Desk) -> None:
    root, child = errored_family(desk)
    desk.engine.has["e0"].go(EngineState.RUNNING)
    desk.engine.has["e1"].go(EngineState.RUNNING)
    flow.get(root.id)
    desk.engine.forget("e1")
    assert flow.pause(root.id).status is Status.PAUSED
    assert flow.get(child.id).record.gone


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.CANCEL])
def test_S7_what_is_gone_by_the_time_of_the_call_is_told_and_the_operation_is_over(
    flow: Bridge, desk: Desk, verb: Verb
) -> None:
    record = one(desk)
    desk.engine.before = lambda called: desk.engine.has.clear() if called == str(verb) else None
    outcome = flow.operate(verb, record.id)
    assert outcome.not_done == {record.id: "is gone: fake no longer has it (S7)"}
    assert outcome.exit_code == 6
    assert flow.get(record.id).open == ()


def test_S7_what_comes_back_is_gone_no_longer(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    kept = dict(desk.engine.has)
    desk.engine.has.clear()
    assert flow.get(record.id).record.gone
    desk.engine.has = kept
    look = flow.get(record.id)
    assert (look.record.gone, look.record.status) == (False, Status.RUNNING)


def test_an_error_of_the_engine_while_a_rerun_is_prepared_changes_nothing(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)
    desk.engine.silent = {"read"}
    with pytest.raises(FlowbridgeError):
        flow.rerun(root.id)
    assert desk.engine.sent() == []
    assert flow.ledger.operations.open_trees() == []
