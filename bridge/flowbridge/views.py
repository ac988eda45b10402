"""Executions and trees as plain data: what `-o json` prints. The shapes are documented and only grow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flowbridge.law.driving import waits_for
from flowbridge.law.tables import ACTIVE, TASK_OVER, TERMINAL, possible
from flowbridge.model import Node, Record, Snapshot, Status, TaskLook, TaskStatus, Trouble, Want


def moment(seconds: float) -> str | None:
    """A time as ISO 8601 in UTC, to the millisecond; None where there is none."""
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def execution_view(record: Record, parent_id: str | None = None) -> dict[str, Any]:
    """One record. `parent_id` is its parent's current record, which only a tree or a ledger knows."""
    held = record.want is Want.HOLD and record.status not in TERMINAL  # what has ended is held no more
    return {
        "id": record.id,
        "status": str(record.status),
        "workflow": record.workflow,
        "backend": record.ref.backend,
        "engine_id": record.ref.id,
        "engine_state": record.raw,
        "held": held,
        "held_by": (record.held_by or None) if held else None,
        "gone": record.gone,
        "hung": record.hung or None,
        "parent_id": parent_id,
        "item": record.item,
        "rerun_of": record.rerun_of or None,
        "superseded_by": record.superseded_by or None,
        "error": record.error or None,
        "trouble": trouble_view(record.trouble),
        "actor": record.actor,
        "created_at": moment(record.created),
        "observed_at": moment(record.looked),
        "possible": _possible(record),
    }


def trouble_view(trouble: Trouble | None) -> dict[str, Any] | None:
    """A call that is due for an execution and fails."""
    if trouble is None:
        return None
    return {"call": trouble.call, "reason": trouble.why, "since": moment(trouble.since), "tries": trouble.tries}


def _possible(record: Record) -> list[str]:
    if record.superseded_by:
        return []
    if record.gone:
        return ["re-run"]
    return [*possible(record.status), *(["recover"] if record.hung and record.status in ACTIVE else [])]


def tree_view(snapshot: Snapshot, place: int = 0) -> dict[str, Any]:
    """An execution with its tasks and, under each task, its children."""
    children = snapshot.children()
    built: dict[int, dict[str, Any]] = {}
    for at in range(len(snapshot.nodes) - 1, place - 1, -1):
        below = [(child, built.pop(child)) for child in children[at] if child in built]
        built[at] = _node_view(snapshot.nodes[at], snapshot, below)
    top = snapshot.nodes[place]
    beside = snapshot.nodes[top.parent].tasks if top.parent >= 0 else ()
    built[place]["parent_task"] = next((task.name for task in beside if task.id == top.record.parent_task), None)
    return built[place]


def _node_view(node: Node, snapshot: Snapshot, below: list[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    above = snapshot.nodes[node.parent] if node.parent >= 0 else None
    view = execution_view(node.record, above.record.id if above else None)
    view["parent_task"] = None
    view["stale"] = not node.reachable
    view["unknown"] = list(node.unknown)
    view["linked"] = bool(node.record.key)
    view["waits_for"] = waits_for(snapshot, node) or None
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
        "status": str(task_status(task, statuses, node.record.want)),
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


def task_status(task: TaskLook, children: list[Status], want: Want) -> TaskStatus:
    """A task's status, judged by its actions and children, not by the engine's word alone (S2, S3)."""
    for child in children:
        if child in _ACTIVE:
            return _ACTIVE[child]
    if not task.active:
        stopped = bool(children) and all(child is Status.PAUSED or child in TERMINAL for child in children)
        held = task.status is TaskStatus.RUNNING and stopped and want is Want.HOLD
        return TaskStatus.PAUSED if held else task.status
    if task.status is TaskStatus.PAUSED and want is Want.HOLD:
        return TaskStatus.PAUSING
    if task.status is TaskStatus.CANCELED:
        return TaskStatus.CANCELING
    return TaskStatus.RUNNING if task.status in TASK_OVER or task.status is TaskStatus.PAUSED else task.status
