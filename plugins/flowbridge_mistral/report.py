"""An execution's whole tree, in the form of Mistral's execution report.

The engine builds the report in one request, and fails to for good once a task with a `retry` has ended without one:
it then reads a count that it keeps only while it retries. Such a tree is put together from lists instead: four
requests, and more only where a list has several pages.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowbridge.errors import Unavailable
from flowbridge_mistral.client import Json, MistralClient

_BROKEN = "'retry_no'"

_EXECUTION = "id,workflow_name,state,state_info,created_at,updated_at,task_execution_id"
_TASK = "id,name,state,state_info,created_at,updated_at,workflow_execution_id"
_ACTION = "id,name,state,accepted,task_execution_id"


def report(client: MistralClient, root: str) -> Json:
    """The root execution with its tasks, their actions and their sub-executions, nested."""
    try:
        found: Json = client.get("executions", root, "report")["root_workflow_execution"]
    except Unavailable as error:
        if not error.message.endswith(_BROKEN):
            raise
        return _from_lists(client, root)
    return found


def _from_lists(client: MistralClient, root: str) -> Json:
    """Children are asked for before their tasks: a task that has just begun a child then counts as about to."""
    top = client.get("executions", root, fields=_EXECUTION)
    below = list(client.pages("executions", "executions", root_execution_id=root, fields=_EXECUTION))
    entries = [_entry(each) for each in (top, *below)]
    by_id = {entry["id"]: entry for entry in entries}
    tasks: dict[str, Json] = {}
    for task in client.pages("tasks", "tasks", **of_tree(entries), fields=_TASK):
        if task["workflow_execution_id"] in by_id:
            tasks[task["id"]] = {**task, "workflow_executions": [], "action_executions": []}
            by_id[task["workflow_execution_id"]]["task_executions"].append(tasks[task["id"]])
    for action in client.pages("action_executions", "action_executions", **of_tree(entries), fields=_ACTION):
        if action["task_execution_id"] in tasks:
            tasks[action["task_execution_id"]]["action_executions"].append(action)
    for entry in entries[1:]:
        if entry["task_execution_id"] in tasks:
            tasks[entry["task_execution_id"]]["workflow_executions"].append(entry)
    return entries[0]


def of_tree(executions: Sequence[Json]) -> Json:
    """A query for what belongs to a tree, as far as the engine can tell: no filter names the tree.

    So it is asked for by the names of its workflows from the moment that the root was created, oldest first.
    """
    names = sorted({execution["name"] for execution in executions})
    query: Json = {"workflow_name": f"in:{','.join(names)}", "created_at": f"gte:{executions[0]['created_at']}"}
    return {**query, "sort_keys": "created_at,id", "sort_dirs": "asc,asc"}


def _entry(member: Json) -> Json:
    return {**member, "name": member["workflow_name"], "task_executions": []}
