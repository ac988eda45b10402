"""What happens between two lines: answers that are lost, engines that were faster, two commands on one tree."""

from __future__ import annotations

import time
from typing import Any

import pytest

from core.kit import Desk, current, errored_family, family, one, told
from flowbridge.bridge import Bridge
from flowbridge.capabilities import Capabilities
from flowbridge.checks import RerunRequest
from flowbridge.errors import EngineRefused, FlowbridgeError, Rejected, Timeout
from flowbridge.ledger import leases
from flowbridge.ledger.executions import Filter
from flowbridge.model import EngineState, Ref, Status, TaskStatus, Verb, Want
from flowbridge.sync import Pass
from support.fakes import FakeEngine, task


def bare(engine: FakeEngine) -> FakeEngine:
    """The engine, cascading nothing."""
    engine._facts = Capabilities(verbs=frozenset(Verb))
    return engine


def ended(flow: Bridge, desk: Desk) -> str:
    record = one(desk, TaskStatus.SUCCEEDED)
    desk.engine.has["e0"].go(EngineState.SUCCEEDED)
    flow.get(record.id)
    return record.id


def test_O10_a_child_is_never_taken_for_its_root_while_its_tree_is_in_use(
    flow: Bridge, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowbridge.operate._REFRESH_SECONDS", 0.05)
    desk.engine.add("e0", task("sub"))
    root = flow.find("fake:e0")
    desk.engine.add("e1", task("work", of="e1"), parent="e0")
    hers = flow.ledger.leases.held(f"tree:{root.tree}", "pause by her", what="it", timeout=0)
    with hers, pytest.raises(Timeout, match="pause by her"):
        flow.cancel("fake:e1")
    assert desk.engine.sent() == []
    assert flow.find("fake:e1").ref == Ref("fake", "e1")


def test_P7_a_start_whose_tree_refuses_what_follows_keeps_its_record(
    flow: Bridge, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = bare(desk.engine)

    def start(request: Any) -> Ref:
        engine.add(request.id, task("sub", of=request.id), state=EngineState.PAUSED)
        engine.add("child", task("work", of="child"), parent=request.id)
        return Ref("fake", request.id)

    monkeypatch.setattr(engine, "start", start)
    engine.refuses = {"pause": EngineRefused("not now")}
    record = flow.run("flow", backend="fake")
    assert [kept.id for kept in flow.ledger.executions.list(Filter())] == [record.id]
    engine.refuses = {}
    flow.get(record.id)
    assert engine.has["child"].state is EngineState.PAUSED


def test_P6_a_pause_that_did_not_get_through_is_tried_again_by_the_same_watch(flow: Bridge, desk: Desk) -> None:
    engine = bare(desk.engine)
    root, *_ = family(desk)
    flow.pause(root.id)
    engine.add("e9", task("work", of="e9"), parent="e0")
    sent: set[tuple[str, str]] = set()
    engine.silent = {"pause"}
    flow._tender.tend(root.tree, sent)
    engine.silent = set()
    flow._tender.tend(root.tree, sent)
    assert engine.has["e9"].state is EngineState.PAUSED


def test_P7_a_second_pause_by_the_workflow_itself_holds_the_tree_within_the_same_watch(
    flow: Bridge, desk: Desk
) -> None:
    engine = bare(desk.engine)
    root, *_ = family(desk)
    for live in engine.has.values():
        live.tasks = [task(each.name, TaskStatus.WAITING, of=live.id) for each in live.tasks]
    sent: set[tuple[str, str]] = set()
    for _ in range(2):
        engine.has["e1"].go(EngineState.PAUSED)
        for _ in range(2):
            flow._tender.tend(root.tree, sent)
        assert {live.state for live in engine.has.values()} == {EngineState.PAUSED}
        assert flow.resume(root.id).done
        flow._tender.tend(root.tree, sent)


def test_O5_a_long_operation_goes_on_holding_its_tree(
    flow: Bridge, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = one(desk, TaskStatus.WAITING)
    held: list[bool] = []
    clock = [time.time()]
    monkeypatch.setattr("flowbridge.ledger.leases.time.time", lambda: clock[0])

    def time_passes(called: str) -> None:
        del called
        clock[0] += leases.TTL_SECONDS / 2
        row = flow.ledger.database.one("SELECT expires FROM leases WHERE name = ?", (f"tree:{record.tree}",))
        held.append(row is not None and row[0] > clock[0])

    desk.engine.before = time_passes
    desk.engine.late = 4
    assert flow.pause(record.id, timeout=3600).done
    assert len(held) > 4
    assert all(held)


def test_O5_whoever_lost_the_tree_sends_nothing_more_and_says_who_goes_on(flow: Bridge, desk: Desk) -> None:
    record = one(desk, TaskStatus.WAITING)

    def stolen(called: str) -> None:
        if called == "observe":
            flow.ledger.database.run("UPDATE leases SET token = 'theirs' WHERE name = ?", (f"tree:{record.tree}",))

    desk.engine.before = stolen
    with pytest.raises(Timeout, match=f"`flowbridge recover {record.id}` finishes it"):
        flow.pause(record.id)
    assert desk.engine.sent() == []


def test_O5_recover_touches_nothing_of_a_tree_that_is_in_use_and_says_so(flow: Bridge, desk: Desk) -> None:
    record = one(desk, TaskStatus.WAITING)
    desk.engine.silent = {"pause"}
    flow.pause(record.id, timeout=0.05)
    desk.engine.silent = set()
    left: list[tuple[str, str]] = []
    with flow.ledger.leases.held(f"tree:{record.tree}", "cancel by her", what="it", timeout=0):
        with pytest.raises(Timeout):
            flow.recover(record.id, timeout=0.05)
        looks = flow.recover(timeout=0.05, failed=lambda tree, error: left.append((tree, error.message)))
    assert (looks, [tree for tree, _ in left]) == ([], [record.tree])
    assert "cancel by her" in left[0][1]
    assert desk.engine.sent() == []


def test_a_look_under_way_does_not_bring_a_pruned_tree_back(
    flow: Bridge, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = ended(flow, desk)
    other, look_at = desk.open("her"), flow._sync.look_at

    def pruned_meanwhile(trees: list[str], **how: bool) -> dict[str, Pass]:
        desk.engine.forget("e0")
        found = look_at(trees, **how)
        assert other.prune(time.time() + 1) == 1
        return found

    monkeypatch.setattr(flow._sync, "look_at", pruned_meanwhile)
    with pytest.raises(FlowbridgeError):
        flow.get(id)
    assert flow.ledger.executions.list(Filter()) == []


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.CANCEL])
def test_O4_a_verb_whose_answer_was_lost_is_done_when_the_engine_shows_it(flow: Bridge, desk: Desk, verb: Verb) -> None:
    record = one(desk, TaskStatus.WAITING)
    desk.engine.lost = {str(verb)}
    outcome = flow.operate(verb, record.id)
    assert (outcome.done, outcome.exit_code, dict(outcome.not_done)) == (True, 0, {})
    assert flow.get(record.id).open == ()


def test_O4_what_ended_before_the_engine_refused_is_no_refusal(flow: Bridge, desk: Desk) -> None:
    record = one(desk)

    def end(called: str) -> None:
        if called == "pause":
            desk.engine.has["e0"].set("t0", status=TaskStatus.SUCCEEDED, active=False)
            desk.engine.has["e0"].go(EngineState.SUCCEEDED)

    desk.engine.before = end
    desk.engine.refuses = {"pause": EngineRefused("it has ended")}
    outcome = flow.pause(record.id)
    assert (outcome.done, outcome.exit_code) == (True, 0)
    assert outcome.ended_first == {record.id: "succeeded"}
    assert told(flow)[-1].doc["state"] == "done"


def test_O6_the_history_of_a_pruned_execution_can_still_be_asked_for(flow: Bridge, desk: Desk) -> None:
    id = ended(flow, desk)
    before = len(flow.history(id))
    flow.prune(time.time() + 1)
    assert [entry.kind for entry in flow.history(id)[before:]] == ["pruned"]


def test_what_is_gone_is_among_what_a_prune_would_forget(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    desk.engine.forget("e0")
    flow.get(record.id)
    assert [one.id for one in flow.prunable(time.time() + 1)] == [record.id]
    assert flow.prune(time.time() + 1) == 1


def test_a_watch_gives_the_look_that_came_as_its_time_ran_out(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    looks: list[str] = []

    def end(called: str) -> None:
        looks.append(called)
        if called == "observe" and looks.count("observe") == 2:
            desk.engine.has["e0"].set("t0", status=TaskStatus.SUCCEEDED, active=False)
            desk.engine.has["e0"].go(EngineState.SUCCEEDED)

    desk.engine.before = end
    watched = flow.watch(record.id, deadline=time.monotonic())
    assert next(watched).record.status is Status.RUNNING
    assert next(watched, None) is None
    assert [look.record.status for look in flow.watch(record.id, deadline=time.monotonic())] == [Status.SUCCEEDED]


def test_X2_a_dry_run_that_meets_a_re_run_names_the_successor(
    flow: Bridge, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = errored_family(desk)
    other, look = desk.open("her"), flow._sync.look

    def re_run_meanwhile(tree: str) -> Pass:
        monkeypatch.setattr(flow._sync, "look", look)
        other.rerun(root.id, RerunRequest(("sub.bad",)))
        return look(tree)

    monkeypatch.setattr(flow._sync, "look", re_run_meanwhile)
    with pytest.raises(Rejected, match=current(flow, "e0").id):
        flow.plan(Verb.CANCEL, root.id)


def test_the_timeout_holds_although_children_keep_being_born(flow: Bridge, desk: Desk) -> None:
    engine = bare(desk.engine)
    record = one(desk)
    born: list[str] = []

    def another(called: str) -> None:
        if called == "observe" and engine.has["e0"].state is EngineState.PAUSED:
            born.append(f"b{len(born)}")
            engine.add(born[-1], task("work", of=born[-1]), parent="e0", task="t0")

    engine.before = another
    outcome = flow.pause(record.id, timeout=0)
    assert not outcome.done
    assert len(born) < 4


def test_O12_a_child_that_is_gone_behind_a_silent_engine_keeps_nobody_pausing(flow: Bridge, desk: Desk) -> None:
    from core.kit import mixed

    root, child = mixed(desk)
    desk.engine.has["e0"].tasks = [task("t0", TaskStatus.WAITING)]
    desk.other.forget("x0")
    flow.get(root.id)
    assert flow.find(child.id).gone
    flow.pause(root.id)
    desk.other.down = True
    assert flow.get(root.id).record.status is Status.PAUSED
    assert flow.find(root.id).want is Want.HOLD
