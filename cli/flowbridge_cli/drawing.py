"""A tree of executions as lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowbridge_cli.output import styled

_MARKS = {
    "succeeded": "+",
    "errored": "!",
    "canceled": "x",
    "skipped": ">",
    "waiting": ".",
    "running": "*",
    "paused": "=",
    "pausing": "=",
    "canceling": "x",
}


def tree_lines(view: Mapping[str, Any], *, now: float | None = None) -> list[str]:
    """An execution with its tasks and children, each a line, deeper ones further in. `now` adds how long it took."""
    lines: list[str] = []
    stack: list[tuple[int, str, Mapping[str, Any]]] = [(0, "", view)]
    while stack:
        depth, label, execution = stack.pop()
        lines.append("  " * depth + _execution(execution, label, now))
        stack += reversed(_below(execution, depth, lines))
    return lines


def _below(execution: Mapping[str, Any], depth: int, lines: list[str]) -> list[tuple[int, str, Mapping[str, Any]]]:
    """Writes the tasks that have no children; gives the children of the others, to be drawn after them."""
    found = []
    for task in execution["tasks"]:
        if not task["children"]:
            lines.append("  " * (depth + 1) + _task(task))
        for child in task["children"]:
            item = "" if child["item"] is None else f"[{child['item']}]"
            found.append((depth + 1, f"{task['name']}{item}: ", child))
    return found


def _execution(view: Mapping[str, Any], label: str, now: float | None) -> str:
    parts = [f"{label}{view['workflow'] or '-'}", styled(view["status"]), view["backend"], view["id"]]
    if view["held"] and view["held_by"]:
        parts.append(f"held by {view['held_by']}")
    for word in ("gone",):
        parts += [word] if view[word] else []
    if not view.get("reachable", True):
        parts.append("as last seen")
    if view["error"]:
        parts.append(_short(view["error"]))
    if now is not None:
        parts.append(f"{now - view['created']:.0f} s")
    return "  ".join(parts)


def _task(task: Mapping[str, Any]) -> str:
    parts = [f"{_MARKS.get(task['status'], '?')} {task['name']}", styled(task["status"])]
    if task["items"] is not None:
        parts.append(f"{task['items']} items")
    if task["error"]:
        parts.append(_short(task["error"]))
    return "  ".join(parts)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 100 else line[:97] + "..."
