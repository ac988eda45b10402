"""Inputs, results, and the items of a with-items task at their places.

Mistral lists the results of a task's items in order, failed ones included, and beside them the item's actions, which
have a state and an output and no index. Both are joined by the output, as far as that is certain.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flowbridge.errors import EngineRefused, NotFound
from flowbridge.model import ExecutionRead, ItemRead, TaskRead, TaskStatus
from flowbridge_mistral import links, words
from flowbridge_mistral.client import Json, MistralClient

#: In the engine's words where it cannot show a task.
_UNSHOWN = "is not bound to a Session"

_LISTED = "id,name,type,state,runtime_context,published,created_at"


def read(client: MistralClient, id: str, tasks: Sequence[str] | None) -> ExecutionRead:
    """One execution's input and output, and what these tasks (engine task ids; None: all) were given and gave.

    The engine shows the result of one task at a time: only those that may have one are asked for one by one.
    """
    execution = client.get("executions", id)
    if tasks is None:
        listed = client.pages("tasks", "executions", id, "tasks", fields=_LISTED)
        found = [_entry(client, id, task["id"]) if _gave(task) else task for task in listed]
    else:
        found = [_entry(client, id, task) for task in dict.fromkeys(tasks)]
    entries = sorted(found, key=lambda entry: (entry["created_at"], entry["name"]))
    return ExecutionRead(
        input=_value(execution.get("input")) or {},
        # While it runs again the engine still tells what it gave when it failed.
        output=_value(execution.get("output")) if execution["state"] in words.ENDED else None,
        tasks=tuple(_task(client, entry) for entry in entries),
    )


def _gave(task: Json) -> bool:
    """Whether a task may have a result: it has ended, or some of its items may have."""
    return task["state"] in words.ENDED or _count(task) is not None


def _count(task: Json) -> int | None:
    """The number of items, None for a task that has none."""
    context = _value(task.get("runtime_context")) or {}
    count: int | None = (context.get("with_items") or {}).get("count")
    return count


def _entry(client: MistralClient, execution: str, task: str) -> Json:
    """One task. The engine works out anew what a task published globally whenever it shows it, and may fail to.

    Then the task is taken from the list, which does without, and its result from what it ran.
    """
    try:
        return client.get("tasks", task)
    except EngineRefused as error:
        if _UNSHOWN not in error.message:
            raise
    listed = client.pages("tasks", "executions", execution, "tasks")
    found = next((each for each in listed if each["id"] == task), None)
    if found is None:
        raise NotFound(f"{client.where} has no task {task} in execution {execution}")
    return {**found, "result": json.dumps(_result(client, found))}


def _result(client: MistralClient, entry: Json) -> Any:
    """What the last accepted action or sub-workflow of a task without items gave."""
    kind = "executions" if entry.get("type") == "WORKFLOW" else "action_executions"
    query = {"task_execution_id": entry["id"], "include_output": "true"}
    made = [each for each in client.pages(kind, kind, **query) if each.get("accepted", True)]
    output = _value(made[-1].get("output")) if made else None
    return output if kind == "executions" else (output or {}).get("result")


def _task(client: MistralClient, entry: Json) -> TaskRead:
    count = _count(entry)
    result = links.told(_value(entry.get("result")))
    if count is None and entry["state"] not in words.ENDED:
        result = None  # the engine shows an empty list where there is no result yet
    return TaskRead(
        id=entry["id"],
        name=entry["name"],
        status=words.translate(words.TASK, entry["state"], f"task {entry['name']}"),
        result=result,
        published=_value(entry.get("published")) or {},
        items=None if count is None else _items(client, entry, result, count),
    )


def _items(client: MistralClient, entry: Json, results: Any, count: int) -> tuple[ItemRead, ...] | None:
    if entry.get("type") == "WORKFLOW":
        query = {"task_execution_id": entry["id"], "fields": "id,params,state,output,created_at"}
        return by_index(list(client.pages("executions", "executions", **query)))
    whole = isinstance(results, list) and len(results) == count
    if whole and entry["state"] == "SUCCESS" and not _is_linked(client, entry):
        return tuple(ItemRead(index, TaskStatus.SUCCEEDED, result) for index, result in enumerate(results))
    query = {"task_execution_id": entry["id"], "include_output": "true"}
    actions = list(client.pages("action_executions", "action_executions", **query))
    return by_input(actions) or by_output(actions, results, count)


def _is_linked(client: MistralClient, entry: Json) -> bool:
    """Whether the items of a task are links: of those there is more to tell, and no list of results tells it."""
    query = {"task_execution_id": entry["id"], "name": links.LINK, "fields": "id"}
    return next(client.pages("action_executions", "action_executions", limit=1, **query), None) is not None


def by_index(children: Sequence[Json]) -> tuple[ItemRead, ...]:
    """Items that ran a sub-workflow: the engine keeps each index. The latest child of an item is the live one."""
    found: dict[int, list[Json]] = {}
    for child in sorted(children, key=lambda child: (child["created_at"], child["state"] not in words.ENDED)):
        found.setdefault(int(_value(child["params"])["index"]), []).append(child)
    return tuple(_child_item(index, tries) for index, tries in sorted(found.items()))


def _child_item(index: int, tries: Sequence[Json]) -> ItemRead:
    latest = tries[-1]
    output = _value(latest["output"]) if latest["state"] in words.ENDED else None
    told = output.get("result") if isinstance(output, dict) else output
    return ItemRead(index, _status(latest), output, _failure(_status(latest), told), len(tries))


def by_input(actions: Sequence[Json]) -> tuple[ItemRead, ...] | None:
    """Items that ran elsewhere: each link was given its index. None where these are no links."""
    found: dict[int, list[Json]] = {}
    for action in sorted(actions, key=lambda action: bool(action["accepted"] or action["state"] not in words.ENDED)):
        index = links.item(action) if links.is_link(action) else None
        if index is None:
            return None
        found.setdefault(index, []).append(action)
    return tuple(_linked_item(index, tries) for index, tries in sorted(found.items()))


def _linked_item(index: int, tries: Sequence[Json]) -> ItemRead:
    """The last one is the one that counts: it was not replaced."""
    latest = tries[-1]
    status = _status(latest)
    output = (_value(latest["output"]) or {}) if status in (TaskStatus.SUCCEEDED, TaskStatus.ERRORED) else {}
    result = output.get("result")
    return ItemRead(index, status, result, _failure(status, result), len(tries))


def _failure(status: TaskStatus, told: Any) -> str:
    """The error of an item: what it gave, where it failed."""
    if status is not TaskStatus.ERRORED or told is None:
        return ""
    return told if isinstance(told, str) else _text(told)


def by_output(actions: Sequence[Json], results: Any, count: int) -> tuple[ItemRead, ...] | None:
    """Items that ran an action, None where their places cannot be told.

    They can be told when all have ended (the list of results is then complete, so a place in it is an index) and no
    two with the same output ended differently, as they do where the results were not kept. Items begin in order, so
    where some never began, and none was replaced, those that did are the first. While all of them run, they can be told
    too: nothing sets them apart.
    """
    current = [action for action in actions if action["accepted"] or action["state"] not in words.ENDED]
    statuses = {_status(action) for action in current}
    if len(current) == count and len(statuses) == 1 and not results:
        return tuple(ItemRead(index, next(iter(statuses))) for index in range(count))
    begun = count if len(current) < len(actions) else len(current)
    if not isinstance(results, list) or not results or len(results) != begun or len(current) != begun:
        return None
    known: dict[str, set[TaskStatus]] = {}
    for action in current:
        output = _value(action["output"]) or {}
        known.setdefault(_text(output.get("result")), set()).add(_status(action))
    places = [known.get(_text(result), set()) for result in results]
    if any(len(place) != 1 for place in places):
        return None
    found = [(next(iter(place)), results[index]) for index, place in enumerate(places)]
    return tuple(
        ItemRead(index, status, result, _failure(status, result)) for index, (status, result) in enumerate(found)
    )


def _status(entry: Json) -> TaskStatus:
    return words.translate(words.TASK, entry["state"], f"item {entry['id']}")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _value(text: Any) -> Any:
    """Mistral puts JSON into strings."""
    return json.loads(text) if isinstance(text, str) and text else text
