"""Calls that nobody asked for and that fail: they are seen, tried again later and later, and told of once (O13)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from flowbridge.agent import Agent
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.errors import EngineRefused, FlowbridgeError, LedgerError, NotFound, Unavailable
from flowbridge.ledger.operations import Entry
from flowbridge.model import EngineState, Record, Status, TaskStatus, Trouble
from flowbridge.sending import Sent
from flowbridge.treeviews import tree_view
from flowbridge.views import execution_view
from links.kit import Desk, children, settle, statuses


class Clock:
    """Time that goes on when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    with monkeypatch.context() as patch:
        patch.setattr("time.time", made)
        yield made


def untold(desk: Desk, error: FlowbridgeError) -> tuple[Bridge, Record, Record]:
    """A tree whose child has ended, and whose host does not take that; gives bridge, root and child."""
    root = desk.root()
    flow = desk.bridges[0]
    (child,) = children(flow.get(root.id))
    desk.end(child, EngineState.SUCCEEDED)
    desk.host.refuses = {"report": error}
    settle(flow, root.id)
    return flow, root, child


def troubles(flow: Bridge) -> list[Entry]:
    """What the history tells of calls that fail."""
    return [entry for entry in flow.history() if entry.kind == "trouble"]


def shown(flow: Bridge, id: str) -> Any:
    """The only child of a tree, as `-o json` shows it."""
    return tree_view(flow.get(id).snapshot)["tasks"][0]["children"][0]


@pytest.mark.parametrize("error", [EngineRefused("not that one"), NotFound("no such action"), Unavailable("503")])
def test_O13_an_end_that_the_host_does_not_take_is_shown_with_the_reason_and_since_when(
    desk: Desk, clock: Clock, error: FlowbridgeError
) -> None:
    began = clock.now
    flow, root, child = untold(desk, error)
    clock.now += 100.0
    found = flow.tend([root.tree], set())[root.tree]
    (record,) = found.troubled
    assert record.id == child.id
    assert record.trouble == Trouble("report", error.message, began, clock.now, 5)
    view = shown(flow, root.id)
    assert view["waits_for"] == "its end to be told"
    assert view["trouble"] == execution_view(record)["trouble"] | {"tries": 6}
    assert (view["trouble"]["call"], view["trouble"]["reason"]) == ("report", error.message)


def test_O6_a_call_that_fails_is_told_once_by_the_history_and_so_is_its_end(desk: Desk) -> None:
    flow, root, child = untold(desk, EngineRefused("not that one"))
    (entry,) = troubles(flow)
    assert (entry.execution, entry.actor, entry.doc) == (
        child.id,
        "engine",
        {"call": "report", "error": "not that one"},
    )
    desk.host.refuses = {}
    assert statuses(flow, root.id) == [Status.RUNNING, Status.SUCCEEDED]
    assert [entry.doc.get("over") for entry in troubles(flow)] == [None, True]
    assert shown(flow, root.id)["trouble"] is None
    assert [status for _, status, _ in desk.host.reports] == [TaskStatus.SUCCEEDED]


def test_O13_who_goes_on_looking_tries_a_call_that_fails_later_and_later(desk: Desk, clock: Clock) -> None:
    flow, root, _ = untold(desk, EngineRefused("not that one"))
    desk.host.requests.clear()
    tried: list[int] = []
    for second in range(1, 300):
        clock.now += 1.0
        flow.tend([root.tree], set())
        if desk.host.count()["report"] > len(tried):
            tried.append(second)
    gaps = [after - before for before, after in pairwise(tried)]
    assert gaps == [16, 32, 60, 60, 60, 60]
    assert len(troubles(flow)) == 1


def test_O13_a_person_who_looks_has_it_tried_at_once(desk: Desk, clock: Clock) -> None:
    flow, root, _ = untold(desk, EngineRefused("not that one"))
    desk.host.refuses = {}
    flow.tend([root.tree], set())
    assert desk.host.reports == []
    flow.get(root.id)
    assert len(desk.host.reports) == 1


def test_O13_a_call_that_is_not_due_any_more_is_no_trouble_any_more(desk: Desk) -> None:
    flow, root, _ = untold(desk, EngineRefused("not that one"))
    desk.host.waits.clear()
    assert shown(flow, root.id)["trouble"] is None
    assert [entry.doc.get("over") for entry in troubles(flow)] == [None, True]


def test_O13_what_stands_in_the_way_stays_known_while_the_engine_is_down(desk: Desk) -> None:
    flow, root, _ = untold(desk, Unavailable("503"))
    desk.host.down = True
    assert shown(flow, root.id)["trouble"]["reason"] == "503"
    assert len(troubles(flow)) == 1


def test_O13_a_child_whose_engine_takes_no_start_says_so(desk: Desk) -> None:
    flow = desk.open()
    desk.other.silent = {"start"}
    root = desk.root()
    view = shown(flow, root.id)
    assert view["waits_for"] == "its start"
    assert (view["trouble"]["call"], view["trouble"]["reason"]) == ("start", "other does not answer")
    desk.other.silent = set()
    settle(flow, root.id)
    assert shown(flow, root.id)["trouble"] is None


def test_O3_a_start_that_is_refused_after_one_that_may_have_been_taken_is_shown_and_goes_on(desk: Desk) -> None:
    flow = desk.open()
    desk.other.dropped = {"start"}
    root = desk.root()
    desk.other.dropped, desk.other.refuses = set(), {"start": EngineRefused("no room")}
    assert settle(flow, root.id).record.status is Status.RUNNING
    assert shown(flow, root.id)["trouble"]["reason"] == "no room"


def test_S5_a_child_whose_start_was_never_written_down_fails_the_task_that_waits(desk: Desk) -> None:
    flow = desk.open()
    desk.other.silent = {"start"}
    root = desk.root()
    flow.ledger.database.run("DELETE FROM requests")
    desk.other.silent = set()
    look = settle(flow, root.id)
    assert look.record.status is Status.ERRORED
    ((_, status, result),) = desk.host.reports
    assert (status, "is not in the ledger" in result["error"]) == (TaskStatus.ERRORED, True)
    assert children(look)[0].trouble is None


def test_O13_a_task_of_which_it_cannot_be_told_what_it_waits_for_says_why(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> object:
        raise LedgerError("the key cannot be read")

    flow = desk.open()
    with monkeypatch.context() as patch:
        patch.setattr(flow.targets, "request", refuse)
        root = desk.root()
        view = tree_view(flow.get(root.id).snapshot)
        assert (view["trouble"]["call"], view["trouble"]["reason"]) == ("link", "the key cannot be read")
    settle(flow, root.id)
    assert tree_view(flow.get(root.id).snapshot)["trouble"] is None
    assert [entry.doc.get("over") for entry in troubles(flow)] == [None, True]


def test_O3_a_secret_that_cannot_be_opened_fails_no_child_and_holds_up_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = desk.open()

    def opened(value: Any) -> Any:
        if value["item"] == 0:
            raise LedgerError("the key cannot be read")
        return value

    with monkeypatch.context() as patch:
        patch.setattr(flow.ledger.vault, "open", opened)
        root = desk.root(items=2)
        first, second = children(settle(flow, root.id))
    assert (first.status, first.trouble and first.trouble.why) == (Status.REQUESTED, "the key cannot be read")
    assert second.status is Status.RUNNING
    settle(flow, root.id)
    assert statuses(flow, root.id) == [Status.RUNNING] * 3


def test_P6_a_pause_of_what_was_born_late_that_is_refused_is_shown(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    (child,) = children(flow.get(root.id))
    desk.host.has["r"].go(EngineState.PAUSED)
    desk.other.refuses = {"pause": EngineRefused("not now")}
    settle(flow, root.id)
    (record,) = flow.tend([root.tree], set())[root.tree].troubled
    assert (record.id, record.trouble and record.trouble[:2]) == (child.id, ("pause", "not now"))


def test_X7_a_record_that_takes_over_has_none_of_the_old_ones_trouble(desk: Desk) -> None:
    root = desk.root()
    flow = desk.bridges[0]
    (child,) = children(flow.get(root.id))
    desk.end(child, EngineState.ERRORED)
    settle(flow, root.id)
    broken = flow.ledger.executions.get(root.id)
    flow.ledger.executions.put([replace(broken, trouble=Trouble("link", "why", 1.0, 1.0))])
    again = flow.rerun(root.id, RerunRequest(("t",)))
    assert flow.find(again.execution).trouble is None


def test_O13_the_agents_health_names_the_calls_that_fail(desk: Desk) -> None:
    flow, root, child = untold(desk, EngineRefused("not that one"))
    agent = Agent(lambda: flow)
    group = frozenset({"host", "other"})
    agent._sent[group] = Sent()
    agent._drive(group, [root.tree])
    (failing,) = agent._found[group].failing
    assert failing["execution"] == child.id
    assert (failing["call"], failing["reason"]) == ("report", "not that one")
    desk.host.refuses = {}
    flow.get(root.id)
    agent._drive(group, [root.tree])
    assert agent._found[group].failing == []


def test_O6_two_things_that_fail_for_one_execution_do_not_take_turns_in_the_history(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    def unavailable(*_: object) -> object:
        raise Unavailable("no catalog")

    flow = desk.open()
    desk.host.workflows.add("mid")
    root = desk.root(target="host:mid")
    desk.host.has_links_to("other:flow")
    settle(flow, root.id)
    (child,) = children(flow.get(root.id))
    desk.host.host(child.ref.id, "other:flow", task="u")
    monkeypatch.setattr(flow.targets, "request", unavailable)
    flow.get(root.id)
    desk.host.has["r"].go(EngineState.PAUSED)
    desk.host.refuses = {"pause": EngineRefused("not now")}
    for _ in range(20):
        clock.now += 100.0
        flow.tend([root.tree], set())
    assert [entry.doc["call"] for entry in troubles(flow)] == ["link", "link", "pause"]
    (record,) = flow.tend([root.tree], set())[root.tree].troubled
    assert record.trouble
    assert record.trouble[:2] == ("pause", "not now")
    assert record.trouble.tries > 15
    desk.host.refuses = {}
    clock.now += 100.0
    flow.tend([root.tree], set())
    (record,) = flow.tend([root.tree], set())[root.tree].troubled
    assert record.trouble
    assert record.trouble[:2] == ("link", "no catalog")
