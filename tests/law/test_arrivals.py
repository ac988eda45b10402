"""What of a re-run or a skip that a cancel took back arrives all the same, told by its task (O3, O5, O12)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flowbridge.law.arrivals import arrived, in_the_way, left, to_cancel, untold
from flowbridge.law.decide import late_call, may_arrive_as
from flowbridge.law.fold import settle
from flowbridge.law.withdrawal import withdrawal
from flowbridge.model import EngineState, Node, Ref, Snapshot, Status, TaskLook, TaskStatus, Want, WithdrawnCall
from support.snapshots import execution, tree
from support.world import FACTS

_E, _T = EngineState, TaskStatus


def call(task: str = "t", *, canceled: str = "r", **changes: Any) -> WithdrawnCall:
    """A re-run of a task of one run, taken back at 10 by a cancel of the root."""
    return WithdrawnCall(task, 1, skip=False, canceled=Ref("plain", f"e{canceled}"), at=10.0)._replace(**changes)


def task(status: TaskStatus = _T.ERRORED, starts: int = 1, id: str = "t", **more: Any) -> TaskLook:
    return TaskLook(id, id, status, starts=starts, active=status is _T.RUNNING, **more)


def marked(*calls: WithdrawnCall, tasks: tuple[TaskLook, ...] = (task(),), **node: Any) -> Node:
    """An errored child that these calls may still arrive for."""
    made = execution("c", Status.ERRORED, 0, tasks=tasks, **node)
    return replace(made, record=replace(made.record, withdrawn=calls or (call(),), asked=True))


def family(child: Node, **root: Any) -> Snapshot:
    return tree(execution("r", Status.ERRORED, **root), child)


@pytest.mark.parametrize(
    ("what", "shown", "came"),
    [
        (call(), task(), False),
        (call(), task(_T.RUNNING), True),
        (call(), task(_T.WAITING), True),
        (call(), task(_T.ERRORED, 2), True),
        (call(), task(_T.SKIPPED), False),
        (call(came_once=True), task(_T.RUNNING), False),
        (call(came_once=True), task(_T.RUNNING, 2), True),
        (call(skip=True), task(_T.SKIPPED), True),
        (call(skip=True), task(_T.RUNNING, 2), False),
        (call("other"), task(_T.RUNNING, 2), False),
    ],
)
def test_O5_a_call_is_told_by_its_task(what: WithdrawnCall, shown: TaskLook, came: bool) -> None:
    assert bool(arrived(family(marked(what, tasks=(shown,))))) is came


def test_O12_a_task_with_children_runs_also_where_one_of_them_was_run_again() -> None:
    below = execution("d", Status.RUNNING, 1, parent_task="t")
    for starts, came in ((1, False), (2, True)):
        child = marked(tasks=(task(_T.RUNNING, starts),))
        assert bool(arrived(tree(execution("r", Status.ERRORED), child, below))) is came


@pytest.mark.parametrize("node", [{"reachable": False}, {"state": _E.GONE}])
def test_S7_what_is_not_seen_tells_nothing(node: dict[str, Any]) -> None:
    assert arrived(family(marked(tasks=(task(_T.RUNNING, 2),), **node))) == {}


def test_O5_of_what_was_sent_more_than_once_another_may_come() -> None:
    twice = call(calls=2)
    node = marked(twice, call("u"), tasks=(task(_T.RUNNING, 2),))
    after = left(node, [twice])
    assert after.withdrawn == (call(starts=2, came_once=True), call("u"))
    last = left(replace(node, record=after), after.withdrawn)
    assert (last.withdrawn, last.asked) == ((), False)


@pytest.mark.parametrize(
    ("root", "place"),
    [
        ({}, 0),
        ({"seen": _E.RUNNING}, None),
        ({"created": 11.0}, None),
        ({"seen": _E.RUNNING, "want": Want.CANCEL}, 0),
        ({"created": 11.0, "want": Want.CANCEL}, 0),
    ],
)
def test_O12_only_what_goes_on_for_nobody_is_canceled_with_it(root: dict[str, Any], place: int | None) -> None:
    snapshot = family(marked(), **root)
    assert to_cancel(snapshot, {1: [call()]}) == (set() if place is None else {place})


def test_C5_what_was_canceled_alone_or_made_a_task_wait_in_vain_is_canceled_alone() -> None:
    assert to_cancel(family(marked()), {1: [call(canceled="c")]}) == {1}
    assert to_cancel(family(marked()), {1: [call(canceled="below")]}) == {1}


@pytest.mark.parametrize(
    ("tasks", "unclear"),
    [
        ((task(),), {0, 1}),
        ((task(), task(_T.RUNNING, id="u")), set()),
        ((task(), task(_T.WAITING, id="u")), {0, 1}),
        ((task(), replace(task(_T.WAITING, id="u"), active=True)), set()),
        ((replace(task(), active=True),), set()),
    ],
)
def test_O12_whose_doing_it_is_cannot_be_told_while_nothing_runs(
    tasks: tuple[TaskLook, ...], unclear: set[int]
) -> None:
    runs: dict[str, Any] = {"state": _E.RUNNING, "seen": _E.ERRORED}
    assert untold(family(marked(tasks=tasks, **runs), **runs), frozenset()) == unclear


def test_S3_what_cannot_be_told_keeps_its_status_and_shows_what_its_engine_says() -> None:
    runs: dict[str, Any] = {"state": _E.RUNNING, "seen": _E.ERRORED, "raw": "RUNNING", "revision": "r2"}
    settled = settle(family(marked(**runs), **runs), FACTS)
    assert settled.events == ()
    for node in settled.snapshot.nodes:
        assert (node.state, node.record.seen, node.record.status) == (_E.RUNNING, _E.ERRORED, Status.ERRORED)
        assert (node.record.raw, node.record.revision) == ("RUNNING", "r2")


def test_S7_nothing_arrives_where_it_is_gone() -> None:
    gone = marked(state=_E.GONE)
    (_, node) = settle(family(gone), FACTS).snapshot.nodes
    assert (node.record.withdrawn, node.record.asked, node.record.gone) == ((), False, True)
    assert may_arrive_as(gone.record, _E.ERRORED)
    assert not may_arrive_as(gone.record, _E.GONE)


def test_what_may_arrive_is_called_by_its_verbs() -> None:
    assert late_call(marked(call()).record) == "its re-run"
    assert late_call(marked(call(skip=True)).record) == "its skip"
    assert late_call(marked(call(), call("u", skip=True)).record) == "its re-run or skip"


@pytest.mark.parametrize(
    ("canceled", "reopened", "whole", "meets"),
    [
        ("r", (0,), {}, True),
        ("c", (0,), {}, False),
        ("c", (0, 1), {}, True),
        ("c", (0,), {0: {"p"}}, True),
        ("c", (0,), {0: {"q"}}, False),
    ],
)
def test_O5_a_re_run_waits_for_what_could_not_be_told_from_it(
    canceled: str, reopened: tuple[int, ...], whole: dict[int, set[str]], meets: bool
) -> None:
    snapshot = family(marked(call(canceled=canceled), parent_task="p"))
    assert in_the_way(snapshot, reopened, whole) == ([1] if meets else [])


def test_O5_only_the_tasks_that_are_taken_back_may_still_arrive_each_as_often_as_it_was_sent() -> None:
    steps: list[dict[str, Any]] = [
        {"action": "re-run", "record": "c", "tasks": [["t", True], ["u", True]], "mark": {"t": 1, "u": 1}, "sent": 2},
        {"action": "skip", "record": "c", "tasks": [["v", True]], "mark": {"v": 1}},
    ]
    shown = (task(), task(id="v"), task(_T.RUNNING, 2, "u"))
    gone = withdrawal(steps, ("c", "r"), family(execution("c", Status.ERRORED, 0, tasks=shown)), 0, 5.0)
    assert gone is not None
    assert gone.sent == {1: (WithdrawnCall("t", 1, skip=False, canceled=Ref("plain", "er"), at=5.0, calls=2),)}
    assert [step["tasks"] for step in gone.steps] == [[["u", True]]]
