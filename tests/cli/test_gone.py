"""Lists, filters and paths that tell what is there (S7, O1)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cli.clikit import until
from cli.conftest import Flowbridge
from flowbridge.bridge import Bridge
from flowbridge.model import EngineState, Record, Ref, Status, Verb
from flowbridge.outcome import Ask, operation_of
from support.fake_mistral import FakeMistral

ITEMS = """
version: '2.0'
main:
  tasks:
    each: {with-items: 'i in [1, 2]', workflow: one}
one:
  tasks:
    bad: {action: std.fail}
"""
STAYS = """
version: '2.0'
main:
  tasks:
    first: {action: std.noop, on-success: [second]}
    second: {action: std.noop, pause-before: true}
"""


@pytest.fixture
def errored(flowbridge: Flowbridge, home: Path) -> str:
    (home / "items.yaml").write_text(ITEMS)
    flowbridge("run", "items.yaml")
    return str(flowbridge("list", "-o", "json").data[0]["id"])


@pytest.fixture
def paused(flowbridge: Flowbridge, home: Path) -> Callable[[], str]:
    (home / "stays.yaml").write_text(STAYS)

    def run() -> str:
        id = flowbridge("run", "stays.yaml", "--detach").out.strip()
        until(lambda: flowbridge("get", id, "-o", "json").data["status"] == "paused", "the pause")
        return id

    return run


def test_S7_a_filtered_verb_leaves_out_what_is_gone_and_says_so(
    flowbridge: Flowbridge, home: Path, paused: Callable[[], str]
) -> None:
    lost, other = paused(), paused()
    with sqlite3.connect(home / "ledger.db") as ledger:
        ledger.execute("DELETE FROM rows WHERE root LIKE ?", (f"%{lost}",))
    listed = flowbridge("list")
    assert "paused  main" in listed.out
    assert "gone from its engine" in listed.out
    assert [row["id"] for row in flowbridge("list", "--status", "paused", "-o", "json").data] == [other]
    assert [row["gone"] for row in flowbridge("list", "--status", "gone", "-o", "json").data] == [True]
    said = flowbridge("resume", "--status", "paused", "--yes", "--wait")
    assert said.code == 0
    assert f"left out, gone from its engine (S7): {lost}" in said.err


def test_S7_a_re_run_of_what_is_gone_is_offered_only_where_its_input_is_known(
    flowbridge: Flowbridge, home: Path, prod: FakeMistral, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "stays.yaml").write_text(STAYS)
    monkeypatch.setenv("FLOWBRIDGE_LEDGER", str(home / "theirs.db"))
    theirs = flowbridge("run", "stays.yaml", "--backend", "prod", "--detach").out.strip()
    monkeypatch.setenv("FLOWBRIDGE_LEDGER", str(home / "ledger.db"))
    mine = flowbridge("run", "stays.yaml", "--backend", "prod", "--detach").out.strip()
    adopted = {theirs: flowbridge("execution", "adopt", f"prod:{theirs}", "-o", "json").data["id"], mine: mine}
    prod.executions.clear()
    offered = {id: flowbridge("get", adopted[id], "-o", "json").data["possible"] for id in adopted}
    listed = {row["engine_id"]: row["possible"] for row in flowbridge("list", "-o", "json").data}
    refused = flowbridge("re-run", adopted[theirs])
    assert offered == listed == {mine: ["re-run"], theirs: []}
    assert (refused.code, "start it with `flowbridge run`" in refused.err) == (4, True)


@pytest.mark.parametrize("words", [("list",), ("pause", "--yes"), ("list", "--no-look")])
def test_an_unknown_backend_is_refused(flowbridge: Flowbridge, words: tuple[str, ...]) -> None:
    said = flowbridge(*words, "--backend", "nosuch")
    assert said.code == 2
    assert "there is no backend 'nosuch'; known are:" in said.err


def test_a_path_to_a_task_with_items_shows_all_of_them(flowbridge: Flowbridge, errored: str) -> None:
    document = flowbridge("get", errored, "--path", "each", "-o", "json").data
    assert (document["name"], document["item_count"]) == ("each", 2)
    assert sorted(child["item"] for child in document["children"]) == [0, 1]
    shown = flowbridge("get", errored, "--path", "each").out
    assert "[0] one" in shown
    assert "[1] one" in shown
    assert flowbridge("get", errored, "--path", "each[1]", "-o", "json").data["item"] == 1


def test_S6_a_paused_root_over_an_abandoned_child_is_told_to_go_on_by_recover_alone(
    flowbridge: Flowbridge, home: Path, paused: Callable[[], str]
) -> None:
    root = paused()
    with Bridge() as flow:
        above = flow.find(root)
        # Of an instance that nobody has any more: the runner that leaves `root` looks once more, and cannot see it.
        lost = Record("lost", root, Ref("other", "x"), parent=above.ref, parent_task="t", native=False, key="k")
        lost = replace(lost, status=Status.ABANDONED, seen=EngineState.ABANDONED, created=above.created)
        flow.ledger.executions.put([lost])
    assert "abandoned below: recover it" in flowbridge("list", "--no-look").out
    assert "`flowbridge recover lost` goes on (S6)" in flowbridge("doctor").out
    assert all("abandoned_below" not in row for row in flowbridge("list", "--no-look", "-o", "json").data)


def test_S6_a_paused_root_whose_tree_has_an_operation_open_is_not_told_to_be_abandoned_below(
    flowbridge: Flowbridge, paused: Callable[[], str]
) -> None:
    root = paused()
    with Bridge() as flow:
        flow.ledger.operations.put(operation_of(flow.find(root), Ask(Verb.RESUME, "ada")))
    assert "abandoned" not in flowbridge("list", "--no-look").out


def test_an_empty_path_is_refused(flowbridge: Flowbridge, errored: str) -> None:
    said = flowbridge("get", errored, "--path", "")
    assert (said.code, "--path names no task" in said.err) == (2, True)


def test_O1_the_plan_of_a_re_run_says_that_a_task_starts_a_new_child(flowbridge: Flowbridge, errored: str) -> None:
    plan = flowbridge("re-run", errored, "--tasks", "each", "--dry-run", "-o", "json").row["plan"]
    assert [line["reason"] for line in plan[1:]] == ["it stays as it ended: task each starts a new one (X5)"] * 2


def test_O6_the_history_names_what_was_accepted(flowbridge: Flowbridge, paused: Callable[[], str]) -> None:
    flowbridge("resume", paused(), "--accept", "R4", "--wait")
    assert "resume, accepted R4" in flowbridge("history").out
