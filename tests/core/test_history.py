"""The history, and the records of what the bridge did not start itself (O5, O6)."""

from __future__ import annotations

import json

import pytest

from core.kit import Desk, errored_family, family, one
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.errors import EngineRefused, InvalidInput, NotFound, Rejected, Timeout
from flowbridge.ledger.executions import Filter
from flowbridge.model import EngineState, Record, Ref, Status, TaskStatus
from support.fakes import task


def test_O6_the_history_says_who_why_what_before_and_after_and_the_outcome(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    alice = desk.open("alice")
    alice.pause(record.id, reason="the disk is full")
    desk.engine.has["e0"].tasks = []
    flow.get(record.id)
    with pytest.raises(Rejected):
        desk.open("bob").pause(record.id, reason="me too")
    entries = [entry for entry in flow.history(record.id) if entry.kind != "status" or entry.doc["new"] != "running"]
    assert [(entry.actor, entry.kind) for entry in entries] == [
        ("alice", "operation"),
        ("alice", "status"),
        ("alice", "outcome"),
        ("engine", "status"),
        ("bob", "operation"),
        ("bob", "outcome"),
    ]
    asked, change, done, settled, again, rejected = (entry.doc for entry in entries)
    assert (asked["verb"], asked["reason"]) == ("pause", "the disk is full")
    assert change == {"old": "running", "new": "pausing", "engine_state": "RUNNING"}
    assert done["state"] == "done"
    assert settled == {"old": "pausing", "new": "paused", "engine_state": "PAUSED"}
    assert again["reason"] == "me too"
    assert (rejected["state"], rejected["rule"]) == ("rejected", "P1")
    assert entries[1].operation == entries[0].operation == entries[2].operation
    numbers = [entry.seq for entry in flow.history()]
    assert numbers == sorted(set(numbers))
    assert [entry.at for entry in flow.history()] == sorted(entry.at for entry in flow.history())


def test_O6_a_rerun_keeps_what_was_asked_and_both_ids(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)
    fresh = flow.rerun(root.id, RerunRequest(("sub.bad",)), accept=["X6"], reason="again")
    asked = next(entry for entry in flow.history(fresh.execution) if entry.kind == "operation")
    assert asked.execution == root.id
    assert {key: asked.doc[key] for key in ("verb", "reason", "tasks", "accept")} == {
        "verb": "re-run",
        "reason": "again",
        "tasks": ["sub.bad"],
        "accept": ["X6"],
    }
    assert flow.find(root.id).superseded_by == fresh.execution


def test_O6_the_history_of_one_tree_is_not_that_of_another(flow: Bridge, desk: Desk) -> None:
    first, second = one(desk), one(desk, id="f0")
    flow.pause(first.id)
    flow.cancel(second.id)
    assert {entry.doc["verb"] for entry in flow.history(first.id) if entry.kind == "operation"} == {"pause"}
    assert {entry.doc["verb"] for entry in flow.history() if entry.kind == "operation"} == {"pause", "cancel"}
    json.dumps([dict(entry.doc) for entry in flow.history()])


def test_an_execution_of_the_engine_is_adopted_once_with_its_tree(flow: Bridge, desk: Desk) -> None:
    desk.engine.add("e0", task("sub"))
    desk.engine.add("e1", task("work", of="e1"), parent="e0")
    child = flow.adopt(Ref("fake", "e1"))
    root = flow.adopt(Ref("fake", "e0"))
    assert (child.parent, child.tree) == (root.ref, root.tree)
    assert flow.find("fake:e1").id == child.id
    assert len(flow.list(Filter(roots=False))) == 2
    desk.engine.add("e2", task("work", of="e2"), parent="e0")
    late = flow.adopt(Ref("fake", "e2"))
    assert (late.parent, late.tree) == (root.ref, root.tree)
    with pytest.raises(NotFound, match="fake has no execution e9"):
        flow.find("fake:e9")
    with pytest.raises(InvalidInput, match="no backend 'none'"):
        flow.find("none:e0")


def test_O5_a_child_has_the_same_id_for_who_may_not_write_it_down(flow: Bridge, desk: Desk) -> None:
    root, *_ = family(desk)
    desk.engine.add("e3", task("work", of="e3"), parent="e0")
    with flow.ledger.leases.held(f"tree:{root.tree}", "somebody", what="it", timeout=0):
        seen = [node.record.id for node in desk.open().get(root.id).snapshot.nodes]
    assert [node.record.id for node in flow.get(root.id).snapshot.nodes] == seen


def test_O5_recovering_all_leaves_what_another_command_works_on_and_recovers_the_rest(flow: Bridge, desk: Desk) -> None:
    busy, free = one(desk), one(desk, id="f0")
    desk.engine.silent = {"pause"}
    for record in (busy, free):
        flow.pause(record.id, timeout=0)
    desk.engine.silent = set()
    with flow.ledger.leases.held(f"tree:{busy.tree}", "somebody", what="it", timeout=0):
        assert [look.record.id for look in flow.recover(timeout=0)] == [free.id]
        with pytest.raises(Timeout, match="in use by somebody"):
            flow.recover(busy.id, timeout=0)
    assert [look.record.id for look in flow.recover()] == [busy.id]


def test_P4_since_when_something_is_held_is_when_its_pause_began_and_not_of_an_earlier_one(
    desk: Desk, flow: Bridge
) -> None:
    record, at = one(desk), 1000.0
    note = flow.ledger.operations.note
    for new in ("running", "pausing", "paused", "resuming", "running", "pausing", "paused"):
        at += 1
        note(record.tree, record.id, "status", "ada", at, {"old": "", "new": new})
    note(record.tree, "child", "status", "ada", 2000.0, {"old": "", "new": "paused"})
    note(record.tree, "other", "status", "ada", 2000.0, {"old": "paused", "new": "running"})
    assert flow.held_since(record.id) == {record.id: 1006.0, "child": 2000.0}


def held_for(flow: Bridge, record: Record, *seen: str) -> float | None:
    """Since which of these statuses, that an execution was seen in one after the other, it is held; from 1 on."""
    for at, new in enumerate(seen, 1):
        flow.ledger.operations.note(record.tree, record.id, "status", "ada", at, {"old": "", "new": new})
    return flow.held_since(record.id).get(record.id)


@pytest.mark.parametrize(
    ("seen", "since"),
    [
        (("running", "pausing", "paused", "abandoned", "paused"), 2),
        (("running", "paused", "abandoned"), 2),
        (("running", "paused", "abandoned", "pausing", "abandoned", "paused"), 2),
        (("running", "abandoned", "paused"), 3),  # held once it was abandoned: since nobody knows when
        (("running", "paused", "abandoned", "running", "paused"), 5),
        (("running", "paused", "abandoned", "resuming", "abandoned"), None),
    ],
)
def test_S6_a_runner_that_dies_under_a_pause_does_not_end_the_time_that_its_run_is_held(
    desk: Desk, flow: Bridge, seen: tuple[str, ...], since: float | None
) -> None:
    assert held_for(flow, one(desk), *seen) == since


def test_R2_a_resume_that_its_engine_refuses_does_not_end_the_time_that_an_execution_is_held(
    desk: Desk, flow: Bridge
) -> None:
    record = one(desk, TaskStatus.WAITING)
    flow.pause(record.id)
    first = flow.held_since(record.id)
    desk.engine.refuses = {"resume": EngineRefused("not now")}
    assert not flow.resume(record.id).done
    assert flow.find(record.id).status is Status.PAUSED
    assert flow.held_since(record.id) == first


def test_R2_what_was_resumed_while_it_was_abandoned_is_held_anew(desk: Desk, flow: Bridge) -> None:
    root, child, *_ = family(desk)
    flow.pause(root.id)
    for live in desk.engine.has.values():
        live.tasks = []
    flow.get(root.id)
    first = flow.held_since(root.id)[child.id]
    desk.engine.has[child.ref.id].go(EngineState.ABANDONED)
    flow.get(root.id)
    assert flow.held_since(root.id)[child.id] == first
    flow.resume(root.id)
    assert child.id not in flow.held_since(root.id)
    flow.pause(root.id)
    desk.engine.has[child.ref.id].go(EngineState.PAUSED)
    flow.get(root.id)
    assert flow.find(child.id).status is Status.PAUSED
    assert flow.held_since(root.id)[child.id] > first
