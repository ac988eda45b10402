"""What the engine shows: looks at a tree, and reads of one execution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowbridge.errors import InvalidInput, NotFound
from flowbridge.model import (
    EngineState,
    ExecutionLook,
    ExecutionRead,
    ParentLink,
    Ref,
    TaskLook,
    TaskRead,
    TaskStatus,
    WaitingChild,
)
from flowbridge_actionchain.packs.catalog import Catalog
from flowbridge_actionchain.results import output_of, result_of
from flowbridge_actionchain.state import Kind, Run, State, Task
from flowbridge_actionchain.world import World

STATUS = {
    State.IDLE: TaskStatus.WAITING,
    State.RUNNING: TaskStatus.RUNNING,
    State.SUCCEEDED: TaskStatus.SUCCEEDED,
    State.ERRORED: TaskStatus.ERRORED,
    State.CANCELED: TaskStatus.CANCELED,
    State.SKIPPED: TaskStatus.SKIPPED,
}


def look(world: World, instance: str) -> tuple[ExecutionLook, ...]:
    """The whole tree, the root first, parents before children."""
    return tuple(_look_run(instance, run) for run in world.runs)


def read(run: Run, tasks: Sequence[str] | None, catalog: Catalog) -> ExecutionRead:
    """Input, output and the results of these tasks, or of all. Raises `NotFound` for a task that is not there."""
    chosen = run.tasks if tasks is None else [task_of(run, id) for id in tasks]
    return ExecutionRead(
        dict(run.input), output_of(run), tuple(_read_task(task) for task in chosen), _given(run, catalog)
    )


def _given(run: Run, catalog: Catalog) -> Mapping[str, Any] | None:
    """The input without what nobody may give: the metadata of the action gives it again."""
    if not run.ref:
        return None
    try:
        action = catalog.get(run.ref)
    except (NotFound, InvalidInput):
        return None  # a start anew tells what is wrong with it
    fixed = {name for name, parameter in action.parameters.items() if parameter.immutable}
    return {name: value for name, value in run.input.items() if name not in fixed}


def task_of(run: Run, id: str) -> Task:
    """A task by the engine's id of it. Raises `NotFound`."""
    found = next((task for task in run.tasks if task.id == id), None)
    if found is None:
        raise NotFound(f"Execution {run.id} has no task {id}.")
    return found


def workflow_of(run: Run) -> str:
    """The name an execution is shown by."""
    return run.ref or run.name


def _look_run(instance: str, run: Run) -> ExecutionLook:
    last = run.last
    return ExecutionLook(
        ref=Ref(instance, run.id),
        state=run.state,
        raw=run.state.value,
        revision=str(run.revision),
        workflow=workflow_of(run),
        parent=ParentLink(run.parent.run.id, run.parent.id) if run.parent is not None else None,
        tasks=tuple([_look_task(task) for task in run.tasks]),
        waiting=(_waiting(last),) if last is not None and _is_link(last) else (),
        error=run.error,
        created=run.created,
        ended=run.ended,
        unknown=(last.node.name,) if last is not None and last.lost else (),
    )


def _look_task(task: Task) -> TaskLook:
    # A link is no action: the child that it waits for is looked at itself.
    active = task.state is State.RUNNING and task.kind is Kind.JOB
    return TaskLook(
        id=task.id,
        name=task.node.name,
        status=_status(task),
        raw=task.state.value,
        active=active,
        starts=task.starts,
        running=(f"{task.node.name}: {task.node.ref}",) if active else (),
        error=task.error,
        started=task.created,
        finished=task.ended,
        notify=notify_of(task) or None,
    )


def notify_of(task: Task) -> Mapping[str, Any]:
    """Whom to tell of a task's end: what it says itself, else what its chain does; nobody where that is not wanted."""
    if task.node.name in task.run.quiet:
        return {}
    return task.node.notify or task.run.notify


def _status(task: Task) -> TaskStatus:
    child = task.child
    if task.state is State.RUNNING and child is not None and child.state is EngineState.PAUSED:
        return TaskStatus.PAUSED
    return STATUS[task.state]


def _is_link(task: Task) -> bool:
    return task.kind is Kind.LINK and task.state is State.RUNNING


def _waiting(task: Task) -> WaitingChild:
    given, env = task.given or {}, task.env or {}
    return WaitingChild(task.key, task.id, None, task.target, given, task.owner, env, task.workflow, task.goal)


def _read_task(task: Task) -> TaskRead:
    return TaskRead(task.id, task.node.name, STATUS[task.state], result_of(task), dict(task.published or {}))
