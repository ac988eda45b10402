"""The variables of a task: what it was given, what it publishes, what it hands on."""

from __future__ import annotations

from typing import Any

from flowbridge_memory.context import Context, deep_merged, merged
from flowbridge_memory.expressions import Compiled, ExpressionError
from flowbridge_memory.plan import ERROR, SKIP, SUCCESS
from flowbridge_memory.scopes import task_scope
from flowbridge_memory.state import State, Task

EVENTS = {State.SUCCEEDED: SUCCESS, State.ERRORED: ERROR, State.SKIPPED: SKIP}


def inbound(task: Task) -> Context:
    """The variables a task was given; found again from what the tasks before it published where it was let go."""
    return task.context if task.context is not None else _recall(task)


def outbound(task: Task) -> Context:
    """The variables a task hands on."""
    return inbound(task).publish(task.published)


def publish(task: Task) -> None:
    plan = task.plan.publishes.get(EVENTS[task.state])
    if plan is None:
        return
    scope = task_scope(task, *inbound(task).values)
    if plan.branch is not None:
        task.published = _named(plan.branch, scope)
    if plan.glob is not None:
        run = task.run
        task.published_global = _named(plan.glob, scope)
        run.published += 1
        task.order = run.published
        run.context = deep_merged(run.context, task.published_global)


def _named(values: Compiled, scope: Any) -> dict[str, Any]:
    found = values.evaluate(scope)
    if not isinstance(found, dict):
        raise ExpressionError("What is published must be names with values.")
    return found


def _recall(task: Task) -> Context:
    """Find contexts again from the start, without a recursion: a chain may be 100,000 tasks long."""
    open_ = [task]
    while open_:
        here = open_[-1]
        unknown = [cause for cause in here.causes if cause.context is None]
        if unknown:
            open_ += unknown
            continue
        here.context = merged([outbound(cause) for cause in here.causes])
        open_.pop()
    return inbound(task)
