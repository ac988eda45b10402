"""What is wanted becomes the smallest set of calls (O1)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from flowbridge.law.decide import Action, Plan, decide, warnings
from flowbridge.law.driving import awaits_driver, awaits_driver_as_known, waits_for
from flowbridge.law.fold import settle
from flowbridge.model import EngineState, Node, Snapshot, Status, TaskStatus, WaitingChild, Want
from support.snapshots import FACTS, execution, task, tree


def steps(*nodes: Node) -> list[tuple[str, str]]:
    """The calls for a tree, as (action, record)."""
    return [(str(step.action), step.record) for step in decide(tree(*nodes), FACTS).steps]


def plan(*nodes: Node) -> Plan:
    """The plan for a tree."""
    return decide(tree(*nodes), FACTS)


def _chain(status: Status, want: Want, engines: Sequence[str], **changes: Any) -> list[Node]:
    """A chain of executions, natively linked where the engine stays the same."""
    return [
        execution(
            str(level), status, level - 1, engine=engine, want=want,
            native=level == 0 or engines[level - 1] == engine, **changes,
        )
        for level, engine in enumerate(engines)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "want", "action", "order"),
    [
        (Status.RUNNING, Want.HOLD, "pause", "012"),  # roots first
        (Status.RUNNING, Want.CANCEL, "cancel", "012"),
        (Status.PAUSED, Want.RUN, "resume", "210"),  # leaves first
    ],
)
def test_O1_pause_and_cancel_go_roots_first_a_resume_leaves_first(
    status: Status, want: Want, action: str, order: str
) -> None:
    assert steps(*_chain(status, want, ["plain"] * 3)) == [(action, record) for record in order]


@pytest.mark.parametrize(
    ("status", "want", "action"),
    [
        (Status.RUNNING, Want.HOLD, "pause"),
        (Status.RUNNING, Want.CANCEL, "cancel"),
        (Status.PAUSED, Want.RUN, "resume"),
    ],
)
def test_O1_one_call_for_each_region_that_an_engine_links_natively(status: Status, want: Want, action: str) -> None:
    assert steps(*_chain(status, want, ["eager"] * 4)) == [(action, "0")]
    across = steps(*_chain(status, want, ["eager", "eager", "plain", "eager"]))
    assert sorted(across) == [(action, "0"), (action, "2"), (action, "3")]


def test_O1_none_for_a_node_whose_native_parent_gets_the_same_call_and_its_line_says_so() -> None:
    lines = plan(*_chain(Status.RUNNING, Want.HOLD, ["eager", "eager"])).lines
    assert [(line.action, line.by, line.reason) for line in lines] == [
        (Action.PAUSE, "bridge", ""),
        (Action.PAUSE, "engine", "its engine does it with the parent"),
    ]


def test_O1_a_native_child_gets_its_own_call_where_the_parent_gets_another_or_none() -> None:
    canceled = execution("a", Status.RUNNING, engine="eager", want=Want.CANCEL)
    held = execution("b", Status.RUNNING, 0, engine="eager", want=Want.HOLD)
    assert steps(canceled, held) == [("cancel", "a"), ("pause", "b")]
    done = execution("a", Status.PAUSED, engine="eager")
    assert steps(done, held) == [("pause", "b")]


_QUIET = {
    (Want.RUN, EngineState.RUNNING), (Want.RUN, EngineState.REQUESTED), (Want.RUN, EngineState.ABANDONED),
    (Want.HOLD, EngineState.ABSENT), (Want.HOLD, EngineState.REQUESTED), (Want.HOLD, EngineState.PAUSED),
    (Want.HOLD, EngineState.ABANDONED), (Want.CANCEL, EngineState.ABSENT),
}  # fmt: skip
_ENDED = (EngineState.CANCELED, EngineState.SUCCEEDED, EngineState.ERRORED, EngineState.GONE)


@pytest.mark.parametrize(("want", "state"), list(itertools.product(Want, EngineState)))
def test_O1_every_execution_has_a_call_or_a_reason(want: Want, state: EngineState) -> None:
    found = plan(execution("a", Status.RUNNING, want=want, state=state))
    left = (want, state) in _QUIET or state in _ENDED
    assert (found.steps == ()) is left
    assert [bool(line.reason) for line in found.lines] == [left]
    assert found.lines[0].by == ("" if left else "bridge")


@pytest.mark.parametrize("want", Want)
def test_O2_an_engine_that_does_not_answer_gets_no_call_and_what_is_to_be_done_there_stays_open(want: Want) -> None:
    for state in EngineState:
        answers, silent = (
            plan(execution("a", Status.RUNNING, want=want, state=state, reachable=reachable))
            for reachable in (True, False)
        )
        assert silent.steps == ()
        is_open = bool(answers.steps) or (want, state) == (Want.HOLD, EngineState.REQUESTED)
        why = "it stays open (O2)" if is_open else f"last seen: {answers.lines[0].reason}"
        assert silent.lines[0].reason == f"plain does not answer; {why}"


@pytest.mark.parametrize(
    ("status", "said"),
    [(Status.SUCCEEDED, "has succeeded"), (Status.ERRORED, "has errored"), (Status.CANCELED, "is canceled")],
)
def test_O1_what_has_ended_at_an_engine_that_does_not_answer_does_not_stay_open(status: Status, said: str) -> None:
    found = plan(execution("a", Status.CANCELING), execution("b", status, 0, want=Want.CANCEL, reachable=False))
    assert [line.reason for line in found.lines] == ["", f"plain does not answer; last seen: {said}"]


@pytest.mark.parametrize("want", Want)
def test_S7_a_gone_execution_gets_no_call(want: Want) -> None:
    assert steps(execution("a", Status.RUNNING, want=want, state=EngineState.GONE, gone=True)) == []


def test_a_step_carries_the_revision_that_the_look_showed() -> None:
    found = plan(execution("a", Status.PAUSED, want=Want.RUN, revision="r9"))
    assert [step.revision for step in found.steps] == ["r9"]


def _linked(parent: Status, child: Status, *, waits: bool = True, **changes: Any) -> list[tuple[str, str]]:
    waiting = (WaitingChild("k", "t", None, "wf"),) if waits else ()
    return steps(
        execution("a", parent, waiting=waiting),
        execution("b", child, 0, native=False, key="k", **changes),
    )


def test_P6_a_waiting_child_is_started_only_when_it_is_wanted_to_run() -> None:
    absent: dict[str, Any] = {"state": EngineState.ABSENT, "seen": EngineState.ABSENT}
    assert _linked(Status.RUNNING, Status.REQUESTED, want=Want.RUN, **absent) == [("start", "b")]
    assert _linked(Status.PAUSED, Status.PAUSED, want=Want.HOLD, **absent) == []
    assert _linked(Status.CANCELED, Status.CANCELED, want=Want.CANCEL, **absent) == [("report", "b")]


@pytest.mark.parametrize("over", [Status.CANCELED, Status.SUCCEEDED, Status.ERRORED])
@pytest.mark.parametrize("parent", Status)
def test_R3_C2_an_ended_child_is_reported_to_a_held_parent_after_its_resume_to_a_canceled_one_when_it_is(
    parent: Status, over: Status
) -> None:
    reported = ("report", "b") in _linked(parent, over)
    assert reported is (parent in (Status.RUNNING, Status.CANCELED, Status.SUCCEEDED, Status.ERRORED))


def test_O2_nothing_is_reported_to_an_engine_that_does_not_answer() -> None:
    waiting = (WaitingChild("k", "t", None, "wf"),)
    parent = execution("a", Status.RUNNING, waiting=waiting, reachable=False)
    assert steps(parent, execution("b", Status.SUCCEEDED, 0, native=False, key="k")) == []


def test_R3_a_child_that_is_no_longer_waited_for_is_not_reported_again() -> None:
    assert _linked(Status.RUNNING, Status.SUCCEEDED, waits=False) == []


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.CANCELED, Status.SUCCEEDED, Status.ERRORED}))
def test_a_child_that_has_not_ended_is_never_reported(status: Status) -> None:
    assert ("report", "b") not in _linked(Status.RUNNING, status)


def test_a_child_whose_engine_says_ended_while_a_task_is_active_is_not_reported_yet() -> None:
    assert ("report", "b") not in _linked(Status.RUNNING, Status.RUNNING, state=EngineState.SUCCEEDED)


JOIN = task("join", TaskStatus.WAITING)
DELAYED = task("later", TaskStatus.WAITING, active=True)
BUSY = task("work", TaskStatus.RUNNING, active=True)


@pytest.mark.parametrize(
    ("status", "tasks", "said"),
    [
        (Status.PAUSING, (JOIN, BUSY), ["join may start under the pause"]),
        (Status.PAUSING, (JOIN,), []),
        (Status.PAUSING, (DELAYED,), ["task later, delayed or on its way, may still start"]),
        (Status.CANCELING, (DELAYED, JOIN, BUSY), ["task later, delayed or on its way, may still start"]),
        (Status.RUNNING, (JOIN, DELAYED, BUSY), []),
        (Status.CANCELED, (DELAYED,), []),
    ],
)
def test_P5_O8_what_an_engine_may_still_do_is_named(status: Status, tasks: tuple[Any, ...], said: list[str]) -> None:
    found = warnings(tree(execution("a", status, engine="eager", tasks=tasks)), FACTS)
    assert len(found) == len(said)
    assert all(part in text and "eager:ea" in text for part, text in zip(said, found, strict=True))
    assert warnings(tree(execution("a", status, tasks=tasks)), FACTS) == ()


class Counted(tuple[Any, ...]):
    """Nodes, or what waits in one, that count how often one of them is taken."""

    taken = 0

    def __iter__(self) -> Iterator[Any]:
        for node in super().__iter__():
            Counted.taken += 1
            yield node

    def __getitem__(self, at: Any) -> Any:
        Counted.taken += 1
        return super().__getitem__(at)


def _taken(count: int, shape: str) -> int:
    def parent(at: int) -> int:
        return {"chain": at - 1, "star": 0 if at else -1, "tree": (at - 1) // 3 if at else -1}[shape]

    nodes = [execution(str(at), Status.RUNNING, parent(at), want=Want.HOLD) for at in range(count)]
    Counted.taken = 0
    snapshot = Snapshot(Counted(nodes))
    settle(snapshot, FACTS)
    decide(snapshot, FACTS)
    return Counted.taken


@pytest.mark.parametrize("shape", ["chain", "star", "tree"])
def test_settle_and_decide_are_linear_in_the_number_of_executions(shape: str) -> None:
    few, many = _taken(100, shape), _taken(1000, shape)
    assert many <= 10 * few + 100
    assert few <= 100 * 20


def _known_to_await(snapshot: Snapshot) -> bool:
    host, *below = snapshot.nodes
    records = [host.record, *(replace(node.record, parent=host.record.ref) for node in below)]
    return awaits_driver_as_known(records, {host.record.id: host.waiting})


def _heard(count: int, status: Status, look: Callable[[Snapshot], object]) -> int:
    """How often a look takes one of the waiting actions of a host of this status whose children have all ended."""
    keys = [f"k{at}" for at in range(count)]
    waiting = Counted(WaitingChild(key, "t", None, "flow") for key in keys)
    host = execution("host", status, waiting=waiting)
    below = [execution(key, Status.SUCCEEDED, 0, native=False, key=key, looked=1.0) for key in keys]
    Counted.taken = 0
    look(Snapshot((host, *below)))
    return Counted.taken


@pytest.mark.parametrize("status", [Status.RUNNING, Status.PAUSED, Status.ERRORED])
@pytest.mark.parametrize("look", [lambda snapshot: decide(snapshot, FACTS), waits_for, awaits_driver, _known_to_await])
def test_what_a_task_waits_for_is_gone_through_once_however_many_children_have_ended(
    status: Status, look: Callable[[Snapshot], object]
) -> None:
    assert _heard(200, status, look) <= 200
