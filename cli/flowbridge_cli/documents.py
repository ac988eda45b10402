"""Executions as the documents that `-o json` prints: the core's views, with times, inputs and results beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flowbridge.bridge import Bridge
from flowbridge.errors import NotFound, Unavailable
from flowbridge.law.tables import TERMINAL
from flowbridge.ledger.operations import reopening
from flowbridge.looks import Look
from flowbridge.model import ExecutionRead, ItemRead, TaskRead
from flowbridge.treeviews import tree_view
from flowbridge.vault import masked
from flowbridge.views import moment, take_back_lost

Document = dict[str, Any]


def tree_document(bridge: Bridge, look: Look) -> Document:
    """An execution with its tasks and everything below it; nothing is read of inputs and results."""
    document = tree_view(look.snapshot, look.place)
    _date(bridge, document)
    take_back_lost(executions(document), bridge.ledger.executions)
    again = reopening(look.open)
    for execution in executions(document) if again else ():
        # Its end is an old one, and is not told (X7).
        if execution["id"] in again and execution["status"] in TERMINAL and execution["waits_for"]:
            execution["waits_for"] = f"the {again[execution['id']].verb} that is not finished"
    document["waits_for_driver"] = look.waits_for_driver
    document["unfinished"] = [f"{operation.verb} by {operation.actor}" for operation in look.open]
    return document


def full_document(bridge: Bridge, look: Look, *, deep: bool = False, results: bool = True) -> Document:
    """The same, with input, output and results of the execution; `deep` also of everything below it.

    Where the engine does not answer, these are None; so are results without `results`, which can cost a request each.
    """
    document = tree_document(bridge, look)
    for execution in executions(document) if deep else (document,):
        _fill(execution, _read(bridge, execution, None if results else ()))
    return document


def superseded(bridge: Bridge, id: str) -> Document | None:
    """A superseded record's tree as it stood when it was re-run (X2); None where the record is the current one."""
    record = bridge.find(id)
    if not record.superseded_by:
        return None
    frozen = bridge.get(record.id).frozen or {}
    document = {**frozen, "superseded_by": record.superseded_by, "possible": []}
    _date(bridge, document)
    return document


def executions(document: Document) -> Iterator[Document]:
    """An execution's document and those of everything below it, parents first, siblings in their order."""
    waiting = [document]
    while waiting:
        execution = waiting.pop()
        yield execution
        waiting += reversed([child for task in execution["tasks"] for child in task["children"]])


def _date(bridge: Bridge, document: Document) -> None:
    """`updated_at`: when the status last changed; `held_since`: since when it is held. Both as far as it was seen."""
    changed = bridge.changed(document["id"])
    is_held = any(execution["held"] for execution in executions(document))
    since = bridge.held_since(document["id"]) if is_held else {}
    for execution in executions(document):
        seen = changed.get(execution["id"])
        execution["updated_at"] = moment(seen) if seen else execution["created_at"]
        if bridge.ledger.unwritten and _is_news(bridge, execution):
            execution["updated_at"] = execution["observed_at"] or execution["updated_at"]
        execution["held_since"] = moment(since.get(execution["id"], 0.0)) if execution["held"] else None


def _is_news(bridge: Bridge, execution: Document) -> bool:
    """Whether an execution has a status that is not written down: it was seen to change by this very look."""
    try:
        return str(bridge.ledger.executions.get(execution["id"]).status) != str(execution["status"])
    except NotFound:
        return True


def _read(bridge: Bridge, execution: Document, tasks: Sequence[str] | None) -> ExecutionRead | None:
    if execution["stale"] or execution["gone"] or not execution["engine_state"]:
        return None
    try:
        return bridge.read(execution["id"], tasks)
    except Unavailable:
        return None


def _fill(execution: Document, read: ExecutionRead | None) -> None:
    execution["input"] = masked(dict(read.input)) if read else None
    execution["output"] = masked(read.output) if read else None
    results: Mapping[str, TaskRead] = {task.id: task for task in read.tasks} if read else {}
    for task in execution["tasks"]:
        found = results.get(task["id"])
        task["result"] = masked(found.result) if found else None
        task["published"] = masked(found.published) if found else None
        if task["item_count"] is not None:
            task["items"] = [_item(item) for item in found.items] if found and found.items is not None else None


def _item(item: ItemRead) -> Document:
    return {
        "index": item.index,
        "status": str(item.status),
        "result": masked(item.result),
        "error": item.error or None,
        "attempts": item.attempts,
    }
