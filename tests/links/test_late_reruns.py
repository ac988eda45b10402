"""A re-run over engines whose calls may still be on their way when it is canceled: what arrives is canceled (O5)."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.driver import is_over
from flowbridge.drivers import undriven
from flowbridge.errors import Unavailable
from flowbridge.model import EngineState, Record, Status, TaskRerun, TaskStatus
from links.kit import Desk, children, errored, settle, task

Tree = tuple[Bridge, Record, Record]


def named(flow: Bridge, record: Record) -> str:
    """The id that stands for an execution now."""
    found = flow.ledger.executions.current(record.ref)
    assert found is not None
    return found.id


@pytest.fixture
def tree(desk: Desk) -> Tree:
    """An errored tree whose re-run got lost on the way to both engines, and was canceled: the records from before."""
    flow, root, (child,) = errored(desk)
    desk.host.dropped = desk.other.dropped = {"rerun"}
    flow.rerun(root.id, RerunRequest(("t.work",)), timeout=0)
    desk.driven.clear()
    assert flow.cancel(named(flow, root)).done
    desk.host.dropped = desk.other.dropped = set()
    return flow, root, child


def kinds(flow: Bridge, record: Record) -> list[str]:
    return [entry.kind for entry in flow.history() if entry.execution == record.id]


def arrives_below(desk: Desk, child: Record) -> None:
    desk.other.rerun(child.ref.id, [TaskRerun(f"{child.ref.id}.work")])


def arrives_above(desk: Desk, root: Record) -> None:
    desk.host.rerun(root.ref.id, [TaskRerun(f"{root.ref.id}.t")])


def test_O13_such_a_tree_is_driven_for_a_day(desk: Desk, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    flow, root, child = tree
    settle(flow, root.id)
    assert root.tree in desk.driven
    assert flow.get(root.id).waits_for_driver
    assert undriven(flow.ledger.executions, flow.ledger.leases, [root.tree]) == {root.tree}
    assert not is_over(flow.known(root.tree))
    (late,) = flow.ledger.executions.get(child.id).withdrawn
    monkeypatch.setattr("flowbridge.drivers.time", SimpleNamespace(time=lambda: late.at + 86_401.0))
    assert is_over(flow.known(root.tree))
    assert undriven(flow.ledger.executions, flow.ledger.leases, [root.tree]) == frozenset()


def test_O5_a_child_that_runs_again_late_is_canceled_and_its_parent_left_as_it_ended(desk: Desk, tree: Tree) -> None:
    flow, root, child = tree
    arrives_below(desk, child)
    flow.tend([root.tree], set())  # a standing look, as of a driver or an agent
    assert desk.other.has[child.ref.id].state is EngineState.CANCELED
    assert kinds(flow, child).count("arrived_late") == 1
    assert "reopened_outside" not in kinds(flow, child) + kinds(flow, root)
    assert desk.host.has[root.ref.id].state is EngineState.ERRORED
    desk.other.has[child.ref.id].set("work", active=False)
    settle(flow, root.id)
    assert flow.get(child.id).record.status is Status.CANCELED
    assert flow.ledger.executions.late() == [root.tree], "the call to its parent's engine may still arrive"


def test_O5_a_task_that_waits_again_late_starts_nothing_and_is_canceled(desk: Desk, tree: Tree) -> None:
    flow, root, child = tree
    desk.other.requests.clear()
    arrives_above(desk, root)
    look = settle(flow, root.id)
    assert desk.other.sent() == []
    assert desk.host.has[root.ref.id].state is EngineState.CANCELED
    assert look.record.status is Status.CANCELED
    assert "reopened_outside" not in kinds(flow, child) + kinds(flow, root)
    assert [record.status for record in children(look)] == [Status.ERRORED, Status.CANCELED]


@pytest.fixture
def pausable(desk: Desk) -> Tree:
    """A tree whose root runs again and waits for its child, whose own re-run got lost on the way: the new root, and the
    child from before."""
    flow, root, (child,) = errored(desk)
    desk.other.dropped = {"rerun"}
    outcome = flow.rerun(root.id, RerunRequest(("t.work",)), timeout=0)
    return flow, flow.find(outcome.execution), child


def test_P6_a_re_run_that_arrives_under_a_pause_is_held_and_goes_on_with_the_resume(desk: Desk, pausable: Tree) -> None:
    flow, root, child = pausable
    plan = flow.pause(root.id, timeout=0).plan
    assert "re-run" in plan.warnings[-1]
    assert plan.warnings[-1].endswith("may still arrive: it is paused then by whoever looks, an agent too (P6)")
    desk.other.dropped = set()
    arrives_below(desk, child)
    flow.tend([root.tree], set())
    assert desk.other.has[child.ref.id].state is EngineState.PAUSED
    desk.other.has[child.ref.id].set("work", active=False)
    assert [record.status for record in (flow.get(root.id).record, *children(flow.get(root.id)))] == [Status.PAUSED] * 2
    assert "resumed_outside" not in [entry.kind for entry in flow.history(root.id)]
    flow.resume(root.id)
    assert desk.other.has[child.ref.id].state is EngineState.RUNNING
    assert flow.ledger.operations.open(root.tree) == []


def test_O12_a_child_that_somebody_re_opens_under_a_pause_is_left_to_them(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    (child,) = children(flow.get(root.id))
    flow.pause(root.id)
    desk.end(child, EngineState.ERRORED)
    settle(flow, root.id)
    arrives_below(desk, child)
    flow.tend([root.tree], set())
    assert desk.other.has[child.ref.id].state is EngineState.RUNNING
    assert "reopened_outside" in kinds(flow, child)


def test_P6_a_pause_warns_of_nothing_where_the_re_run_was_seen(desk: Desk, pausable: Tree) -> None:
    flow, root, child = pausable
    desk.other.dropped = set()
    arrives_below(desk, child)
    assert flow.pause(root.id).plan.warnings == ()


# A child is canceled alone


def test_C5_a_child_canceled_alone_is_not_started_anew_by_the_task_that_waits_for_it_again(
    desk: Desk, pausable: Tree
) -> None:
    flow, root, child = pausable
    started = desk.other.count()["start"]
    desk.other.dropped = set()
    assert flow.cancel(named(flow, child)).done
    look = settle(flow, root.id)
    assert desk.other.count()["start"] == started
    assert [record.id for record in children(look)] == [child.id]
    assert desk.host.reports[-1][:2] == (None, TaskStatus.CANCELED)
    assert look.record.status is Status.CANCELED
    assert "canceled_outside" not in [entry.kind for entry in flow.history(root.id)]
    arrives_below(desk, child)
    flow.tend([root.tree], set())
    assert desk.other.has[child.ref.id].state is EngineState.CANCELED


def test_C5_nor_is_one_whose_re_run_surely_never_left(desk: Desk) -> None:
    flow, root, (child,) = errored(desk)
    desk.other.silent = {"rerun"}
    again = flow.rerun(root.id, RerunRequest(("t.work",)), timeout=0).execution
    desk.other.silent = set()
    settle(flow, again)
    desk.other.requests.clear()
    assert flow.cancel(named(flow, child)).done
    look = settle(flow, again)
    assert desk.other.sent() == []
    assert [(record.id, record.withdrawn) for record in children(look)] == [(child.id, ())]
    assert desk.host.reports[-1][:2] == (None, TaskStatus.CANCELED)
    assert look.record.status is Status.CANCELED


def test_C5_a_task_that_no_call_has_made_wait_again_is_left_as_it_ended(desk: Desk) -> None:
    flow, root, (child,) = errored(desk)

    def killed(name: str) -> None:
        if name == "rerun":
            raise KeyboardInterrupt

    desk.other.before = killed
    with pytest.raises(KeyboardInterrupt):
        flow.rerun(root.id, RerunRequest(("t.work",)))
    desk.other.before = lambda name: None
    desk.host.requests.clear()
    desk.other.requests.clear()
    assert flow.cancel(named(flow, child)).done
    assert flow.ledger.operations.open(root.tree) == []
    flow.recover()
    assert desk.host.sent() == desk.other.sent() == []
    assert (named(flow, root), named(flow, child)) == (root.id, child.id)


def test_X7_of_items_beside_one_that_is_canceled_the_others_run_again(desk: Desk) -> None:
    flow, root, (first, second) = errored(desk, EngineState.ERRORED, EngineState.ERRORED)
    desk.host.dropped = desk.other.dropped = {"rerun"}
    outcome = flow.rerun(root.id, RerunRequest(("t.work",)), timeout=0)
    desk.host.dropped = desk.other.dropped = set()
    assert flow.cancel(named(flow, first)).done
    flow.recover(outcome.execution)
    settle(flow, outcome.execution)
    assert desk.other.has[second.ref.id].state is EngineState.RUNNING
    assert desk.other.has[first.ref.id].state is EngineState.ERRORED
    assert (0, TaskStatus.CANCELED) in [report[:2] for report in desk.host.reports]


# What is open


@pytest.mark.parametrize("verbs", [("pause",), ("pause", "resume", "pause")])
def test_O5_neither_a_pause_nor_a_resume_sends_a_re_run_once_more(
    desk: Desk, pausable: Tree, verbs: tuple[str, ...]
) -> None:
    flow, root, _ = pausable
    desk.other.dropped = set()
    desk.other.requests.clear()
    desk.host.has[root.ref.id].tasks = [replace(task, active=False) for task in desk.host.has[root.ref.id].tasks]
    for verb in verbs:
        getattr(flow, verb)(root.id)
    assert desk.other.count()["rerun"] == 0
    assert [operation.verb for operation in flow.ledger.operations.open(root.tree)] == ["re-run"]
    flow.recover(root.id)
    assert desk.other.count()["rerun"] == 1


def test_O6_the_history_says_that_the_rest_of_a_re_run_was_taken_back(desk: Desk, pausable: Tree) -> None:
    flow, root, _ = pausable
    desk.other.dropped = set()
    flow.cancel(root.id)
    settle(flow, root.id)
    said = [entry.doc["outcome"] for entry in flow.history(root.id) if entry.kind == "outcome"]
    assert any("the rest of it was taken back by cancel" in outcome for outcome in said)


def test_O2_what_may_have_come_at_a_silent_engine_keeps_its_cancel_open(desk: Desk, pausable: Tree) -> None:
    flow, root, child = pausable
    desk.other.down = True
    canceled = flow.cancel(named(flow, child), timeout=0)
    assert (canceled.done, canceled.exit_code) == (False, Unavailable.exit_code)
    assert flow.cancel(root.id, timeout=0).done is False, "it takes the other cancel over"
    desk.other.down = False
    settle(flow, root.id)
    assert flow.ledger.operations.open(root.tree) == []


def test_O2_what_may_come_at_a_silent_engine_keeps_no_other_verb_open(desk: Desk, tree: Tree) -> None:
    flow, root, _ = tree
    desk.other.down = True
    desk.host.has[root.ref.id].tasks.append(task("leaf", TaskStatus.ERRORED, of="r"))
    flow.recover(root.id, failed=lambda *_: None)
    flow.ledger.executions.put([replace(record, withdrawn=()) for record in [flow.find(root.id)]])
    desk.host.rerun("r", [TaskRerun("r.leaf")])
    flow.get(root.id)
    desk.host.has["r"].set("leaf", status=TaskStatus.SUCCEEDED, active=False)
    assert flow.pause(root.id, timeout=0).done
    assert flow.ledger.operations.open(root.tree) == []


def test_X7_of_what_was_taken_back_the_old_end_is_told_where_its_task_runs_again(desk: Desk) -> None:
    flow, root, (first, second) = errored(desk, EngineState.ERRORED, EngineState.ERRORED)
    flow.ledger.executions.put([replace(first, taken_back=True)])
    again = flow.rerun(root.id, RerunRequest(("t[1].work",))).execution
    assert not any(record.taken_back for record in children(flow.get(again)))
    desk.host.reports.clear()
    desk.end(flow.find(named(flow, second)), EngineState.SUCCEEDED)
    assert settle(flow, again).record.status is Status.ERRORED
    assert (0, TaskStatus.CANCELED) not in [report[:2] for report in desk.host.reports]


def test_O12_what_was_taken_back_and_runs_again_for_somebody_is_told_as_it_ends(desk: Desk, pausable: Tree) -> None:
    flow, root, child = pausable
    desk.other.dropped = set()
    desk.host.silent = {"report"}
    flow.cancel(named(flow, child))
    assert flow.get(child.id).record.taken_back
    flow.recover(child.id)
    arrives_below(desk, child)
    settle(flow, root.id)
    assert not flow.get(child.id).record.taken_back
    desk.host.silent = set()
    desk.end(flow.get(child.id).record, EngineState.SUCCEEDED, got=1)
    settle(flow, root.id)
    assert desk.host.reports[-1] == (None, TaskStatus.SUCCEEDED, {"got": 1})
