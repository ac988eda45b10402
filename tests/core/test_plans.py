"""Plans: shown without being carried out, carried out as they were shown, and never half (O1, O2, O9, O10)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from core.kit import Desk, current, errored_family, family, mixed, one, statuses, told
from flowbridge.bridge import Bridge
from flowbridge.capabilities import JoinUnderPause, ResumeUp
from flowbridge.checks import RerunRequest
from flowbridge.errors import EngineRefused, FlowbridgeError, Rejected, Unavailable, Unsupported
from flowbridge.law.decide import Action, Plan
from flowbridge.law.selection import rerun_effect, select
from flowbridge.ledger.executions import Filter
from flowbridge.model import EngineState, Record, Snapshot, Status, TaskLook, TaskStatus, Verb, Want
from flowbridge.planning import fingerprint, planned
from support.fakes import FakeEngine, task
from support.snapshots import FACTS, errored, tree
from support.snapshots import task as task_look


def everything(flow: Bridge) -> dict[str, list[str]]:
    """All that the ledger knows, but for leases, and for when it was last looked."""
    tables = ("executions", "looks", "frozen", "requests", "operations", "events", "rows", "inbox")
    return {
        table: [re.sub(r'"looked":[\d.]+', "", str(row)) for row in flow.ledger.database.all(f"SELECT * FROM {table}")]
        for table in tables
    }


def lines(plan: Plan) -> list[tuple[str, str, str, str]]:
    return [(line.ref.id, line.status, str(line.action), line.by) for line in plan.lines]


# O1


def test_O1_a_plan_names_every_execution_and_who_does_what(flow: Bridge, desk: Desk) -> None:
    root, *_ = family(desk)
    desk.engine.has["e2"].tasks = []
    desk.engine.has["e2"].go(EngineState.SUCCEEDED)
    plan = flow.plan(Verb.PAUSE, root.id)
    assert lines(plan) == [
        ("e0", "running", "pause", "bridge"),
        ("e1", "running", "pause", "engine"),
        ("e2", "succeeded", "leave", ""),
    ]
    assert [line.reason for line in plan.lines[1:]] == ["its engine does it with the parent", "has succeeded"]
    assert [(step.action, step.ref.id) for step in plan.steps] == [(Action.PAUSE, "e0")]


def test_O1_on_an_engine_that_cascades_nothing_the_bridge_does_it_all(desk: Desk) -> None:
    desk.engine = FakeEngine(cascades=frozenset())
    flow = desk.open()
    root, child, _ = family(desk)
    assert [by for *_, by in lines(flow.plan(Verb.PAUSE, root.id))] == ["bridge"] * 3
    assert [by for *_, by in lines(flow.plan(Verb.CANCEL, child.id))] == ["", "bridge", ""]


def _paused_family(desk: Desk) -> str:
    root = family(desk)[0]
    for live in desk.engine.has.values():
        live.tasks = []
    desk.bridges[0].pause(root.id)
    desk.engine.requests.clear()
    return root.id


VERBS: list[tuple[Verb, RerunRequest | None, Callable[[Desk], str]]] = [
    (Verb.PAUSE, None, lambda desk: family(desk)[0].id),
    (Verb.RESUME, None, _paused_family),
    (Verb.CANCEL, None, lambda desk: family(desk)[1].id),
    (Verb.RERUN, RerunRequest(("sub.bad",)), lambda desk: errored_family(desk)[0].id),
    (Verb.RERUN, None, lambda desk: errored_family(desk)[0].id),
    (Verb.SKIP, RerunRequest(("sub.bad",)), lambda desk: errored_family(desk)[1].id),
]
IDS = ["pause", "resume", "cancel", "re-run tasks", "re-run", "skip"]


@pytest.mark.parametrize(("verb", "request_", "prepare"), VERBS, ids=IDS)
def test_O1_a_dry_run_sends_nothing_and_writes_nothing(
    flow: Bridge, desk: Desk, verb: Verb, request_: RerunRequest | None, prepare: Callable[[Desk], str]
) -> None:
    id = prepare(desk)
    if verb is Verb.SKIP:
        request_ = RerunRequest(("bad",))
    before = everything(flow)
    desk.engine.requests.clear()
    plan = flow.plan(verb, id, request=request_)
    assert len(plan.lines) == len(flow.ledger.executions.tree(flow.find(id).tree))
    assert set(desk.engine.count()) <= {"observe", "read"}  # questions: what somebody else started is read
    assert everything(flow) == before


def test_O1_the_plan_of_a_rerun_names_the_tasks_and_what_is_reopened(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)
    plan = flow.plan(Verb.RERUN, root.id, request=RerunRequest(("sub.bad",)))
    assert lines(plan) == [("e0", "errored", "re-open", "engine"), ("e1", "errored", "re-run", "bridge")]
    assert plan.lines[1].reason == "tasks bad"


@pytest.mark.parametrize("items", [2, 50])
def test_O1_the_plan_of_a_rerun_goes_through_the_tree_as_often_however_much_is_reopened(
    monkeypatch: pytest.MonkeyPatch, items: int
) -> None:
    children = [errored(f"c{n}", 0, task_look("y"), parent_task="t", item=n) for n in range(items)]
    snapshot = tree(errored("root", -1, task_look("t", items=items)), *children)
    effect = rerun_effect(snapshot, select(snapshot, 0, ["t.y"], "re-run"), (), FACTS)
    asked: list[Snapshot] = []
    whole = Snapshot.children

    def children_of(snapshot: Snapshot) -> list[list[int]]:
        asked.append(snapshot)
        return whole(snapshot)

    monkeypatch.setattr(Snapshot, "children", children_of)
    plan = planned(snapshot, effect, FACTS, {})
    assert [str(line.action) for line in plan.lines] == ["re-open", *["re-run"] * items]
    assert len(asked) == 1


class Searched(tuple[int, ...]):
    """Places that count how often one of them is looked for from the first to the last."""

    searches = 0

    def __contains__(self, place: object) -> bool:
        self.searches += 1
        return super().__contains__(place)


def test_O1_the_plan_of_a_rerun_looks_for_nothing_in_the_list_of_what_is_reopened() -> None:
    children = [errored(f"c{n}", 0, task_look("y"), parent_task="t", item=n) for n in range(8)]
    snapshot = tree(errored("root", -1, task_look("t", items=8)), *children)
    effect = rerun_effect(snapshot, select(snapshot, 0, ["t.y"], "re-run"), (), FACTS)
    reopened = Searched(effect.reopened)
    assert planned(snapshot, replace(effect, reopened=reopened), FACTS, {}) == planned(snapshot, effect, FACTS, {})
    assert reopened.searches == 0


def test_O8_what_the_engine_may_still_do_under_a_pause_stands_in_plan_and_outcome(desk: Desk) -> None:
    desk.engine = FakeEngine(join_under_pause=JoinUnderPause.MAY_SLIP)
    flow = desk.open()
    record = one(desk, TaskStatus.RUNNING, TaskStatus.WAITING)
    for plan in (flow.plan(Verb.PAUSE, record.id), flow.pause(record.id).plan):
        assert plan.warnings == ("fake:e0: t1 may start under the pause when the last inbound task ends (P5)",)


def forked(desk: Desk, **tasks: TaskStatus) -> Record:
    """An execution with these tasks on an engine whose joins slip: `j` joins a and b, `k` comes behind c."""
    desk.engine = FakeEngine(join_under_pause=JoinUnderPause.MAY_SLIP)
    desk.engine.joins = {"flow": {"a": ["j"], "b": ["j"], "c": ["k"]}}
    flow = desk.open()
    looks = [TaskLook(name, name, status, active=status is TaskStatus.RUNNING) for name, status in tasks.items()]
    desk.engine.add("e0", *looks)
    return flow.find("fake:e0")


def test_P5_a_pause_names_the_joins_right_behind_what_runs_though_they_are_not_there_yet(desk: Desk) -> None:
    record = forked(desk, a=TaskStatus.RUNNING, b=TaskStatus.RUNNING, c=TaskStatus.SUCCEEDED)
    flow = desk.bridges[-1]
    said = "fake:e0: join j may wait for good after the resume, if all tasks before it end under the pause (P5)"
    for plan in (flow.plan(Verb.PAUSE, record.id), flow.pause(record.id).plan):
        assert plan.warnings == (said,)


@pytest.mark.parametrize(
    ("join", "at_risk"), [(TaskStatus.SUCCEEDED, True), (TaskStatus.WAITING, False), (TaskStatus.RUNNING, False)]
)
def test_R5_a_pause_names_a_join_that_has_run_while_another_task_before_it_runs(
    desk: Desk, join: TaskStatus, at_risk: bool
) -> None:
    """A join of one or N: its engine has it wait once more, and then does not look at it again."""
    record = forked(desk, a=TaskStatus.SUCCEEDED, b=TaskStatus.RUNNING, j=join)
    warnings = desk.bridges[-1].plan(Verb.PAUSE, record.id).warnings
    assert any("join j may wait for good after the resume" in said for said in warnings) == at_risk


def test_P5_a_resume_names_the_joins_all_of_whose_tasks_ended_under_the_pause(desk: Desk) -> None:
    record = forked(desk, a=TaskStatus.SUCCEEDED)
    flow = desk.bridges[-1]
    flow.pause(record.id)
    assert flow.plan(Verb.RESUME, record.id).warnings == ()
    desk.engine.has["e0"].tasks.append(TaskLook("b", "b", TaskStatus.SUCCEEDED))
    said = "fake:e0: join j may wait for good after the resume, because all tasks before it ended under the pause (P5)"
    for plan in (flow.plan(Verb.RESUME, record.id), flow.resume(record.id).plan):
        assert plan.warnings == (said,)


def test_P5_an_engine_that_does_not_tell_its_joins_stands_in_no_pauses_way(desk: Desk) -> None:
    record = forked(desk, a=TaskStatus.RUNNING)
    desk.engine.silent = {"joins_behind"}
    outcome = desk.bridges[-1].pause(record.id)
    assert outcome.done
    assert outcome.plan.warnings == ()


def test_P5_joins_are_asked_for_only_where_they_may_slip_and_something_runs(desk: Desk) -> None:
    record = forked(desk, a=TaskStatus.SUCCEEDED)
    desk.bridges[-1].plan(Verb.PAUSE, record.id)
    desk.bridges[-1].plan(Verb.CANCEL, record.id)
    assert desk.engine.count()["joins_behind"] == 0


def test_O1_a_dry_run_of_what_the_law_rejects_says_so_and_writes_nothing(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    before = everything(flow)
    with pytest.raises(Rejected) as caught:
        flow.plan(Verb.RESUME, record.id)
    assert caught.value.rule == "R1"
    assert everything(flow) == before


# O2


def _up(desk: Desk) -> str:
    desk.engine = FakeEngine(resume_up=ResumeUp.ALWAYS)
    desk.bridges.clear()
    desk.open()
    family(desk)
    root = current(desk.bridges[0], "e0")
    for live in desk.engine.has.values():
        live.tasks = []
    desk.bridges[0].pause(root.id)
    return current(desk.bridges[0], "e1").id


def _rerun(desk: Desk) -> str:
    return errored_family(desk)[0].id


def _bare(desk: Desk) -> str:
    desk.engine = FakeEngine(verbs=frozenset(Verb) - {Verb.SKIP})
    desk.bridges.clear()
    desk.open()
    return errored_family(desk)[0].id


REJECTED: list[tuple[str, Verb, RerunRequest | None, Callable[[Desk], str]]] = [
    ("P1", Verb.PAUSE, None, _rerun),
    ("R1", Verb.RESUME, None, lambda desk: one(desk).id),
    ("R4", Verb.RESUME, None, _up),
    ("C1", Verb.CANCEL, None, _rerun),
    ("X1", Verb.RERUN, None, lambda desk: one(desk).id),
    ("X2", Verb.RERUN, RerunRequest(("sub",), input={"n": 1}), _rerun),
    ("X3", Verb.RERUN, RerunRequest(("sub.bad", "fine")), _rerun),
    ("X3", Verb.RERUN, RerunRequest(("sub.bad", "nowhere")), _rerun),
    ("X4", Verb.RERUN, RerunRequest(("sub.bad", "sub")), _rerun),
    ("X6", Verb.RERUN, RerunRequest(("sub",), ("sub",)), _rerun),
    ("X6", Verb.RERUN, RerunRequest(None, ("sub",)), _rerun),
    ("O10", Verb.RERUN, RerunRequest(()), _rerun),
    ("K1", Verb.SKIP, RerunRequest(("t0",)), lambda desk: one(desk).id),
    ("", Verb.SKIP, RerunRequest(("sub.bad",)), _bare),
]


@pytest.mark.parametrize(("rule", "verb", "request_", "prepare"), REJECTED)
def test_O2_a_rejected_operation_has_changed_nothing_anywhere(
    desk: Desk, rule: str, verb: Verb, request_: RerunRequest | None, prepare: Callable[[Desk], str]
) -> None:
    desk.open()
    id = prepare(desk)
    flow = desk.bridges[0]
    before = {**everything(flow)}
    sent = desk.engine.sent()
    with pytest.raises((Rejected, Unsupported)) as caught:
        flow.operate(verb, id, request=request_, reason="because")
    assert getattr(caught.value, "rule", "") == rule
    assert desk.engine.sent() == sent
    after = everything(flow)
    for table in ("executions", "frozen", "requests"):
        assert after[table] == before[table], table
    assert flow.ledger.operations.open_trees() == []
    asked, outcome = told(flow)[-2:]  # O6: but for the history, which says so
    assert (asked.doc["verb"], asked.doc["reason"], asked.actor) == (str(verb), "because", "me")
    assert outcome.doc["outcome"] == caught.value.message
    assert outcome.doc["state"] == ("rejected" if rule else "failed")


@pytest.mark.parametrize(("verb", "seen"), [("pause", EngineState.PAUSED), ("cancel", EngineState.CANCELED)])
def test_O2_pause_and_cancel_go_ahead_where_an_engine_answers_and_finish_when_the_other_is_back(
    flow: Bridge, desk: Desk, verb: str, seen: EngineState
) -> None:
    root, child = mixed(desk)
    desk.other.down = True
    outcome = flow.operate(Verb(verb), root.id, timeout=0)
    assert (outcome.done, outcome.exit_code) == (False, 5)
    assert outcome.not_done == {child.id: "other does not answer"}
    assert [node.state for node in flow.get(root.id).snapshot.nodes] == [seen, EngineState.RUNNING]
    assert [operation.verb for operation in flow.get(root.id).open] == [verb]
    desk.other.down = False
    assert [look.record.id for look in desk.open().recover()] == [root.id]
    assert desk.other.has["x0"].state is seen
    assert flow.get(root.id).open == ()
    assert told(flow)[-1].doc["state"] == "done"
    assert (desk.engine.count()[verb], desk.other.count()[verb]) == (1, 1)


@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_O2_the_next_verb_finishes_what_a_silent_engine_left_open(flow: Bridge, desk: Desk, verb: str) -> None:
    root, _ = mixed(desk)
    desk.other.down = True
    flow.pause(root.id, timeout=0)
    desk.other.down = False
    assert flow.pause(root.id).done
    assert desk.other.has["x0"].state is EngineState.PAUSED
    assert flow.get(root.id).open == ()


def test_O2_a_cancel_of_something_paused_on_a_silent_engine_stays_open(flow: Bridge, desk: Desk) -> None:
    root, child = mixed(desk)
    flow.pause(root.id)
    desk.other.down = True
    outcome = flow.cancel(root.id, timeout=0)
    assert outcome.not_done == {child.id: "other does not answer"}
    assert outcome.exit_code == 5
    desk.other.down = False
    flow.recover()
    assert desk.other.has["x0"].state is EngineState.CANCELED


def test_O2_with_its_own_engine_silent_a_pause_stays_open_too(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    desk.engine.down = True
    outcome = flow.pause(record.id, timeout=0)
    assert (outcome.exit_code, outcome.not_done) == (5, {record.id: "fake does not answer"})
    assert outcome.status is Status.PAUSING
    desk.engine.down = False
    flow.recover(record.id)
    assert desk.engine.has["e0"].state is EngineState.PAUSED


NEEDS_ALL: list[tuple[Verb, RerunRequest | None, EngineState]] = [
    (Verb.RESUME, None, EngineState.PAUSED),
    (Verb.RERUN, RerunRequest(("t0",)), EngineState.ERRORED),
    (Verb.SKIP, RerunRequest(("t0",)), EngineState.ERRORED),
]


@pytest.mark.parametrize(("verb", "request_", "state"), NEEDS_ALL)
@pytest.mark.parametrize("which", ["engine", "other"])
def test_O2_resume_rerun_and_skip_need_every_engine_they_touch(
    flow: Bridge, desk: Desk, verb: Verb, request_: RerunRequest | None, state: EngineState, which: str
) -> None:
    root, child = mixed(desk, idle=True)
    if verb is Verb.RESUME:
        flow.pause(root.id)
        named = root.id
    else:
        for engine, id in ((desk.engine, "e0"), (desk.other, "x0")):
            engine.has[id].tasks = [task("t0", TaskStatus.ERRORED, of=id)]
            engine.has[id].go(state)
        flow.get(root.id)
        named = root.id if which == "engine" else child.id
    sent = [*desk.engine.sent(), *desk.other.sent()]
    getattr(desk, which).down = True
    silent = "other" if which == "other" else "fake"
    with pytest.raises(Unavailable, match=rf"needs its engine, and {silent} does not answer: nothing was done \(O2\)"):
        flow.operate(verb, named, request=request_)
    assert [*desk.engine.sent(), *desk.other.sent()] == sent
    assert flow.ledger.operations.open_trees() == []


def test_O2_only_the_silent_engine_that_is_needed_is_told_of(flow: Bridge, desk: Desk) -> None:
    root, child = mixed(desk, idle=True)
    flow.pause(root.id)
    desk.engine.down = desk.other.down = True
    with pytest.raises(Unavailable) as caught:
        flow.resume(child.id)
    assert caught.value.message.endswith(" other: other does not answer")
    assert "fake" not in caught.value.message


def test_O2_a_resume_does_not_need_an_engine_that_it_does_not_touch(flow: Bridge, desk: Desk) -> None:
    root, child = mixed(desk, idle=True)
    flow.pause(root.id)
    desk.engine.down = True
    assert flow.resume(child.id).done
    assert desk.other.has["x0"].state is EngineState.RUNNING


def test_an_engine_that_refuses_the_look_is_named_like_one_that_is_silent(flow: Bridge, desk: Desk) -> None:
    root, child = mixed(desk)
    other = one(desk, id="f0")
    desk.other.refuses["observe"] = EngineRefused("other says: the password is wrong")
    look = flow.get(root.id)
    assert look.silent == {"other": "other says: the password is wrong"}
    assert [node.reachable for node in look.snapshot.nodes] == [True, False]
    assert {record.id for record in flow.list(Filter())} == {root.id, other.id}
    assert flow.pause(child.id, timeout=0).not_done == {child.id: "other says: the password is wrong"}
    assert desk.engine.has["e0"].state is EngineState.PAUSED


# O9


def test_O9_a_confirmed_plan_is_carried_out_while_tasks_go_on_inside(flow: Bridge, desk: Desk) -> None:
    root, *_ = family(desk)
    shown = fingerprint(flow.plan(Verb.PAUSE, root.id))
    desk.engine.has["e1"].tasks.append(task("next", of="e1"))
    assert flow.pause(root.id, expect=shown).done


FEWER: list[Callable[[FakeEngine], object]] = [
    lambda engine: engine.has["e1"].go(EngineState.SUCCEEDED),
    lambda engine: engine.forget("e2"),
]


@pytest.mark.parametrize("change", FEWER, ids=["ended", "gone"])
def test_O9_a_plan_that_touches_fewer_now_is_carried_out(
    flow: Bridge, desk: Desk, change: Callable[[FakeEngine], object]
) -> None:
    root, *_ = family(desk)
    shown = fingerprint(flow.plan(Verb.PAUSE, root.id))
    desk.engine.has["e1"].tasks = []
    change(desk.engine)
    flow.pause(root.id, expect=shown)
    assert desk.engine.sent() == [("pause", "e0")]


def test_O9_a_plan_that_would_touch_others_now_is_not_carried_out(flow: Bridge, desk: Desk) -> None:
    root, *_ = family(desk)
    shown = fingerprint(flow.plan(Verb.PAUSE, root.id))
    desk.engine.add("e3", task("work", of="e3"), parent="e0")
    with pytest.raises(Rejected) as caught:
        flow.pause(root.id, expect=shown)
    assert (caught.value.rule, caught.value.reason) == ("O9", "plan_changed")
    assert desk.engine.sent() == []
    assert current(flow, "e0").want is Want.RUN
    assert flow.pause(root.id, expect=fingerprint(flow.plan(Verb.PAUSE, root.id))).done


def test_O9_a_plan_that_fails_another_check_now_is_rejected_by_that(flow: Bridge, desk: Desk) -> None:
    root, *_ = family(desk)
    shown = fingerprint(flow.plan(Verb.PAUSE, root.id))
    for live in desk.engine.has.values():
        live.tasks = []
        live.go(EngineState.SUCCEEDED)
    with pytest.raises(Rejected) as caught:
        flow.pause(root.id, expect=shown)
    assert caught.value.rule == "P1"


# O10


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.CANCEL])
def test_O10_repeating_a_verb_never_does_its_opposite_and_sends_nothing(flow: Bridge, desk: Desk, verb: Verb) -> None:
    record = one(desk)
    desk.engine.has["e0"].tasks = []
    flow.operate(verb, record.id)
    state, sent = desk.engine.has["e0"].state, desk.engine.sent()
    for _ in range(3):
        with pytest.raises(Rejected) as caught:
            flow.operate(verb, record.id)
        assert caught.value.reason == "already"  # O7
    assert (desk.engine.has["e0"].state, desk.engine.sent()) == (state, sent)


def test_O10_a_verb_touches_the_tree_it_names_only(flow: Bridge, desk: Desk) -> None:
    mine, theirs = one(desk), one(desk, id="f0")
    flow.pause(mine.id)
    assert desk.engine.sent() == [("pause", "e0")]
    assert statuses(flow, theirs.id) == [Status.RUNNING]


def test_O10_an_empty_selection_of_tasks_changes_nothing(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)
    with pytest.raises(Rejected) as caught:
        flow.skip(root.id, ())
    assert caught.value.rule == "O10"
    assert desk.engine.sent() == []
    assert current(flow, "e0").id == root.id


def test_O10_a_verb_that_the_engine_lacks_is_unsupported(desk: Desk) -> None:
    desk.engine = FakeEngine(verbs=frozenset())
    flow = desk.open()
    root, _ = errored_family(desk)
    with pytest.raises(FlowbridgeError) as caught:
        flow.rerun(root.id, RerunRequest(("sub",)))
    assert caught.value.exit_code == 6
    assert desk.engine.sent() == []


@pytest.mark.parametrize("verb", [Verb.RESUME, Verb.RERUN, Verb.SKIP])
def test_O1_a_dry_run_rejects_what_the_verb_would_where_an_engine_is_silent(
    flow: Bridge, desk: Desk, verb: Verb
) -> None:
    if verb is Verb.RESUME:
        id, request = one(desk, TaskStatus.WAITING).id, None
        flow.pause(id)
    else:
        id, request = errored_family(desk)[0].id, RerunRequest(("sub.bad",))
    desk.engine.down = True
    told = []
    for ask in (flow.plan, flow.operate):
        with pytest.raises(FlowbridgeError) as caught:
            ask(verb, id, request=request)
        told.append((type(caught.value), caught.value.message))
    assert told[0] == told[1]
