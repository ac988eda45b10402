"""`recover`: finish what a crash left open."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from flowbridge.errors import EngineRefused, FlowbridgeError, Unavailable
from flowbridge.ledger.operations import Operation
from flowbridge.looks import Look
from flowbridge.model import Node
from flowbridge.recovery import not_endable
from flowbridge_cli import options
from flowbridge_cli.documents import tree_document
from flowbridge_cli.opening import opened
from flowbridge_cli.output import emit, note, told_of


@click.command("recover")
@click.argument("id", required=False, shell_complete=options.complete_id)
@click.option(
    "--assume",
    type=click.Choice(["failed", "rerun"]),
    default="failed",
    show_default=True,
    help="What to take for a task whose end nobody saw: that it failed, or that it is to run again.",
)
@click.option("--yes", is_flag=True, help="End what is hung without asking.")
@click.option(
    "--timeout",
    type=options.SECONDS,
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long all of it may take, for each tree. What is not done then stays written down.",
)
@options.output
def recover(id: str | None, assume: str, yes: bool, timeout: float, output: str) -> int:
    """Finish what a crash left open: operations, and runs whose runner died. Without ID: on every tree.

    An execution that its engine will never go on with is shown as hung. With its ID, and once you agreed, the engine is
    told to end it as succeeded; not where that would lose tasks that never ran, or where one failed.
    """
    with opened(timeout) as (bridge, _):
        left: list[FlowbridgeError] = []
        looks = bridge.recover(
            id, assume=assume, timeout=timeout, failed=lambda one, error: _left(left, one, error), finished=_finished
        )
        hung = [node for look in looks for node in look.snapshot.nodes if node.hung]
        if hung and _agreed(id, hung, yes=yes):
            told = {error.message for error in left}
            looks = bridge.recover(
                id,
                assume=assume,
                timeout=timeout,
                end_hung=True,
                failed=lambda one, error: None if error.message in told else _left(left, one, error),
            )
        rows = [tree_document(bridge, look) for look in looks]
    shown = [{**row, "note": told_of(row)} for row in rows] if output == "table" else rows
    more = ("note",) if any(row.get("note") for row in shown) else ()
    if shown or not left or output != "table":  # "nothing found" would be no answer where something was not recovered
        emit(shown, output, columns=("id", "status", "workflow", "backend", "unfinished", *more))
    return max([_code(rows, looks), *(error.exit_code for error in left)])


def _finished(operation: Operation) -> None:
    """Say what became of an operation that was open: it may have come too late."""
    note(f"{operation.verb} by {operation.actor} of {operation.target}: {operation.outcome or operation.state}")


def _left(left: list[FlowbridgeError], one: str, error: FlowbridgeError) -> None:
    """Say what was not recovered. Something of a tree may have been, before that was met."""
    left.append(error)
    note(f"flowbridge: error: {one} is not recovered, or not all of it: {error.message}")


def _agreed(id: str | None, hung: Sequence[Node], *, yes: bool) -> bool:
    """Say what would be written, and ask."""
    for node in hung:
        what = not_endable(node) or "its engine would end it as succeeded"
        note(f"{node.record.ref} ({node.record.workflow}) is hung: {node.hung}; {what}")
    if all(map(not_endable, hung)):
        note("nothing was written")
        return False
    if id is None or not (yes or sys.stdin.isatty()):
        note("nothing was written; `flowbridge recover ID --yes` ends what is hung in one tree")
        return False
    return yes or click.confirm("Tell it?", err=True)


def _code(rows: Sequence[dict[str, Any]], looks: Sequence[Look]) -> int:
    if any(row["unfinished"] for row in rows):
        return Unavailable.exit_code
    hung = any(node.hung for look in looks for node in look.snapshot.nodes)
    return EngineRefused.exit_code if hung else 0
