"""Re-runs and skips that cross engines (X)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowbridge.bridge import Bridge
from flowbridge.capabilities import PartialRerun
from flowbridge.checks import RerunRequest
from flowbridge.errors import EngineRefused, Rejected, Unavailable, Unsupported
from flowbridge.law.decide import Action
from flowbridge.model import EngineState, Record, Status, TaskRerun, TaskStatus, Verb
from flowbridge.planning import fingerprint
from flowbridge_cli.commands.doctor import _open
from flowbridge_cli.documents import tree_document
from flowbridge_cli.drawing import tree_lines
from links.kit import Desk, children, errored, settle
from support.fakes import FakeEngine, task
from support.hosts import HostEngine

OK, BAD = EngineState.SUCCEEDED, EngineState.ERRORED


def again(flow: Bridge, root: Record, *tasks: str, no_reset: tuple[str, ...] = ()) -> Record:
    return flow.find(flow.rerun(root.id, RerunRequest(tasks, no_reset)).execution)


@pytest.mark.parametrize("renames", [False, True])
def test_X7_the_child_is_re_run_from_its_task_and_its_parent_waits_for_it_again(desk: Desk, renames: bool) -> None:
    desk.host.renames = renames
    flow, root, (child,) = errored(desk)
    fresh = again(flow, root, "t.work")
    (below,) = children(settle(flow, fresh.id))
    assert (fresh.rerun_of, below.rerun_of, below.ref) == (root.id, child.id, child.ref)
    assert desk.other.count()["start"] == 0
    assert desk.other.sent() == [("rerun", child.ref.id)]
    assert (below.status, below.awaited) == (Status.RUNNING, False)
    desk.end(below, OK, got=1)
    assert settle(flow, fresh.id).record.status is Status.SUCCEEDED
    assert desk.host.reports == [(None, TaskStatus.SUCCEEDED, {"got": 1})]


def test_X7_the_old_end_of_a_child_that_is_being_re_run_is_not_told(desk: Desk) -> None:
    flow, root, _ = errored(desk)
    desk.other.ignores = {"rerun"}
    outcome = flow.rerun(root.id, RerunRequest(("t.work",)), timeout=0.05)
    assert not outcome.done
    look = settle(flow, outcome.execution)
    assert desk.host.reports == []
    shown = tree_document(flow, look)
    assert shown["tasks"][0]["children"][0]["waits_for"] == "the re-run that is not finished"
    assert shown["unfinished"] == ["re-run by me"]
    hint = f"The re-run by me is not finished: `flowbridge recover {outcome.execution[:13]}` goes on with it"
    assert any(line.startswith(hint) for line in tree_lines(shown))
    desk.other.ignores = set()
    flow.recover(outcome.execution)
    (below,) = children(settle(flow, outcome.execution))
    assert below.status is Status.RUNNING


def test_O3_doctor_names_the_root_of_a_tree_with_an_open_re_run(desk: Desk) -> None:
    flow, root, _ = errored(desk, OK, BAD)
    desk.other.ignores = {"rerun"}
    outcome = flow.rerun(root.id, RerunRequest(("t.work",)), timeout=0.05)
    assert _open(flow, root.tree)["name"] == outcome.execution


def test_O12_a_re_run_that_its_engine_takes_late_is_not_taken_for_somebody_elses(desk: Desk) -> None:
    flow, root, (child,) = errored(desk)
    desk.other.ignores = {"rerun"}
    outcome = flow.rerun(root.id, RerunRequest(("t.work",)), timeout=0.05)
    desk.other.ignores = set()
    desk.other.rerun(child.ref.id, [TaskRerun(f"{child.ref.id}.work")])
    (below,) = children(desk.open("somebody").get(outcome.execution))
    assert below.status is Status.RUNNING
    (entry,) = [entry for entry in flow.history() if entry.doc.get("new") == "running" and entry.execution == below.id]
    assert (entry.kind, entry.actor, entry.operation) == ("status", "me", outcome.operation)


def test_X8_named_by_the_child_it_means_the_same(desk: Desk) -> None:
    flow, root, (child,) = errored(desk)
    outcome = flow.rerun(child.id, RerunRequest(("work",)))
    assert flow.find(outcome.execution).rerun_of == child.id
    assert flow.get(root.id).record.superseded_by
    assert desk.host.count()["rerun"] == desk.other.count()["rerun"] == 1


def test_X5_a_task_without_a_dot_starts_its_child_anew(desk: Desk) -> None:
    flow, root, (child,) = errored(desk)
    fresh = again(flow, root, "t")
    new = children(settle(flow, fresh.id))[-1]
    assert (new.ref == child.ref, new.status) == (False, Status.RUNNING)
    assert desk.other.count()["start"] == 1


@pytest.mark.parametrize("partial", [PartialRerun.YES, PartialRerun.LAST_FAILED, PartialRerun.NO])
@pytest.mark.parametrize("dotted", [True, False])
def test_X6_items_that_succeeded_elsewhere_are_kept_and_not_run_again(
    desk: Desk, partial: PartialRerun, dotted: bool
) -> None:
    desk.host = HostEngine(partial_rerun=partial)
    flow, root, before = errored(desk, OK, BAD, OK)
    fresh = again(flow, root, "t.work", no_reset=()) if dotted else again(flow, root, "t", no_reset=("t",))
    look = settle(flow, fresh.id)
    running = [node.record for node in look.snapshot.nodes if node.record.status is Status.RUNNING and node.parent >= 0]
    assert [record.item for record in running] == [1]
    assert desk.other.count()["start"] == (0 if dotted else 1)
    assert (running[0].ref == before[1].ref) is dotted
    desk.end(running[0], OK, of=1)
    assert settle(flow, fresh.id).record.status is Status.SUCCEEDED
    told = {item: result for item, _, result in desk.host.reports}
    assert told[1] == {"of": 1}
    assert all(result == {"of": item} for item, result in told.items())
    assert set(told) == ({1} if partial is PartialRerun.YES else {0, 1, 2})


def test_X5_of_one_item_only_the_others_keep_their_ends_and_are_not_run_again(desk: Desk) -> None:
    flow, root, before = errored(desk, BAD, BAD, OK)
    fresh = again(flow, root, "t[1].work")
    settle(flow, fresh.id)
    assert desk.other.sent() == [("rerun", before[1].ref.id)]
    running = next(child for child in children(flow.get(fresh.id)) if child.status is Status.RUNNING)
    desk.end(running, OK)
    assert settle(flow, fresh.id).record.status is Status.ERRORED
    assert {item: status for item, status, _ in desk.host.reports} == {0: TaskStatus.ERRORED, 1: TaskStatus.SUCCEEDED}


def test_X6_no_reset_of_items_elsewhere_needs_no_accept(desk: Desk) -> None:
    desk.host = HostEngine(partial_rerun=PartialRerun.LAST_FAILED)
    flow, root, _ = errored(desk, BAD, OK, OK)
    assert flow.plan(Verb.RERUN, root.id, request=RerunRequest(("t",), ("t",))).steps == ()


def test_X2_a_second_re_run_starts_the_child_anew_and_leaves_the_first_ones_alone(desk: Desk) -> None:
    flow, root, (child,) = errored(desk)
    first = again(flow, root, "t.work")
    desk.end(children(settle(flow, first.id))[0], BAD)
    settle(flow, first.id)
    second = again(flow, first, "t")
    new = children(settle(flow, second.id))[-1]
    assert new.ref != child.ref
    assert new.status is Status.RUNNING


def test_O1_the_plan_names_each_execution_it_re_opens_and_each_it_tells_once_more(desk: Desk) -> None:
    desk.host = HostEngine(partial_rerun=PartialRerun.NO)
    flow, root, _ = errored(desk, OK, BAD)
    lines = flow.plan(Verb.RERUN, root.id, request=RerunRequest(("t.work",))).lines
    assert [(line.action, line.by) for line in lines] == [
        (Action.RERUN, "bridge"),
        (Action.LEAVE, ""),
        (Action.RERUN, "bridge"),
    ]
    assert "waits" in lines[0].reason
    assert "told once more" in lines[1].reason
    assert desk.host.sent() == desk.other.sent() == []


def test_X7_where_the_host_cannot_wait_a_second_time_it_is_unsupported_and_nothing_is_done(desk: Desk) -> None:
    desk.host = HostEngine(verbs=frozenset(Verb) - {Verb.RERUN})
    flow, root, _ = errored(desk)
    with pytest.raises(Unsupported, match="X7"):
        again(flow, root, "t.work")
    assert desk.host.sent() == desk.other.sent() == []


def test_X3_every_engine_on_the_way_must_answer(desk: Desk) -> None:
    flow, root, _ = errored(desk)
    desk.other.down = True
    with pytest.raises(Unavailable, match="O2"):
        again(flow, root, "t.work")
    assert desk.host.sent() == []


@pytest.mark.parametrize("refuser", ["host", "other"])
def test_O4_a_refusal_on_one_engine_is_told_and_nothing_waits_for_good(desk: Desk, refuser: str) -> None:
    flow, root, _ = errored(desk)
    engine: FakeEngine = getattr(desk, refuser)
    engine.refuses = {"rerun": EngineRefused("not today")}
    outcome = flow.rerun(root.id, RerunRequest(("t.work",)))
    assert "not today" in str(outcome.not_done)
    engine.refuses = {}
    look = settle(flow, outcome.execution)
    if refuser == "other":
        assert look.record.status is Status.ERRORED  # its task waited again, and was told of the old end
        assert [status for _, status, _ in desk.host.reports] == [TaskStatus.ERRORED]
    assert not any(node.record.awaited for node in look.snapshot.nodes)
    if refuser == "host":  # what was re-run elsewhere runs to its end, and its parent is not called ended before
        assert look.record.status is Status.RUNNING
        desk.end(children(look)[0], BAD)
    desk.other.requests.clear()
    final = again(flow, flow.get(outcome.execution).record, "t")
    settle(flow, final.id)
    assert desk.other.count()["start"] == 1


def test_K1_a_task_of_a_child_elsewhere_is_skipped_and_its_parent_goes_on(desk: Desk) -> None:
    flow, root, (child,) = errored(desk)
    outcome = flow.skip(root.id, ["t.work"])
    assert desk.other.sent() == [("skip", child.ref.id)]
    assert desk.host.sent() == [("rerun", "r")]
    assert flow.find(outcome.execution).rerun_of == root.id


def test_X7_down_three_levels_across_engines(desk: Desk) -> None:
    middle = HostEngine("other")
    desk.other = middle
    root = desk.root(target="other:flow")
    flow = desk.bridges[0]
    (child,) = children(flow.get(root.id))
    middle.has[child.ref.id].tasks = []
    middle.host(child.ref.id, "other:flow", task="u")
    settle(flow, root.id)
    deep = next(node.record for node in flow.get(root.id).snapshot.nodes if node.parent == 1)
    desk.end(deep, BAD)
    assert settle(flow, root.id, 6).record.status is Status.ERRORED
    middle.requests.clear()
    fresh = again(flow, root, "t.u.work")
    nodes = settle(flow, fresh.id).snapshot.nodes
    assert [node.record.status for node in nodes] == [Status.RUNNING] * 3
    assert middle.count()["start"] == 0
    desk.end(nodes[2].record, OK)
    assert [node.record.status for node in settle(flow, fresh.id, 6).snapshot.nodes] == [Status.SUCCEEDED] * 3


def test_X7_the_old_end_of_a_child_that_is_re_opened_for_something_below_it_is_not_told(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    (child,) = children(flow.get(root.id))
    desk.other.has[child.ref.id].tasks = [task("sub", TaskStatus.ERRORED, of=child.ref.id)]
    desk.other.add("deep", task("leaf", TaskStatus.ERRORED, of="deep"), parent=child.ref.id, state=BAD)
    desk.other.has[child.ref.id].go(BAD)
    assert settle(flow, root.id).record.status is Status.ERRORED
    desk.host.reports.clear()
    desk.other.ignores = {"rerun"}
    outcome = flow.rerun(root.id, RerunRequest(("t.sub.leaf",)), timeout=0.05)
    settle(flow, outcome.execution)
    assert desk.host.reports == []
    desk.other.ignores = set()
    flow.recover(outcome.execution)
    assert flow.get(outcome.execution).record.status is Status.RUNNING


def test_X8_a_child_that_a_newer_one_took_over_from_is_not_re_opened(desk: Desk) -> None:
    flow, root, (old,) = errored(desk)
    fresh = again(flow, root, "t")
    desk.end(children(settle(flow, fresh.id))[-1], BAD)
    assert settle(flow, fresh.id).record.status is Status.ERRORED
    desk.other.requests.clear()
    with pytest.raises(Rejected, match="has a newer child") as caught:
        flow.rerun(old.id, RerunRequest(("work",)))
    assert caught.value.rule == "X8"
    assert desk.other.sent() == []


def test_X8_a_child_whose_task_was_skipped_is_not_re_opened_because_nothing_can_wait_for_it(desk: Desk) -> None:
    flow, root, (child,) = errored(desk)
    host = desk.host.has[root.ref.id]
    host.set("t", status=TaskStatus.SKIPPED)
    with pytest.raises(Rejected, match=r"task t above it, .*, is skipped, and only an errored one can wait") as caught:
        flow.rerun(child.id, RerunRequest(("work",)))
    assert (caught.value.rule, caught.value.reason) == ("X8", "task_not_errored")
    assert desk.other.sent() == []
    assert desk.host.sent() == []


def test_X5_a_mark_that_an_earlier_re_run_left_is_not_taken_for_a_new_child(desk: Desk) -> None:
    flow, root, (child,) = errored(desk)
    flow.ledger.executions.put([replace(child, awaited=True)])
    fresh = again(flow, root, "t")
    settle(flow, fresh.id)
    assert desk.other.count()["start"] == 1


def test_X7_a_child_whose_task_ends_again_before_it_waits_is_not_what_it_waits_for_later(desk: Desk) -> None:
    flow, root, _ = errored(desk)
    desk.host.waits.clear()  # the engine runs the task again, and it fails before it comes to wait
    fresh = again(flow, root, "t.work")
    (below,) = children(settle(flow, fresh.id))
    assert below.awaited, "the task is under way, and may come to wait"
    desk.host.has["r"].set("t", status=TaskStatus.ERRORED, active=False)
    (below,) = children(settle(flow, fresh.id))
    assert not below.awaited
    desk.host.host("r", "other:flow", round=1)  # the workflow comes by that task once more
    assert len(children(settle(flow, fresh.id))) == 2
    assert desk.other.count()["start"] == 1


@pytest.mark.parametrize("tasks", [("t.work",), ("t",)])
def test_S7_X6_a_result_that_is_to_be_kept_and_is_gone_is_told_before_anything_is_done(
    desk: Desk, tasks: tuple[str, ...]
) -> None:
    desk.host = HostEngine(partial_rerun=PartialRerun.NO)
    flow, root, before = errored(desk, OK, BAD)
    desk.other.forget(before[0].ref.id)
    settle(flow, root.id)
    desk.other.requests.clear()
    with pytest.raises(Rejected, match="no longer has it") as caught:
        flow.rerun(root.id, RerunRequest(tasks, tasks if tasks == ("t",) else ()))
    assert caught.value.rule == "X6"
    assert desk.other.sent() == desk.host.sent() == []


def test_O9_what_is_started_or_told_for_waiting_tasks_is_no_part_of_what_was_confirmed(desk: Desk) -> None:
    root = desk.root(items=2)
    flow = desk.bridges[0]
    first, second = children(flow.get(root.id))
    confirmed = fingerprint(flow.plan(Verb.CANCEL, first.id))
    desk.end(second, OK)
    assert flow.operate(Verb.CANCEL, first.id, expect=confirmed).done
