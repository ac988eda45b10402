"""What the engine shows: looks at a tree, and reads of one execution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flowbridge.errors import EngineRefused, NotFound
from flowbridge.model import (
    EngineState,
    ExecutionLook,
    ExecutionRead,
    ItemRead,
    ParentLink,
    Ref,
    TaskLook,
    TaskRead,
    TaskStatus,
    WaitingChild,
)
from flowbridge_memory.actions import LINK, Action, Kind
from flowbridge_memory.scopes import result_of
from flowbridge_memory.state import ENDED, RUN_ENDED, Call, Run, State, Task
from flowbridge_memory.world import World

STATUS = {
    State.WAITING: TaskStatus.WAITING,
    State.IDLE: TaskStatus.WAITING,
    State.DELAYED: TaskStatus.RUNNING,
    State.RUNNING: TaskStatus.RUNNING,
    State.SUCCEEDED: TaskStatus.SUCCEEDED,
    State.ERRORED: TaskStatus.ERRORED,
    State.CANCELED: TaskStatus.CANCELED,
    State.SKIPPED: TaskStatus.SKIPPED,
}


def look(world: World, instance: str) -> tuple[ExecutionLook, ...]:
    """The whole tree, the root first, parents before children. What did not change is not looked at again."""
    lost: dict[int, list[Call]] = {}
    for call in world.lost:
        lost.setdefault(call.task.run.number, []).append(call)
    waiting: dict[int, list[Call]] = {}
    for call in world.waiting.values():
        if _is_link(world, call):
            waiting.setdefault(call.task.run.number, []).append(call)
    return tuple(
        _look_run(world, instance, run, waiting.get(run.number, ()), lost.get(run.number, ())) for run in world.runs
    )


def read(run: Run, tasks: Sequence[str] | None) -> ExecutionRead:
    """Input, output and the results of these tasks, or of all. Raises `NotFound` for a task that is not there."""
    chosen = run.tasks if tasks is None else [_task(run, id) for id in tasks]
    output = run.output if run.state in RUN_ENDED else None
    return ExecutionRead(dict(run.input), output, tuple(_read_task(task) for task in chosen))


def _look_run(world: World, instance: str, run: Run, waiting: Iterable[Call], lost: Iterable[Call]) -> ExecutionLook:
    unknown = tuple(call.task.plan.name + _place(call) for call in lost)
    if run.look is None or run.look.unknown != unknown:
        run.look = ExecutionLook(
            ref=Ref(instance, run.id),
            state=run.state,
            raw=run.state.value,
            revision=str(run.revision),
            workflow=run.plan.name,
            parent=_link(run),
            tasks=tuple([task.look or _look_task(world, task) for task in run.tasks]),
            waiting=tuple(_waiting(world, call) for call in waiting),
            error=run.error,
            created=run.created,
            ended=run.ended,
            unknown=unknown,
        )
    return run.look


def _look_task(world: World, task: Task) -> TaskLook:
    state = task.state
    calls = [call for call in task.calls or () if call is not None] if state not in ENDED else []
    # A link is no action: the child that it waits for is looked at itself.
    running = [call for call in calls if call.state is State.RUNNING and not call.child and not _is_link(world, call)]
    active = state is State.DELAYED or bool(running)
    found = TaskLook(
        id=task.id,
        name=task.plan.name,
        status=_status(task, calls, active=active),
        raw=state.value,
        active=active,
        starts=task.starts,
        items=task.width if task.plan.items is not None else None,
        serial=task.limit == 1,
        running=_words(task, running),
        error=task.error,
        started=task.created,
        finished=task.ended,
    )
    # A task above children shows what they do; nobody says so when they are paused.
    if not any(call.child for call in calls):
        task.look = found
    return found


def _status(task: Task, calls: Iterable[Call], *, active: bool) -> TaskStatus:
    children = [call.child for call in calls if call.child is not None and call.state is State.RUNNING]
    if not active and children and all(child.state is EngineState.PAUSED for child in children):
        return TaskStatus.PAUSED
    return STATUS[task.state]


def _words(task: Task, running: list[Call]) -> tuple[str, ...]:
    if task.state is State.DELAYED:
        return (f"{task.plan.name}: delayed",)
    return tuple(f"{task.plan.name}{_place(call)}: {call.action}" for call in running)


def _place(call: Call) -> str:
    return "" if call.index is None else f"[{call.index}]"


def _link(run: Run) -> ParentLink | None:
    if run.parent is None:
        return None
    task = run.parent.task
    return ParentLink(task.run.id, task.id, run.parent.index)


def _is_link(world: World, call: Call) -> bool:
    return call.key in world.waiting and _action(world, call).kind is Kind.LINK


def _action(world: World, call: Call) -> Action:
    found = world.library.action(call.task.run.book, call.action)
    if found is None:
        raise EngineRefused(f"There is no action '{call.action}' any more; task '{call.task.plan.name}' waits in it.")
    return found.action


def _waiting(world: World, call: Call) -> WaitingChild:
    name, input = _action(world, call).name, call.input or {}
    if name != LINK:
        return WaitingChild(call.key, call.task.id, call.index, name, input)
    target, owner = str(input.get("target") or ""), str(input.get("owner") or "")
    return WaitingChild(call.key, call.task.id, call.index, target, _dict(input.get("input")), owner)


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _task(run: Run, id: str) -> Task:
    number = id.removeprefix(f"{run.id}.")
    if not number.isdigit() or not 1 <= int(number) <= len(run.tasks):
        raise NotFound(f"Execution {run.id} has no task {id}.")
    return run.tasks[int(number) - 1]


def _read_task(task: Task) -> TaskRead:
    items = None
    if task.plan.items is not None:
        calls = task.calls or []
        items = tuple(
            ItemRead(place, STATUS[call.state], call.result, call.error, call.generation)
            if call
            else ItemRead(place, TaskStatus.WAITING, attempts=0)
            for place, call in enumerate(calls)
        )
    return TaskRead(task.id, task.plan.name, STATUS[task.state], result_of(task), dict(task.published or {}), items)
