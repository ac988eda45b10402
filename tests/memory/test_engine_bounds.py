"""What keeps a definition that never ends from filling the ledger."""

from __future__ import annotations

import pytest

from memory.enginekit import ROOT, Engine

HEAD = "version: '2.0'\n"
LOOP = HEAD + "main:\n  tasks:\n    go: {on-success: a}\n    a: {on-success: b}\n    b: {on-success: a}\n"


def test_a_workflow_that_calls_itself_ends_errored_at_the_hundredth_level() -> None:
    engine = Engine().start(HEAD + "rec: {tasks: {t: {workflow: rec}}}\n").finish()
    assert engine.states_of_all == ["errored"] * 100
    assert "100 executions stand one below another already" in engine.session.look()[-1].error
    assert engine.look().error.endswith("100 executions stand one below another already, as many as may.")


def test_what_stands_above_a_workflow_that_was_not_started_may_handle_it() -> None:
    engine = Engine().start(
        HEAD + "main:\n  tasks:\n    t: {workflow: rec, on-error: u}\n    u: {action: std.noop}\n"
        "rec: {tasks: {t: {workflow: rec}}}\n",
        "main",
    )
    assert engine.finish().state == "succeeded"


@pytest.mark.parametrize("reloaded", [False, True])
def test_a_loop_without_end_is_an_error_of_its_workflow_once_the_tree_is_full(reloaded: bool) -> None:
    engine = Engine(max_tasks=10)
    if reloaded:
        engine.start(LOOP.replace("go: {", "go: {action: std.async_noop, "))
        engine.reload()
        engine.end("go")
    else:
        engine.start(LOOP)
    assert engine.finish().state == "errored"
    assert engine.look().error.startswith("Task 'b' is not started: its tree has 10 tasks, as many as one may have.")
    assert "'max_tasks'" in engine.look().error
    assert len(engine.look().tasks) == 10
    engine.reload()
    assert engine.session.settled


def test_a_tree_counts_the_tasks_of_all_its_executions_and_joins_too() -> None:
    text = HEAD + (
        "main:\n  tasks:\n    a: {workflow: sub, on-success: j}\n    b: {workflow: sub, on-success: j}\n"
        "    j: {join: all}\n"
        "sub: {tasks: {x: {action: std.noop}}}\n"
    )
    assert Engine(max_tasks=5).start(text, "main").finish().state == "succeeded"
    engine = Engine(max_tasks=4).start(text, "main").finish()
    assert engine.state == "errored"
    assert engine.look().error.startswith("Task 'j' is not started")


def test_a_sub_workflow_that_finds_its_tree_full_is_an_ordinary_error() -> None:
    engine = Engine(max_tasks=2).start(
        HEAD
        + "main:\n  tasks:\n    a: {on-success: b}\n    b: {workflow: sub}\nsub: {tasks: {x: {action: std.noop}}}\n",
        "main",
    )
    assert engine.finish().states() == {"a": "succeeded", "b": "errored"}
    assert engine.task("b").error.startswith("The sub-workflow 'sub' is not started: its tree has 2 tasks")
    assert [look.ref.id for look in engine.session.look()] == [ROOT]


def test_a_task_that_runs_beside_the_overflow_ends_and_is_recorded() -> None:
    engine = Engine(max_tasks=6).start(LOOP.replace("tasks:\n", "tasks:\n    gate: {action: std.async_noop}\n"))
    assert engine.state == "errored"
    engine.end("gate", result=1)
    assert engine.result("gate") == 1
    assert engine.session.settled
