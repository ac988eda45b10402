"""What an execution gives, in the shape that StackStorm's users know."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flowbridge.model import EngineState
from flowbridge_actionchain.state import Kind, Run, State, Task

_WORDS = {
    State.IDLE: "requested",
    State.RUNNING: "running",
    State.SUCCEEDED: "succeeded",
    State.ERRORED: "failed",
    State.CANCELED: "canceled",
    State.SKIPPED: "skipped",
}


def output_of(run: Run) -> Any:
    """The result of an execution as far as it came: of a chain its tasks and what it published, else the action's."""
    if run.single:
        return run.tasks[0].result if run.tasks else None
    output: dict[str, Any] = {"tasks": [_task(task) for task in run.tasks if task.kind is not Kind.NONE]}
    if run.show_published:
        output["published"] = published_of(run)
    if run.failure:
        output |= {"error": run.failure, "traceback": trace_of(run)}
    return output


def published_of(run: Run) -> dict[str, Any]:
    """Everything that was published so far, the last value of each."""
    found: dict[str, Any] = {}
    for task in run.tasks:
        found |= task.published or {}
    return found


def trace_of(run: Run) -> str:
    """Where the chain failed, the innermost place first, in place of StackStorm's stack of Python calls."""
    lines = [f"{run.chain.source}: {run.ref or run.chain.source}"]
    while run.parent is not None:
        task = run.parent
        lines.append(f"{task.run.chain.place(task.node.name)}: task {task.node.name!r}")
        run = task.run
    return "\n".join(lines)


def result_of(task: Task) -> Any:
    """What a task gave; of a chain, its child's result, which is kept once."""
    return output_of(task.child) if task.kind is Kind.CHAIN and task.child is not None else task.result


def _task(task: Task) -> Mapping[str, Any]:
    return {
        "id": task.node.name,
        "name": task.node.name,
        "execution_id": task.child.id if task.child is not None else task.id,
        "workflow": None,
        "created_at": _moment(task.created),
        "updated_at": _moment(task.ended or task.created),
        "state": word_of(task),
        "result": result_of(task),
    }


def word_of(task: Task) -> str:
    """StackStorm's word for how a task is."""
    if task.timed_out:
        return "timeout"
    child = task.child
    if task.state is State.RUNNING and child is not None and child.state is EngineState.PAUSED:
        return "paused"
    return _WORDS[task.state]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
