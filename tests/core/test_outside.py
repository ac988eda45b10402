"""What happens without the bridge: changes from outside, births under a hold, and who is told (O12, P6, P7)."""

from __future__ import annotations

import time

import pytest

from core.kit import Desk, current, family, mixed, one, statuses
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.errors import EngineError, EngineRefused, NotFound, Rejected, Timeout, Unavailable
from flowbridge.ledger.executions import Filter
from flowbridge.model import EngineState, Record, Status, TaskStatus, Verb, Want
from flowbridge.treeviews import tree_view
from support.fakes import FakeEngine, task


def kinds(flow: Bridge) -> list[tuple[str, str]]:
    return [(entry.actor, entry.kind) for entry in flow.history() if entry.kind != "status"]


def test_P7_a_pause_from_outside_holds_the_whole_tree_and_is_the_engines(flow: Bridge, desk: Desk) -> None:
    root, child = mixed(desk, idle=True)
    desk.other.has["x0"].go(EngineState.PAUSED)
    look = flow.get(child.id)
    assert {node.record.want for node in look.snapshot.nodes} == {Want.HOLD}
    assert look.record.held_by == "engine"
    assert ("engine", "paused_itself") in kinds(flow)
    assert desk.engine.has["e0"].state is EngineState.PAUSED  # it goes up (P3)
    assert statuses(flow, root.id) == [Status.PAUSED, Status.PAUSED]
    assert flow.resume(root.id).done


def test_O12_a_resume_from_outside_is_recorded_as_the_engines_and_not_fought(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    desk.engine.has["e0"].tasks = []
    flow.pause(record.id)
    flow.get(record.id)
    sent = desk.engine.sent()
    desk.engine.has["e0"].go(EngineState.RUNNING)
    for _ in range(3):
        assert statuses(flow, record.id) == [Status.RUNNING]
    assert desk.engine.sent() == sent
    assert ("engine", "resumed_outside") in kinds(flow)
    assert flow.find(record.id).held_by == ""


def test_O12_a_cancel_from_outside_is_recorded_as_the_engines(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    desk.engine.has["e0"].tasks = []
    desk.engine.has["e0"].go(EngineState.CANCELED)
    assert statuses(flow, record.id) == [Status.CANCELED]
    assert ("engine", "canceled_outside") in kinds(flow)


def test_O12_what_had_ended_and_runs_again_not_by_us_is_flagged(flow: Bridge, desk: Desk) -> None:
    record = one(desk, TaskStatus.ERRORED)
    desk.engine.has["e0"].go(EngineState.ERRORED)
    assert statuses(flow, record.id) == [Status.ERRORED]
    desk.engine.rerun("e0", [])
    assert statuses(flow, record.id) == [Status.RUNNING]
    assert ("engine", "reopened_outside") in kinds(flow)


def test_P6_a_child_born_under_a_hold_is_held_by_whoever_looks_next(desk: Desk) -> None:
    desk.engine = FakeEngine(cascades=frozenset())
    flow = desk.open()
    root, *_ = family(desk)
    flow.pause(root.id)
    desk.engine.add("e3", task("work", of="e3"), parent="e0")
    flow.get(root.id)
    assert desk.engine.has["e3"].state is EngineState.PAUSED
    assert current(flow, "e3").want is Want.HOLD
    assert desk.engine.sent()[-1] == ("pause", "e3")


@pytest.mark.parametrize("by", ["get", "list", "watch", "wait"])
def test_P6_a_child_born_under_a_cancel_is_canceled_by_whoever_looks_next(desk: Desk, by: str) -> None:
    desk.engine = FakeEngine(cascades=frozenset())
    flow = desk.open()
    root, *_ = family(desk)
    flow.cancel(root.id)
    desk.engine.add("e3", task("work", of="e3"), parent="e0")
    if by == "get":
        flow.get(root.id)
    elif by == "list":
        flow.list(Filter())
    elif by == "watch":
        next(flow.watch(root.id))
    else:
        with pytest.raises(Timeout, match="is still canceling after 0 s"):
            flow.wait(root.id, timeout=0)
    assert desk.engine.has["e3"].state is EngineState.CANCELED


def test_P6_a_born_child_whose_engine_refuses_is_tried_again_by_the_next_look_only(desk: Desk) -> None:
    desk.engine = FakeEngine(cascades=frozenset())
    flow = desk.open()
    root, *_ = family(desk)
    flow.pause(root.id)
    desk.engine.add("e3", task("work", of="e3"), parent="e0")
    desk.engine.refuses = {"pause": EngineRefused("no")}
    before = desk.engine.count()["pause"]
    assert flow.get(root.id).record.status is Status.PAUSING
    assert desk.engine.count()["pause"] == before + 1
    desk.engine.refuses = {}
    flow.get(root.id)
    assert desk.engine.has["e3"].state is EngineState.PAUSED


def test_a_silent_engine_is_named_and_its_executions_are_shown_as_last_seen(flow: Bridge, desk: Desk) -> None:
    root, child = mixed(desk)
    desk.other.down = True
    look = flow.get(child.id)
    assert look.silent == {"other": "other does not answer"}
    assert [node.reachable for node in look.snapshot.nodes] == [True, False]
    assert [task.name for task in look.snapshot.nodes[1].tasks] == ["work"]
    assert look.record.status is Status.RUNNING
    assert flow.get(root.id).record.looked > look.record.looked


HUNG = "join j ran during a pause, and its engine waits for it again for good (P5)"


def hung(desk: Desk) -> Record:
    """An execution that its engine will never go on with."""
    record = one(desk, TaskStatus.WAITING)
    desk.engine.has["e0"].hung = HUNG
    desk.engine.has["e0"].set("t0", starts=1)
    return record


def test_O8_what_its_engine_will_never_go_on_with_is_shown_as_hung_and_recover_alone_writes_nothing(
    flow: Bridge, desk: Desk
) -> None:
    record = hung(desk)
    assert tree_view(flow.get(record.id).snapshot)["hung"] == HUNG
    for looks in (flow.recover(), flow.recover(record.id)):
        assert [node.hung for look in looks for node in look.snapshot.nodes] == [HUNG]
    assert desk.engine.sent() == []


def test_C4_a_task_that_its_engine_left_as_running_in_a_canceled_execution_is_shown_as_canceled(
    flow: Bridge, desk: Desk
) -> None:
    record = one(desk)
    desk.engine.has["e0"].set("t0", active=False)
    assert tree_view(flow.get(record.id).snapshot)["tasks"][0]["status"] == "running"
    flow.cancel(record.id)
    view = tree_view(flow.get(record.id).snapshot)
    assert (view["status"], view["tasks"][0]["status"], view["tasks"][0]["active"]) == ("canceled", "canceled", False)


def test_S2_a_task_that_neither_runs_nor_has_ended_in_a_paused_execution_is_shown_as_paused(
    flow: Bridge, desk: Desk
) -> None:
    record = one(desk)
    flow.pause(record.id)
    assert tree_view(flow.get(record.id).snapshot)["tasks"][0]["status"] == "running"
    desk.engine.has["e0"].set("t0", active=False)
    view = tree_view(flow.get(record.id).snapshot)
    assert (view["status"], view["tasks"][0]["status"]) == ("paused", "paused")


def test_S3_a_task_that_was_left_as_running_where_a_held_execution_ended_is_not_shown_as_paused(
    flow: Bridge, desk: Desk
) -> None:
    record = one(desk)
    flow.pause(record.id)
    desk.engine.has["e0"].set("t0", active=False)
    desk.engine.has["e0"].go(EngineState.ERRORED)
    view = tree_view(flow.get(record.id).snapshot)
    assert (view["status"], view["tasks"][0]["status"]) == ("errored", "running")


def test_O8_recover_ends_what_is_hung_once_it_is_asked_to_and_the_history_says_so(flow: Bridge, desk: Desk) -> None:
    record = hung(desk)
    desk.engine.late = 2
    (look,) = flow.recover(record.id, end_hung=True)
    assert look.record.status is Status.SUCCEEDED
    assert desk.engine.sent() == [("end_hung", "e0")]
    assert [entry.doc for entry in flow.history(record.id) if entry.kind == "recover"] == [{"end_hung": HUNG}]
    assert flow.recover() == []


def test_O11_recover_does_not_end_what_would_lose_a_task_that_never_ran_and_says_what_to_do(
    flow: Bridge, desk: Desk
) -> None:
    record = hung(desk)
    desk.engine.has["e0"].set("t0", starts=0)
    with pytest.raises(EngineRefused, match=f"would lose t0 .*`flowbridge cancel {record.id}`.*`flowbridge re-run "):
        flow.recover(record.id, end_hung=True)
    assert desk.engine.sent() == []
    assert flow.recover()[0].record.status is Status.RUNNING


@pytest.mark.parametrize(
    ("answer", "told"), [(EngineRefused("it goes on"), "it goes on"), (Unavailable("no answer"), "no answer")]
)
def test_O6_an_end_that_an_engine_does_not_make_is_over_in_the_history_as_it_was_answered(
    flow: Bridge, desk: Desk, answer: EngineError, told: str
) -> None:
    record = hung(desk)
    desk.engine.refuses = {"end_hung": answer}
    with pytest.raises(type(answer), match=told):
        flow.recover(record.id, end_hung=True)
    assert flow.ledger.operations.open(record.tree) == []
    assert [entry.doc for entry in flow.history(record.id)][-1] == {"state": "failed", "outcome": told}


def test_O4_an_end_that_is_not_seen_is_told(flow: Bridge, desk: Desk) -> None:
    record = hung(desk)
    desk.engine.ignores = {"end_hung"}
    with pytest.raises(Timeout, match="still shown as hung"):
        flow.recover(record.id, end_hung=True, timeout=0.05)


def test_a_watch_shows_each_change_once_and_ends_at_its_deadline(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    watched = flow.watch(record.id, deadline=time.monotonic() + 0.5)
    assert next(watched).record.status is Status.RUNNING
    desk.engine.has["e0"].set("t0", status=TaskStatus.SUCCEEDED, active=False)
    assert next(watched).record.status is Status.RUNNING
    desk.engine.has["e0"].go(EngineState.SUCCEEDED)
    assert next(watched).record.status is Status.SUCCEEDED
    assert list(watched) == []


def test_a_wait_ends_when_the_execution_has_settled(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    with pytest.raises(Timeout, match="still running"):
        flow.wait(record.id, timeout=0.02)
    desk.engine.has["e0"].tasks = []
    flow.pause(record.id)
    assert flow.wait(record.id).record.status is Status.PAUSED
    with pytest.raises(Timeout):
        flow.wait(record.id, timeout=0, until=frozenset({Status.SUCCEEDED}))
    flow.cancel(record.id)
    assert flow.wait(record.id).record.status is Status.CANCELED


def test_a_look_is_one_request_for_a_whole_native_tree(flow: Bridge, desk: Desk) -> None:
    root, *_ = family(desk)
    for number in range(30):
        desk.engine.add(f"c{number}", parent="e1", task="work")
    desk.engine.requests.clear()
    assert len(flow.get(root.id).snapshot.nodes) == 33
    assert desk.engine.requests == [("observe", "e0")]
    desk.engine.requests.clear()
    flow.pause(root.id)
    assert desk.engine.requests == [("observe", "e0"), ("pause", "e0"), ("observe", "e0")]


def test_S6_only_an_abandoned_execution_can_be_recovered_and_a_sound_tree_is_left_alone(
    flow: Bridge, desk: Desk
) -> None:
    record = one(desk)
    assert flow.recover() == []
    assert [look.record.status for look in flow.recover(record.id)] == [Status.RUNNING]
    assert desk.engine.sent() == []


def test_the_default_backend_is_the_configured_one_or_the_local_one_whose_language_it_is(desk: Desk) -> None:
    chain, flow_text = Definition("chain: [{name: a, ref: core.noop}]"), Definition("version: '2.0'\nw: {tasks: {}}")
    anything = Definition("anything")
    none = desk.open()
    with pytest.raises(
        NotFound, match=r"'nothing' is no file, .* and there is no folder of packs to look for it in: set"
    ):
        none.run("nothing")
    assert [none.default_backend(text) for text in (chain, flow_text, anything)] == ["actionchain", "memory", "memory"]
    fake = desk.open(default_backend="fake")
    assert [fake.default_backend(text) for text in (None, chain, anything)] == ["fake", "actionchain", "fake"]
    memory = desk.open(default_backend="memory")
    assert [memory.default_backend(text) for text in (None, chain, flow_text, anything)] == [
        "memory",
        "actionchain",
        "memory",
        "memory",
    ]
    flow = desk.open(default_backend="fake")
    assert flow.run("flow").ref.backend == "fake"


def test_a_verb_on_something_unknown_is_not_found(flow: Bridge, desk: Desk) -> None:
    for verb in (Verb.PAUSE, Verb.CANCEL):
        with pytest.raises(NotFound):
            flow.operate(verb, "nothing")
    assert flow.history() == []
    with pytest.raises(Rejected):
        flow.resume(one(desk).id)
