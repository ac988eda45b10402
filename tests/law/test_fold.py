"""The status fold, over everything that can be seen and remembered."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from flowbridge.law.fold import Kind, birth_want, settle
from flowbridge.law.tables import ACTIVE, ENDED, TERMINAL, TRANSITIONS
from flowbridge.law.verbs import Effect, apply, check_cancel, check_pause, check_resume
from flowbridge.model import EngineState, Node, Record, Snapshot, Status, TaskStatus, Want
from support.snapshots import FACTS, execution, statuses, task, tree, wants

UNBORN = (EngineState.ABSENT, EngineState.REQUESTED)
RESUMED = (None, "r1", "r0")


def _seen(
    want: Want, state: EngineState, last: Status, *, busy: bool, seen: EngineState | None = None, **changes: Any
) -> Node:
    tasks = (task("leaf", TaskStatus.RUNNING, active=busy),)
    changes = {"want": want, "state": state, "seen": seen or state, "tasks": tasks, **changes}
    return execution("a", last, **changes)


def _judged(node: Node) -> Node:
    return settle(tree(node), FACTS).snapshot.nodes[0]


@cache
def _lives() -> tuple[frozenset[Record], frozenset[tuple[Status, Status]]]:
    """Every record that can come to be, closed under every look and verb, and every change of status on the way."""
    fresh = Record("a", "t", execution("a", Status.REQUESTED).record.ref, revision="r1")
    known, queue, changes = {fresh}, [fresh], set()
    while queue:
        record = queue.pop()
        for node in _looks(record):
            looked = settle(tree(node), FACTS).snapshot
            after = [(record, looked.nodes[0].record)]
            after += [(looked.nodes[0].record, then) for then in _verbs(looked)]
            changes |= {(old.status, new.status) for old, new in after if old.status is not new.status}
            new_ones = {new for _, new in after} - known
            known |= new_ones
            queue += new_ones
    return frozenset(known), frozenset(changes)


def _verbs(snapshot: Snapshot) -> Iterator[Record]:
    """The record after each verb, on it or on another execution of its tree (P2, R2, C3)."""
    node = snapshot.nodes[0]
    over = node.record.status in TERMINAL or node.record.gone
    for before, after in (
        (Want.RUN, Want.HOLD),
        (Want.HOLD, Want.RUN),
        (Want.RUN, Want.CANCEL),
        (Want.HOLD, Want.CANCEL),
    ):
        if node.record.want is before and not over:
            yield settle(apply(snapshot, Effect(wants={0: after}), ""), FACTS).snapshot.nodes[0].record


def _looks(record: Record) -> Iterator[Node]:
    other = "r2" if record.revision == "r1" else "r1"
    for state, busy, revision in itertools.product(EngineState, (False, True), (record.revision, other)):
        died = EngineState.ABANDONED in (state, record.seen)
        if state is not record.seen and revision == record.revision and not died:
            continue  # another state, another revision, but for a runner that died and goes on where it was
        if state in UNBORN and record.seen not in UNBORN and record.seen is not EngineState.ABANDONED:
            continue  # what has once begun is never absent or only requested again; a runner may have died before
        if record.seen is EngineState.ABSENT and record.status in TERMINAL and state is not EngineState.ABSENT:
            continue  # what was canceled unstarted is never started
        if record.seen is EngineState.SUCCEEDED and state not in (record.seen, EngineState.RUNNING, EngineState.GONE):
            continue  # what has succeeded stays so, or is first seen running again
        if record.seen in ENDED and state in UNBORN:
            continue  # what is re-opened goes on in the same execution, wherever it is when it is seen again
        tasks = (task("leaf", TaskStatus.RUNNING, active=busy),)
        yield Node(record, -1, state, revision, tasks=tasks)
    yield Node(record, -1, record.seen, record.revision, reachable=False)


def test_every_change_of_status_that_can_come_to_be_stands_in_the_table() -> None:
    listed = {(old, new) for old, row in TRANSITIONS.items() for new in row}
    assert _lives()[1] - listed == set()


def test_no_row_of_the_table_is_stale() -> None:
    listed = {(old, new) for old, row in TRANSITIONS.items() for new in row}
    assert listed - _lives()[1] == set()


@pytest.mark.parametrize("want", Want)
@pytest.mark.parametrize("last", Status)
def test_S3_an_engine_that_says_ended_is_not_believed_while_a_task_is_active(want: Want, last: Status) -> None:
    for state, shown in {
        EngineState.CANCELED: Status.CANCELING,
        EngineState.SUCCEEDED: Status.RUNNING,
        EngineState.ERRORED: Status.RUNNING,
    }.items():
        assert _judged(_seen(want, state, last, busy=True)).record.status is shown
        assert _judged(_seen(want, state, last, busy=False)).record.status == str(state)


def test_S3_the_engines_own_word_is_kept() -> None:
    assert _judged(_seen(Want.HOLD, EngineState.PAUSED, Status.PAUSING, busy=True, raw="PAUSED")).record.raw == "PAUSED"


@pytest.mark.parametrize("last", sorted(set(Status) - {Status.PAUSED}))
def test_P4_paused_at_the_engine_is_pausing_while_a_task_is_active(last: Status) -> None:
    assert _judged(_seen(Want.HOLD, EngineState.PAUSED, last, busy=True)).record.status is Status.PAUSING
    assert _judged(_seen(Want.HOLD, EngineState.PAUSED, last, busy=False)).record.status is Status.PAUSED


def test_S4_paused_does_not_turn_back_when_a_task_becomes_active() -> None:
    assert _judged(_seen(Want.HOLD, EngineState.PAUSED, Status.PAUSED, busy=True)).record.status is Status.PAUSED


def test_S4_paused_is_left_by_resume_by_cancel_and_by_the_engine_ending_it() -> None:
    for want, state in itertools.product(Want, EngineState):
        node = _judged(_seen(want, state, Status.PAUSED, busy=False, seen=EngineState.PAUSED, resumed_at="r1"))
        left = node.record.status is not Status.PAUSED
        resumed = want is Want.RUN or state is EngineState.RUNNING
        ended = state in ENDED or state in (EngineState.ABANDONED, EngineState.REQUESTED)
        assert not left or resumed or want is Want.CANCEL or ended


@pytest.mark.parametrize("child", sorted(ACTIVE - {Status.REQUESTED}))
def test_S4_a_child_resumed_alone_does_not_keep_its_held_ancestors_from_pausing(child: Status) -> None:
    alone = execution("b", child, 0, want=Want.RUN, resumed_at="r1", state=EngineState.RUNNING)
    held = execution("a", Status.PAUSING, state=EngineState.PAUSED)
    assert statuses(settle(tree(held, alone), FACTS).snapshot) == [Status.PAUSED, Status.RUNNING]


def test_S4_nor_does_it_turn_them_back() -> None:
    alone = execution("c", Status.RUNNING, 1)
    held = (execution("a", Status.PAUSED), execution("b", Status.PAUSED, 0))
    assert statuses(settle(tree(*held, alone), FACTS).snapshot) == [Status.PAUSED, Status.PAUSED, Status.RUNNING]


@pytest.mark.parametrize("status", sorted(ACTIVE - {Status.REQUESTED, Status.RUNNING}))
def test_S2_an_execution_is_active_while_a_child_is(status: Status) -> None:
    parent = execution("a", Status.PAUSING, state=EngineState.PAUSED)
    want = Want.CANCEL if status is Status.CANCELING else Want.HOLD
    child = execution("b", status, 0, want=want, state=EngineState.RUNNING)
    assert statuses(settle(tree(parent, child), FACTS).snapshot)[0] is Status.PAUSING


@pytest.mark.parametrize("state", [EngineState.PAUSED, *sorted(ENDED)])
def test_S5_the_last_active_task_ended_and_the_next_look_shows_it_at_every_level(state: EngineState) -> None:
    last = Status.PAUSING if state is EngineState.PAUSED else Status.CANCELING
    want = Want.HOLD if state is EngineState.PAUSED else Want.CANCEL
    nodes = [execution(str(level), last, level - 1, want=want, state=state) for level in range(4)]
    settled = settle(tree(*nodes), FACTS).snapshot
    assert {str(status) for status in statuses(settled)} == {str(state)}


def test_S5_a_leaf_four_levels_down_keeps_them_all_pausing_until_it_ends() -> None:
    nodes = [execution(str(level), Status.PAUSING, level - 1, state=EngineState.PAUSED) for level in range(4)]
    nodes[3] = execution(
        "3", Status.PAUSING, 2, state=EngineState.PAUSED, tasks=(task("l", TaskStatus.RUNNING, active=True),)
    )
    assert set(statuses(settle(tree(*nodes), FACTS).snapshot)) == {Status.PAUSING}


@pytest.mark.parametrize("want", Want)
def test_S2_a_task_is_judged_by_its_actions_not_by_the_engines_word(want: Want) -> None:
    says_running = task("t", TaskStatus.RUNNING, active=False)
    says_waiting = task("t", TaskStatus.WAITING, active=True)
    quiet = execution("a", Status.PAUSING, want=Want.HOLD, state=EngineState.PAUSED, tasks=(says_running,))
    busy = execution("a", Status.PAUSING, want=Want.HOLD, state=EngineState.PAUSED, tasks=(says_waiting,))
    assert _judged(quiet).record.status is Status.PAUSED
    assert _judged(busy).record.status is Status.PAUSING


@pytest.mark.parametrize("want", sorted(set(Want) - {Want.CANCEL}))
def test_S6_abandoned_is_neither_active_nor_terminal(want: Want) -> None:
    parent = execution("a", Status.PAUSING, state=EngineState.PAUSED)
    child = execution("b", Status.RUNNING, 0, want=want, state=EngineState.ABANDONED)
    assert statuses(settle(tree(parent, child), FACTS).snapshot) == [Status.PAUSED, Status.ABANDONED]


@pytest.mark.parametrize("last", Status)
@pytest.mark.parametrize("want", Want)
def test_S7_a_gone_execution_keeps_its_last_status_and_is_not_active(last: Status, want: Want) -> None:
    parent = execution("a", Status.PAUSING, state=EngineState.PAUSED)
    child = execution("b", last, 0, want=want, state=EngineState.GONE, seen=EngineState.RUNNING)
    settled = settle(tree(parent, child), FACTS).snapshot
    assert statuses(settled) == [Status.PAUSED, last]
    assert settled.nodes[1].record.gone


@pytest.mark.parametrize("last", sorted(ACTIVE))
def test_O2_an_engine_that_does_not_answer_leaves_what_was_known_of_it(last: Status) -> None:
    node = execution("a", last, reachable=False, raw="", error="")
    settled = settle(tree(node), FACTS)
    assert settled.snapshot.nodes[0].record == node.record
    assert settled.events == ()


def test_P6_a_birth_is_wanted_as_its_parent_is() -> None:
    assert birth_want(None) is Want.RUN
    for status in (Status.RUNNING, Status.PAUSED, Status.CANCELED):
        parent = execution("a", status).record
        assert birth_want(parent) is parent.want


def test_P6_a_child_not_started_under_a_hold_is_paused_and_not_active() -> None:
    parent = execution("a", Status.PAUSING, state=EngineState.PAUSED)
    child = execution("b", Status.REQUESTED, 0, want=Want.HOLD, state=EngineState.ABSENT, native=False, key="k")
    assert statuses(settle(tree(parent, child), FACTS).snapshot) == [Status.PAUSED, Status.PAUSED]


def test_P7_one_that_pauses_itself_holds_the_whole_tree() -> None:
    nodes = (
        execution("a", Status.RUNNING),
        execution("b", Status.RUNNING, 0, state=EngineState.PAUSED, revision="r2"),
        execution("c", Status.RUNNING, 0),
        execution("d", Status.SUCCEEDED, 0),
        execution("e", Status.CANCELING, 0),
    )
    settled = settle(tree(*nodes), FACTS)
    assert wants(settled.snapshot) == [Want.HOLD, Want.HOLD, Want.HOLD, Want.RUN, Want.CANCEL]
    assert settled.snapshot.nodes[0].record.held_by == "engine"
    assert [event.record for event in settled.events if event.kind is Kind.PAUSED_ITSELF] == ["b"]


@pytest.mark.parametrize("resumed_at", RESUMED)
def test_P7_paused_at_the_revision_of_our_resume_is_resuming_at_another_it_paused_itself(
    resumed_at: str | None,
) -> None:
    node = _judged(_seen(Want.RUN, EngineState.PAUSED, Status.RESUMING, busy=False, resumed_at=resumed_at))
    sent = resumed_at == "r1"
    assert (node.record.want, node.record.status) == (
        (Want.RUN, Status.RESUMING) if sent else (Want.HOLD, Status.PAUSED)
    )


def test_O12_a_resume_from_outside_lifts_the_hold_of_what_it_resumed_and_of_nothing_else() -> None:
    nodes = (
        execution("a", Status.PAUSED),
        execution("b", Status.PAUSED, 0, state=EngineState.RUNNING, seen=EngineState.PAUSED),
        execution("c", Status.PAUSED, 0),
    )
    settled = settle(tree(*nodes), FACTS)
    assert wants(settled.snapshot) == [Want.HOLD, Want.RUN, Want.HOLD]
    assert (Kind.RESUMED_OUTSIDE, "b") in {(event.kind, event.record) for event in settled.events}


@pytest.mark.parametrize("engine", ["plain", "eager"])
def test_O12_what_is_born_under_one_resumed_outside_runs_too(engine: str) -> None:
    parent = execution("a", Status.PAUSED, engine=engine, state=EngineState.RUNNING, seen=EngineState.PAUSED)
    born = execution(
        "b", Status.REQUESTED, 0, engine=engine, want=Want.HOLD, state=EngineState.RUNNING, seen=EngineState.REQUESTED
    )
    assert wants(settle(tree(parent, born), FACTS).snapshot) == [Want.RUN, Want.RUN]


def test_O12_a_pause_that_had_not_reached_a_child_is_not_sent_after_the_engine_resumed_it_with_its_parent() -> None:
    def child(engine: str) -> Node:
        return execution("b", Status.PAUSING, 0, engine=engine)

    for engine, left in (("eager", Want.RUN), ("plain", Want.HOLD)):
        parent = execution("a", Status.PAUSED, engine=engine, state=EngineState.RUNNING, seen=EngineState.PAUSED)
        assert wants(settle(tree(parent, child(engine)), FACTS).snapshot) == [Want.RUN, left]


def test_O12_a_late_resume_of_our_own_is_not_taken_for_a_wish_and_is_held_again() -> None:
    held = settle(tree(_seen(Want.HOLD, EngineState.PAUSED, Status.PAUSED, busy=False, resumed_at="r1")), FACTS)
    record = held.snapshot.nodes[0].record
    assert record.resumed_at == "r1"
    late = Node(record, -1, EngineState.RUNNING, "r2")
    settled = settle(tree(late), FACTS)
    assert wants(settled.snapshot) == [Want.HOLD]
    assert statuses(settled.snapshot) == [Status.PAUSING]
    assert settled.snapshot.nodes[0].record.resumed_at is None
    assert Kind.RESUMED_OUTSIDE not in {event.kind for event in settled.events}


def test_O12_a_cancel_from_outside_goes_down() -> None:
    parent = execution("a", Status.RUNNING, state=EngineState.CANCELED, seen=EngineState.RUNNING)
    below = (execution("b", Status.RUNNING, 0), execution("c", Status.RUNNING, 1))
    assert wants(settle(tree(parent, *below), FACTS).snapshot) == [Want.CANCEL] * 3


def test_O12_so_it_does_where_only_a_birth_runs_under_it() -> None:
    parent = execution("a", Status.RUNNING, engine="eager", state=EngineState.CANCELED, seen=EngineState.RUNNING)
    born = execution("b", Status.REQUESTED, 0, engine="eager", state=EngineState.RUNNING, seen=EngineState.REQUESTED)
    born = execution(
        "b", Status.REQUESTED, 0, engine="eager", state=EngineState.RUNNING, seen=EngineState.REQUESTED, want=Want.RUN
    )
    assert wants(settle(tree(parent, born), FACTS).snapshot) == [Want.CANCEL, Want.CANCEL]


@pytest.mark.parametrize("engine", ["plain", "eager"])
def test_C5_a_parent_that_ends_canceled_because_of_a_child_does_not_take_the_others_along(engine: str) -> None:
    parent = execution("a", Status.RUNNING, engine=engine, state=EngineState.CANCELED, seen=EngineState.RUNNING)
    canceled = execution("b", Status.CANCELED, 0, engine=engine)
    other = execution("c", Status.RUNNING, 0, engine=engine)
    settled = settle(tree(parent, canceled, other), FACTS).snapshot
    assert wants(settled) == [Want.RUN, Want.CANCEL, Want.RUN]
    assert statuses(settled)[0] is Status.CANCELING


def test_C5_a_child_canceled_outside_beside_one_that_the_engine_would_have_canceled_too() -> None:
    parent = execution("a", Status.RUNNING, engine="eager", state=EngineState.CANCELED, seen=EngineState.RUNNING)
    canceled = execution("b", Status.RUNNING, 0, engine="eager", state=EngineState.CANCELED, seen=EngineState.RUNNING)
    other = execution("c", Status.RUNNING, 0, engine="eager")
    assert wants(settle(tree(parent, canceled, other), FACTS).snapshot) == [Want.RUN, Want.CANCEL, Want.RUN]


@pytest.mark.parametrize("want", Want)
def test_O12_one_that_was_re_opened_outside_runs_and_is_not_paused_or_canceled_again(want: Want) -> None:
    node = _judged(_seen(want, EngineState.RUNNING, Status.CANCELED, busy=True, seen=EngineState.CANCELED))
    assert (node.record.want, node.record.status) == (Want.RUN, Status.RUNNING)


def test_O12_a_child_born_of_what_was_re_opened_outside_runs_too() -> None:
    parent = execution("a", Status.CANCELED, seen=EngineState.CANCELED, state=EngineState.RUNNING)
    born = execution("b", Status.REQUESTED, 0, want=Want.CANCEL, state=EngineState.RUNNING, seen=EngineState.REQUESTED)
    old = execution("c", Status.CANCELED, 0)
    assert wants(settle(tree(parent, born, old), FACTS).snapshot) == [Want.RUN, Want.RUN, Want.CANCEL]


@pytest.mark.parametrize("last", sorted(TERMINAL))
def test_an_ended_one_that_runs_again_and_not_by_us_is_flagged(last: Status) -> None:
    settled = settle(tree(_seen(Want.RUN, EngineState.RUNNING, last, busy=True)), FACTS)
    assert [event.kind for event in settled.events] == [Kind.REOPENED_OUTSIDE]


def test_a_second_look_at_the_same_changes_nothing() -> None:
    for record in _lives()[0]:
        for node in _looks(record):
            once = settle(tree(node), FACTS)
            twice = settle(once.snapshot, FACTS)
            assert twice.snapshot == once.snapshot
            assert twice.events == ()


def test_the_checks_and_the_fold_agree_on_what_a_verb_shows() -> None:
    for check, before, after in (
        (check_pause, Status.RUNNING, Status.PAUSING),
        (check_cancel, Status.RUNNING, Status.CANCELING),
    ):
        snapshot = tree(execution("a", before))
        assert statuses(settle(apply(snapshot, check(snapshot, 0), "me"), FACTS).snapshot) == [after]
    snapshot = tree(execution("a", Status.PAUSED))
    effect = check_resume(snapshot, 0, FACTS, frozenset())
    assert statuses(settle(apply(snapshot, effect, "me"), FACTS).snapshot) == [Status.RESUMING]
