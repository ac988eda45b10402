"""`history`: who did what, when and why."""

from __future__ import annotations

from typing import Any

import click

from flowbridge.bridge import Bridge
from flowbridge.ledger.operations import TAKEN_BACK, Entry
from flowbridge.views import moment
from flowbridge_cli import options
from flowbridge_cli.output import emit


@click.command("history")
@click.argument("id", required=False, shell_complete=options.complete_id)
@options.output
def history(id: str | None, output: str) -> int:
    """Show the operations on a tree and what its engines did by themselves, oldest first. Without ID: of all trees."""
    with Bridge() as bridge:
        entries = bridge.history(id)
    verbs = {entry.operation: _verb(entry) for entry in entries if entry.operation and _verb(entry)}
    rows = [_view(entry, verbs.get(entry.operation, "")) for entry in entries]
    emit(rows, output, columns=("seq", "at", "execution", "actor", "kind", "what"))
    return 0


def _verb(entry: Entry) -> str:
    """The verb that a line of the history is the beginning of; "" for any other line."""
    return str(entry.doc.get("verb", "recover" if entry.kind == "recover" else ""))


def _view(entry: Entry, verb: str) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at": moment(entry.at),
        "tree": entry.tree,
        "execution": entry.execution,
        "operation": entry.operation or None,
        "actor": entry.actor,
        "kind": entry.kind,
        "what": _sentence(entry, verb),
        "detail": dict(entry.doc),
    }


def _sentence(entry: Entry, verb: str) -> str:
    """A line in words. `verb` is that of its operation: between a verb and its outcome others may begin and end."""
    doc = entry.doc
    if "new" in doc:
        return f"{doc['old']} -> {doc['new']}" if doc["old"] != doc["new"] else entry.kind.replace("_", " ")
    if "outcome" in doc:
        if doc["outcome"].startswith(doc["state"]):  # it says that itself, and more
            return f"{verb} {doc['outcome']}".lstrip()
        return f"{verb} {doc['state']}: {doc['outcome']}".lstrip()
    if entry.kind == TAKEN_BACK:
        return f"taken back: {doc['execution']} stands in its place again"
    if entry.kind == "trouble":
        return f"{doc['call']} fails: {doc['error']}" if "error" in doc else f"{doc['call']} fails no more"
    if "verb" in doc:
        named = f" {' '.join(doc['tasks'])}" if doc.get("tasks") else ""
        accepted = f", accepted {' '.join(doc['accept'])}" if doc.get("accept") else ""
        return f"{doc['verb']}{named}{accepted}" + (f" ({doc['reason']})" if doc["reason"] else "")
    return ", ".join(f"{key} {value}" for key, value in doc.items())
