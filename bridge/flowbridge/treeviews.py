"""Trees as plain data: what `-o json` prints of them. Stands apart from `views`, so that a list need not import it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowbridge.law.driving import waits_for
from flowbridge.law.tables import TASK_OVER, TERMINAL
from flowbridge.model import Node, Record, Snapshot, Status, TaskLook, TaskStatus, Want
from flowbridge.views import execution_view, moment, without_recover


def tree_view(snapshot: Snapshot, place: int = 0) -> dict[str, Any]:
    """An execution with its tasks and, under each task, its children."""
    children, waits = snapshot.children(), waits_for(snapshot)
    built: dict[int, dict[str, Any]] = {}
    for at in range(len(snapshot.nodes) - 1, place - 1, -1):
        below = [(child, built.pop(child)) for child in children[at] if child in built]
        built[at] = _node_view(snapshot.nodes[at], snapshot, below, waits[at])
    top = snapshot.nodes[place]
    beside = snapshot.nodes[top.parent].tasks if top.parent >= 0 else ()
    built[place]["parent_task"] = next((task.name for task in beside if task.id == top.record.parent_task), None)
    return built[place]


def _node_view(node: Node, snapshot: Snapshot, below: list[tuple[int, dict[str, Any]]], waits: str) -> dict[str, Any]:
    above = snapshot.nodes[node.parent] if node.parent >= 0 else None
    view = execution_view(node.record, above.record.id if above else None)
    view["possible"] = without_recover(view["possible"], node)
    view["parent_task"] = None
    view["stale"] = not node.reachable
    view["unknown"] = list(node.unknown)
    view["linked"] = bool(node.record.key)
    view["waits_for"] = waits or None
    by_task: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for child, child_view in below:
        by_task.setdefault(snapshot.nodes[child].record.parent_task, []).append((child, child_view))
    view["tasks"] = [_task_view(task, by_task.get(task.id, []), snapshot, node) for task in node.tasks]
    view["active_tasks"] = [task["name"] for task in view["tasks"] if task["active"]]
    return view


def _task_view(
    task: TaskLook, below: list[tuple[int, dict[str, Any]]], snapshot: Snapshot, node: Node
) -> dict[str, Any]:
    # What is gone keeps its last status, and is not active (S7).
    there = [snapshot.nodes[child].record for child, _ in below]
    statuses = [record.status for record in there if not record.gone]
    for _, view in below:
        view["parent_task"] = task.name
    return {
        "id": task.id,
        "name": task.name,
        "status": str(task_status(task, statuses, node.record)),
        "engine_state": task.raw,
        "active": task.active or any(status in _ACTIVE for status in statuses),
        "item_count": task.items,
        "running": list(task.running),
        "error": task.error or None,
        "started_at": moment(task.started or 0.0),
        "finished_at": moment(task.finished or 0.0),
        "children": [view for _, view in below],
    }


_ACTIVE: Mapping[Status, TaskStatus] = {
    Status.REQUESTED: TaskStatus.RUNNING,
    Status.RUNNING: TaskStatus.RUNNING,
    Status.RESUMING: TaskStatus.RUNNING,
    Status.PAUSING: TaskStatus.PAUSING,
    Status.CANCELING: TaskStatus.CANCELING,
}

#: What a task that began is called where it neither runs nor has ended.
_LEFT = frozenset({TaskStatus.RUNNING, TaskStatus.PAUSED})


def task_status(task: TaskLook, children: list[Status], record: Record) -> TaskStatus:
    """A task's status, judged by its actions and children, not by the engine's word alone (S2, S3).

    `children` are the statuses of what it runs, `record` is that of the execution it is a task of.
    """
    if not children and not task.active and task.status not in _LEFT:
        return task.status  # most tasks of a large tree
    for child in children:
        if child in _ACTIVE:
            return _ACTIVE[child]
    if not task.active:
        if record.status is Status.CANCELED and task.status in _LEFT:
            return TaskStatus.CANCELED  # some engines leave what they had begun as it was (C4)
        stopped = all(child is Status.PAUSED or child in TERMINAL for child in children)
        is_held = record.want is Want.HOLD and record.status not in TERMINAL
        held = task.status is TaskStatus.RUNNING and stopped and is_held
        return TaskStatus.PAUSED if held else task.status
    if task.status is TaskStatus.PAUSED and record.want is Want.HOLD:
        return TaskStatus.PAUSING
    if task.status is TaskStatus.CANCELED:
        return TaskStatus.CANCELING
    return TaskStatus.RUNNING if task.status in TASK_OVER or task.status is TaskStatus.PAUSED else task.status
