"""`history`: who did what, when and why."""

from __future__ import annotations

from typing import Any

import click

from flowbridge.bridge import Bridge
from flowbridge.ledger.operations import Entry
from flowbridge.views import moment
from flowbridge_cli import options
from flowbridge_cli.output import emit


@click.command("history")
@click.argument("id", required=False, shell_complete=options.complete_id)
@options.output
def history(id: str | None, output: str) -> int:
    """Show the operations on a tree and what its engines did by themselves, oldest first. Without ID: of all trees."""
    with Bridge() as bridge:
        rows = [_view(entry) for entry in bridge.history(id)]
    emit(rows, output, columns=("seq", "at", "execution", "actor", "kind", "what"))
    return 0


def _view(entry: Entry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at": moment(entry.at),
        "tree": entry.tree,
        "execution": entry.execution,
        "operation": entry.operation or None,
        "actor": entry.actor,
        "kind": entry.kind,
        "what": _sentence(entry),
        "detail": dict(entry.doc),
    }


def _sentence(entry: Entry) -> str:
    doc = entry.doc
    if "new" in doc:
        return f"{doc['old']} -> {doc['new']}" if doc["old"] != doc["new"] else entry.kind.replace("_", " ")
    if "outcome" in doc:
        return f"{doc['state']}: {doc['outcome']}" if doc["outcome"] != doc["state"] else str(doc["state"])
    if entry.kind == "trouble":
        return f"{doc['call']} fails: {doc['error']}" if "error" in doc else f"{doc['call']} fails no more"
    if "verb" in doc:
        named = f" {' '.join(doc['tasks'])}" if doc.get("tasks") else ""
        accepted = f", accepted {' '.join(doc['accept'])}" if doc.get("accept") else ""
        return f"{doc['verb']}{named}{accepted}" + (f" ({doc['reason']})" if doc["reason"] else "")
    return ", ".join(f"{key} {value}" for key, value in doc.items())
