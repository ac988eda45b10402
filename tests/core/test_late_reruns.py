"""A re-run or a skip that is canceled while it may still be on its way: it is looked for, and canceled then (O5)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from core.kit import BAD, Desk, current, errored_family, open_rerun, states, statuses
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.driver import is_over
from flowbridge.errors import EngineRefused, NotFound, Unavailable
from flowbridge.ledger.operations import Operations
from flowbridge.model import EngineState, Record, Status, TaskRerun, TaskStatus, Verb
from flowbridge.treeviews import tree_view
from support.fakes import task

_E = EngineState


def taken_back(flow: Bridge, desk: Desk, verb: Verb = Verb.RERUN, of: str = "e0") -> tuple[Record, Record]:
    """A re-run of the child's task that got lost on the way, and that a cancel took back: the records from before."""
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
    assert (outcome.done, outcome.status) == (True, Status.ERRORED)
    desk.engine.down = False
    flow.tend([root.tree], set())  # nothing has arrived yet, and who looks goes on looking
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


def test_O12_what_somebody_else_re_runs_beside_it_goes_on(flow: Bridge, desk: Desk) -> None:
    root, child = errored_family(desk)
    desk.engine.has["e1"].tasks.append(task("more", TaskStatus.ERRORED, of="e1"))
    desk.engine.dropped = {"rerun"}
    flow.rerun(root.id, BAD, timeout=0)
    desk.engine.dropped = set()
    flow.cancel(current(flow, "e0").id)
    desk.engine.rerun("e1", [TaskRerun("e1.more")])
    flow.tend([root.tree], set())
    assert statuses(flow, root.id) == [Status.RUNNING] * 2
    assert "reopened_outside" in kinds(flow, child)
    assert flow.ledger.executions.late() == [], "it runs, and is looked at anyway"
    arrives(desk)
    flow.tend([root.tree], set())
    assert at_engine(desk) == [_E.CANCELED] * 2


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
    late = current(flow, "e1").late
    assert late is not None
    monkeypatch.setattr("flowbridge.sync.time", SimpleNamespace(time=lambda: late.at + 86_401.0))
    arrives(desk)
    assert statuses(flow, root.id) == [Status.RUNNING] * 2
    assert "reopened_outside" in kinds(flow, child)


def test_O12_what_is_waited_for_no_longer_and_runs_again_was_re_opened_outside(flow: Bridge, desk: Desk) -> None:
    root, child = taken_back(flow, desk)
    flow.recover()
    assert flow.ledger.executions.late() == [root.tree], "nobody has named it"
    desk.engine.down = True
    with pytest.raises(Unavailable, match="whether its re-run or skip has arrived cannot be told"):
        flow.recover(root.id, timeout=0)
    desk.engine.down = False
    flow.recover(root.id)
    assert flow.ledger.executions.late() == []
    outcome = [entry.doc["outcome"] for entry in flow.history() if entry.kind == "outcome"][-1]
    assert outcome == "its re-run or skip was seen nowhere at fake, and is waited for no longer"
    arrives(desk)
    assert flow.get(root.id).record.status is Status.RUNNING
    assert "reopened_outside" in kinds(flow, child)


def test_S7_what_was_taken_back_and_is_gone_is_looked_for_no_more(flow: Bridge, desk: Desk) -> None:
    root, _ = taken_back(flow, desk)
    desk.engine.forget("e0")
    assert flow.get(root.id).record.gone
    assert flow.ledger.executions.late() == []


def test_X1_what_was_taken_back_and_is_run_again_is_wanted_to_run(flow: Bridge, desk: Desk) -> None:
    root, _ = taken_back(flow, desk)
    again = flow.rerun(root.id, BAD)
    assert again.done
    assert statuses(flow, again.execution) == [Status.RUNNING] * 2
    assert flow.ledger.executions.late() == []


def test_X5_what_was_taken_back_below_a_task_that_is_run_again_as_a_whole_is_looked_for_no_more(
    flow: Bridge, desk: Desk
) -> None:
    root, _ = taken_back(flow, desk)
    again = flow.rerun(root.id, RerunRequest(("sub",)))
    assert again.done
    assert current(flow, "e1").late is None
    assert statuses(flow, again.execution)[0] is Status.RUNNING


def test_O5_what_was_taken_back_twice_may_arrive_as_either(flow: Bridge, desk: Desk) -> None:
    root, child = errored_family(desk)
    desk.engine.has["e1"].tasks.append(task("more", TaskStatus.ERRORED, of="e1"))
    for name in ("sub.bad", "sub.more"):
        desk.engine.dropped = {"rerun"}
        flow.rerun(root.id, RerunRequest((name,)), timeout=0)
        desk.engine.dropped = set()
        flow.cancel(current(flow, "e0").id)
    late = current(flow, "e1").late
    assert late is not None
    assert late.tasks == (("e1.bad", 1), ("e1.more", 1))
    arrives(desk)
    flow.tend([root.tree], set())
    assert at_engine(desk) == [_E.CANCELED] * 2
    assert current(flow, "e1").id == child.id


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
    assert below["waits_for"] == "its re-run or skip, which may still arrive, to cancel it then (C1)"
    assert not look.waits_for_driver
    assert is_over(flow.known(root.tree))


def test_O6_the_id_that_a_re_run_told_leads_to_what_stands_in_its_place_again(flow: Bridge, desk: Desk) -> None:
    open_rerun(flow, desk)
    told = current(flow, "e0").id
    flow.cancel(told)
    back = current(flow, "e0").id
    with pytest.raises(NotFound, match=f"{told[:13]}' is no more: .* taken back, and {back} stands in its place again"):
        flow.get(told[:13])
    (entry,) = [entry for entry in flow.history(told) if entry.execution == told and entry.kind == "taken_back"]
    assert entry.doc == {"execution": back}


def test_O6_the_history_says_that_what_still_arrives_is_canceled(flow: Bridge, desk: Desk) -> None:
    taken_back(flow, desk)
    outcome = next(entry.doc["outcome"] for entry in flow.history() if entry.kind == "outcome")
    assert "its engine was not seen to take it, and what still arrives is canceled" in outcome
