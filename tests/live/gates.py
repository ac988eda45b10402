"""Gates on a real Mistral: leaf actions that run until a test ends them, looked for and ended beside the backend."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from flowbridge.model import ExecutionLook, TaskStatus
from flowbridge_mistral import words
from flowbridge_mistral.backend import MistralBackend
from flowbridge_mistral.client import MistralClient


class Gate(NamedTuple):
    """A gate that runs. `execution` and `task` are where, `target` and `item` what it was given."""

    key: str
    execution: str
    task: str
    target: str
    item: int | None


class Gates:
    """The gates of one server: any action over `std.async_noop` that has an input `target`."""

    def __init__(self, backend: MistralBackend) -> None:
        self._client = MistralClient("gates", backend._client._access)

    def of(self, looks: Iterable[ExecutionLook]) -> list[Gate]:
        """The gates that run in these executions."""
        where = {task.id: look.ref.id for look in looks for task in look.tasks}
        fields = "id,task_execution_id,input"
        running = self._client.pages("action_executions", "action_executions", state="RUNNING", fields=fields)
        return [
            Gate(each["id"], where[each["task_execution_id"]], each["task_execution_id"], *_given(each["input"]))
            for each in running
            if each["task_execution_id"] in where
        ]

    def end(self, key: str, status: TaskStatus, result: Any) -> None:
        """End one, with an object as its result."""
        body = {"state": words.REPORT[status], "output": json.dumps(result)}
        self._client.put("action_executions", key, body=body, repeatable=False)


def _given(input: str) -> tuple[str, int | None]:
    given = json.loads(input)
    return str(given.get("target", "")), given.get("item")
