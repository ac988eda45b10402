"""What the Mistral in memory keeps, and how it tells it: the JSON of executions, tasks, actions, lists and reports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

ENDED = frozenset({"SUCCESS", "ERROR", "CANCELLED", "SKIPPED"})

_NO_FILTERS = frozenset({"fields", "limit", "marker", "sort_keys", "sort_dirs", "nulls", "include_output"})


@dataclass(eq=False)
class Action:
    """An action execution: one item of a task, or all of it."""

    id: str
    name: str
    task: Task
    index: int
    input: Json
    created: str
    state: str = "RUNNING"
    output: Any = None
    replaced: bool = False

    @property
    def accepted(self) -> bool:
        """Whether its result counts."""
        return self.state in ENDED and not self.replaced


@dataclass(eq=False)
class Task:
    """A task execution."""

    id: str
    name: str
    execution: Execution
    spec: Json
    created: str
    items: list[Any] | None = None
    state: str = "RUNNING"
    actions: list[Action] = field(default_factory=list)
    children: list[Execution] = field(default_factory=list)
    published: Json = field(default_factory=dict)

    def parts(self) -> list[Action | Execution]:
        """What runs, or ran, for each item: what a re-run replaced is left out."""
        latest: dict[int, Action | Execution] = {}
        latest |= {action.index: action for action in self.actions}
        latest |= {child.index: child for child in self.children}
        return [latest[index] for index in sorted(latest)]

    @property
    def is_handled(self) -> bool:
        """Whether its error is taken care of by another task."""
        return self.state == "ERROR" and bool(self.spec.get("on-error"))

    @property
    def told_globally(self) -> bool:
        """Whether it published to all branches: the real one fails to show such a task."""
        return self.state == "SUCCESS" and "publish" in (self.spec.get("on-success") or ())

    @property
    def result(self) -> Any:
        """Of all items, or of the one part that there is."""
        results = [
            part.output.get("result") if isinstance(part, Action) else part.output
            for part in self.parts()
            if part.state in ENDED and part.output is not None
        ]
        return results if self.items is not None else next(iter(results), None)


@dataclass(eq=False)
class Execution:
    """A workflow execution."""

    id: str
    name: str
    input: Json
    params: Json
    created: str
    updated: str
    parent: Task | None = None
    index: int = 0
    state: str = "RUNNING"
    output: Any = None
    tasks: list[Task] = field(default_factory=list)
    context: Json = field(default_factory=dict)
    backlog: list[str] = field(default_factory=list)

    @property
    def root(self) -> Execution:
        """The root of its tree."""
        return self.parent.execution.root if self.parent else self


def execution_json(of: Execution) -> Json:
    """An execution as the API shows it."""
    return {
        "id": of.id,
        "workflow_name": of.name,
        "state": of.state,
        "state_info": None,
        "input": json.dumps(of.input),
        "output": json.dumps(of.output if of.output is not None else {}),
        "params": json.dumps({**of.params, "namespace": ""}),
        "task_execution_id": of.parent.id if of.parent else None,
        "root_execution_id": of.root.id if of.parent else None,
        "created_at": of.created,
        "updated_at": of.updated,
    }


def task_json(of: Task) -> Json:
    """A task as the API shows it."""
    context: Json = {} if of.items is None else {"with_items": {"capacity": None, "count": len(of.items)}}
    context |= {"retry_task_policy": {}} if "retry" in of.spec else {}
    return {
        "id": of.id,
        "name": of.name,
        "type": "WORKFLOW" if "workflow" in of.spec else "ACTION",
        "workflow_name": of.execution.name,
        "state": of.state,
        "result": json.dumps(of.result),
        "published": None if of.told_globally else json.dumps(of.published),
        "runtime_context": json.dumps(context),
        "workflow_execution_id": of.execution.id,
        "state_info": None,
        "created_at": of.created,
        "updated_at": None if of.state == "WAITING" and not of.actions else of.created,
    }


def action_json(of: Action) -> Json:
    """An action as the API shows it."""
    return {
        "id": of.id,
        "name": of.name,
        "state": of.state,
        "accepted": of.accepted,
        "task_execution_id": of.task.id,
        "workflow_name": of.task.execution.name,
        "created_at": of.created,
        "input": json.dumps(of.input),
        "output": json.dumps(of.output if of.output is not None else {}),
    }


def reported(of: Execution) -> Json:
    """A whole tree as the report shows it."""
    plain = ("id", "state")
    tasks = [
        {
            **{key: task_json(task)[key] for key in ("id", "name", "state", "created_at", "updated_at")},
            "action_executions": [
                {key: action_json(action)[key] for key in (*plain, "name", "accepted")} for action in task.actions
            ],
            "workflow_executions": [reported(child) for child in task.children],
        }
        for task in of.tasks
    ]
    return {
        "id": of.id,
        "name": of.name,
        "state": of.state,
        "created_at": of.created,
        "updated_at": of.updated,
        "task_executions": tasks,
    }


def picked(member: Json, query: Mapping[str, str]) -> Json:
    """A member, cut down to the fields that were asked for."""
    fields = query.get("fields")
    return {key: member[key] for key in fields.split(",")} if fields else member


def listed(key: str, members: list[Json], query: Mapping[str, str]) -> Json:
    """A collection: filtered, sorted, cut into pages."""
    chosen = [member for member in members if all(_passes(member, *each) for each in query.items())]
    chosen = [member for member in chosen if "nulls" not in query or member[query["nulls"]] is None]
    if query.get("sort_dirs", "").startswith("desc"):
        chosen.reverse()
    if "marker" in query:
        chosen = chosen[[member["id"] for member in chosen].index(query["marker"]) + 1 :]
    limit = int(query.get("limit", len(chosen) + 1))
    answer: Json = {key: [picked(member, query) for member in chosen[:limit]]}
    return {**answer, "next": "more"} if len(chosen) >= limit else answer


def _passes(member: Json, key: str, wanted: str) -> bool:
    if key in _NO_FILTERS:
        return True
    operator, _, operand = wanted.rpartition(":") if key != "created_at" else wanted.partition(":")
    if operator == "in":
        return member[key] in operand.split(",")
    return bool(member[key] >= operand) if operator == "gte" else bool(member[key] == wanted)


def walk(execution: Execution) -> Iterator[Execution]:
    """An execution and all below it."""
    yield execution
    for task in execution.tasks:
        for child in task.children:
            yield from walk(child)
