"""From Mistral's execution report to looks. `Observer` asks; everything below it is a function of what was answered.

One tree costs a fixed number of requests, whatever its size: the root's id, the report (the whole tree, but no index
of an item and no count of items), then, as far as the tree needs them, the indexes, the counts, and the waiting links.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

from flowbridge.calls import at_once
from flowbridge.errors import EngineRefused, NotFound
from flowbridge.model import NOTHING, ExecutionLook, ParentLink, Ref, TaskLook, WaitingChild
from flowbridge_mistral import links, words
from flowbridge_mistral.causes import cause
from flowbridge_mistral.client import Json, MistralClient
from flowbridge_mistral.report import of_tree
from flowbridge_mistral.report import report as read_report

ROOTS_REMEMBERED = 4096

_Answer = TypeVar("_Answer")

#: How long an engine must have done nothing before an execution counts as hung.
QUIET_SECONDS = 10.0

#: How long the start of a task may be on its way. One that takes longer died with its engine: a resume sends it anew.
ARRIVING_SECONDS = 60.0


class Extras(NamedTuple):
    """What the report leaves out: item indexes of children, runtime contexts of tasks, links that wait.

    `counted` are the results that count for a task of which more sub-workflows succeeded than it has items. `now` is
    the engine's clock when it answered.
    """

    indexes: Mapping[str, int] = NOTHING
    contexts: Mapping[str, Json] = NOTHING
    links: Mapping[str, tuple[WaitingChild, ...]] = NOTHING
    counted: Mapping[str, int] = NOTHING
    now: float = 0.0


class Observer:
    """Looks at whole trees of one Mistral."""

    def __init__(self, client: MistralClient, instance: str) -> None:
        self._client = client
        self._instance = instance
        self._roots: OrderedDict[str, str] = OrderedDict()
        self._starters: OrderedDict[str, str] = OrderedDict()

    def trees(self, ids: Sequence[str]) -> dict[str, tuple[ExecutionLook, ...]]:
        """The trees of these executions, by the ids that were given. One that is gone is left out.

        The engine knows no request for several trees, so that several are asked for side by side.
        """
        unique = list(dict.fromkeys(ids))
        roots = dict(zip(unique, at_once([partial(_there, self._root, id) for id in unique]), strict=True))
        wanted = list(dict.fromkeys(root for root in roots.values() if root is not None))
        trees = dict(zip(wanted, at_once([partial(_there, self._tree, root) for root in wanted]), strict=True))
        found = {id: trees[root] for id, root in roots.items() if root is not None}
        return {id: tree for id, tree in found.items() if tree is not None}

    def _root(self, id: str) -> str:
        """The root of an execution's tree. It never changes, so it is asked for once."""
        root = self._roots.get(id)
        if root is None:
            answer = self._client.get("executions", id, fields="id,root_execution_id")
            root = _keep(self._roots, id, _id(answer["root_execution_id"] or id))
        return root

    def _tree(self, root: str) -> tuple[ExecutionLook, ...]:
        report = read_report(self._client, root)
        executions = [entry for entry, _, _ in _walk(report)]
        tasks = [task for entry in executions for task in _tasks(entry)]
        indexes = self._indexes(root) if len(executions) > 1 else {}
        contexts = self._contexts(executions, {task["id"] for task in tasks})
        waiting = self._links(executions, tasks)
        now = self._client.now()
        counted = self._counted([task for task in tasks if _quiet([task], now)], contexts)
        extras = Extras(indexes=indexes, contexts=contexts, links=waiting, counted=counted, now=now)
        return looks(report, extras, self._instance)

    def _indexes(self, root: str) -> dict[str, int]:
        members = self._client.pages("executions", "executions", root_execution_id=root, fields="id,params")
        return {member["id"]: int(_json(member["params"]).get("index", 0)) for member in members}

    def _contexts(self, executions: Sequence[Json], wanted: set[str]) -> dict[str, Json]:
        """The runtime contexts of these tasks, by task id.

        A tree of several executions is asked for only until all of its tasks have been seen.
        """
        query: Json = {"fields": "id,runtime_context"}
        path: tuple[str, ...] = ("executions", executions[0]["id"], "tasks")
        if len(executions) > 1:
            query |= of_tree(executions)
            path = ("tasks",)
        found: dict[str, Json] = {}
        for member in self._client.pages("tasks", *path, **query) if wanted else ():
            if _id(member["id"]) in wanted:
                found[member["id"]] = _json(member["runtime_context"])
            if len(found) == len(wanted):
                break
        return found

    def _counted(self, tasks: Sequence[Json], contexts: Mapping[str, Json]) -> dict[str, int]:
        """How many results count for each of these that may have run too many sub-workflows: one request for each.

        The report does not tell which of them a re-run has replaced. A task that cannot be shown is left out. Only what
        has been quiet for a while can be hung and is asked for: a task that ends well costs no request.
        """
        found: dict[str, int] = {}
        for task in tasks:
            if _ran_more_children(task, _count(contexts.get(task["id"], {}))):
                with suppress(NotFound, EngineRefused):
                    results = json.loads(self._client.get("tasks", task["id"]).get("result") or "[]")
                    found[task["id"]] = len(results) if isinstance(results, list) else 0
        return found

    def _links(self, executions: Sequence[Json], tasks: Sequence[Json]) -> dict[str, tuple[WaitingChild, ...]]:
        """The links of a tree that wait, by task. What they wait for is in no report."""
        wanted = {action["id"] for task in tasks for action in _actions(task) if links.waits(action, task)}
        if not wanted:
            return {}
        query: Json = {"state": "RUNNING", "name": links.LINK, "fields": "id,task_execution_id,input"}
        query |= of_tree(executions)
        starter = partial(self._starter, executions[0]["id"])
        found: dict[str, list[WaitingChild]] = {}
        for member in self._client.pages("action_executions", "action_executions", **query):
            if _id(member["id"]) in wanted:
                wanted.remove(member["id"])
                found.setdefault(member["task_execution_id"], []).append(links.waiting(member, self._instance, starter))
            if not wanted:
                break
        return {task: tuple(sorted(waiting, key=lambda each: each.item or 0)) for task, waiting in found.items()}

    def _starter(self, root: str) -> str:
        """The ledger that started a root. It never changes, so it is asked for once."""
        starter = self._starters.get(root)
        if starter is None:
            answer = self._client.get("executions", root, fields="id,params")
            starter = _keep(self._starters, root, str(_json(answer["params"]).get(links.OWNER) or ""))
        return starter


def _there(ask: Callable[[str], _Answer], id: str) -> _Answer | None:
    """What the engine answers about an execution, None where it has none of that id."""
    try:
        return ask(id)
    except NotFound:
        return None


def _keep(cache: OrderedDict[str, str], key: str, value: str) -> str:
    """Remember a value, and give it: another thread may push it out again before it is looked up."""
    cache[key] = value
    if len(cache) > ROOTS_REMEMBERED:
        cache.popitem(last=False)
    return value


def looks(report: Json, extras: Extras, instance: str) -> tuple[ExecutionLook, ...]:
    """A report as looks: the root first, parents before children, children oldest first."""
    return tuple(_execution(entry, parent, task, extras, instance) for entry, parent, task in _walk(report))


def _walk(report: Json) -> Iterator[tuple[Json, Json | None, Json | None]]:
    """Every execution of a report with its parent and the task it hangs under. Depth is bounded by memory only."""
    stack: list[tuple[Json, Json | None, Json | None]] = [(report, None, None)]
    while stack:
        entry, parent, task = stack.pop()
        yield entry, parent, task
        below = [(child, entry, task) for task in _tasks(entry) for child in _children(task)]
        stack.extend(reversed(below))


def _execution(entry: Json, parent: Json | None, task: Json | None, extras: Extras, instance: str) -> ExecutionLook:
    raw = entry["state"]
    tasks = _tasks(entry)
    return ExecutionLook(
        ref=Ref(instance, entry["id"]),
        state=words.translate(words.EXECUTION, raw, f"execution {entry['id']}"),
        raw=raw,
        # The time alone is in whole seconds, and a pause-before that is run into adds a task within one.
        revision=f"{entry['updated_at']}/{len(tasks)}",
        workflow=entry["name"],
        parent=None if parent is None or task is None else _parent(entry, parent, task, extras),
        tasks=tuple(_task(each, extras) for each in tasks),
        waiting=tuple(link for each in tasks for link in extras.links.get(each["id"], ())),
        error=_error(entry),
        created=seconds(entry["created_at"]),
        ended=seconds(entry["updated_at"]) if raw in words.ENDED else None,
        hung=_hung(entry, extras),
    )


def _parent(entry: Json, parent: Json, task: Json, extras: Extras) -> ParentLink:
    """Every child has an index at the engine; it is an item's only where the task has items."""
    has_items = _count(extras.contexts.get(task["id"], {})) is not None
    return ParentLink(parent["id"], task["id"], extras.indexes.get(entry["id"]) if has_items else None)


def _task(task: Json, extras: Extras) -> TaskLook:
    context = extras.contexts.get(task["id"], {})
    raw = task["state"]
    return TaskLook(
        id=task["id"],
        name=task["name"],
        status=words.translate(words.TASK, raw, f"task {task['name']}"),
        raw=raw,
        active=_active(task, extras),
        starts=len(_actions(task)) + len(_children(task)),
        items=_count(context),
        serial=context.get("concurrency") == 1,
        running=_running(task),
        error=_error(task),
        started=seconds(task["created_at"]),
        finished=seconds(task.get("updated_at")) if raw in words.ENDED else None,
    )


def _active(task: Json, extras: Extras) -> bool:
    """S2, by actions and by what the engine is about to start.

    Children that are there are looked at themselves, and so are those elsewhere that a link waits for.
    """
    if (
        task["state"] == "DELAYED"
        or _start_arriving(task, extras)
        or any(_at_work(action) for action in _actions(task))
    ):
        return True
    return _more_to_come(task, extras) or _pause_arriving(task, extras)


def _start_arriving(task: Json, extras: Extras) -> bool:
    """Whether a new task's start is on its way to an engine: it then runs, although its workflow may be paused.

    An engine that is killed may take it along. The task then stays as it is, and nothing is waited for (S5).
    """
    if task["state"] != "IDLE" or "pause-before" in str(task.get("state_info")):
        return False
    return extras.now - (seconds(task["updated_at"] or task["created_at"]) or 0.0) < ARRIVING_SECONDS


def _hung(entry: Json, extras: Extras) -> str:
    """Why the engine will not go on with an execution, although nothing of it is at work (P5, X6).

    It judges a join when a task on the way to it ends, and never again; one that cannot come together any more it ends
    then. A task that ran more items than it has it never ends. Its next step may be on its way for a moment after the
    last one, so nothing is called hung before it has been quiet for a while.
    """
    tasks = _tasks(entry)
    waiting = [task for task in tasks if task["state"] == "WAITING"]
    overrun = [task for task in tasks if _overrun(task, extras)]
    stuck = {task["id"] for task in (*waiting, *overrun)}
    settled = all((task["state"] in words.ENDED or task["id"] in stuck) and not _unended(task) for task in tasks)
    if entry["state"] != "RUNNING" or not stuck or not settled:
        return ""
    return _why_hung(waiting, overrun) if _quiet([entry, *tasks], extras.now) else ""


def _quiet(entries: Sequence[Json], now: float) -> bool:
    """Whether nothing has happened to these for a while."""
    return now - max(seconds(one["updated_at"] or one["created_at"]) or 0.0 for one in entries) >= QUIET_SECONDS


def _why_hung(waiting: Sequence[Json], overrun: Sequence[Json]) -> str:
    if overrun:
        names = ", ".join(task["name"] for task in overrun)
        return f"task {names} ran more items than it has, and its engine never ends it, as after a partial re-run (X6)"
    if slipped := [task["name"] for task in waiting if _actions(task) or _children(task)]:
        return f"join {', '.join(slipped)} ran during a pause, and its engine waits for it again for good (P5)"
    names = ", ".join(task["name"] for task in waiting)
    return f"join {names} waits though all before it is over: its engine forgot it, as after a pause and a resume (P5)"


def _overrun(task: Json, extras: Extras) -> bool:
    """Whether more items of a running task count than it has: a re-run without reset began some that had succeeded."""
    count = _count(extras.contexts.get(task["id"], {}))
    counted = max(sum(map(_accepted, _actions(task))), extras.counted.get(task["id"], 0))
    return count is not None and task["state"] == "RUNNING" and counted > count


def _ran_more_children(task: Json, count: int | None) -> bool:
    """Whether all sub-workflows of a running task have ended, and more of them well than it has items."""
    succeeded = sum(child["state"] == "SUCCESS" for child in _children(task))
    return count is not None and task["state"] == "RUNNING" and succeeded > count and not _unended(task)


def _accepted(action: Json) -> bool:
    return bool(action.get("accepted"))


def _has_failed(task: Json) -> bool:
    return any(part["state"] not in ("SUCCESS", *words.AT_WORK) for part in (*_actions(task), *_children(task)))


def _unended(task: Json) -> bool:
    return any(part["state"] not in words.ENDED for part in (*_actions(task), *_children(task)))


def _more_to_come(task: Json, extras: Extras) -> bool:
    """Whether a task has something left to begin, and room to begin it.

    An action or a child that was asked for is not in the report at once, and between one item and the next a task
    with a concurrency limit shows nothing at work for about a second; the next item begins in a paused task too. A
    task whose parts have all begun does not count, although the engine may call it RUNNING for good.
    """
    context = extras.contexts.get(task["id"], {})
    count = _count(context)
    if count is None:
        return task["state"] == "RUNNING" and not _actions(task) and not _children(task)
    limit = context.get("concurrency") or count
    unfinished = sum(part["state"] not in words.ENDED for part in (*_actions(task), *_children(task)))
    return task["state"] in ("RUNNING", "PAUSED") and _begun(task, extras) < count and unfinished < limit


def _pause_arriving(task: Json, extras: Extras) -> bool:
    """Whether a with-items task has yet to hear of the pause of its children.

    It hears about a second later. A child resumed before that is paused again, or takes parent and peers with it, by
    chance (R1, R4): so the execution counts as pausing until the engine calls the task PAUSED.
    """
    has_items = _count(extras.contexts.get(task["id"], {})) is not None
    return task["state"] == "RUNNING" and has_items and any(child["state"] == "PAUSED" for child in _children(task))


def _begun(task: Json, extras: Extras) -> int:
    """How many items have begun: replaced actions do not count, and of the children of one item only one does."""
    actions = sum(1 for action in _actions(task) if action.get("accepted") or action["state"] not in words.ENDED)
    return actions + len({extras.indexes.get(child["id"]) for child in _children(task)})


def _running(task: Json) -> tuple[str, ...]:
    at_work = [action["name"] for action in _actions(task) if _at_work(action)]
    if task["state"] == "DELAYED":
        at_work.append(str(task.get("state_info") or "delayed"))
    return tuple(at_work)


def _at_work(action: Json) -> bool:
    return action["state"] in words.AT_WORK and not links.is_link(action)


def _count(context: Json) -> int | None:
    """The number of items, None for a task that has none."""
    items = context.get("with_items")
    return int(items["count"]) if isinstance(items, dict) and "count" in items else None


def _tasks(entry: Json) -> list[Json]:
    """An execution's tasks, oldest first: the engine lists them in no order."""
    return sorted(entry.get("task_executions") or (), key=lambda task: (task["created_at"], task["name"]))


def _children(task: Json) -> list[Json]:
    """A task's children, oldest first; of two born within one second the one that a re-run replaced has ended."""
    children = task.get("workflow_executions") or ()
    return sorted(children, key=lambda child: (child["created_at"], child["state"] not in words.ENDED))


def _actions(task: Json) -> list[Json]:
    return task.get("action_executions") or []


def _error(entry: Json) -> str:
    if entry["state"] == "WAITING" and _has_failed(entry):
        return "failed during a pause, and waits again"
    return cause(str(entry.get("state_info") or "")) if entry["state"] == "ERROR" else ""


def _id(value: Any) -> str:
    """An id as it came. Raises `TypeError` for what cannot be one."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no id")
    return value


def _json(text: str | None) -> Json:
    value: Any = json.loads(text) if text else {}
    return value if isinstance(value, dict) else {}


def seconds(moment: str | None) -> float | None:
    """Seconds since the epoch of one of Mistral's times, which are in UTC and whole seconds."""
    if not moment:
        return None
    return datetime.fromisoformat(moment[:19]).replace(tzinfo=UTC).timestamp()
