"""What an expression can see: variables, the environment, the execution, tasks and their results.

The functions speak the language's own words (`SUCCESS`, `ERROR`), so that a definition means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from flowbridge_memory.context import view
from flowbridge_memory.expressions import ExpressionError, Scope
from flowbridge_memory.state import Run, State, Task

_STATES = {
    State.WAITING: "WAITING",
    State.IDLE: "IDLE",
    State.DELAYED: "DELAYED",
    State.RUNNING: "RUNNING",
    State.SUCCEEDED: "SUCCESS",
    State.ERRORED: "ERROR",
    State.CANCELED: "CANCELLED",
    State.SKIPPED: "SKIPPED",
}


def task_scope(task: Task, *layers: Mapping[str, Any]) -> Scope:
    """What a task's expressions see: `layers` first, then vars and globals, then the workflow's input."""
    run = task.run
    return Scope(view(*layers, run.context, run.input), {**_shared(run), "task": partial(_task, run, task)})


def run_scope(run: Run, *layers: Mapping[str, Any]) -> Scope:
    """What an execution's own expressions (vars, output) see."""
    return Scope(view(*layers, run.context, run.input), {**_shared(run), "task": partial(_task, run, None)})


def action_scope(run: Run, *layers: Mapping[str, Any]) -> Scope:
    """What an ad-hoc action makes its input of: `layers` first, then vars and globals. It is inside of no task."""
    return Scope(view(*layers, run.context), {**_shared(run), "task": partial(_task, run, None)})


def data_scope(data: Any) -> Scope:
    """Nothing but `data`."""
    return Scope(data)


def result_of(task: Task) -> Any:
    """The result of a task: of its action or child, or of its items in their places."""
    if task.plan.items is None:
        return task.result
    return [None if call is None else call.result for call in task.calls or ()]


def _shared(run: Run) -> dict[str, Callable[..., Any]]:
    return {
        "env": partial(_env, run),
        "execution": partial(_execution, run),
        "global": partial(_global, run),
        "tasks": partial(_tasks, run),
    }


def _env(run: Run) -> Mapping[str, Any]:
    return run.env


def _global(run: Run, name: str) -> Any:
    return run.context.get(name)


def _execution(run: Run) -> Mapping[str, Any]:
    root = _root(run)
    return {
        "id": run.id,
        "name": run.plan.name,
        "input": dict(run.input),
        "params": {"env": dict(run.env)},
        "created_at": _time(run.created),
        "updated_at": _time(run.ended or run.created),
        "root_execution_id": None if root is run else root.id,
    }


def _task(run: Run, current: Task | None, name: str | None = None) -> Mapping[str, Any] | None:
    if name is None and current is None:
        raise ExpressionError("task() needs a name here: no task is current")
    task = current if current is not None and name in (None, current.plan.name) else run.latest.get(name or "")
    return None if task is None else _shown(task)


def _tasks(
    run: Run,
    workflow_execution_id: str | None = None,
    recursive: bool = False,  # noqa: FBT001, FBT002  (the language's own signature)
    state: str | None = None,
    flat: bool = False,  # noqa: FBT001, FBT002
) -> list[Mapping[str, Any]]:
    """The tasks of one execution of the tree, or of all; `flat` leaves out those whose children end as they do."""
    everything = list(_below(_root(run)))
    chosen = [one for one in everything if workflow_execution_id in (None, one.id)]
    if recursive and workflow_execution_id is not None:
        chosen = [below for one in chosen for below in _below(one)]
    tasks = [task for one in chosen for task in one.tasks if state in (None, _STATES[task.state])]
    return [_shown(task) for task in tasks if not (flat and _is_repeated_below(task))]


def _is_repeated_below(task: Task) -> bool:
    children = [child for child in task.run.children if child.parent is not None and child.parent.task is task]
    return any(child.state.value == task.state.value for child in children)


def _root(run: Run) -> Run:
    while run.parent is not None:
        run = run.parent.task.run
    return run


def _below(run: Run) -> Iterator[Run]:
    """An execution and those below it, parents first."""
    open_ = [run]
    while open_:
        here = open_.pop()
        yield here
        open_ += reversed(here.children)


def _shown(task: Task) -> Mapping[str, Any]:
    return {
        "id": task.id,
        "name": task.plan.name,
        "state": _STATES[task.state],
        "state_info": task.error or None,
        "result": result_of(task),
        "published": dict(task.published or {}),
        "type": "WORKFLOW" if task.plan.workflow is not None else "ACTION",
        "workflow_execution_id": task.run.id,
        "created_at": _time(task.created),
        "updated_at": _time(task.ended or task.created),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
