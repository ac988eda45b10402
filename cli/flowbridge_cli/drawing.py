"""A tree of executions as lines of text."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flowbridge.model import Verb
from flowbridge_cli.output import clean, counted, fields, hung_advice, short_id, styled

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

#: Of a status that is left by itself: its time goes on.
_GOING = frozenset({"requested", "running", "pausing", "resuming", "canceling"})

_Entry = tuple[int, str, Mapping[str, Any] | None]


#: Of an output at the end of a watch.
_LONGEST_LINE = 100

#: What a look goes on with, and ends once it shows it done: the verbs of the operations, as the view names them.
_SEEN_TO = (f"{Verb.PAUSE} ", f"{Verb.CANCEL} ")


def tree_lines(view: Mapping[str, Any]) -> list[str]:
    """An execution with its tasks and children, each a line, deeper ones further in."""
    lines = _lines([(0, "", view)])
    lines += unfinished_lines(view)
    if view.get("waits_for_driver"):
        how = f"`flowbridge watch {short_id(view['id'])}` or `flowbridge agent` does"
        lines.append(f"It waits for a driver, and none is alive: {how} (O13)")
    return lines


def unfinished_lines(view: Mapping[str, Any]) -> list[str]:
    """What is open on the tree of an execution, and what goes on with it: a line for each."""
    return [_unfinished(operation, view) for operation in view.get("unfinished", ())]


def _unfinished(operation: str, view: Mapping[str, Any]) -> str:
    recover = f"`flowbridge recover {short_id(view['id'])}`"
    if operation.startswith(_SEEN_TO):
        return f"The {operation} is not finished: whoever looks goes on with it, an agent too"
    return f"The {operation} is not finished: {recover} goes on with it where it was cut short (O3)"


def task_lines(task: Mapping[str, Any]) -> list[str]:
    """A task with its children, in the same way."""
    return _lines([*reversed(_children(task, 1)), (0, _task(task), None)])


def _lines(stack: list[_Entry]) -> list[str]:
    """The last of the stack comes first."""
    lines: list[str] = []
    hung: list[str] = []
    abandoned: list[str] = []
    while stack:
        depth, text, execution = stack.pop()
        if execution is None:
            lines.append("  " * depth + text)
            continue
        lines.append("  " * depth + _execution(execution, text))
        hung += [hung_advice(execution, short_id(execution["id"]))] if execution["hung"] else []
        abandoned += [execution["id"]] if execution["status"] == "abandoned" else []
        stack += reversed(_below(execution, depth + 1))
    # Whatever is abandoned in a tree goes on with one call, whichever of it is named.
    lines += [f"What is abandoned goes on by `flowbridge recover {short_id(id)}` (S6)" for id in abandoned[:1]]
    lines += [f"What is hung cannot go on by itself: {advice}" for advice in hung]
    return lines


def ending_lines(document: Mapping[str, Any]) -> list[str]:
    """How an execution stands, with its output where it succeeded; otherwise the error is in the tree.

    Long values are cut: `get` shows all of them.
    """
    output = document["output"] if document["status"] == "succeeded" else None
    return tree_lines(document) + ([] if output in (None, {}) else ["output:", *map(_cut, fields(output, "  "))])


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 3]}..."


def _below(execution: Mapping[str, Any], depth: int) -> list[_Entry]:
    """The lines of an execution's tasks, and after each the children that it started."""
    found: list[_Entry] = []
    unknown = execution.get("unknown") or ()
    lost = {*unknown, *(name.rpartition("[")[0] for name in unknown)}  # an item is named by its place: t[1]
    for task in execution["tasks"]:
        found.append((depth, _task(task, is_lost=task["status"] in _GOING and task["name"] in lost), None))
        found += _children(task, depth + 1)
    return found


def _children(task: Mapping[str, Any], depth: int) -> list[_Entry]:
    """A task's children by item; one that was tried again is a single line, its tasks are those of its successor."""
    latest = {child["item"]: child["id"] for child in task["children"]}
    found: list[_Entry] = []
    for child in sorted(task["children"], key=lambda child: -1 if child["item"] is None else child["item"]):
        item = "" if child["item"] is None else f"[{child['item']}] "
        if child["id"] == latest[child["item"]]:
            found.append((depth, item, child))
        else:
            found.append((depth, _execution(child, f"{item}earlier: "), None))
    return found


def _execution(view: Mapping[str, Any], label: str) -> str:
    parts = [f"{label}{clean(view['workflow']) or '-'}", styled(view["status"]), short_id(view["id"]), view["backend"]]
    parts.append(duration(view))
    if view["held"]:
        parts.append(" ".join(filter(None, ("held", view["held_by"] and f"by {view['held_by']}", held_for(view)))))
    if view["gone"]:
        parts.append("gone from its engine")
    if view["stale"]:
        parts.append(_last_seen(view["observed_at"]))
    if view["hung"]:
        parts.append(f"hung: {_short(view['hung'])}")
    if view.get("waits_for"):
        parts.append(f"waits for {view['waits_for']}")
    if view.get("trouble"):
        parts.append(trouble_line(view["trouble"]))
    if view["error"]:
        parts.append(_short(view["error"]))
    return "  ".join(parts)


def trouble_line(trouble: Mapping[str, Any]) -> str:
    """A call that fails, in words: which, since when, and why."""
    since = datetime.fromisoformat(trouble["since"]).astimezone()
    return f"{trouble['call']} fails since {since:%Y-%m-%d %H:%M:%S}: {_short(trouble['reason'])}"


def _last_seen(moment: str | None) -> str:
    if moment is None:
        return "not seen yet"
    return f"as last seen {span(max(0.0, time.time() - datetime.fromisoformat(moment).timestamp()))} ago"


def _task(task: Mapping[str, Any], *, is_lost: bool = False) -> str:
    parts = [f"{_MARKS.get(task['status'], '?')} {clean(task['name'])}", styled(task["status"])]
    if task["item_count"] is not None:
        parts.append(_items(task))
    if task["running"]:
        parts.append(f"({clean(', '.join(task['running']))})")
    if is_lost:
        parts.append("unknown: nobody saw how it ended")
    if task["error"] and not task["children"]:
        parts.append(_short(task["error"]))
    return "  ".join(parts)


def _items(task: Mapping[str, Any]) -> str:
    """How far a with-items task is, as far as its children tell."""
    latest = {child["item"]: child["status"] for child in task["children"]}
    counts = ", ".join(f"{count} {status}" for status, count in Counter(latest.values()).items())
    return counted(task["item_count"], "item") + (f" ({counts})" if counts else "")


def duration(view: Mapping[str, Any]) -> str:
    """How long an execution ran: until now, or until its status last changed."""
    if not view["created_at"]:
        return "-"
    begin = datetime.fromisoformat(view["created_at"]).timestamp()
    going = view["status"] in _GOING and not view["stale"] and not view["gone"]
    end = time.time() if going else datetime.fromisoformat(view["updated_at"]).timestamp()
    return span(max(0.0, end - begin))


def held_for(view: Mapping[str, Any]) -> str:
    """How long an execution has been held by now, "" where nobody saw it begin."""
    since = view.get("held_since")
    return f"for {span(max(0.0, time.time() - datetime.fromisoformat(since).timestamp()))}" if since else ""


def span(seconds: float) -> str:
    """A time span in words: 4 s, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _short(text: str) -> str:
    line = clean(" ".join(text.split()))
    return line if len(line) <= 100 else line[:97] + "..."
