"""Records in the ledger: found by id, listed by a filter, kept word for word, forgotten when they are old."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.kit import Desk, current, errored_family, family, mixed, one
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.errors import InvalidInput, NotFound
from flowbridge.ledger.codec import dumps, record_from, record_to, tasks_from, tasks_to
from flowbridge.ledger.executions import Executions, Filter
from flowbridge.local import Command
from flowbridge.model import (
    EngineState,
    Record,
    Ref,
    Status,
    TaskLook,
    TaskStatus,
    Trouble,
    WaitingChild,
    Want,
    WithdrawnCall,
)
from flowbridge.treeviews import tree_view
from support.fakes import task

TEXT = st.text(max_size=6)
REFS = st.builds(Ref, TEXT, TEXT)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
COUNTS = st.integers(0, 99)
OF_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "str": TEXT,
    "bool": st.booleans(),
    "int": st.integers(0, 1 << 60),
    "float": FLOATS,
    "int | None": st.none() | st.integers(0, 99),
    "float | None": st.none() | FLOATS,
    "str | None": st.none() | TEXT,
    "Ref": REFS,
    "Ref | None": st.none() | REFS,
    "tuple[WithdrawnCall, ...]": st.lists(
        st.builds(
            WithdrawnCall, TEXT, st.integers(0, 99), st.booleans(), REFS, FLOATS, st.integers(1, 9), st.booleans()
        ),
        max_size=2,
    ).map(tuple),
    "Trouble | None": st.none() | st.builds(Trouble, TEXT, TEXT, FLOATS, FLOATS, st.integers(1, 99)),
    "Want": st.sampled_from(Want),
    "Status": st.sampled_from(Status),
    "EngineState": st.sampled_from(EngineState),
    "TaskStatus": st.sampled_from(TaskStatus),
    "tuple[str, ...]": st.lists(TEXT, max_size=3).map(tuple),
    "Mapping[str, Any] | None": st.none() | st.dictionaries(TEXT, JSON, max_size=3),
    "Mapping[str, Any]": st.dictionaries(TEXT, JSON, max_size=3),
}


def whole(kind: Callable[..., Any]) -> st.SearchStrategy[Any]:
    """Every field of a dataclass, by its type; a type that is not listed above fails here."""
    return st.builds(kind, **{field.name: OF_TYPE[str(field.type)] for field in fields(kind)})  # type: ignore[arg-type]


@given(whole(Record))
def test_a_record_comes_back_as_it_was_written(record: Record) -> None:
    found = record_from(record_to(record))
    assert record_from(record_to(record)) is found, "who looks again and again reads each text once"
    assert found == record
    for field in fields(record):
        assert type(getattr(found, field.name)) is type(getattr(record, field.name)), field.name


@given(st.lists(whole(TaskLook), max_size=3).map(tuple), st.lists(whole(WaitingChild), max_size=2).map(tuple))
def test_what_was_seen_of_tasks_comes_back_as_it_was_written(
    tasks: tuple[TaskLook, ...], waiting: tuple[WaitingChild, ...]
) -> None:
    found = tasks_from(tasks_to(tasks, waiting))
    assert found == (tasks, tuple(replace(child, input={}, env={}) for child in waiting))
    assert all(type(task.status) is TaskStatus for task in found[0])


def put(flow: Bridge, id: str, **changes: Any) -> Record:
    record = Record(id, f"tree-{id}", Ref("fake", id), **changes)
    flow.ledger.executions.put([record])
    return record


@pytest.fixture
def kept(flow: Bridge) -> Executions:
    return flow.ledger.executions


def test_an_id_is_found_whole_or_by_a_prefix_that_is_its_own(flow: Bridge) -> None:
    put(flow, "abc1")
    put(flow, "abc12")
    put(flow, "abd")
    assert [flow.find(text).id for text in ("abc1", "abc12", "abd")] == ["abc1", "abc12", "abd"]
    put(flow, "x-7")
    assert flow.find("x").id == "x-7"


def test_a_prefix_of_several_ids_is_refused_and_they_are_named(flow: Bridge) -> None:
    for number in range(3):
        put(flow, f"ab{number}")
    with pytest.raises(InvalidInput, match=r"'ab' is ambiguous: ab0, ab1, ab2; give more"):
        flow.find("ab")
    for number in range(3, 9):
        put(flow, f"ab{number}")
    with pytest.raises(InvalidInput, match=r"ab0, ab1, ab2 \.\.\.; give more"):
        flow.find("ab")


@pytest.mark.parametrize("text", ["", "zz", "%", "_", "a%", "a_c", "\\", "ab\\c", "'"])
def test_what_is_no_id_is_not_found(flow: Bridge, text: str) -> None:
    put(flow, "abc")
    with pytest.raises(NotFound, match="execution list"):
        flow.find(text)


def test_last_is_the_newest_root_that_this_actor_started(flow: Bridge, desk: Desk) -> None:
    with pytest.raises(NotFound, match="me has started nothing"):
        flow.find("last")
    put(flow, "old", actor="me", created=1.0)
    put(flow, "mine", actor="me", created=2.0)
    put(flow, "theirs", actor="them", created=3.0)
    put(flow, "child", actor="me", created=4.0, parent=Ref("fake", "mine"))
    assert flow.find("last").id == "mine"
    assert desk.open("them").find("last").id == "theirs"
    put(flow, "tie", actor="me", created=2.0)
    assert flow.find("last").id == "tie"


CASES: list[tuple[dict[str, Any], str]] = [
    ({}, "dcb"),
    ({"roots": False}, "dcba"),
    ({"status": ("paused",)}, "c"),
    ({"status": ("paused", "running")}, "cb"),
    ({"backend": "other"}, "d"),
    ({"workflow": "w"}, "dc"),
    ({"actor": "me"}, "cb"),
    ({"before": 3.0}, "cb"),
    ({"after": 1.0}, "dc"),
    ({"after": 1.0, "before": 3.0, "workflow": "w"}, "c"),
    ({"limit": 2}, "dc"),
    ({"limit": 2, "offset": 1}, "cb"),
    ({"limit": -1}, "dcb"),
    ({"status": ("errored",)}, ""),
]


@pytest.mark.parametrize(("filter", "expected"), CASES, ids=str)
def test_a_filter_selects_newest_first(kept: Executions, filter: dict[str, Any], expected: str) -> None:
    kept.put(
        [
            Record("a", "t", Ref("fake", "a"), parent=Ref("fake", "b"), created=0.0),
            Record("b", "t", Ref("fake", "b"), actor="me", workflow="v", status=Status.RUNNING, created=1.0),
            Record("c", "u", Ref("fake", "c"), actor="me", workflow="w", status=Status.PAUSED, created=2.0),
            Record("d", "v", Ref("other", "d"), workflow="w", actor="you", created=3.0),
            Record("e", "w", Ref("fake", "e"), workflow="w", superseded_by="z", created=4.0),
        ]
    )
    assert "".join(record.id for record in kept.list(Filter(**filter))) == expected


def test_only_one_record_of_an_engine_execution_is_the_current_one(kept: Executions) -> None:
    kept.put([Record("a", "t", Ref("fake", "e"), superseded_by="b")])
    kept.put([Record("b", "t", Ref("fake", "e"), rerun_of="a")])
    found = kept.current(Ref("fake", "e"))
    assert found is not None
    assert found.id == "b"
    assert [record.id for record in kept.tree("t")] == ["b"]
    assert kept.get("a").superseded_by == "b"


def test_what_was_last_seen_is_read_for_any_number_of_records(flow: Bridge, desk: Desk) -> None:
    root, *_ = family(desk)
    found = flow.ledger.executions.looks([*(f"none{number}" for number in range(1200)), root.id])
    assert set(found) == {root.id}


def _finish(desk: Desk, *ids: str) -> None:
    for id in ids:
        desk.engine.has[id].tasks = []
        desk.engine.has[id].go(EngineState.SUCCEEDED)


def test_prune_forgets_ended_trees_and_keeps_their_history(flow: Bridge, desk: Desk) -> None:
    old = flow.run(Definition("flow"), backend="fake")
    new = one(desk)
    _finish(desk, old.ref.id, new.ref.id)
    flow.list(Filter())
    flow.ledger.rows.write(str(old.ref), {"k": "v"})
    flow.ledger.rows.send(str(old.ref), Command("c1", "pause", old.ref.id), 1.0)
    assert flow.prune(new.created) == 1
    assert [record.id for record in flow.list(Filter())] == [new.id]
    assert old.id in {entry.execution for entry in flow.history()}
    for table in ("looks", "requests"):
        ids = {row[0] for row in flow.ledger.database.all(f"SELECT id FROM {table}")}
        assert old.id not in ids, table
    assert flow.ledger.rows.load(str(old.ref)) == {}
    assert flow.ledger.rows.pending(str(old.ref)) == []
    with pytest.raises(NotFound):
        flow.find(old.id)


def test_prune_forgets_superseded_records_with_their_tree(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)
    flow.rerun(root.id, RerunRequest(("sub",)))
    _finish(desk, "e0", "e1")
    flow.list(Filter())
    assert flow.prune(float("inf")) == 1
    for table in ("executions", "frozen", "looks"):
        assert flow.ledger.database.all(f"SELECT * FROM {table}") == [], table


def test_prune_leaves_a_tree_with_a_branch_that_still_runs(flow: Bridge, desk: Desk) -> None:
    mixed(desk)
    _finish(desk, "e0")
    flow.list(Filter())
    assert flow.prune(float("inf")) == 0


def test_prune_leaves_a_tree_with_an_operation_that_is_open(flow: Bridge, desk: Desk) -> None:
    root, _ = errored_family(desk)
    flow.list(Filter())
    desk.engine.dropped = {"rerun"}
    assert flow.rerun(root.id, RerunRequest(tasks=("sub.bad",)), timeout=0).exit_code == 5
    assert flow.prune(float("inf")) == 0
    assert flow.cancel(current(flow, "e0").id, timeout=0).done  # takes it back (O5)
    assert flow.prune(float("inf")) == 0, "it may still arrive"
    flow.recover(root.id)
    assert flow.prune(float("inf")) == 1


def test_S7_prune_forgets_what_its_engine_has_forgotten(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    desk.engine.forget("e0")
    assert flow.get(record.id).record.gone
    assert flow.prune(float("inf")) == 1


def test_prune_leaves_a_tree_that_is_in_use(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    _finish(desk, "e0")
    flow.list(Filter())
    with flow.ledger.leases.held(f"tree:{record.tree}", "a re-run", what="it", timeout=0):
        assert flow.prune(float("inf")) == 0
    assert flow.prune(float("inf")) == 1


def timeless(view: object) -> str:
    """A view without the time of its look."""
    return re.sub(r'"observed_at": "[^"]*"', "", json.dumps(view))


def test_X2_of_a_deep_chain_each_superseded_record_still_shows_its_own_tree(flow: Bridge, desk: Desk) -> None:
    for depth in range(6):
        parent = f"e{depth - 1}" if depth else ""
        desk.engine.add(f"e{depth}", task("sub", TaskStatus.ERRORED, of=f"e{depth}"), parent=parent)
    for live in desk.engine.has.values():
        live.go(EngineState.ERRORED)
    flow.find("fake:e0")
    old = [current(flow, f"e{depth}").id for depth in range(6)]
    shown = {id: timeless(tree_view((look := flow.get(id)).snapshot, look.place)) for id in old}
    flow.rerun(old[0], RerunRequest((".".join(["sub"] * 6),)))
    assert {id: timeless(flow.get(id).frozen) for id in old} == shown
    whole = flow.ledger.database.all("SELECT doc FROM frozen WHERE doc LIKE '%tasks%'")
    assert len(whole) == 1


def test_a_look_that_finds_nothing_new_writes_nothing_and_one_some_seconds_later_the_time_only(
    flow: Bridge, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, *_ = family(desk)
    flow.get(root.id)
    changes = flow.ledger.database.one("SELECT total_changes()")[0]
    flow.get(root.id)
    assert flow.ledger.database.one("SELECT total_changes()")[0] == changes
    seen = flow.find(root.id).looked
    monkeypatch.setattr("flowbridge.sync.time", SimpleNamespace(time=lambda: seen + 60))
    flow.get(root.id)
    assert flow.find(root.id).looked == seen + 60
    assert flow.ledger.database.one("SELECT total_changes()")[0] == changes + 3


def test_half_of_a_surrogate_pair_is_written_as_something_that_can_be_read_again() -> None:
    assert json.loads(dumps({"error": "bad \ud800 text", "good": "\N{GRINNING FACE}"})) == {
        "error": "bad ? text",
        "good": "\N{GRINNING FACE}",
    }
