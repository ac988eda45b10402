"""A Mistral in memory, as far as the tests of faults need one: what it answers is held against the cassettes.

`FakeMistral.handle` is the whole of it: a request in, a status code and JSON out. Nothing happens by itself, so it is
at rest after each request, and each request takes one second of its clock.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from support.fake_mistral_model import (
    ENDED,
    Action,
    Execution,
    Json,
    Task,
    action_json,
    execution_json,
    listed,
    picked,
    reported,
    task_json,
    walk,
)

_EXPRESSION = re.compile(r"<% (\$|task\(\)\.result)((?:\.\w+)*) %>")
_CLAUSE = re.compile(r"(\w+) in (\[.*\])")


class Fault(Exception):
    """A request that is refused, with the status code and the words of the real one."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


class FakeMistral:
    """The server: definitions, executions, tasks and actions, and the requests that change them."""

    def __init__(self) -> None:
        self.workflows: dict[str, Json] = {}
        self.books: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.changed: dict[str, str] = {}
        self.bases: dict[str, str] = {"std.noop": "std.noop"}
        self.adhoc: dict[str, Json] = {}
        self.executions: dict[str, Execution] = {}
        self.tasks: dict[str, Task] = {}
        self.actions: dict[str, Action] = {}
        self._seconds = 0

    def handle(self, method: str, path: str, query: Mapping[str, str], body: str) -> tuple[int, Json]:
        """Answer one request; `path` begins behind `/v2/`."""
        self._seconds += 1
        collection, _, rest = path.partition("/")
        try:
            if collection == "actions":
                return self._adhoc(method, rest, query, body)
            if collection in ("workflows", "workbooks"):
                return self._definitions(method, collection, rest, query, body)
            if method == "GET":
                return 200, self._get(collection, rest, query)
            asked = json.loads(body)
            if method == "POST":
                return 201, {"id": self._start(asked).id, "workflow_name": asked["workflow_name"]}
            return 200, _PUT[collection](self, rest, asked)
        except Fault as fault:
            return fault.status, {"faultcode": "Client", "faultstring": fault.words, "debuginfo": None}

    def _now(self) -> str:
        return f"2030-01-01 {self._seconds // 3600:02}:{self._seconds // 60 % 60:02}:{self._seconds % 60:02}"

    # Definitions

    def _definitions(self, method: str, kind: str, rest: str, query: Mapping[str, str], body: str) -> tuple[int, Json]:
        known = self.workflows if kind == "workflows" else self.books
        if method == "GET" and rest:
            if rest not in known:
                raise Fault(404, f"Workflow not found [workflow_identifier={rest}, namespace=]")
            return 200, picked({"id": rest, **self._stored(rest)}, query)
        if method == "GET":
            return 200, listed(kind, [self._stored(name) | {"id": name} for name in known], query)
        document = yaml.safe_load(body)
        book = f"{document['name']}." if kind == "workbooks" else ""
        flows = document["workflows"] if book else {key: flow for key, flow in document.items() if key != "version"}
        wrong = "actin" in body or "version" not in document
        words = "Invalid DSL: Additional properties are not allowed ('actin' was unexpected)"
        words = words if "version" in document else "Invalid DSL: 'version' is a required property"
        if rest == "validate":
            # The real one prints what it refused; the last name in it is that of the task.
            instance = "\n\nOn instance['tasks']['bad']:\n    {'name': 'bad'}"
            return 200, {"valid": False, "error": words + instance} if wrong else {"valid": True}
        if wrong:
            raise Fault(400, words)
        names = [document["name"]] if book else list(flows)
        for name in names:
            if method == "POST" and name in known:
                raise Fault(409, f"Duplicate entry for WorkflowDefinition: {name}")
            if method == "PUT" and name not in known:
                raise Fault(404, f"Workflow not found [workflow_identifier={name}]")
        self.books |= {name: body for name in names if book}
        self.bases |= {f"{book}{name}": each["base"] for name, each in document.get("actions", {}).items()}
        self.workflows |= {f"{book}{name}": {**flow, "book": book} for name, flow in flows.items()}
        self.changed |= {name: self._now() for name in names if self.texts.get(name, body) != body}
        self.texts |= dict.fromkeys(names, body)
        stored = [{"name": name} if method == "POST" else self._stored(name) for name in names]
        return 201 if method == "POST" else 200, stored[0] if book else {"workflows": stored}

    def _stored(self, name: str) -> Json:
        flow = {key: part for key, part in self.workflows.get(name, {}).items() if key != "book"}
        definition = yaml.safe_dump({name.rpartition(".")[2]: flow}) if flow else self.books[name]
        return {"name": name, "updated_at": self.changed.get(name), "definition": definition}

    def _adhoc(self, method: str, name: str, query: Mapping[str, str], body: str) -> tuple[int, Json]:
        if name:
            found: Json = self._of(self.adhoc, name, "Action")
            return 200, found
        if method == "GET":
            known = {**{name: {"name": name} for name in self.bases}, **self.adhoc}
            return 200, listed(
                "actions", [{"id": name, **each} for name, each in known.items()], {**query, "fields": ""}
            )
        ((name, each),) = ((key, each) for key, each in yaml.safe_load(body).items() if key != "version")
        if method == "POST" and name in self.adhoc:
            raise Fault(409, f"Duplicate entry for Action: {name}")
        self.adhoc[name] = {"name": name, "input": ", ".join(_declared(part) for part in each["input"])}
        self.adhoc[name]["definition"] = body
        return 201 if method == "POST" else 200, {"actions": [{"name": name}]}

    # Looking

    def _get(self, collection: str, rest: str, query: Mapping[str, str]) -> Json:
        id, _, below = rest.partition("/")
        if collection == "tasks" and id:
            task = self._of(self.tasks, id, "TaskExecution")
            if task.told_globally:
                raise Fault(400, "Parent instance <TaskExecution> is not bound to a Session; lazy load ...")
            return picked(task_json(task), query)
        if collection == "action_executions" and id:
            return picked(action_json(self._of(self.actions, id, "ActionExecution")), query)
        if below == "report":
            root = self._of(self.executions, id, "WorkflowExecution")
            if any(task.state in ENDED and "retry" in task.spec for each in walk(root) for task in each.tasks):
                raise Fault(500, "'retry_no'")
            return {"root_workflow_execution": reported(root)}
        if below == "tasks":
            tasks = [task_json(task) for task in self._of(self.executions, id, "WorkflowExecution").tasks]
            return listed("tasks", [{key: task[key] for key in task if key != "result"} for task in tasks], query)
        if id:
            return picked(execution_json(self._of(self.executions, id, "WorkflowExecution")), query)
        members: Mapping[str, Callable[[], list[Json]]] = {
            "executions": lambda: [execution_json(each) for each in self.executions.values()],
            "tasks": lambda: [task_json(each) for each in self.tasks.values()],
            "action_executions": lambda: [action_json(each) for each in self.actions.values()],
        }
        return listed(collection, members[collection](), query)

    def _of(self, known: Mapping[str, Any], id: str, what: str) -> Any:
        if id not in known:
            raise Fault(404, f"{what} not found [id={id}]")
        return known[id]

    # Going on

    def _start(self, asked: Json) -> Execution:
        if asked["id"] in self.executions:
            return self.executions[asked["id"]]
        name = asked["workflow_name"]
        if name not in self.workflows:
            raise Fault(500, f"DBEntityNotFoundError: 404: Workflow not found [workflow_identifier={name}]")
        return self._execute(name, json.loads(asked["input"]), json.loads(asked["params"]), id=asked["id"])

    def _execute(
        self, name: str, given: Json, params: Json, parent: Task | None = None, index: int = 0, id: str = ""
    ) -> Execution:
        flow, input = self.workflows[name], dict(given)
        for each in flow.get("input", ()):
            if isinstance(each, dict):
                input = {**each, **input}
            elif each not in input:
                raise Fault(400, f"Invalid input [workflow={name}, missing=['{each}']]")
        now = self._now()
        made = Execution(id or str(uuid.uuid4()), name, input, params, now, now, parent, index, context=dict(input))
        self.executions[made.id] = made
        if parent:
            parent.children.append(made)
        tasks = flow["tasks"]
        behind = {name for task in tasks.values() for key in ("on-success", "on-skip") for name in _next(task, key)}
        for each in tasks:
            if each not in behind:
                self._begin(made, each)
        return made

    def _begin(self, execution: Execution, name: str) -> None:
        spec = self.workflows[execution.name]["tasks"][name]
        if "join" in spec:
            self._defer(execution, name, spec)
            return
        items = _items(spec["with-items"]) if "with-items" in spec else None
        task = Task(str(uuid.uuid4()), name, execution, spec, self._now(), items)
        self.tasks[task.id] = task
        execution.tasks.append(task)
        for index in range(1 if items is None else len(items)):
            self._run(task, index)

    def _defer(self, execution: Execution, name: str, spec: Json) -> None:
        """A join waits until a task before it ends, whatever it did before."""
        task = next((each for each in execution.tasks if each.name == name), None)
        if task is None:
            task = Task(str(uuid.uuid4()), name, execution, spec, self._now())
            self.tasks[task.id] = task
            execution.tasks.append(task)
        task.state = "WAITING"

    def _wake(self, ended: Task) -> None:
        """The joins behind a task that has ended begin if it was the last before them, under a pause too."""
        over = {task.name for task in ended.execution.tasks if task.state == "SUCCESS"}
        for join in [task for task in ended.execution.tasks if task.state == "WAITING"]:
            if ended.name in self._before(join) <= over:
                join.state = "RUNNING"
                self._run(join, 0)

    def _before(self, join: Task) -> set[str]:
        specs = self.workflows[join.execution.name]["tasks"]
        return {name for name, spec in specs.items() if join.name in _next(spec, "on-success")}

    def _lose_joins(self, execution: Execution) -> None:
        """A join ends with an error when one of the tasks before it has."""
        bad = {task.name for task in execution.tasks if task.state == "ERROR"}
        for join in [task for task in execution.tasks if task.state == "WAITING"]:
            if bad & self._before(join):
                join.state = "ERROR"

    def _run(self, task: Task, index: int) -> None:
        scope = {**task.execution.context, **({} if task.items is None else task.items[index])}
        book = self.workflows[task.execution.name]["book"]
        if "workflow" in task.spec:
            name, *given = task.spec["workflow"].split(" ", 1)
            pairs = [pair.partition("=") for pair in re.split(r" (?=\w+=)", given[0])] if given else []
            input = {key: _value(text, scope) for key, _, text in pairs}
            root = {"root_execution_id": task.execution.root.id, "task_execution_id": task.id}
            self._execute(f"{book}{name}", input, {**root, "index": index}, task, index)
            return
        input = {key: _value(text, scope) for key, text in task.spec.get("input", {}).items()}
        name = (
            task.spec["action"] if task.spec["action"] in (*self.bases, *self.adhoc) else f"{book}{task.spec['action']}"
        )
        if name in self.adhoc:
            input = {"input": {}, "item": None, "owner": None, "deployed_by": None, "env": {}, **input}
        action = Action(str(uuid.uuid4()), name, task, index, input, self._now())
        self.actions[action.id] = action
        task.actions.append(action)
        if self.bases.get(name, name) == "std.noop":
            self._end(action, "SUCCESS", {"result": None})

    def _end(self, action: Action, state: str, output: Json) -> None:
        action.state, action.output = state, output
        self._judge(action.task)

    def _judge(self, task: Task) -> None:
        """A task ends with the last of its parts, and its execution goes on."""
        parts = task.parts()
        expected = 1 if task.items is None else len(task.items)
        if len(parts) < expected or any(part.state not in ENDED for part in parts):
            return
        states = {part.state for part in parts}
        task.state = next((state for state in ("ERROR", "CANCELLED") if state in states), "SUCCESS")
        execution = task.execution
        if task.state == "SUCCESS":
            scope = {**execution.context, "task": task.result}
            task.published = {key: _value(text, scope) for key, text in task.spec.get("publish", {}).items()}
            execution.context |= task.published
            execution.backlog += _next(task.spec, "on-success")
        elif task.state == "ERROR":
            execution.backlog += _next(task.spec, "on-error")
        self._go_on(execution)
        self._wake(task)

    def _go_on(self, execution: Execution) -> None:
        if execution.state != "RUNNING":
            return
        while execution.backlog:
            self._begin(execution, execution.backlog.pop(0))
        self._lose_joins(execution)
        states = {"SUCCESS" if task.is_handled else task.state for task in execution.tasks}
        if execution.state == "RUNNING" and states <= ENDED:
            state = next((state for state in ("ERROR", "CANCELLED") if state in states), "SUCCESS")
            self._succeed(execution, state)
            if execution.parent:
                self._judge(execution.parent)

    def _succeed(self, execution: Execution, state: str = "SUCCESS") -> None:
        spec = self.workflows[execution.name].get("output", {})
        execution.output = {key: _value(text, execution.context) for key, text in spec.items()}
        self._turn(execution, state)

    def _turn(self, execution: Execution, state: str) -> None:
        execution.state, execution.updated = state, self._now()

    # What is asked of executions, tasks and actions

    def _put_execution(self, id: str, asked: Json) -> Json:
        execution: Execution = self._of(self.executions, id, "WorkflowExecution")
        if asked["state"] == "PAUSED" and execution.state in ENDED:
            raise Fault(400, f"Can't change workflow execution state from {execution.state} to PAUSED.")
        verbs = {"PAUSED": self._pause, "RUNNING": self._resume, "CANCELLED": self._cancel, "SUCCESS": self._succeed}
        verbs[asked["state"]](execution)
        return {"id": id, "workflow_name": execution.name}

    def _pause(self, execution: Execution) -> None:
        """Down and up: the whole tree."""
        if execution.state != "RUNNING":
            return
        self._turn(execution, "PAUSED")
        for task in execution.tasks:
            for child in task.children:
                self._pause(child)
                task.state = "PAUSED" if child.state == "PAUSED" else task.state
        if execution.parent:
            execution.parent.state = "PAUSED"
            self._pause(execution.parent.execution)

    def _resume(self, execution: Execution) -> None:
        """Down, and up where no other task of the parent is paused."""
        if execution.state != "PAUSED":
            return
        self._turn(execution, "RUNNING")
        for task in execution.tasks:
            task.state = "RUNNING" if task.state == "PAUSED" else task.state
            for child in task.children:
                self._resume(child)
        above = execution.parent
        if above and above.execution.state == "PAUSED" and not any(part.state == "PAUSED" for part in above.parts()):
            above.state = "RUNNING"
            if not any(task.state == "PAUSED" for task in above.execution.tasks):
                self._resume(above.execution)
        self._go_on(execution)

    def _cancel(self, execution: Execution) -> None:
        """Down: what runs in a leaf goes on."""
        if execution.state not in ENDED:
            self._turn(execution, "CANCELLED")
            execution.output = {"result": None}
        for task in execution.tasks:
            for child in task.children:
                self._cancel(child)
        if execution.parent and execution.parent.state not in ENDED:
            self._judge(execution.parent)

    def _put_task(self, id: str, asked: Json) -> Json:
        task: Task = self._of(self.tasks, id, "TaskExecution")
        if task.state != "ERROR":
            raise Fault(400, "The current task execution must be in ERROR for rerun. Only updating env ...")
        if asked.get("reset") is False and task.items is None:
            raise Fault(400, "Only with-items task has the option to not reset.")
        # A skip shows in its answer, a re-run does not.
        shown = {"id": id, "name": task.name, "state": "SKIPPED" if asked["state"] == "SKIPPED" else "ERROR"}
        if task.execution.state != "PAUSED":
            self._reopen(task, "SKIPPED" if asked["state"] == "SKIPPED" else "RUNNING")
            if asked["state"] == "SKIPPED":
                task.execution.backlog += _next(task.spec, "on-skip")
                self._go_on(task.execution)
            else:
                self._again(task, keep=not asked["reset"])
        return shown

    def _reopen(self, task: Task, state: str) -> None:
        task.state = state
        self._turn(task.execution, "RUNNING")
        if task.execution.parent:
            self._reopen(task.execution.parent, "RUNNING")

    def _again(self, task: Task, *, keep: bool) -> None:
        """Where good results are to be kept, those behind the last bad one are not, as with the real one."""
        parts = task.parts()
        last = max(part.index for part in parts if part.state != "SUCCESS")
        for part in parts:
            if keep and part.state == "SUCCESS" and part.index < last:
                continue
            if isinstance(part, Action):
                part.replaced = True
            self._run(task, part.index)

    def _put_action(self, id: str, asked: Json) -> Json:
        if id not in self.actions:
            raise Fault(500, f"DBEntityNotFoundError: 404: ActionExecution not found [id={id}]")
        action = self.actions[id]
        if action.state in ENDED:
            raise Fault(500, f"ValueError: Action {id} is already completed")
        given = json.loads(asked.get("output", "null"))
        if action.name in self.adhoc and asked["state"] == "SUCCESS":
            given = given.get("result")
        self._end(action, asked["state"], {"result": given})
        return action_json(action)


_PUT: Mapping[str, Callable[[FakeMistral, str, Json], Json]] = {
    "executions": FakeMistral._put_execution,
    "tasks": FakeMistral._put_task,
    "action_executions": FakeMistral._put_action,
}


def _next(spec: Json, key: str) -> list[str]:
    """The tasks that a clause names."""
    clause = spec.get(key, [])
    return list(clause.get("next", ()) if isinstance(clause, dict) else clause)


def _declared(part: Any) -> str:
    """An input of an action as the real one lists it."""
    return part if isinstance(part, str) else "=".join(f"{key}={json.dumps(value)}" for key, value in part.items())


def _items(clauses: str | list[str]) -> list[Json]:
    """What each item of a task adds to its scope."""
    parts = [_CLAUSE.fullmatch(clause) for clause in ([clauses] if isinstance(clauses, str) else clauses)]
    lists = [[{part[1]: member} for member in json.loads(part[2])] for part in parts if part]
    return [{name: value for each in members for name, value in each.items()} for members in zip(*lists, strict=True)]


def _value(text: Any, scope: Json) -> Any:
    if isinstance(text, dict):
        return {key: _value(part, scope) for key, part in text.items()}
    found = _EXPRESSION.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return text
    value = scope["task"] if found[1] != "$" else scope
    for key in found[2].split(".")[1:]:
        value = (value or {}).get(key)
    return value
