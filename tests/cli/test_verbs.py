"""The verbs from the command line: what they do, the options that all of them share, many at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.clikit import BOUND, Gates, Said, until

Flowbridge = Callable[..., Said]

TREE = """
version: '2.0'
main:
  tasks:
    task1:
      workflow: sub
      on-success: after
    side:
      action: std.http url='{url}/side'
    after:
      action: std.http url='{url}/after'
sub:
  tasks:
    subtask1:
      action: std.http url='{url}/sub'
"""

ITEMS = """
version: '2.0'
items:
  tasks:
    task1:
      with-items: i in [0, 1, 2, 3, 4]
      action: std.http
      input: {{url: '{url}/<% $.i %>'}}
    task2:
      action: std.http url='{url}/task2'
"""


def _start(flowbridge: Flowbridge, home: Path, gates: Gates, text: str = TREE) -> str:
    (home / "w.yaml").write_text(text.format(url=gates.url))
    return flowbridge("run", "w.yaml", "--detach").out.strip()


def _errored(flowbridge: Flowbridge, home: Path, gates: Gates, text: str = TREE, **answers: int) -> str:
    gates.set(**answers)
    id = _start(flowbridge, home, gates, text)
    assert flowbridge("watch", id).code == 7
    return id


def _get(flowbridge: Flowbridge, id: str) -> dict[str, Any]:
    document = flowbridge("tree", id, "-o", "json").data
    return dict(document)


def _child(flowbridge: Flowbridge, id: str) -> dict[str, Any]:
    return next(dict(child) for task in _get(flowbridge, id)["tasks"] for child in task["children"])


def test_P4_pause_is_pausing_until_no_task_is_active_and_names_what_still_runs(
    flowbridge: Flowbridge, home: Path, gates: Gates
) -> None:
    id = _start(flowbridge, home, gates)
    gates.arrived("sub")
    gates.arrived("side")
    row = flowbridge("pause", id, "--reason", "change freeze", "-o", "json").row
    assert (row["result"], row["status"], row["exit_code"]) == ("done", "pausing", 0)
    assert len(row["running"]) == 2
    shown = flowbridge("pause", id, "--already-ok")
    assert shown.code == 0
    gates.set(sub=200, side=200)
    until(lambda: _get(flowbridge, id)["status"] == "paused", "paused")
    assert gates.asked["after"] == 0
    began = [entry["at"] for entry in flowbridge("history", id, "-o", "json").data if entry["what"].endswith("pausing")]
    tree = _get(flowbridge, id)
    assert {one["held_since"] for one in (tree, _child(flowbridge, id))} <= set(began)
    assert tree["held_since"] < tree["updated_at"]  # not since it came to rest
    assert " held by ada for " in flowbridge("tree", id).out
    assert "by ada for " in flowbridge("get", id).out
    assert flowbridge("get", id, "-o", "json").data["held_since"] == tree["held_since"]
    table = flowbridge("history", id).out
    assert "pause (change freeze)" in table
    assert "ada" in table


def test_P3_R3_pause_goes_up_and_resume_does_not(flowbridge: Flowbridge, home: Path, gates: Gates) -> None:
    id = _start(flowbridge, home, gates)
    gates.arrived("sub")
    child = until(lambda: _child(flowbridge, id), "the child")["id"]
    assert flowbridge("pause", child, "--no-wait").code == 0
    gates.set(sub=200, side=200)
    assert flowbridge("pause", id, "--wait", "--already-ok").code == 0
    assert _get(flowbridge, id)["status"] == "paused"
    assert flowbridge("resume", child).code == 0
    until(lambda: _child(flowbridge, id)["status"] == "succeeded", "the child's end")
    assert _get(flowbridge, id)["status"] == "paused"
    gates.set(after=200)
    assert flowbridge("execution", "resume", id, "--wait").code == 0


def test_C2_cancel_lets_running_tasks_end_and_starts_no_new_one(
    flowbridge: Flowbridge, home: Path, gates: Gates
) -> None:
    id = _start(flowbridge, home, gates)
    gates.arrived("sub")
    gates.arrived("side")
    said = flowbridge("cancel", id)
    assert said.code == 0
    assert "still running: main.task1.subtask1" in said.out
    gates.set(sub=200, side=200)
    waited = flowbridge("cancel", id, "--wait", "--already-ok", "-o", "json")
    assert (waited.code, waited.row["status"]) == (0, "canceled")
    assert gates.asked["after"] == 0
    assert _get(flowbridge, id)["tasks"][0]["children"][0]["status"] == "canceled"


def test_X1_re_run_from_the_beginning_is_another_execution_with_the_same_or_other_input(
    flowbridge: Flowbridge, home: Path, gates: Gates
) -> None:
    (home / "w.yaml").write_text(
        "version: '2.0'\nw:\n  input: [path, other: 1]\n  tasks:\n    t:\n"
        f"      action: std.http\n      input: {{url: '{gates.url}/<% $.path %>'}}\n"
    )
    gates.set(bad=500, good=200)
    assert flowbridge("run", "w.yaml", "path=bad").code == 7
    old = _get(flowbridge, "last")["id"]
    planned = flowbridge("re-run", old, "--dry-run", "-o", "json").row
    assert [line["action"] for line in planned["plan"]] == ["start"]
    assert gates.asked["bad"] == 1
    again = flowbridge("re-run", old, "-o", "json")
    assert (again.code, gates.asked["bad"]) == (7, 2)
    mended = flowbridge("execution", "re-run", old, "path=good", "-o", "json")
    assert mended.code == 0
    assert mended.row["execution"] not in (old, again.row["execution"])
    assert mended.row["document"]["input"] == {"path": "good", "other": 1}
    assert mended.row["document"]["rerun_of"] == old


def test_X2_X5_re_run_of_a_subtask_reuses_the_engine_execution_under_a_new_id(
    flowbridge: Flowbridge, home: Path, gates: Gates
) -> None:
    id = _errored(flowbridge, home, gates, sub=500, side=200, after=200)
    gates.set(sub=200)
    said = flowbridge("re-run", id, "--tasks", "task1.subtask1", "-o", "json")
    assert said.code == 0, said.err
    assert said.row["execution"] != id
    assert said.row["document"]["engine_id"] == id
    assert (gates.asked["sub"], gates.asked["side"], gates.asked["after"]) == (2, 1, 1)
    old = flowbridge("get", id, "-o", "json")
    assert (old.code, old.data["status"], old.data["superseded_by"]) == (0, "errored", said.row["execution"])
    assert "subtask1  errored" in flowbridge("tree", id).out
    refused = flowbridge("cancel", id)
    assert refused.code == 3
    assert said.row["execution"] in refused.err


@pytest.mark.parametrize("reset", [True, False])
def test_X6_with_items_runs_all_items_again_or_with_no_reset_only_the_failed(
    flowbridge: Flowbridge, home: Path, gates: Gates, reset: bool
) -> None:
    answers = {"0": 200, "1": 500, "2": 200, "3": 500, "4": 200, "task2": 500}
    id = _errored(flowbridge, home, gates, ITEMS, **answers)
    gates.set(**{"1": 200, "3": 200, "task2": 200})
    no_reset = [] if reset else ["--no-reset", "task1"]
    said = flowbridge("re-run", id, "--tasks", "task1", "task2", *no_reset)
    assert said.code == 0, said.err
    assert [gates.asked[str(item)] for item in range(5)] == ([2] * 5 if reset else [1, 2, 1, 2, 1])
    assert gates.asked["task2"] == 2
    items = flowbridge("get", "last", "-o", "json").data["tasks"][0]["items"]
    assert [(item["index"], item["status"]) for item in items] == [(place, "succeeded") for place in range(5)]


def test_the_lists_of_tasks_are_words_or_repeated_options(flowbridge: Flowbridge, home: Path, gates: Gates) -> None:
    id = _errored(flowbridge, home, gates, ITEMS, **{"0": 200, "1": 500, "2": 200, "3": 200, "4": 200, "task2": 500})
    for words in (
        ("--tasks", "task1", "task2", "--no-reset", "task1"),
        ("--tasks", "task1", "--no-reset", "task1", "--tasks", "task2"),
        ("--tasks=task1", "task2", "--no-reset=task1"),
    ):
        said = flowbridge("re-run", id, *words, "--dry-run", "-o", "json")
        assert said.code == 0, said.err
        assert said.row["plan"][0]["reason"] == "tasks task1, task2"


def test_K1_skip_goes_on_behind_the_skipped_task(flowbridge: Flowbridge, home: Path, gates: Gates) -> None:
    id = _errored(flowbridge, home, gates, sub=500, side=200, after=200)
    said = flowbridge("skip", id, "--tasks", "task1", "--wait", "-o", "json")
    assert said.code == 0, said.err
    statuses = {task["name"]: task["status"] for task in said.row["document"]["tasks"]}
    assert statuses["task1"] == "skipped"


def test_O1_a_dry_run_names_every_execution_and_changes_nothing(
    flowbridge: Flowbridge, home: Path, gates: Gates
) -> None:
    id = _start(flowbridge, home, gates)
    gates.arrived("sub")
    before = flowbridge("history", "-o", "json").data
    row = flowbridge("pause", id, "--dry-run", "-o", "json").row
    assert row["result"] == "planned"
    assert [(line["workflow"], line["action"], line["by"]) for line in row["plan"]] == [
        ("main", "pause", "bridge"),
        ("sub", "pause", "engine"),
    ]
    assert "its engine does it with the parent" in flowbridge("pause", id, "--dry-run").out
    assert flowbridge("get", id, "-o", "json").data["status"] == "running"
    verbs = [entry["kind"] for entry in flowbridge("history", "-o", "json").data]
    assert verbs.count("operation") == [entry["kind"] for entry in before].count("operation") == 1


def test_O7_already_so_is_a_rejection_of_its_own_that_an_option_turns_into_success(
    flowbridge: Flowbridge, home: Path, gates: Gates
) -> None:
    id = _start(flowbridge, home, gates)
    gates.arrived("side")
    assert flowbridge("cancel", id).code == 0
    gates.set(sub=200, side=200)
    until(lambda: _get(flowbridge, id)["status"] == "canceled", "canceled")
    row = flowbridge("cancel", id, "-o", "json").row
    assert (row["rule"], row["reason"], row["exit_code"]) == ("C1", "already", 3)
    assert flowbridge("cancel", id, "--already-ok", "-o", "json").row["result"] == "already"
    assert flowbridge("pause", id, "--already-ok").code == 3  # canceled is not paused


@pytest.mark.parametrize(("verb", "status"), [("pause", "pausing"), ("cancel", "canceling")])
def test_waiting_for_what_settles_ends_with_9_when_time_is_over(
    flowbridge: Flowbridge, home: Path, gates: Gates, verb: str, status: str
) -> None:
    id = _start(flowbridge, home, gates)
    gates.arrived("sub")
    assert flowbridge(verb, id, "--wait", "--timeout", "0.3").code == 9
    assert _get(flowbridge, id)["status"] == status


def test_several_ids_give_a_result_each_and_the_worst_code(flowbridge: Flowbridge, home: Path, gates: Gates) -> None:
    first = _start(flowbridge, home, gates)
    second = _start(flowbridge, home, gates)
    gates.arrived("sub", 2)
    said = flowbridge("pause", first, "nonsense", second, first, "-o", "json")
    assert [row["result"] for row in said.data] == ["done", "failed", "done"]
    assert said.code == 4
    assert flowbridge("cancel", first, second).code == 0


def test_a_filter_chooses_shows_and_needs_yes_where_nobody_can_be_asked(
    flowbridge: Flowbridge, home: Path, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _start(flowbridge, home, gates)
    second = _start(flowbridge, home, gates)
    gates.arrived("sub", 2)
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        refused = flowbridge("cancel", "--status", "running", "--backend", "memory")
    assert refused.code == 2
    assert "--yes" in refused.err
    assert first in refused.err
    assert {_get(flowbridge, id)["status"] for id in (first, second)} == {"running"}
    said = flowbridge("cancel", "--status", "running", "--workflow", "main", "--yes", "-o", "json")
    assert said.code == 0
    assert {row["target"] for row in said.data} == {first, second}


def test_O9_what_is_confirmed_on_a_terminal_is_carried_out(flowbridge: Flowbridge, home: Path, gates: Gates) -> None:
    id = _start(flowbridge, home, gates)
    gates.arrived("sub")
    for answer, code, status in (("n", 0, "running"), ("y", 0, "canceling")):
        mine, theirs = os.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "flowbridge_cli.main", "cancel", "--status", "running"],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as asked:
            os.write(mine, f"{answer}\n".encode())
            _, err = asked.communicate(timeout=BOUND)
        os.close(mine)
        os.close(theirs)
        assert (asked.returncode, "touches 2 of 2" in err) == (code, True), err
        assert _get(flowbridge, id)["status"] == status


def test_O10_an_empty_selection_changes_nothing_and_says_so(flowbridge: Flowbridge) -> None:
    for verb in ("pause", "resume", "cancel", "re-run"):
        said = flowbridge(verb, "--status", "running", "--older-than", "2h", "-o", "json")
        assert (said.code, said.data) == (0, [])
        assert "nothing was done" in said.err


@pytest.mark.parametrize("tasks", [("--tasks",), ("--tasks", "--no-reset", "a"), ("--tasks=",), ("--no-reset",)])
def test_O10_a_list_of_tasks_that_came_out_empty_is_no_re_run_of_everything(
    flowbridge: Flowbridge, home: Path, gates: Gates, tasks: tuple[str, ...]
) -> None:
    id = _errored(flowbridge, home, gates, ITEMS, **{"0": 500, "1": 200, "2": 200, "3": 200, "4": 200, "task2": 200})
    said = flowbridge("re-run", id, *tasks)
    assert said.code == 2
    assert "needs at least one task name" in said.err
    assert len(flowbridge("list", "-o", "json").data) == 1
    assert gates.asked["0"] == 1


def test_age_chooses_by_the_time_of_the_start(flowbridge: Flowbridge, home: Path, gates: Gates) -> None:
    gates.set(sub=200, side=200, after=200)
    id = _start(flowbridge, home, gates)
    assert flowbridge("watch", id).code == 0
    assert flowbridge("list", "--older-than", "1h", "-o", "json").data == []
    assert [row["id"] for row in flowbridge("list", "--newer-than", "1h", "-o", "json").data] == [id]


def test_list_filters_and_pages(flowbridge: Flowbridge, home: Path, gates: Gates) -> None:
    gates.set(sub=200, side=200, after=200)
    ids = [_start(flowbridge, home, gates) for _ in range(3)]
    for id in ids:
        assert flowbridge("watch", id).code == 0

    def listed(*words: str) -> list[str]:
        return [row["id"] for row in flowbridge("list", *words, "-o", "json").data]

    assert listed() == ids[::-1]
    assert listed("--limit", "1", "--offset", "1") == [ids[1]]
    assert listed("--status", "errored,canceled") == []
    assert listed("--status", "errored", "--status", "succeeded") == ids[::-1]
    assert listed("--workflow", "other") == listed("--actor", "bob") == []
    assert listed("--actor", "ada", "--no-look") == ids[::-1]
    children = [row for row in flowbridge("list", "--children", "-o", "json").data if row["parent_id"]]
    assert {row["parent_id"] for row in children} == set(ids)


def test_yaml_says_the_same_as_json(flowbridge: Flowbridge, home: Path, gates: Gates) -> None:
    import yaml

    gates.set(sub=200, side=200, after=200)
    id = _start(flowbridge, home, gates)
    assert flowbridge("watch", id, "-o", "yaml").code == 0
    for words in (("get", id), ("history", id), ("list",), ("backend", "list")):
        shown = yaml.safe_load(flowbridge(*words, "-o", "yaml").out)
        data = json.loads(flowbridge(*words, "-o", "json").out)
        assert _without_times(shown) == _without_times(data)


def _without_times(data: Any) -> Any:
    if isinstance(data, list):
        return [_without_times(one) for one in data]
    if isinstance(data, dict):
        return {key: _without_times(value) for key, value in data.items() if not key.endswith("at")}
    return data
