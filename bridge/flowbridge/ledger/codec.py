"""The model as JSON and back, for the ledger only. Fields at their default are left out."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, replace
from functools import cache
from typing import Any

from flowbridge.model import (
    EngineState,
    Record,
    Ref,
    Status,
    TaskLook,
    TaskStatus,
    Trouble,
    WaitingChild,
    Want,
)

#: Made once: a list of hundreds of records would make hundreds of them.
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def dumps(value: Any) -> str:
    """Compact JSON, keys in their order. Half of a surrogate pair is no text, and nothing that keeps text takes it."""
    text = _ENCODER.encode(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def plain(thing: Any) -> dict[str, Any]:
    """A flat dataclass as a dictionary, without what is at its default."""
    found = {}
    kind: Any = type(thing)
    for name, default in _defaults(kind):
        value = getattr(thing, name)
        if default is MISSING or value != default:
            found[name] = value
    return found


@cache
def _defaults(kind: Any) -> list[tuple[str, Any]]:
    """The fields of a dataclass, each with its default."""
    return [(field.name, field.default) for field in fields(kind)]


def record_to(record: Record) -> str:
    """A record as JSON text."""
    return dumps(plain(record))


def record_from(text: str) -> Record:
    """A record from JSON text."""
    doc = json.loads(text)
    doc["ref"] = Ref(*doc["ref"])
    if "parent" in doc:
        doc["parent"] = Ref(*doc["parent"])
    if "trouble" in doc:
        doc["trouble"] = Trouble(*doc["trouble"])
    for name, kind in (("want", Want), ("status", Status), ("seen", EngineState)):
        if name in doc:
            doc[name] = kind(doc[name])
    return Record(**doc)


def tasks_to(tasks: tuple[TaskLook, ...], waiting: tuple[WaitingChild, ...] = ()) -> str:
    """The tasks of a look as JSON text; what a child is given as input may be secret and is not kept."""
    known = [plain(replace(child, input={}, env={})) for child in waiting]
    return dumps({"tasks": [plain(task) for task in tasks], "waiting": known})


def tasks_from(text: str) -> tuple[tuple[TaskLook, ...], tuple[WaitingChild, ...]]:
    """The tasks of a look from JSON text."""
    doc = json.loads(text)
    tasks = []
    for task in doc["tasks"]:
        task["status"] = TaskStatus(task["status"])
        task["running"] = tuple(task.get("running", ()))
        tasks.append(TaskLook(**task))
    return tuple(tasks), tuple(WaitingChild(**child) for child in doc["waiting"])
