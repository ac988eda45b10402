"""The model as JSON and back, for the ledger only. Fields at their default are left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields, replace
from functools import cache, lru_cache
from typing import Any

from flowbridge.errors import DamagedRow
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
    WithdrawnCall,
)

#: How many records that were read are remembered, by their texts: a kilobyte or two each.
_REMEMBERED = 2048

#: Made once: a list of hundreds of records would make hundreds of them.
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def dumps(value: Any) -> str:
    """Compact JSON, keys in their order. Half of a surrogate pair is no text, and nothing that keeps text takes it."""
    text = _ENCODER.encode(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


@contextmanager
def reading(table: str, row: object) -> Iterator[None]:
    """Around what is made of the text of a row: raises `DamagedRow` where it fails as it only does with a text that is
    not as it was written."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise DamagedRow(table, row, f"{type(error).__name__}: {why}") from error


def document(table: str, row: object, text: str) -> dict[str, Any]:
    """The JSON object in the text of a row. Raises `DamagedRow`."""
    with reading(table, row):
        return _object(text)


def _object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError(f"no object but {text[:20]!r}")
    return found


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


@lru_cache(maxsize=_REMEMBERED)
def record_from(text: str, id: str = "") -> Record:
    """A record from JSON text. Raises `DamagedRow`.

    The same text gives the same record: who looks at a tree again and again reads what is mostly as it was.
    """
    with reading("executions", id):
        doc = _object(text)
        doc["ref"] = Ref(*doc["ref"])
        if "parent" in doc:
            doc["parent"] = Ref(*doc["parent"])
        if "trouble" in doc:
            doc["trouble"] = Trouble(*doc["trouble"])
        if "withdrawn" in doc:
            doc["withdrawn"] = tuple(
                WithdrawnCall(task, starts, skip, Ref(*canceled), *rest)
                for task, starts, skip, canceled, *rest in doc["withdrawn"]
            )
        for name, kind in (("want", Want), ("status", Status), ("seen", EngineState)):
            if name in doc:
                doc[name] = kind(doc[name])
        return Record(**doc)


def request_from(text: str, id: str = "") -> dict[str, Any]:
    """What an execution was started with, from JSON text. Raises `DamagedRow`."""
    found = document("requests", id, text)
    with reading("requests", id):
        found["workflow"], dict(found.get("input", {}))
    return found


def tasks_to(tasks: tuple[TaskLook, ...], waiting: tuple[WaitingChild, ...] = ()) -> str:
    """The tasks of a look as JSON text; what a child is given as input may be secret and is not kept."""
    known = [plain(replace(child, input={}, env={})) for child in waiting]
    return dumps({"tasks": [plain(task) for task in tasks], "waiting": known})


def tasks_from(text: str, id: str = "") -> tuple[tuple[TaskLook, ...], tuple[WaitingChild, ...]]:
    """The tasks of a look from JSON text. Raises `DamagedRow`."""
    doc = document("looks", id, text)
    with reading("looks", id):
        tasks = []
        for task in doc["tasks"]:
            task["status"] = TaskStatus(task["status"])
            task["running"] = tuple(task.get("running", ()))
            tasks.append(TaskLook(**task))
        return tuple(tasks), tuple(WaitingChild(**child) for child in doc["waiting"])
