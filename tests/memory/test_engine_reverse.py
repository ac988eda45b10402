"""Reverse workflows: only what the goal needs runs, each task once all that it requires has succeeded."""

from __future__ import annotations

from typing import Any

import pytest

from flowbridge.errors import InvalidInput
from memory.enginekit import ROOT, Engine

FLOW = """
version: '2.0'
build:
  type: reverse
  output: {made: <% $.get(made) %>}
  tasks:
    fetch: {action: std.echo output='src', publish: {src: <% task().result %>}}
    tools: {action: std.async_noop}
    compile:
      requires: [fetch, tools]
      action: std.echo output="<% $.src %>.o"
      publish: {made: <% task().result %>}
    publish_it: {requires: compile, action: std.async_noop}
    unrelated: {action: std.fail}
"""


def started(goal: str, text: str = FLOW, **input: Any) -> Engine:
    engine = Engine()
    engine.do("start", workflow="", input=input, definition=text, source="flow.yaml", task_name=goal)
    return engine


def test_only_what_the_goal_needs_runs_and_in_the_order_of_what_is_required() -> None:
    engine = started("compile")
    assert engine.states() == {"fetch": "succeeded", "tools": "running"}
    engine.end("tools")
    engine.finish()
    assert engine.states() == {"fetch": "succeeded", "tools": "succeeded", "compile": "succeeded"}
    assert (engine.state, engine.output) == ("succeeded", {"made": "src.o"})


def test_a_task_whose_requirement_failed_never_runs_and_the_execution_is_errored() -> None:
    engine = started("publish_it")
    engine.end("tools", "errored")
    engine.finish()
    assert engine.state == "errored"
    assert engine.states() == {"fetch": "succeeded", "tools": "errored"}


@pytest.mark.parametrize("reload", [False, True])
def test_X9_behind_a_task_that_ran_again_the_way_to_the_goal_goes_on(reload: bool) -> None:
    engine = started("compile")
    engine.end("tools", "errored")
    engine.finish()
    if reload:
        engine.reload()
    tools = next(task for task in engine.session.look()[0].tasks if task.name == "tools")
    engine.do("rerun", tasks=[[tools.id, True]])
    engine.end("tools")
    engine.finish()
    assert (engine.state, engine.output) == ("succeeded", {"made": "src.o"})


def test_K1_a_skipped_requirement_counts_as_there() -> None:
    engine = started("compile")
    engine.end("tools", "errored")
    engine.finish()
    tools = next(task for task in engine.session.look()[0].tasks if task.name == "tools")
    engine.do("skip", tasks=[tools.id])
    engine.finish()
    assert engine.state == "succeeded"


def test_P5_nothing_begins_under_a_pause_and_R5_all_goes_on_after_it() -> None:
    engine = started("compile")
    engine.do("pause")
    engine.end("tools")
    engine.finish()
    assert "compile" not in engine.states()
    engine.reload()
    engine.do("resume")
    engine.finish()
    assert (engine.state, engine.output) == ("succeeded", {"made": "src.o"})


def test_the_goal_is_kept_for_whoever_comes_next() -> None:
    engine = started("compile")
    engine.reload()
    engine.end("tools")
    engine.finish()
    assert "unrelated" not in engine.states()
    assert engine.state == "succeeded"


@pytest.mark.parametrize(
    ("goal", "says"), [("", "needs the name of its target task. It has: fetch"), ("ship", "has no task 'ship'")]
)
def test_a_goal_that_is_missing_or_unknown_is_refused_by_name(goal: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        started(goal)


def test_a_direct_workflow_has_no_goal() -> None:
    with pytest.raises(InvalidInput, match="a direct one"):
        started("t", "version: '2.0'\nw:\n  tasks: {t: {action: std.noop}}\n")


def test_a_sub_workflow_is_given_its_goal_with_its_input() -> None:
    parent = "\nmain:\n  tasks:\n    t: {workflow: build, input: {task_name: fetch}, on-error: fail}\n"
    engine = Engine()
    engine.do("start", workflow="main", input={}, definition=FLOW + parent, source="flow.yaml", task_name="")
    engine.finish()
    assert engine.state == "succeeded"
    root, child = engine.session.look()
    assert (root.ref.id, [task.name for task in child.tasks]) == (ROOT, ["fetch"])


def test_a_sub_workflow_without_a_goal_fails_its_task() -> None:
    parent = "\nmain:\n  tasks:\n    t: {workflow: build, on-error: [u]}\n    u: {action: std.noop}\n"
    engine = Engine()
    engine.do("start", workflow="main", input={}, definition=FLOW + parent, source="flow.yaml", task_name="")
    engine.finish()
    assert (engine.state, engine.states()) == ("succeeded", {"t": "errored", "u": "succeeded"})


def test_what_all_tasks_require_is_required_by_all_but_itself() -> None:
    engine = started(
        "a",
        "version: '2.0'\nw:\n  type: reverse\n  task-defaults: {requires: [z]}\n"
        "  tasks: {a: {action: std.noop}, z: {action: std.async_noop}}\n",
    )
    assert engine.states() == {"z": "running"}
    engine.end("z")
    engine.finish()
    assert engine.states() == {"z": "succeeded", "a": "succeeded"}
