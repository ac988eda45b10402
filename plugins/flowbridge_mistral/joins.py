"""Which joins of a workflow come right behind which of its tasks, by its definition as the server has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from flowbridge_mistral.nodes import Loader

_CLAUSES = ("on-success", "on-error", "on-complete", "on-skip")


def behind(definition: str) -> Mapping[str, frozenset[str]]:
    """The joins right behind each task that has any. A text that is no definition has none."""
    try:
        document = yaml.load(definition, Loader)  # noqa: S506 - a safe loader, as Mistral reads
    except (yaml.YAMLError, ValueError):
        return {}
    flows = [flow for flow in _pairs(document).values() if _pairs(_pairs(flow).get("tasks"))]
    found: dict[str, frozenset[str]] = {}
    for flow in flows:
        tasks, defaults = _pairs(flow["tasks"]), _pairs(flow.get("task-defaults"))
        joins = {name for name, task in tasks.items() if "join" in _pairs(task)}
        for name, task in tasks.items():
            after = {target for clause in _CLAUSES for target in _targets({**defaults, **_pairs(task)}.get(clause))}
            if after & joins:
                found[str(name)] = frozenset(after & joins)
    return found


def _targets(clause: Any) -> Iterator[str]:
    """The tasks that a clause names: one, or a list, each with or without a condition, or all that under `next`."""
    if isinstance(clause, str):
        yield clause.split(" ", 1)[0]
    elif isinstance(clause, list):
        for part in clause:
            yield from _targets(part) if isinstance(part, str) else map(str, _pairs(part))
    elif isinstance(clause, dict) and "next" in clause:
        following = clause["next"]
        yield from map(str, following) if isinstance(following, dict) else _targets(following)


def _pairs(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}
