"""A re-run or a skip that is canceled while it may still be on its way: it is looked for, and canceled then (O5)."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from core.kit import BAD, Desk, current, errored_family, open_rerun, states, statuses
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.driver import is_over
from flowbridge.errors import EngineRefused, NotFound, Rejected, Timeout, Unavailable
from flowbridge.law.arrivals import with_withdrawn
from flowbridge.ledger.operations import Operations
from flowbridge.model import EngineState, Record, Status, TaskRerun, TaskStatus, Verb, WithdrawnCall
from flowbridge.treeviews import tree_view
from support.fakes import task

_E = EngineState


def branches(desk: Desk) -> tuple[Record, Record]:
    """An errored family whose child has another errored task, `more`, and whose root another errored child, e2."""
    root, child = errored_family(desk)
    desk.engine.has["e1"].tasks.append(task("more", TaskStatus.ERRORED, of="e1"))
    desk.engine.has["e0"].tasks.append(task("sub2", TaskStatus.ERRORED))
    desk.engine.add("e2", task("bad", TaskStatus.ERRORED, of="e2"), parent="e0", task="sub2", state=_E.ERRORED)
    desk.bridges[0].get(root.id)
    return root, child


def taken_back(
    flow: Bridge,
    desk: Desk,
    verb: Verb = Verb.RERUN,
    of: str = "e0",
    *,
    again: bool = False,
    tasks: tuple[str, ...] = ("sub.bad",),
) -> tuple[Record, Record]:
    """A re-run of the child's task that got lost on the way, and that a cancel took back: the records from before.
    `again`: the tree is there already."""
    if again:
        root, child = current(flow, "e0"), current(flow, "e1")
        desk.engine.dropped = {"rerun"}
        flow.rerun(root.id, RerunRequest(tasks), timeout=0)
        desk.engine.dropped = set()
    else:
        root, child = open_rerun(flow, desk, verb)
    assert flow.cancel(current(flow, of).id).done
    return root, child


def arrives(desk: Desk, verb: Verb = Verb.RERUN) -> None:
    """What was on its way reaches its engine after all."""
    if verb is Verb.SKIP:
        desk.engine.skip("e1", ["e1.bad"])
    else:
        desk.engine.rerun("e1", [TaskRerun("e1.bad")])


def kinds(flow: Bridge, record: Record) -> list[str]:
    """What the history calls what happened to an execution."""
    return [entry.kind for entry in flow.history() if entry.execution == record.id]


def at_engine(desk: Desk) -> list[EngineState]:
    """What the engine says of the root and the child."""
    return [desk.engine.has[id].state for id in ("e0", "e1")]


@pytest.mark.parametrize("verb", [Verb.RERUN, Verb.SKIP])
@pytest.mark.parametrize("silent", [False, True])
def test_O5_a_re_run_that_arrives_after_a_cancel_took_it_back_is_canceled_by_an_agents_look(
    flow: Bridge, desk: Desk, verb: Verb, silent: bool
) -> None:
    root, child = open_rerun(flow, desk, verb)
    desk.engine.down = silent
    outcome = flow.cancel(current(flow, "e0").id, timeout=0)
    # Where no look was possible, nobody knows whether it has come: the cancel stays open (O2).
    assert (outcome.done, outcome.status) == (not silent, Status.ERRORED)
    assert outcome.exit_code == (Unavailable.exit_code if silent else 0)
    assert states(flow, "cancel") == ["open" if silent else "done"]
    desk.engine.down = False
    flow.tend([root.tree], set())  # nothing has arrived yet, and who looks goes on looking
    assert states(flow, "cancel") == ["done"]
    assert [tree for tree, _ in flow.ledger.executions.places(("running",))] == [root.tree]
    arrives(desk, verb)
    flow.tend([root.tree], set())
    assert at_engine(desk) == [_E.CANCELED] * 2
    desk.engine.has["e1"].set("bad", status=TaskStatus.CANCELED, active=False)
    assert statuses(flow, root.id) == [Status.CANCELED] * 2
    assert kinds(flow, child).count("arrived_late") == 1
    assert "reopened_outside" not in kinds(flow, child) + kinds(flow, root)
    assert flow.ledger.executions.late() == []
    assert flow.ledger.executions.places(("running",)) == []


def test_C5_where_the_child_alone_was_canceled_its_parent_goes_on_as_after_any_cancel_of_a_child(
    flow: Bridge, desk: Desk
) -> None:
    root, child = taken_back(flow, desk, of="e1")
    arrives(desk)
    flow.tend([root.tree], set())
    assert at_engine(desk) == [_E.RUNNING, _E.CANCELED]
    assert flow.get(root.id).record.want == "run"
    assert "reopened_outside" not in kinds(flow, child) + kinds(flow, root)


def test_C3_what_comes_late_is_canceled_with_what_it_has_begun(flow: Bridge, desk: Desk) -> None:
    root, _ = taken_back(flow, desk)
    arrives(desk)
    desk.engine.add("e2", task("work", of="e2"), parent="e1", task="bad")
    flow.get(root.id)
    assert current(flow, "e2").want == "cancel"


def test_O5_one_that_arrived_and_failed_again_between_two_looks_is_looked_for_no_more(flow: Bridge, desk: Desk) -> None:
    root, child = taken_back(flow, desk)
    arrives(desk)
    desk.engine.has["e1"].set("bad", status=TaskStatus.ERRORED, active=False)
    for live in desk.engine.has.values():
        live.go(_E.ERRORED)
    assert statuses(flow, root.id) == [Status.ERRORED] * 2
    assert "arrived_late" in kinds(flow, child)
    assert flow.ledger.executions.late() == []
    arrives(desk)  # somebody else's
    assert statuses(flow, root.id) == [Status.RUNNING] * 2
    assert "reopened_outside" in kinds(flow, child)


@pytest.mark.parametrize("other", ["e1.more", "e2.bad"])
def test_O12_what_somebody_else_runs_again_beside_it_goes_on_also_when_it_comes(
    flow: Bridge, desk: Desk, other: str
) -> None:
    root, child = branches(desk)
    taken_back(flow, desk, again=True)
    desk.engine.rerun(other[:2], [TaskRerun(other)])
    flow.tend([root.tree], set())
    assert flow.get(root.id).record.status is Status.RUNNING
    assert "reopened_outside" in kinds(flow, root)
    arrives(desk)
    flow.tend([root.tree], set())
    assert _E.CANCELED not in [live.state for live in desk.engine.has.values()]
    assert kinds(flow, child).count("arrived_late") == 1
    assert current(flow, "e1").withdrawn == ()


def test_O12_a_run_inside_a_child_is_not_taken_for_the_task_above_it(flow: Bridge, desk: Desk) -> None:
    root, child = errored_family(desk)
    desk.engine.dropped = {"rerun"}
    flow.rerun(root.id, RerunRequest(("sub",)), timeout=0)
    desk.engine.dropped = set()
    flow.cancel(current(flow, "e0").id)
    arrives(desk)  # somebody else's, of a task of the child
    flow.tend([root.tree], set())
    assert statuses(flow, root.id) == [Status.RUNNING] * 2
    assert "arrived_late" not in kinds(flow, root) + kinds(flow, child)


def test_O12_a_task_that_is_run_again_is_not_taken_for_its_skip(flow: Bridge, desk: Desk) -> None:
    root, child = taken_back(flow, desk, Verb.SKIP)
    arrives(desk, Verb.RERUN)
    flow.tend([root.tree], set())
    assert statuses(flow, root.id) == [Status.RUNNING] * 2
    assert "arrived_late" not in kinds(flow, child)


def test_O12_whose_doing_it_is_that_something_runs_again_is_told_once_a_task_shows_it(flow: Bridge, desk: Desk) -> None:
    root, child = taken_back(flow, desk)
    for live in desk.engine.has.values():
        live.go(_E.RUNNING)
    assert statuses(flow, root.id) == [Status.ERRORED] * 2
    assert "reopened_outside" not in kinds(flow, child) + kinds(flow, root)
    desk.engine.has["e1"].set("bad", status=TaskStatus.RUNNING, active=True, starts=2)
    flow.tend([root.tree], set())
    assert at_engine(desk) == [_E.CANCELED] * 2
    assert "reopened_outside" not in kinds(flow, child) + kinds(flow, root)


def test_O12_a_day_later_it_was_somebody_else(flow: Bridge, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    root, child = taken_back(flow, desk)
    (late,) = current(flow, "e1").withdrawn
    monkeypatch.setattr("flowbridge.sync.time", SimpleNamespace(time=lambda: late.at + 86_401.0))
    arrives(desk)
    assert statuses(flow, root.id) == [Status.RUNNING] * 2
    assert "reopened_outside" in kinds(flow, child)


def test_O12_what_is_waited_for_no_longer_and_runs_again_was_re_opened_outside(flow: Bridge, desk: Desk) -> None:
    root, child = taken_back(flow, desk)
    flow.recover()
    assert flow.ledger.executions.late() == [root.tree], "nobody has named it"
    desk.engine.down = True
    with pytest.raises(Unavailable, match="whether its re-run has arrived cannot be told"):
        flow.recover(root.id, timeout=0)
    desk.engine.down = False
    flow.recover(root.id)
    assert flow.ledger.executions.late() == []
    outcome = [entry.doc["outcome"] for entry in flow.history() if entry.kind == "outcome"][-1]
    assert (
        outcome
        == "its re-run was seen nowhere at fake, and is waited for no longer: should it still arrive, it goes on"
    )
    arrives(desk)
    assert flow.get(root.id).record.status is Status.RUNNING
    assert "reopened_outside" in kinds(flow, child)


def test_S7_what_was_taken_back_and_is_gone_is_looked_for_no_more(flow: Bridge, desk: Desk) -> None:
    root, _ = taken_back(flow, desk)
    desk.engine.forget("e0")
    assert flow.get(root.id).record.gone
    assert flow.ledger.executions.late() == []


@pytest.mark.parametrize("tasks", [("sub.bad",), ("sub.more",), ("sub",), ("sub2.bad",)])
def test_O5_no_re_run_is_made_that_could_not_be_told_from_what_may_still_arrive(
    flow: Bridge, desk: Desk, tasks: tuple[str, ...]
) -> None:
    root, child = branches(desk)
    taken_back(flow, desk, again=True)
    desk.engine.requests.clear()
    said = f"re-run in execution {child.id} (flow), which a cancel took back, may still arrive, and could not be told"
    with pytest.raises(Timeout, match=re.escape(said)):
        flow.rerun(root.id, RerunRequest(tasks))
    with pytest.raises(Timeout, match=re.escape(said)):
        flow.plan(Verb.RERUN, root.id, request=RerunRequest(tasks))
    assert desk.engine.sent() == []
    assert flow.ledger.executions.late() == [root.tree]
    flow.recover(child.id)
    assert flow.rerun(root.id, RerunRequest(tasks)).done


def test_X2_beside_a_canceled_branch_another_one_is_run_again_and_the_late_call_ends_its_own_alone(
    flow: Bridge, desk: Desk
) -> None:
    root, _ = branches(desk)
    taken_back(flow, desk, again=True, of="e1")
    assert flow.rerun(root.id, RerunRequest(("sub2.bad",))).done
    arrives(desk)
    flow.tend([root.tree], set())
    assert [desk.engine.has[id].state for id in ("e0", "e1", "e2")] == [_E.RUNNING, _E.CANCELED, _E.RUNNING]


def test_O5_each_of_several_that_were_taken_back_is_canceled_with_what_its_own_cancel_named(
    flow: Bridge, desk: Desk
) -> None:
    root, child = branches(desk)
    taken_back(flow, desk, again=True)
    flow.ledger.executions.put([with_withdrawn(child, ())])  # as if somebody had waited no longer
    taken_back(flow, desk, again=True, of="e1", tasks=("sub.more",))
    first = WithdrawnCall("e1.bad", 1, skip=False, canceled=root.ref, at=current(flow, "e1").withdrawn[0].at)
    later = current(flow, "e1")
    flow.ledger.executions.put([with_withdrawn(later, (*later.withdrawn, first))])
    arrives(desk)
    flow.tend([root.tree], set())
    assert at_engine(desk) == [_E.CANCELED] * 2, "with all that the first of the cancels named"
    desk.engine.has["e1"].set("bad", status=TaskStatus.CANCELED, active=False)
    flow.tend([root.tree], set())
    assert [call.task for call in current(flow, "e1").withdrawn] == ["e1.more"]
    desk.engine.rerun("e1", [TaskRerun("e1.more")])
    flow.tend([root.tree], set())
    assert at_engine(desk)[1] is _E.CANCELED
    assert kinds(flow, child).count("arrived_late") == 2


@pytest.mark.parametrize("fails", [False, True])
def test_O5_of_a_re_run_of_which_a_part_was_seen_the_rest_is_looked_for(flow: Bridge, desk: Desk, fails: bool) -> None:
    root, child = branches(desk)
    desk.engine.dropped = {"rerun"}
    flow.rerun(root.id, RerunRequest(("sub.bad", "sub.more")), timeout=0)
    desk.engine.dropped = set()
    arrives(desk)
    if fails:
        desk.engine.has["e1"].set("bad", status=TaskStatus.ERRORED, active=False)
        for live in desk.engine.has.values():
            live.go(_E.ERRORED)
    flow.cancel(current(flow, "e0").id)
    kept = current(flow, "e1")
    assert (kept.rerun_of, [call.task for call in kept.withdrawn]) == (child.id, ["e1.more"])
    desk.engine.has["e1"].set("bad", active=False)
    flow.tend([root.tree], set())
    assert at_engine(desk) == [_E.ERRORED if fails else _E.CANCELED] * 2
    desk.engine.rerun("e1", [TaskRerun("e1.more")])
    flow.tend([root.tree], set())
    assert at_engine(desk) == [_E.CANCELED] * 2
    assert "arrived_late" in kinds(flow, kept)


def test_O5_what_was_sent_twice_may_come_twice(flow: Bridge, desk: Desk) -> None:
    root, child = open_rerun(flow, desk)
    desk.engine.dropped = {"rerun"}
    flow.recover(current(flow, "e0").id, timeout=0)
    desk.engine.dropped = set()
    flow.cancel(current(flow, "e0").id)
    for runs in (2, 3):
        arrives(desk)
        flow.tend([root.tree], set())
        assert at_engine(desk) == [_E.CANCELED] * 2
        desk.engine.has["e1"].set("bad", status=TaskStatus.ERRORED, active=False)
        assert statuses(flow, root.id) == [Status.CANCELED] * 2
        assert kinds(flow, child).count("arrived_late") == runs - 1
    assert current(flow, "e1").withdrawn == ()
    assert "reopened_outside" not in kinds(flow, child)


def test_O5_what_ended_well_meanwhile_is_still_looked_for(flow: Bridge, desk: Desk) -> None:
    root, _ = taken_back(flow, desk)
    for live in desk.engine.has.values():
        live.go(_E.SUCCEEDED)
    flow.get(root.id)
    assert flow.ledger.executions.late() == [root.tree]


def test_O3_of_several_tasks_one_may_have_been_asked_for_although_the_call_surely_failed(
    flow: Bridge, desk: Desk
) -> None:
    root, _ = branches(desk)
    desk.engine.silent = {"rerun"}
    flow.rerun(root.id, RerunRequest(("sub.bad", "sub.more")), timeout=0)
    desk.engine.silent = set()
    flow.cancel(current(flow, "e0").id)
    assert [call.task for call in current(flow, "e1").withdrawn] == ["e1.bad", "e1.more"]


def test_O3_while_it_cannot_be_told_whether_it_came_nobody_gives_it_up(flow: Bridge, desk: Desk) -> None:
    root, child = taken_back(flow, desk)
    for live in desk.engine.has.values():
        live.go(_E.RUNNING)
    with pytest.raises(Unavailable, match="its engine has just re-opened it; look again"):
        flow.recover(child.id)
    assert flow.get(child.id).record.raw == "RUNNING"
    assert flow.ledger.executions.late() == [root.tree]
    with pytest.raises(Timeout, match="may still arrive"):
        flow.rerun(root.id, BAD)


def test_P2_a_late_re_run_of_ours_lifts_no_hold_that_its_engine_lets_go_with_it(flow: Bridge, desk: Desk) -> None:
    root, _ = branches(desk)
    calls: list[str] = []

    def first_is_lost(name: str) -> None:
        calls.append(name)
        desk.engine.dropped = {"rerun"} if calls.count("rerun") == 1 else set()

    desk.engine.before = first_is_lost
    again = flow.rerun(root.id, RerunRequest(("sub.bad", "sub2.bad")), timeout=0).execution
    desk.engine.before = lambda name: None
    desk.engine.dropped = set()
    (lost,) = [id for id in ("e1", "e2") if desk.engine.has[id].state is _E.ERRORED]
    flow.pause(again)
    assert at_engine(desk)[0] is _E.PAUSED
    desk.engine.rerun(lost, [TaskRerun(f"{lost}.bad")])  # which re-opens what is above it, too
    assert at_engine(desk)[0] is _E.RUNNING
    flow.tend([root.tree], set())
    assert {live.state for live in desk.engine.has.values()} == {_E.PAUSED}
    assert "resumed_outside" not in [entry.kind for entry in flow.history()]


def test_C1_what_runs_again_and_does_not_show_why_can_be_canceled(flow: Bridge, desk: Desk) -> None:
    root, _ = taken_back(flow, desk)
    for live in desk.engine.has.values():
        live.go(_E.RUNNING)
    assert flow.cancel(root.id).done
    assert at_engine(desk) == [_E.CANCELED] * 2


def test_O12_what_does_not_show_why_it_runs_again_within_moments_is_somebody_elses(
    flow: Bridge, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, child = taken_back(flow, desk)
    for live in desk.engine.has.values():
        live.go(_E.RUNNING)
    assert statuses(flow, root.id) == [Status.ERRORED] * 2
    (call,) = current(flow, "e1").withdrawn
    monkeypatch.setattr("flowbridge.sync.time", SimpleNamespace(time=lambda: call.opened + 9.0))
    assert statuses(flow, root.id) == [Status.ERRORED] * 2
    monkeypatch.setattr("flowbridge.sync.time", SimpleNamespace(time=lambda: call.opened + 11.0))
    assert statuses(flow, root.id) == [Status.RUNNING] * 2
    assert "reopened_outside" in kinds(flow, child)


def test_C3_what_comes_late_below_what_was_canceled_since_is_canceled_with_it(flow: Bridge, desk: Desk) -> None:
    root, _ = branches(desk)
    taken_back(flow, desk, again=True, of="e1")
    again = flow.rerun(root.id, RerunRequest(("sub2.bad",))).execution
    flow.cancel(again)
    assert at_engine(desk)[0] is _E.CANCELED
    arrives(desk)
    flow.tend([root.tree], set())
    assert at_engine(desk) == [_E.CANCELED] * 2


def test_P2_what_comes_late_lifts_no_pause_of_what_is_above_it(flow: Bridge, desk: Desk) -> None:
    root, _ = branches(desk)
    taken_back(flow, desk, again=True, of="e1")
    again = flow.rerun(root.id, RerunRequest(("sub2.bad",))).execution
    flow.pause(again)
    arrives(desk)
    flow.tend([root.tree], set())
    assert [desk.engine.has[id].state for id in ("e0", "e1", "e2")] == [_E.PAUSED, _E.CANCELED, _E.PAUSED]
    assert "resumed_outside" not in [entry.kind for entry in flow.history()]


# Only what may arrive is looked for


def not_looked_for(flow: Bridge, desk: Desk, root: Record) -> None:
    """Nothing may arrive, nobody looks, and what runs again is somebody else's."""
    desk.engine.silent = set()
    outcome = flow.cancel(current(flow, "e0").id)
    assert [warning for warning in outcome.plan.warnings if "was sent" in warning] == []
    assert flow.ledger.executions.late() == []
    arrives(desk)
    assert statuses(flow, root.id) == [Status.RUNNING] * 2
    assert "reopened_outside" in kinds(flow, root)


def test_O5_a_re_run_that_surely_never_left_is_not_looked_for(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)
    desk.engine.silent = {"rerun"}
    assert flow.rerun(root.id, BAD, timeout=0).exit_code == Unavailable.exit_code
    not_looked_for(flow, desk, root)


def test_O3_a_re_run_whose_process_was_killed_before_it_was_sent_is_not_looked_for(
    flow: Bridge, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = errored_family(desk)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Operations, "note_sent", killed)
        with pytest.raises(KeyboardInterrupt):
            flow.rerun(root.id, BAD)
    assert desk.engine.sent() == []
    not_looked_for(flow, desk, root)


def test_O3_a_re_run_whose_process_was_killed_while_it_was_sent_is_looked_for(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)

    def killed(name: str) -> None:
        if name == "rerun":
            raise KeyboardInterrupt

    desk.engine.before = killed
    with pytest.raises(KeyboardInterrupt):
        flow.rerun(root.id, BAD)
    desk.engine.before = lambda name: None
    flow.cancel(current(flow, "e0").id)
    assert flow.ledger.executions.late() == [root.tree]


def test_O3_a_second_try_that_never_left_does_not_make_the_first_unsent(flow: Bridge, desk: Desk) -> None:
    root, _ = open_rerun(flow, desk)
    desk.engine.silent = {"rerun"}
    flow.recover(current(flow, "e0").id, timeout=0)
    desk.engine.silent = set()
    assert states(flow, "re-run") == ["open"]
    flow.cancel(current(flow, "e0").id)
    assert flow.ledger.executions.late() == [root.tree]


def test_O2_a_re_run_that_was_refused_leaves_nothing_to_look_for(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)
    desk.engine.refuses = {"rerun": EngineRefused("403")}
    assert not flow.rerun(root.id, BAD).done
    assert flow.ledger.executions.late() == []
    assert states(flow, "re-run") == ["failed"]


# What it says


def test_O13_a_tree_says_what_may_still_arrive_and_no_driver_stays_where_nothing_is_linked(
    flow: Bridge, desk: Desk
) -> None:
    root, child = taken_back(flow, desk)
    look = flow.get(root.id)
    below = tree_view(look.snapshot)["tasks"][0]["children"][0]
    assert below["id"] == child.id
    assert below["waits_for"] == "its re-run, which may still arrive, to cancel it then (C1)"
    assert not look.waits_for_driver
    assert is_over(flow.known(root.tree))


def test_O6_the_id_that_a_re_run_told_leads_to_what_stands_in_its_place_again(flow: Bridge, desk: Desk) -> None:
    open_rerun(flow, desk)
    told = current(flow, "e0").id
    flow.cancel(told)
    back = current(flow, "e0").id
    assert flow.find(told[:13]).id == flow.get(told).record.id == back
    (entry,) = [entry for entry in flow.history(back) if entry.execution == told and entry.kind == "taken_back"]
    assert entry.doc == {"execution": back}
    with pytest.raises(NotFound, match=f"'{told}' is no more: .* taken back, and {back} stands in its place again"):
        flow.ledger.executions.get(told)


def test_O7_a_cancel_of_what_was_taken_back_already_is_told_so(flow: Bridge, desk: Desk) -> None:
    open_rerun(flow, desk)
    told = current(flow, "e1").id
    flow.cancel(told)
    with pytest.raises(Rejected, match="what was to run in it again is taken back already") as refused:
        flow.cancel(told)
    assert refused.value.reason == "already"


def test_O3_a_recover_that_finishes_something_else_gives_up_nothing_but_what_it_names(flow: Bridge, desk: Desk) -> None:
    root, _ = branches(desk)
    desk.engine.dropped = {"rerun"}
    again = flow.rerun(root.id, RerunRequest(("sub.bad", "sub2.bad")), timeout=0).execution
    desk.engine.dropped = set()
    flow.cancel(current(flow, "e1").id)
    flow.recover(again)
    assert [call.task for call in current(flow, "e1").withdrawn] == ["e1.bad"]
    assert desk.engine.has["e2"].state is _E.RUNNING
    flow.recover(current(flow, "e2").id)
    assert [call.task for call in current(flow, "e1").withdrawn] == ["e1.bad"], "that is another one"
    flow.recover(current(flow, "e0").id)
    assert current(flow, "e1").withdrawn == ()


def test_O6_the_history_says_that_what_still_arrives_is_canceled(flow: Bridge, desk: Desk) -> None:
    taken_back(flow, desk)
    outcome = next(entry.doc["outcome"] for entry in flow.history() if entry.kind == "outcome")
    assert "its engine was not seen to take it, and what still arrives is canceled" in outcome
