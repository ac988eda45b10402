"""A tree built from its rows, ready to go on exactly where they end. Nothing is run."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from flowbridge.backend import Definition
from flowbridge.errors import EngineRefused
from flowbridge.model import EngineState
from flowbridge_memory.actions import Kind
from flowbridge_memory.context import deep_merged
from flowbridge_memory.joins import arrivals
from flowbridge_memory.starts import rerunnable
from flowbridge_memory.state import ENDED, RUN_ENDED, Call, Run, State, Task
from flowbridge_memory.world import Alarm, Job, World

Rows = Mapping[str, str]


def load(world: World, rows: Rows) -> None:
    """Fill an empty world from rows. Raises `EngineRefused` where a definition in them cannot be used any more."""
    by_kind: dict[str, list[tuple[tuple[Any, ...], str]]] = {}
    for key, text in rows.items():
        kind, _, place = key.partition("/")
        if kind == "command":
            world.commands.add(place)
        else:
            by_kind.setdefault(kind, []).append((_place(place), text))
    for _, text in sorted(by_kind.get("book", ())):
        world.library.add(Definition(**json.loads(text)), accepted=True)
    world.books_written = len(world.library.definitions)
    # Parents come before their children, causes may come after what they caused: links are made at the end.
    parents = [_load_run(world, text) for _, text in _sorted(by_kind, "run")]
    for (number,), text in by_kind.get("given", ()):
        _load_given(world.runs[number], json.loads(text))
    for (number,), text in by_kind.get("output", ()):
        if world.runs[number].state in RUN_ENDED:
            world.runs[number].output = json.loads(text)
    causes = [_load_task(world, place, fields) for place, fields in _read(by_kind, "task")]
    for (number, place), text in by_kind.get("lists", ()):
        world.runs[number].tasks[place - 1].lists = json.loads(text)
    for place, fields in _read(by_kind, "call"):
        _load_call(world, place, fields)
    for run, parent in zip(world.runs, parents, strict=True):
        _link(world, run, parent)
    for task, numbers, lost in causes:
        _link_causes(task, numbers, lost=lost)
    for run in world.runs:
        _recount(world, run)


def _link_causes(task: Task, numbers: list[int], *, lost: bool) -> None:
    """A join came together from its causes, unless it was lost: then they are those that had arrived."""
    task.causes = tuple(task.run.tasks[number - 1] for number in numbers)
    if task.plan.need and task.causes and not lost:
        task.consumed = dict.fromkeys([cause.plan.name for cause in task.causes]) | (task.consumed or {})


def _place(text: str) -> tuple[Any, ...]:
    return tuple(map(int, text.replace("-", "-1").split("/")))


def _sorted(by_kind: Mapping[str, list[tuple[tuple[Any, ...], str]]], kind: str) -> Iterable[tuple[Any, str]]:
    return sorted(by_kind.get(kind, ()))


def _read(by_kind: Mapping[str, list[tuple[tuple[Any, ...], str]]], kind: str) -> Iterable[tuple[Any, Any]]:
    """The same with its fields. There are many of them, and to read all texts as one costs half as much."""
    found = list(_sorted(by_kind, kind))
    fields = json.loads(f"[{','.join(text for _, text in found)}]")
    return zip((place for place, _ in found), fields, strict=True)


def _load_run(world: World, text: str) -> Any:
    fields = json.loads(text)
    plan = world.library.plan(fields["book"], fields["plan"])
    if plan is None:
        raise EngineRefused(f"The definition of workflow '{fields['plan']}' is not there any more.")
    if "goal" in fields:
        plan = plan.toward(fields["goal"])
    run = Run(len(world.runs), fields["id"], fields["book"], plan, None, {})
    run.state = EngineState(fields["state"])
    run.revision, run.begun, run.created = fields["revision"], fields["begun"], fields["created"]
    run.ended, run.error = fields.get("ended"), fields.get("error", "")
    run.unwanted = fields.get("unwanted", False)
    world.runs.append(run)
    world.by_id[run.id] = run
    return fields.get("parent")


def _load_given(run: Run, fields: Mapping[str, Any]) -> None:
    run.input, run.vars = fields["input"], fields["vars"]
    run.env = fields.get("env", {})
    run.context = dict(run.vars)


def _load_task(world: World, place: tuple[int, int], fields: dict[str, Any]) -> tuple[Task, list[int], bool]:
    run = world.runs[place[0]]
    task = Task(run, run.plan.tasks[fields.pop("name")], len(run.tasks) + 1, State(fields.pop("state")))
    run.tasks.append(task)
    world.tasks += 1
    run.latest[task.plan.name] = task
    causes = fields.pop("causes", [])
    laid, lost = fields.pop("laid", False), fields.pop("lost", False)
    consumed = fields.pop("consumed", None)
    for name, value in fields.items():
        setattr(task, name, value)
    task.way = tuple([(name, event) for name, event in task.way])  # a list is the quicker way to a short one
    if task.pending:
        task.pending = tuple((name, event, message) for name, event, message in task.pending)
    task.outcome = (task.outcome[0], task.outcome[1]) if task.outcome else None
    if task.width:
        task.calls = [None] * task.width
    task.todo = deque() if laid else None
    task.consumed = dict.fromkeys(consumed) if consumed is not None else None
    return task, causes, lost


def _load_call(world: World, place: tuple[int, int, int], fields: dict[str, Any]) -> None:
    number, of_task, item = place
    task = world.runs[number].tasks[of_task - 1]
    child = fields.pop("child", None)
    call = Call(task, None if item < 0 else item, state=State(fields.pop("state")))
    for name, value in fields.items():
        setattr(call, name, value)
    call.child = None if child is None else world.runs[child]
    if item < 0:
        task.calls = [call]
    elif task.calls is not None and item < len(task.calls):
        task.calls[item] = call


def _link(world: World, run: Run, parent: list[Any] | None) -> None:
    if parent is None:
        return
    number, of_task, item = parent
    task = world.runs[number].tasks[of_task - 1]
    run.level = task.run.level + 1
    run.parent = (task.calls or [None])[item or 0]
    run.env = task.run.env
    task.run.children.append(run)


def _recount(world: World, run: Run) -> None:
    """What is counted, and what has to be done next, follows from the states."""
    published = sorted((task for task in run.tasks if task.order), key=lambda task: task.order)
    for task in published:
        run.context = deep_merged(run.context, task.published_global or {})
        run.published = task.order
    for task in run.tasks:
        _recount_task(world, run, task)
    for task in run.tasks:
        if task.pending and not task.parked and run.state is EngineState.RUNNING:
            world.jobs.append((Job.WAYS, task))  # behind the tasks that it started
    if run.state is EngineState.RUNNING or run.state is EngineState.REQUESTED:
        world.jobs.append((Job.CHECK if run.begun else Job.BIRTH, run))
    call = run.parent
    run.told = call is not None and (call.child is not run or call.state is not State.RUNNING)
    world.tell(run)


def _recount_task(world: World, run: Run, task: Task) -> None:
    state = task.state
    if task.parked:
        run.parked.append(task)
    if state in ENDED:
        run.unhandled += state is State.ERRORED and not task.handled
        run.canceled += state is State.CANCELED
        return
    run.open += 1
    if task.todo is not None:
        idle = (place for place, call in enumerate(task.calls or ()) if call is None or call.state is State.IDLE)
        task.todo.extend(idle)
        task.left = len(task.todo)
    if task.deadline is not None:
        world.alarm(task.deadline, Alarm.TIMEOUT, task)
    if state is State.WAITING:
        run.waiting += 1
        task.arrived = arrivals(task)
        if run.state is EngineState.RUNNING:
            world.jobs.append((Job.JOIN, task))
    elif state is State.DELAYED:
        run.busy += 1
        world.alarm(task.due or 0.0, Alarm.END if task.outcome else Alarm.START, task)
    elif state is State.IDLE and not task.parked:
        world.jobs.append((Job.START, task))
    elif state is State.RUNNING:
        _recount_calls(world, task)


def _recount_calls(world: World, task: Task) -> None:
    for call in task.calls or ():
        if call is not None and call.state is State.RUNNING:
            task.running += 1
            task.left += call.index is not None
            task.run.busy += 1
            _take_up(world, call)


def _take_up(world: World, call: Call) -> None:
    """Go on with what ran: timers ring when they would have; an action whose end nobody saw is not run again."""
    if call.child is not None and call.task.plan.workflow is not None:
        return
    found = world.library.action(call.task.run.book, call.action)
    if found is None:
        world.lost[call] = None
    elif call.due is not None:
        world.alarm(call.due, Alarm.CALL, call)
    elif found.action.kind in (Kind.WAIT, Kind.LINK):
        world.waiting[call.key] = call
    elif not call.begun or rerunnable(world, call):
        call.begun = False
        world.launches.append(call)
    else:
        world.lost[call] = None
