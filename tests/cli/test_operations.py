"""StackStorm's operations on workflows by the commands of its command line, with `flowbridge` in the place of `st2`.

The reference engine runs a workbook here whose actions end when the test says so. Each test has the number of the rule.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.clikit import Gates, Said, until

BOOK = """
version: '2.0'
name: book
workflows:
  main:
    input: [n: 7]
    tasks:
      task1: {{workflow: subflow1, on-success: task5}}
      task2: {{workflow: subflow2}}
      task3: {{action: std.http, input: {{url: '{url}/three_<% $.n %>'}}, on-success: task4}}
      task4: {{action: std.http, input: {{url: '{url}/four_<% $.n %>'}}}}
      task5: {{action: std.http url='{url}/five'}}
  subflow1:
    tasks:
      subtask1: {{action: std.http url='{url}/one', on-success: subtask2}}
      subtask2: {{action: std.http url='{url}/two'}}
  subflow2:
    tasks:
      subtask1: {{action: std.http url='{url}/side', on-success: subtask2}}
      subtask2: {{action: std.http url='{url}/behind'}}
"""

BRANCHES = """
version: '2.0'
main:
  input: [n]
  tasks:
    task1: {{action: std.http url='{url}/first', on-success: [task3, task4]}}
    task3: {{action: std.http, input: {{url: '{url}/three_<% $.n %>'}}, on-success: task5}}
    task4: {{action: std.http, input: {{url: '{url}/four_<% $.n %>'}}, on-success: task5}}
    task5: {{join: all, action: std.noop}}
"""


class Shell:
    """`flowbridge execution ...` on one run, as in a terminal."""

    def __init__(self, call: Callable[..., Said], gates: Gates, home: Path) -> None:
        self._call, self.gates, self._home = call, gates, home

    def start(self, text: str, *words: str) -> str:
        """A detached run of a file; its id."""
        (self._home / "w.yaml").write_text(text.format(url=self.gates.url))
        return self._call("run", "w.yaml", *words, "--detach").out.strip()

    def execution(self, *words: str) -> Said:
        """One command."""
        return self._call("execution", *words)

    def seen(self, id: str) -> dict[str, Any]:
        """The document of an execution with its children."""
        return dict(self.execution("tree", id, "-o", "json").data)

    def child(self, id: str, task: str) -> dict[str, Any]:
        """The child of a task."""
        return dict(next(one["children"][0] for one in self.seen(id)["tasks"] if one["name"] == task))

    def becomes(self, id: str, status: str) -> None:
        """Wait for a status."""
        until(lambda: self.seen(id)["status"] == status, status)


@pytest.fixture
def shell(flowbridge: Callable[..., Said], home: Path, gates: Gates) -> Shell:
    return Shell(flowbridge, gates, home)


@pytest.fixture
def running(shell: Shell) -> str:
    """The workbook, with the first task of each branch at its gate."""
    id = shell.start(BOOK)
    for name in ("one", "side", "three_7"):
        shell.gates.arrived(name)
    return id


def _asked(shell: Shell, *names: str) -> list[int]:
    return [shell.gates.asked[name] for name in names]


def test_P1_only_what_runs_can_be_paused(shell: Shell) -> None:
    shell.gates.set(first=500)
    id = shell.start(BRANCHES, "n=1")
    shell.becomes(id, "errored")
    said = shell.execution("pause", id)
    assert (said.code, "is errored; pause needs it to be running (P1)" in said.err) == (3, True)
    assert shell.seen(id)["status"] == "errored"


def test_P2_P4_R2_R5_pausing_until_nothing_is_active_at_any_level_and_a_resume_goes_down(
    shell: Shell, running: str
) -> None:
    assert shell.execution("pause", running).code == 0
    shell.gates.set(three_7=200, side=200)
    until(lambda: shell.child(running, "task2")["status"] == "paused", "a paused branch")
    assert [shell.seen(running)["status"], shell.child(running, "task1")["status"]] == ["pausing", "pausing"]
    shell.gates.set(one=200)
    shell.becomes(running, "paused")
    assert shell.child(running, "task1")["status"] == "paused"
    assert _asked(shell, "two", "behind", "four_7", "five") == [0, 0, 0, 0]
    shell.gates.set(two=200, behind=200, four_7=200, five=200)
    assert shell.execution("resume", running, "--wait").code == 0
    assert shell.seen(running)["status"] == "succeeded"
    names = ("one", "two", "side", "behind", "three_7", "four_7", "five")
    assert _asked(shell, *names) == [1] * len(names)


def test_P4_C4_a_task_that_is_canceling_keeps_its_workflow_pausing(shell: Shell, running: str) -> None:
    assert shell.execution("pause", running).code == 0
    shell.gates.set(three_7=200, side=200)
    assert shell.execution("cancel", shell.child(running, "task1")["id"]).code == 0
    until(lambda: shell.child(running, "task2")["status"] == "paused", "a paused branch")
    document = shell.seen(running)
    statuses = {task["name"]: task["status"] for task in document["tasks"]}
    assert (document["status"], statuses["task1"], statuses["task2"]) == ("pausing", "canceling", "paused")
    shell.gates.set(one=200)
    shell.becomes(running, "paused")


def test_P3_R3_a_pause_of_a_subworkflow_goes_up_and_its_resume_does_not(shell: Shell, running: str) -> None:
    one = shell.child(running, "task1")["id"]
    assert shell.execution("pause", one).code == 0
    shell.gates.set(one=200, side=200, three_7=200)
    shell.becomes(running, "paused")
    assert [shell.child(running, task)["status"] for task in ("task1", "task2")] == ["paused", "paused"]
    shell.gates.set(two=200)
    assert shell.execution("resume", one, "--wait").code == 0
    assert [shell.child(running, task)["status"] for task in ("task1", "task2")] == ["succeeded", "paused"]
    assert shell.seen(running)["status"] == "paused"
    assert _asked(shell, "two", "five", "behind") == [1, 0, 0]


def test_C2_C3_C4_a_cancel_kills_nothing_and_starts_nothing(shell: Shell, running: str) -> None:
    assert shell.execution("cancel", running).code == 0
    assert shell.seen(running)["status"] == "canceling"
    shell.gates.set(one=200, side=200, three_7=200)
    shell.becomes(running, "canceled")
    for task in ("task1", "task2"):
        child = shell.child(running, task)
        ended = [(one["name"], one["status"]) for one in child["tasks"]]
        assert (child["status"], ended) == ("canceled", [("subtask1", "succeeded")])
    assert _asked(shell, "two", "behind", "four_7", "five") == [0, 0, 0, 0]


def test_X1_from_the_beginning_is_another_execution_for_the_engine_too(shell: Shell) -> None:
    shell.gates.set(first=500)
    old = shell.start(BRANCHES, "n=1")
    shell.becomes(old, "errored")
    again = shell.execution("re-run", old, "-o", "json").row
    new = shell.seen(again["execution"])
    assert (again["exit_code"], again["document"]["input"]) == (7, {"n": 1})
    assert (new["id"] != old, new["engine_id"] != shell.seen(old)["engine_id"]) == (True, True)
    assert _asked(shell, "first") == [2]


def test_X2_X4_X9_tasks_of_parallel_branches_run_again_with_their_original_inputs(shell: Shell) -> None:
    shell.gates.set(first=200, three_3=500, four_3=500)
    old = shell.start(BRANCHES, "n=3")
    shell.becomes(old, "errored")
    shell.gates.set(three_3=200, four_3=200)
    again = shell.execution("re-run", old, "--tasks", "task3", "task4", "-o", "json")
    assert again.code == 0, again.err
    new = shell.seen(again.row["execution"])
    assert (new["id"] != old, new["engine_id"]) == (True, shell.seen(old)["engine_id"])
    assert {task["name"]: task["status"] for task in new["tasks"]}["task5"] == "succeeded"
    assert _asked(shell, "first", "three_3", "four_3") == [1, 2, 2]


def test_X3_both_the_workflow_and_every_task_have_to_be_errored(shell: Shell) -> None:
    shell.gates.set(first=200, three_1=500)
    id = shell.start(BRANCHES, "n=1")
    shell.gates.arrived("four_1")
    until(lambda: "errored" in {task["status"] for task in shell.seen(id)["tasks"]}, "a failed task")
    early = shell.execution("re-run", id, "--tasks", "task3")
    assert (early.code, "is running" in early.err) == (3, True)
    shell.gates.set(four_1=200)
    shell.becomes(id, "errored")
    wrong = shell.execution("re-run", id, "--tasks", "task3", "task4")
    assert (wrong.code, "task4: is succeeded" in wrong.err) == (3, True)
    assert _asked(shell, "first", "three_1", "four_1") == [1, 1, 1]


def test_X5_a_task_of_a_subworkflow_of_a_workbook_is_named_behind_a_dot(shell: Shell) -> None:
    names = ("one", "side", "behind", "three_7", "four_7", "five")
    shell.gates.set(two=500, **dict.fromkeys(names, 200))
    old = shell.start(BOOK)
    shell.becomes(old, "errored")
    shell.gates.set(two=200)
    again = shell.execution("re-run", old, "--tasks", "task1.subtask2", "-o", "json")
    assert (again.code, again.row["document"]["status"]) == (0, "succeeded")
    assert _asked(shell, "two", *names) == [2, *[1] * len(names)]


def test_of_several_that_are_waited_for_the_worst_end_is_the_exit_code(shell: Shell) -> None:
    shell.gates.set(first=200, three_1=500, three_2=500, four_1=200, four_2=200)
    ids = [shell.start(BRANCHES, word) for word in ("n=1", "n=2")]
    for id in ids:
        shell.becomes(id, "errored")
    shell.gates.set(three_2=200)
    both = shell.execution("re-run", *ids, "--tasks", "task3", "-o", "json")
    assert (both.code, [row["document"]["status"] for row in both.data]) == (7, ["errored", "succeeded"])
