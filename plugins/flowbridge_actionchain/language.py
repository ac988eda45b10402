"""The chain language: one definition as data, checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from flowbridge.backend import Definition
from flowbridge.errors import InvalidInput
from flowbridge.yamltext import Located, Path, load

#: The text of a chain has this key where its tasks are; nothing else that runs here does.
_CHAIN = re.compile(r"""^\s*(?:["']chain["']|chain)\s*:|[{,]\s*"chain"\s*:""", re.MULTILINE)

_CHAIN_KEYS = ("chain", "default", "vars")
_TASK_KEYS = ("name", "ref", "parameters", "params", "on-success", "on-failure", "publish", "notify", "description")
_NOTIFY_KEYS = ("on-complete", "on-failure", "on-success")
_NAME = re.compile(r"\w+\Z")


@dataclass(frozen=True, slots=True)
class Node:
    """One task of a chain as it is written. `line` is where it stands."""

    name: str
    ref: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    on_success: str = ""
    on_failure: str = ""
    publish: Mapping[str, Any] = field(default_factory=dict)
    notify: Mapping[str, Any] = field(default_factory=dict)
    line: int = 0


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain that holds together: its tasks by name, the one it begins with, and its variables as they are written.

    `written` is all of it as data; empty for an action that stands as a chain of its own. `odd` is what StackStorm
    passes over, and so do we, though it can hardly be meant."""

    nodes: Mapping[str, Node]
    first: str
    vars: Mapping[str, Any]
    source: str
    written: Mapping[str, Any] = field(default_factory=dict)
    odd: tuple[InvalidInput, ...] = ()

    def place(self, task: str) -> str:
        """Where a task is written, for messages."""
        line = self.nodes[task].line if task in self.nodes else 0
        return f"{self.source}:{line}" if line else self.source


def recognizes(definition: Definition) -> bool:
    """Whether a text looks like a chain; it may still be wrong."""
    return _CHAIN.search(definition.text) is not None


def is_template(text: str) -> bool:
    """Whether a text is only known when it is rendered."""
    return "{{" in text or "{%" in text


def parse(definition: Definition) -> Chain:
    """Read and check a chain. Raises `InvalidInput` with the place of what is wrong."""
    chain, wrong = read(definition)
    if wrong:
        raise InvalidInput.together(wrong)
    return chain


@lru_cache(maxsize=64)
def read(definition: Definition) -> tuple[Chain, tuple[InvalidInput, ...]]:
    """A chain of a right shape, and the tasks that it names and does not have. Raises `InvalidInput` for any other."""
    located = load(definition.text, definition.source, usual=True)
    data = located.data
    if not isinstance(data, dict):
        raise located.wrong((), "a chain must be a mapping with the key 'chain'")
    _known(located, (), data, _CHAIN_KEYS)
    tasks = data.get("chain")
    if not isinstance(tasks, list) or not tasks:
        raise located.wrong(("chain",), "'chain' must be a list with at least one task")
    nodes: dict[str, Node] = {}
    for place, task in enumerate(tasks):
        node = _node(located, ("chain", place), task)
        # The first of a name is the one that runs, as in StackStorm.
        nodes.setdefault(node.name, node)
    odd = [
        located.wrong(path, f"{path[-1]!r} stands here a second time; the last one counts") for path in located.repeated
    ]
    odd += _odd(located, tasks)
    wrong = list(_lost_ways(located, tasks, nodes))
    default = _text(located, (), data, "default")
    if default and default not in nodes and not is_template(default):
        wrong.append(
            located.wrong(("default",), f"'default' names task {default!r}, which is not there; {_there(nodes)}")
        )
    vars = _mapping(located, (), data, "vars")
    return Chain(nodes, default or _first(nodes), vars, definition.source, data, in_order(odd)), tuple(wrong)


def _node(located: Located, path: Path, task: Any) -> Node:
    if not isinstance(task, dict):
        raise located.wrong(path, "a task must be a mapping with 'name' and 'ref'")
    if path[-1] == 0:  # StackStorm holds the first task alone against its schema
        _known(located, path, task, _TASK_KEYS)
    for key in ("name", "ref"):
        if not _text(located, path, task, key):
            raise located.wrong(path, f"a task needs {key!r}: text that is not empty")
    if task.get("params") and task.get("parameters"):
        raise located.wrong(
            (*path, "params"),
            f"task {task['name']!r} has both 'params' and 'parameters'; keep 'parameters' (the other is its old name)",
        )
    publish = _mapping(located, path, task, "publish")
    for name in publish:
        if not _NAME.match(name):
            raise located.wrong((*path, "publish", name), f"{name!r} cannot be a variable: letters, digits and _ only")
    notify = _mapping(located, path, task, "notify")
    _known(located, (*path, "notify"), notify, _NOTIFY_KEYS)
    return Node(
        task["name"],
        task["ref"],
        _mapping(located, path, task, "parameters") or _mapping(located, path, task, "params"),
        _text(located, path, task, "on-success"),
        _text(located, path, task, "on-failure"),
        publish,
        notify,
        located.position(path)[0],
    )


def in_order(told: Iterable[InvalidInput]) -> tuple[InvalidInput, ...]:
    """What there is to tell of a text, by its place in it."""
    return tuple(sorted(told, key=lambda error: (error.line or 0, error.column or 0)))


def _odd(located: Located, tasks: Iterable[Mapping[str, Any]]) -> Iterator[InvalidInput]:
    """Keys that a task does not know, and names that stand twice."""
    seen: set[str] = set()
    for place, task in enumerate(tasks):
        for key in task:
            if key not in _TASK_KEYS:
                yield located.wrong(
                    ("chain", place, key), f"unknown key {key!r} is passed over; known are: {', '.join(_TASK_KEYS)}"
                )
        if task["name"] in seen:
            why = f"task {task['name']!r} stands here a second time; only the first one ever runs"
            yield located.wrong(("chain", place, "name"), why)
        seen.add(task["name"])


def _lost_ways(
    located: Located, tasks: Iterable[Mapping[str, Any]], nodes: Mapping[str, Node]
) -> Iterator[InvalidInput]:
    for place, task in enumerate(tasks):
        for key in ("on-success", "on-failure"):
            name = task.get(key)
            if name and name not in nodes and not is_template(name):
                yield located.wrong(
                    ("chain", place, key),
                    f"'{key}' of task {task['name']!r} names task {name!r}, which is not there; {_there(nodes)}",
                )


def _first(nodes: Mapping[str, Node]) -> str:
    """The first task that no other leads to; the first of all where each has one before it."""
    reached = {name for node in nodes.values() for name in (node.on_success, node.on_failure)}
    return next((name for name in nodes if name not in reached), next(iter(nodes)))


def _known(located: Located, path: Path, data: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for key in data:
        if key not in allowed:
            raise located.wrong((*path, key), f"unknown key {key!r}; allowed are: {', '.join(allowed)}")


def _text(located: Located, path: Path, data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise located.wrong((*path, key), f"{key!r} must be text, not {type(value).__name__}: put it in quotes")
    return value


def _mapping(located: Located, path: Path, data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise located.wrong((*path, key), f"{key!r} must be a mapping, not {type(value).__name__}")
    return value


def _there(nodes: Iterable[str]) -> str:
    return f"there is: {', '.join(nodes)}"
