"""An execution's whole tree, in the form of Mistral's execution report.

The engine builds the report in one request, and fails to for good once a task with a `retry` has ended without one:
it then reads a count that it keeps only while it retries. Such a tree is put together from lists instead, with a
request for each execution and each task.
"""

from __future__ import annotations

from flowbridge.errors import Unavailable
from flowbridge_mistral.client import Json, MistralClient

_BROKEN = "'retry_no'"

_EXECUTION = "id,workflow_name,state,state_info,created_at,updated_at,task_execution_id"
_TASK = "id,name,state,state_info,created_at,updated_at"
_ACTION = "id,name,state,accepted"


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
    for entry in entries:
        entry["task_executions"] = list(client.pages("tasks", "executions", entry["id"], "tasks", fields=_TASK))
    tasks = {task["id"]: task for entry in entries for task in entry["task_executions"]}
    for id, task in tasks.items():
        task["workflow_executions"] = []
        # The engine takes one task at a time here, though elsewhere it takes lists.
        task["action_executions"] = list(
            client.pages("action_executions", "action_executions", task_execution_id=id, fields=_ACTION)
        )
    for entry in entries[1:]:
        if entry["task_execution_id"] in tasks:
            tasks[entry["task_execution_id"]]["workflow_executions"].append(entry)
    return entries[0]


def _entry(member: Json) -> Json:
    return {**member, "name": member["workflow_name"]}
