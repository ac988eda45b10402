"""The rows of a tree: what is written of each execution and task, and how a tree is built from them again.

=====================  =============================================================================
key                    what
=====================  =============================================================================
book/B                 a definition: text and source
run/R                  an execution: state, parent, end
given/R                its input and its variables at the start; written when it is born and when it begins
task/R/N               a task: state, what it runs and what was made ready behind it, its result, what it published
command/ID             a command that was carried out
=====================  =============================================================================

No row grows with the number of tasks: variables are found again from what each task published.
"""

from __future__ import annotations

import json
from typing import Any

from flowbridge_actionchain.state import Run, Task
from flowbridge_actionchain.world import World

_dump = json.JSONEncoder(separators=(",", ":"), default=str).encode


def take(world: World) -> dict[str, str]:
    """The rows that changed since the last time."""
    if not world.is_dirty:
        return {}
    rows: dict[str, str] = {}
    for number in range(world.books_written, len(world.books)):
        definition = world.books[number]
        rows[f"book/{number}"] = _dump({"text": definition.text, "source": definition.source})
    for run in world.changed_runs:
        rows[f"run/{run.number}"] = _dump(_run_fields(run))
    for run in world.fresh:
        rows[f"given/{run.number}"] = _dump({"input": run.input, "vars": run.vars})
    for task in world.changed_tasks:
        rows[f"task/{task.run.number}/{task.number}"] = _dump(_task_fields(task))
    for id in world.new_commands:
        rows[f"command/{id}"] = "1"
    world.written()
    return rows


def _run_fields(run: Run) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": run.id, "name": run.name, "state": run.state.value, "revision": run.revision}
    fields |= {"begun": run.begun, "created": run.created}
    if run.parent is not None:
        fields["parent"] = [run.parent.run.number, run.parent.number]
    for name in _RUN_PLAIN:
        value = getattr(run, name)
        if value:
            fields[name] = value
    if run.book >= 0:
        fields["book"] = run.book
    if not run.show_published:
        fields["hide"] = True
    return fields


_RUN_PLAIN = ("ref", "pack", "single", "quiet", "notify", "failure", "error", "ended")


def _task_fields(task: Task) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": task.node.name, "state": task.state.value, "created": task.created}
    for name in TASK_PLAIN:
        value = getattr(task, name)
        if value:
            fields[name] = value
    if task.result is not None:
        fields["result"] = task.result
    if task.child is not None:
        fields["child"] = task.child.number
    if task in task.run.taken_back:
        fields["taken_back"] = True
    return fields


_LINK = ("target", "owner", "given", "env", "workflow", "goal")
TASK_PLAIN = ("starts", "kind", "job", "ahead", *_LINK, "error", "timed_out", "published", "ended")
