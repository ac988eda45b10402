"""The rows of a tree: what is written of each execution, task and call, and how a tree is built from them again.

=====================  =============================================================================
key                    what
=====================  =============================================================================
book/B                 a definition: text and source
run/R                  an execution: state, parent, end
given/R                its input, vars and environment; written when it is born and when it begins
output/R               its output
task/R/N               a task: state, what led to it, what it published, what it led to, its result
lists/R/N              the lists a with-items task goes over
call/R/N/I             an action or child of a task; I is the item, or `-`
command/ID             a command that was carried out
=====================  =============================================================================

No row grows with the number of tasks: variables are found again from what each task published.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from flowbridge_memory.state import Call, Run, Task
from flowbridge_memory.world import World

#: What an expression may give that is no JSON (a time, say) is written as its text.
_dump = json.JSONEncoder(separators=(",", ":"), default=str).encode


def take(world: World) -> dict[str, str]:
    """The rows that changed since the last time."""
    rows: dict[str, str] = {}
    for number in range(world.books_written, len(world.library.definitions)):
        definition = world.library.definitions[number]
        rows[f"book/{number}"] = _dump({"text": definition.text, "source": definition.source})
    world.books_written = len(world.library.definitions)
    for entity in world.dirty:
        if type(entity) is Task:
            _write_task(rows, entity)
        elif type(entity) is Call:
            rows[call_row(entity)] = _dump(dict(_call_fields(entity)))
        else:
            _write_run(rows, entity)  # type: ignore[arg-type]
    for once in world.fresh:
        _write_once(rows, once)
    for id in world.new_commands:
        rows[f"command/{id}"] = "1"
    world.dirty, world.fresh = {}, {}
    world.new_commands = []
    return rows


def call_row(call: Call) -> str:
    """The key of a call's row."""
    place = "-" if call.index is None else call.index
    return f"call/{call.task.run.number}/{call.task.number}/{place}"


def _write_run(rows: dict[str, str], run: Run) -> None:
    number = run.number
    fields: dict[str, Any] = {"id": run.id, "book": run.book, "plan": run.plan.name, "state": run.state.value}
    fields |= {"revision": run.revision, "begun": run.begun, "created": run.created}
    if run.plan.goal:
        fields["goal"] = run.plan.goal
    if run.parent is not None:
        task = run.parent.task
        fields["parent"] = [task.run.number, task.number, run.parent.index]
    if run.ended is not None:
        fields["ended"] = run.ended
    if run.error:
        fields["error"] = run.error
    if run.unwanted:
        fields["unwanted"] = True
    rows[f"run/{number}"] = _dump(fields)
    if run.output is not None:
        rows[f"output/{number}"] = _dump(run.output)


def _write_task(rows: dict[str, str], task: Task) -> None:
    run = task.run
    rows[f"task/{run.number}/{task.number}"] = _dump(_task_fields(task))


def _write_once(rows: dict[str, str], entity: Run | Task) -> None:
    if isinstance(entity, Task):
        rows[f"lists/{entity.run.number}/{entity.number}"] = _dump(entity.lists)
        return
    given = {"input": entity.input, "vars": entity.vars}
    rows[f"given/{entity.number}"] = _dump({**given, "env": entity.env} if entity.parent is None else given)


def _task_fields(task: Task) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": task.plan.name, "state": task.state, "created": task.created}
    if task.causes:
        fields["causes"] = [cause.number for cause in task.causes]
    if task.way:
        fields["way"] = task.way
    if task.ended is not None:
        fields["ended"] = task.ended
    for name in _PLAIN:
        value = getattr(task, name)
        if value:
            fields[name] = value
    if task.result is not None:
        fields["result"] = task.result
    if task.consumed is not None and (not task.causes or len(task.consumed) != len(task.causes)):
        fields["consumed"] = list(task.consumed)
    if task.plan.need and task.causes and task.consumed is None:
        fields["lost"] = True
    if task.calls is not None and task.plan.items is not None:
        fields |= {"width": task.width, "limit": task.limit, "laid": task.todo is not None}
    return fields


_PLAIN = (
    "published",
    "published_global",
    "order",
    "error",
    "handled",
    "pending",
    "parked",
    "attempt",
    "paused_before",
    "waited_before",
    "waited_after",
    "outcome",
    "starts",
    "due",
    "deadline",
)


def _call_fields(call: Call) -> Iterator[tuple[str, Any]]:
    yield "state", call.state
    yield "generation", call.generation
    for name in ("action", "input", "error", "begun", "due"):
        value = getattr(call, name)
        if value:
            yield name, value
    if call.result is not None:
        yield "result", call.result
    if call.child is not None:
        yield "child", call.child.number
