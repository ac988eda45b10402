"""A row of the ledger that is not as it was written is named, left as it is, and takes nothing else with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.kit import Desk, family, one
from flowbridge.bridge import Bridge
from flowbridge.errors import DamagedRow
from flowbridge.ledger.executions import GONE, Filter
from flowbridge.ledger.operations import DAMAGED
from flowbridge.model import EngineState, Record, Status, TaskStatus

TEXTS = ['{"id": "tru', "[]", "null", '{"odd": 1}']


@pytest.fixture
def both(flow: Bridge, desk: Desk) -> tuple[Record, Record]:
    """Two executions that run: one to be damaged, and one that stays sound."""
    return one(desk, id="e0"), one(desk, id="e1")


def damage(bridge: Bridge, table: str, id: str, text: str, key: str = "id") -> None:
    assert bridge.ledger.database.run(f"UPDATE {table} SET doc = ? WHERE {key} = ?", (text, id)) > 0


def told(bridge: Bridge, *rows: tuple[str, object]) -> None:
    """What a check of the ledger names, and nothing else."""
    assert [(error.table, error.row) for error in bridge.ledger.damaged()] == list(rows)


def refused(ask: Callable[[], object], table: str, row: str) -> None:
    with pytest.raises(DamagedRow) as caught:
        ask()
    assert caught.value.exit_code == 2
    assert f"row {row} of the table {table} in the ledger is damaged (" in caught.value.message
    assert "`flowbridge ledger check` names every such row" in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", TEXTS)
def test_a_record_that_is_damaged_is_named_and_all_others_can_be_used(
    flow: Bridge, both: tuple[Record, Record], text: str
) -> None:
    broken, sound = both
    damage(flow, "executions", broken.id, text)
    for ask in (flow.get, flow.pause, flow.rerun, flow.find):
        refused(lambda ask=ask: ask(broken.id), "executions", broken.id)  # type: ignore[misc]  # a verb and a look
    for filter in (Filter(), Filter(status=("running", GONE)), Filter(roots=False)):
        assert [record.id for record in flow.list(filter)] == [sound.id]
    assert list(flow.ledger.executions.damaged) == [broken.id]
    assert flow.pause(sound.id).done
    assert flow.prunable(before=1e12) == []
    told(flow, ("executions", broken.id))
    (kept,) = flow.ledger.database.one("SELECT doc FROM executions WHERE id = ?", (broken.id,))
    assert kept == text


def test_a_record_that_is_damaged_keeps_no_other_one_from_a_re_run_from_the_beginning(
    flow: Bridge, desk: Desk, both: tuple[Record, Record]
) -> None:
    broken, sound = both
    desk.engine.silent = {"pause"}
    assert not flow.pause(broken.id, timeout=0).done
    damage(flow, "executions", broken.id, "{")
    desk.engine.has["e1"].set("t0", status=TaskStatus.SUCCEEDED, active=False)
    desk.engine.has["e1"].go(EngineState.SUCCEEDED)
    assert flow.rerun(sound.id).done


def test_a_child_that_is_damaged_stops_what_needs_its_tree_and_no_list(flow: Bridge, desk: Desk) -> None:
    root, child, _ = family(desk)
    sound = one(desk, id="s0")
    damage(flow, "executions", child.id, "{")
    refused(lambda: flow.get(root.id), "executions", child.id)
    assert {record.id for record in flow.list(Filter())} == {root.id, sound.id}
    assert [record.id for record in flow.list(Filter(roots=False)) if record.tree == sound.tree] == [sound.id]
    assert any(child.id in message for message in flow.ledger.executions.damaged.values())
    failed: dict[str, str] = {}
    flow.recover(failed=lambda tree, error: failed.update({tree: error.message}))
    assert set(failed) == {root.tree}
    assert flow.prune(before=1e12) == 0


@pytest.mark.parametrize("text", TEXTS)
def test_an_operation_that_is_damaged_stops_the_verbs_on_its_tree_alone(
    flow: Bridge, both: tuple[Record, Record], text: str
) -> None:
    broken, sound = both
    operation = flow.pause(broken.id).operation
    flow.ledger.database.run("UPDATE operations SET state = 'open' WHERE id = ?", (operation,))
    damage(flow, "operations", operation, text)
    refused(lambda: flow.get(broken.id), "operations", operation)
    refused(lambda: flow.resume(broken.id), "operations", operation)
    assert flow.pause(sound.id).done
    assert {record.id for record in flow.list(Filter())} == {broken.id, sound.id}
    told(flow, ("operations", operation))


@pytest.mark.parametrize("text", ['{"id": "tru', "[]", "null"])
def test_a_line_of_the_history_that_is_damaged_says_so_in_its_place(
    flow: Bridge, both: tuple[Record, Record], text: str
) -> None:
    broken, _ = both
    flow.pause(broken.id)
    before = [entry.seq for entry in flow.history()]
    seq = flow.history(broken.id)[0].seq
    _damage_event(flow, seq, text)
    history = flow.history()
    assert [entry.seq for entry in history] == before
    (line,) = [entry for entry in history if entry.kind == DAMAGED]
    assert line.seq == seq
    assert f"row {seq} of the table events" in line.doc["damaged"]
    assert flow.get(broken.id).record.status in (Status.PAUSED, Status.PAUSING)
    assert flow.changed(broken.id).keys() >= {broken.id}
    told(flow, ("events", seq))


def _damage_event(bridge: Bridge, seq: int, text: str) -> None:
    """The history is only appended to, so damage comes from elsewhere: put the line back as it would then be."""
    database = bridge.ledger.database
    triggers = database.all("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'events'")
    for name, _ in triggers:
        database.run(f"DROP TRIGGER {name}")
    damage(bridge, "events", str(seq), text, "seq")
    for _, sql in triggers:
        database.run(sql)


def test_what_was_last_seen_and_is_damaged_is_seen_again(flow: Bridge, both: tuple[Record, Record]) -> None:
    broken, _ = both
    damage(flow, "looks", broken.id, "{")
    told(flow, ("looks", broken.id))
    assert [task.name for task in flow.get(broken.id).snapshot.nodes[0].tasks] == ["t0"]
    told(flow)


@pytest.mark.parametrize("text", TEXTS)
def test_X1_without_what_it_was_started_with_an_execution_is_shown_and_not_re_run(
    flow: Bridge, desk: Desk, text: str
) -> None:
    from core.test_reruns import ended

    record = ended(flow, desk)
    damage(flow, "requests", record.id, text)
    refused(lambda: flow.rerun(record.id), "requests", record.id)
    assert flow.ledger.operations.open(record.tree) == []


@pytest.mark.parametrize("text", TEXTS)
def test_an_operation_that_is_damaged_does_not_hide_since_when_its_tree_is_held(
    flow: Bridge, both: tuple[Record, Record], text: str
) -> None:
    record, _ = both
    damage(flow, "operations", flow.pause(record.id).operation, text)
    assert list(flow.held_since(record.id)) == [record.id]
