"""Calls to an engine that takes several at once: children are started and told beside one another, eight at most."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from flowbridge.backend import Definition, Target
from flowbridge.calls import LIMIT
from flowbridge.errors import EngineRefused, InvalidInput, Unavailable
from flowbridge.model import EngineState, Status, TaskStatus
from links.kit import Desk, children, settle, statuses


@pytest.fixture
def both(desk: Desk) -> Desk:
    """Two engines that take several calls at once."""
    desk.other.concurrent = desk.host.concurrent = True  # type: ignore[misc]  # facts of the class, told of these
    return desk


class Gate:
    """Lets a call through when as many have come as may be in flight; `most` is how many were ever inside."""

    def __init__(self, name: str, parties: int = LIMIT) -> None:
        self._name = name
        self._barrier = threading.Barrier(parties, timeout=30)
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0

    def __call__(self, name: str) -> None:
        if name != self._name:
            return
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        self._barrier.wait()
        with self._lock:
            self._inside -= 1


def defined(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on `a.name` is in a catalog, with a definition."""
    flow = desk.bridges[0] if desk.bridges else desk.open()
    target = Target(Definition("flow"), backend="other")
    monkeypatch.setattr(flow.targets, "catalog", lambda ref: target if ref == "a.name" else None)


def test_O3_children_are_started_side_by_side_and_all_was_written_down_before(both: Desk) -> None:
    gate = Gate("start")
    written: list[int] = []

    def before(name: str) -> None:
        if name == "start" and not written:
            with closing(sqlite3.connect(both.ledger)) as ledger:
                written.append(ledger.execute("SELECT count(*) FROM requests").fetchone()[0])
        gate(name)

    both.other.before = before
    root = both.root(items=2 * LIMIT)
    assert (gate.most, written[0]) == (LIMIT, 2 * LIMIT)
    assert statuses(both.bridges[0], root.id) == [Status.RUNNING] * (2 * LIMIT + 1)
    assert both.other.count()["start"] == len(both.other.has) == 2 * LIMIT


def test_O3_an_engine_that_takes_one_call_at_a_time_gets_one_at_a_time(desk: Desk) -> None:
    gate = Gate("start", 1)
    desk.other.before = gate
    desk.root(items=20)
    assert (gate.most, desk.other.count()["start"]) == (1, 20)


def test_C5_ends_are_told_side_by_side_also_of_children_whose_engine_takes_one_call_at_a_time(desk: Desk) -> None:
    desk.host.concurrent = True  # type: ignore[misc]  # as above
    root = desk.root(items=LIMIT)
    flow = desk.bridges[0]
    for child in children(flow.get(root.id)):
        desk.end(child, EngineState.SUCCEEDED, of=child.item)
    tells, reads = Gate("report"), Gate("read", 1)
    desk.host.before, desk.other.before = tells, reads
    settle(flow, root.id)
    assert (tells.most, reads.most) == (LIMIT, 1)
    assert sorted((item, result["of"]) for item, _, result in desk.host.reports if item is not None) == [
        (item, item) for item in range(LIMIT)
    ]


def test_what_many_children_are_started_from_is_deployed_once_and_by_the_bridges_own_thread(
    both: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[int] = set()

    def before(name: str) -> None:
        if name == "deploy":
            threads.add(threading.get_ident())

    defined(both, monkeypatch)
    both.other.before = before
    both.root(target="a.name", items=12)
    assert (both.other.count()["deploy"], both.other.count()["start"]) == (1, 12)
    assert threads == {threading.get_ident()}
    assert {request.definition for request in both.other.started} == {None}


@pytest.mark.parametrize("refusal", [EngineRefused("no room"), InvalidInput("no YAML")])
def test_a_definition_that_is_refused_fails_each_child_and_starts_none(
    both: Desk, monkeypatch: pytest.MonkeyPatch, refusal: EngineRefused | InvalidInput
) -> None:
    defined(both, monkeypatch)
    both.other.refuses = {"deploy": refusal}
    root = both.root(target="a.name", items=3)
    look = settle(both.bridges[0], root.id)
    assert {(child.status, child.error) for child in children(look)} == {(Status.ERRORED, refusal.message)}
    assert [status for _, status, _ in both.host.reports] == [TaskStatus.ERRORED] * 3
    assert both.other.count()["start"] == 0


def test_O3_a_deployment_whose_answer_was_lost_leaves_the_start_unsent(
    both: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    defined(both, monkeypatch)
    both.other.dropped = {"deploy"}
    root = both.root(target="a.name")
    flow = both.bridges[0]
    (child,) = children(flow.get(root.id))
    assert child.trouble is not None
    assert child.trouble.why == "other did not answer in time"
    both.other.dropped, both.other.refuses = set(), {"start": EngineRefused("no room")}
    settle(flow, root.id)
    # No start was sent before, so that this refusal is its answer.
    assert children(flow.get(root.id))[0].status is Status.ERRORED


@pytest.mark.parametrize("lost", ["lost", "dropped"])
def test_O3_starts_whose_answers_were_lost_start_nothing_twice(both: Desk, lost: str) -> None:
    setattr(both.other, lost, {"start"})
    root = both.root(items=9)
    setattr(both.other, lost, set())
    assert settle(both.bridges[0], root.id).record.status is Status.RUNNING
    assert {child.ref.id for child in children(both.bridges[0].get(root.id))} == set(both.other.has)
    assert len(both.other.has) == 9


def test_O2_one_start_that_fails_holds_up_no_other(both: Desk) -> None:
    starts = both.other.start
    seen: list[str] = []

    def start(request: object) -> object:
        seen.append(request.id)  # type: ignore[attr-defined]
        if len(seen) == 3:
            raise Unavailable("503")
        return starts(request)  # type: ignore[arg-type]

    refused: Callable[..., object] = start
    both.other.start = refused  # type: ignore[method-assign, assignment]
    root = both.root(items=6)
    assert statuses(both.bridges[0], root.id) == [Status.RUNNING] * 7
    assert (len(both.other.has), len(seen)) == (6, 7)
