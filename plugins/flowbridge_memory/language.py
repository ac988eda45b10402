"""From a definition's text to its data. Every mistake is an `InvalidInput` with file, line and column."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeVar

from flowbridge.backend import Definition
from flowbridge.yamltext import Located, Path, load
from flowbridge_memory import clauses
from flowbridge_memory.definition import REQUIRED, ActionSpec, Book, Command, Publish, TaskSpec, WorkflowSpec
from flowbridge_memory.inline import Call

_WORKFLOW = (
    "version",
    "name",
    "type",
    "description",
    "tags",
    "input",
    "vars",
    "output",
    "output-on-error",
    "task-defaults",
    "tasks",
)
_TRANSITIONS = ("on-success", "on-error", "on-complete", "on-skip")
_POLICIES = ("retry", "wait-before", "wait-after", "timeout", "pause-before", "concurrency", "fail-on", "safe-rerun")
_TASK = (
    *_TRANSITIONS,
    *_POLICIES,
    "action",
    "workflow",
    "input",
    "with-items",
    "publish",
    "publish-on-error",
    "publish-on-skip",
    "join",
    "keep-result",
    "description",
    "tags",
    "name",
)
_DEFAULTS = (*_TRANSITIONS, *_POLICIES)

#: What a task has in a reverse workflow only, and in a direct one only.
_REVERSE = ("requires",)
_DIRECT = (*_TRANSITIONS, "join")
_ACTION = ("name", "base", "base-input", "input", "output", "description", "tags")
_LONGEST_NAME = 255
_TASK_NAME = re.compile(r"\w[\w.\- ]*\Z")

_Spec = TypeVar("_Spec")

#: Keywords of the language that this engine does not run, and what to say of each.
REFUSED: Mapping[str, str] = {
    "target": "'target' names a remote executor, and this engine runs actions where it is itself",
}


def parse(definition: Definition, *, accepted: bool = False) -> Book:
    """The workflows and actions of a definition. Raises `InvalidInput`.

    `accepted` tells that it was read before, so that its expressions need not be.
    """
    located = load(definition.text, definition.source)
    if accepted:
        located = clauses.Accepted(located.data, located.source, located.positions)
    data = located.data
    if not isinstance(data, dict):
        raise located.wrong((), "a definition is a mapping that begins with version: '2.0'")
    if str(data.get("version", "")) not in ("2.0", "2"):
        raise located.wrong(("version",), "version must be '2.0'")
    return _workbook(located, data) if "workflows" in data or "actions" in data else _file(located, data)


def _workbook(located: Located, data: Mapping[str, Any]) -> Book:
    book = clauses.known(
        located, (), data, ("version", "name", "description", "tags", "workflows", "actions", "variables")
    )
    name = clauses.text(located, ("name",), book.get("name"))
    workflows = dict(_each(located, ("workflows",), book.get("workflows"), _workflow, f"{name}."))
    actions = dict(_each(located, ("actions",), book.get("actions"), _action, f"{name}."))
    return Book(workflows, actions, name)


def _file(located: Located, data: Mapping[str, Any]) -> Book:
    if "tasks" in data:
        name = clauses.text(located, ("name",), data.get("name"))
        return Book({name: _workflow(located, (), data, name)})
    found = {
        name: _workflow(located, (name,), body, name) for name, body in data.items() if name not in ("version", "name")
    }
    if not found:
        raise located.wrong((), "the definition has no workflow")
    return Book(found)


def _each(
    located: Located, path: Path, data: Any, read: Callable[[Located, Path, Any, str], _Spec], prefix: str
) -> Iterator[tuple[str, _Spec]]:
    for name, body in clauses.mapping_of_bodies(located, path, data).items():
        if name != "version":
            yield f"{prefix}{name}", read(located, (*path, name), body, f"{prefix}{name}")


def _workflow(located: Located, path: Path, data: Any, name: str) -> WorkflowSpec:
    body = clauses.known(located, path, data, _WORKFLOW)
    kind = body.get("type", "direct")
    if kind not in ("direct", "reverse"):
        raise located.wrong((*path, "type"), f"there is no workflow type {kind!r}; allowed: direct, reverse")
    _reject_uuid(located, path, name)
    allowed = _of_kind(kind, (*_DEFAULTS, *_REVERSE))
    defaults = clauses.known(located, (*path, "task-defaults"), body.get("task-defaults") or {}, allowed)
    tasks = _tasks(located, path, body, defaults, kind)
    return WorkflowSpec(
        name=name,
        line=located.position(path)[0],
        path=path,
        type=kind,
        input=_inputs(located, (*path, "input"), body.get("input")),
        vars=clauses.mapping(located, (*path, "vars"), body.get("vars")),
        output=_output(located, (*path, "output"), body.get("output")),
        output_on_error=_output(located, (*path, "output-on-error"), body.get("output-on-error")),
        tasks=tasks,
        description=str(body.get("description", "")),
        tags=tuple(str(tag) for tag in body.get("tags") or ()),
    )


def _of_kind(kind: str, keywords: Sequence[str]) -> Sequence[str]:
    """The keywords that a workflow of this type knows."""
    others = _DIRECT if kind == "reverse" else _REVERSE
    return [keyword for keyword in keywords if keyword not in others]


def _tasks(
    located: Located, path: Path, body: Mapping[str, Any], defaults: Mapping[str, Any], kind: str
) -> dict[str, TaskSpec]:
    place = (*path, "tasks")
    bodies = clauses.mapping_of_bodies(located, place, body.get("tasks"))
    if not bodies:
        raise located.wrong(place if "tasks" in body else path, "a workflow needs at least one task under 'tasks'")
    keywords = _of_kind(kind, (*_TASK, *_REVERSE))
    tasks = {name: _task(located, (*place, name), task, name, defaults, keywords) for name, task in bodies.items()}
    (_check_links if kind == "direct" else _check_requirements)(located, place, tasks)
    return tasks


def _task(
    located: Located, path: Path, data: Any, name: str, defaults: Mapping[str, Any], keywords: Sequence[str]
) -> TaskSpec:
    body = clauses.known(located, path, _without_refused(located, path, data), keywords)
    _check_name(located, path, name)
    if "action" in body and "workflow" in body:
        raise located.wrong((*path, "workflow"), f"task {name!r} names both an action and a workflow; keep one")
    called = _called(located, path, body)

    def policy(key: str) -> tuple[Path, Any]:
        """A policy of the task, else of the defaults, with its place."""
        return ((*path, key), body[key]) if key in body else ((*path[:-2], "task-defaults", key), defaults.get(key))

    def number(key: str, least: int = 0) -> Any:
        where, value = policy(key)
        return None if value is None else clauses.number(located, where, value, least=least)

    def flag(key: str) -> Any:
        where, value = policy(key)
        return None if value is None else clauses.flag(located, where, value)

    on_success, on_error, on_complete, on_skip = (clauses.transition(located, *policy(key)) for key in _TRANSITIONS)
    return TaskSpec(
        name=name,
        line=located.position(path)[0],
        action=None if "workflow" in body else called.name,
        workflow=called.name if "workflow" in body else None,
        input=_input(located, (*path, "input"), body.get("input"), called.given),
        publish=Publish(clauses.mapping(located, (*path, "publish"), body.get("publish"))),
        publish_on_error=Publish(clauses.mapping(located, (*path, "publish-on-error"), body.get("publish-on-error"))),
        publish_on_skip=Publish(clauses.mapping(located, (*path, "publish-on-skip"), body.get("publish-on-skip"))),
        on_success=on_success,
        on_error=on_error,
        on_complete=on_complete,
        on_skip=on_skip,
        join=_join(located, (*path, "join"), body.get("join")),
        with_items=clauses.with_items(located, (*path, "with-items"), body.get("with-items")),
        concurrency=number("concurrency", 1),
        retry=clauses.retry(located, *policy("retry")),
        wait_before=number("wait-before"),
        wait_after=number("wait-after"),
        timeout=number("timeout"),
        pause_before=flag("pause-before"),
        fail_on=flag("fail-on"),
        keep_result=clauses.flag(located, (*path, "keep-result"), body.get("keep-result", True)),
        safe_rerun=flag("safe-rerun") or False,
        requires=_requires(located, path, body, defaults, name),
        bare=called.bare,
    )


def _requires(
    located: Located, path: Path, body: Mapping[str, Any], defaults: Mapping[str, Any], name: str
) -> tuple[str, ...]:
    """What a task requires itself, and what all tasks do, each once; none requires itself."""
    found: dict[str, None] = {}
    for where, data in (
        ((*path, "requires"), body.get("requires")),
        ((*path[:-2], "task-defaults", "requires"), defaults.get("requires")),
    ):
        listed = [data] if isinstance(data, str) else data or []
        if not isinstance(listed, list) or not all(isinstance(one, str) and one for one in listed):
            raise located.wrong(where, "requires must be a task's name, or a list of names")
        found |= dict.fromkeys(one for one in listed if one != name)
    return tuple(found)


def _check_requirements(located: Located, path: Path, tasks: Mapping[str, TaskSpec]) -> None:
    """Every task that is required is there, and none requires itself by way of others."""
    for task in tasks.values():
        for name in task.requires:
            if name not in tasks:
                raise located.wrong(
                    (*path, task.name, "requires"),
                    f"task {task.name!r} requires {name!r}, which is no task; there are: {', '.join(tasks)}",
                )
    order = TopologicalSorter({name: task.requires for name, task in tasks.items()})
    try:
        order.prepare()
    except CycleError as error:
        raise located.wrong(path, f"these tasks require each other: {', '.join(error.args[1])}") from error


def _without_refused(located: Located, path: Path, data: Any) -> Any:
    for keyword in REFUSED.keys() & (data if isinstance(data, dict) else {}):
        raise located.wrong((*path, keyword), REFUSED[keyword])
    return data


def _check_name(located: Located, path: Path, name: str) -> None:
    if name in set(Command):
        raise located.wrong(path, f"task {name!r}: the name belongs to a command of the language")
    if len(name) > _LONGEST_NAME or not _TASK_NAME.match(name):
        raise located.wrong(path, f"task {name!r}: a name is at most {_LONGEST_NAME} letters, digits, '_', '-', '.'")


def _called(located: Located, path: Path, body: Mapping[str, Any]) -> Call:
    """What a task runs."""
    keyword = next((word for word in ("workflow", "action") if word in body), None)
    return Call("std.noop", {}) if keyword is None else clauses.call(located, (*path, keyword), body[keyword])


def _input(located: Located, path: Path, data: Any, inline: dict[str, Any]) -> Mapping[str, Any] | str:
    if isinstance(data, str):
        return clauses.expression(located, path, data)
    return {**inline, **clauses.mapping(located, path, data)}


def _join(located: Located, path: Path, data: Any) -> str | int | None:
    if data is None or data == "all":
        return data  # type: ignore[no-any-return]  # None or the text itself
    if data == "one":
        return 1
    if isinstance(data, bool) or not isinstance(data, int) or data < 1:
        raise located.wrong(path, f"join must be all, one or a number from 1 up, not {data!r}")
    return data


def _output(located: Located, path: Path, data: Any) -> Any:
    if data is None:
        return None
    if isinstance(data, str):
        return clauses.expression(located, path, data)
    return clauses.mapping(located, path, data)


def _inputs(located: Located, path: Path, data: Any) -> dict[str, Any]:
    if data is None:
        return {}
    if not isinstance(data, list):
        raise located.wrong(path, "input must be a list of names, each with a default where it has one")
    found: dict[str, Any] = {}
    for place, entry in enumerate(data):
        if isinstance(entry, dict):
            found |= entry
        else:
            found[clauses.text(located, (*path, place), entry)] = REQUIRED
    return found


def _action(located: Located, path: Path, data: Any, name: str) -> ActionSpec:
    body = clauses.known(located, path, data, _ACTION)
    base = clauses.call(located, (*path, "base"), body.get("base"))
    return ActionSpec(
        name=name,
        line=located.position(path)[0],
        base=base.name,
        path=path,
        input=_inputs(located, (*path, "input"), body.get("input")),
        base_input={**base.given, **clauses.mapping(located, (*path, "base-input"), body.get("base-input"))},
        output=clauses.expressions(located, (*path, "output"), body.get("output")),
        bare=base.bare,
    )


def _check_links(located: Located, path: Path, tasks: Mapping[str, TaskSpec]) -> None:
    """Every target is there, and at least one task has nothing before it."""
    inbound: dict[str, set[str]] = {}
    for task in tasks.values():
        for keyword, clause in zip(
            _TRANSITIONS, (task.on_success, task.on_error, task.on_complete, task.on_skip), strict=True
        ):
            for target in (link.target for link in clause.next):
                if target not in tasks and target not in set(Command):
                    there = ", ".join(tasks)
                    raise located.wrong(
                        (*path, task.name, keyword),
                        f"{keyword} of {task.name!r} names {target!r}, which is no task; there are: {there}",
                    )
                inbound.setdefault(target, set()).add(task.name)
    if inbound.keys() >= tasks.keys():
        raise located.wrong(path, "every task has another one before it, so the workflow has nowhere to start")
    for task in tasks.values():
        before = len(inbound.get(task.name, ()))
        if task.join is not None and not before:
            raise located.wrong((*path, task.name, "join"), f"task {task.name!r} joins, and no task leads to it")
        if isinstance(task.join, int) and task.join > before:
            lead = "task leads" if before == 1 else "tasks lead"
            wrong = f"task {task.name!r} waits for {task.join} tasks, and {before} {lead} to it"
            raise located.wrong((*path, task.name, "join"), wrong)


def _reject_uuid(located: Located, path: Path, name: str) -> None:
    try:
        uuid.UUID(name)
    except ValueError:
        return
    raise located.wrong(path, f"workflow name {name!r} looks like an id; take a word")
