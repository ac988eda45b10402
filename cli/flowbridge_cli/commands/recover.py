"""`recover`: finish what a crash left open."""

from __future__ import annotations

import click

from flowbridge.bridge import Bridge
from flowbridge.errors import Unavailable
from flowbridge_cli import options
from flowbridge_cli.documents import tree_document
from flowbridge_cli.output import emit


@click.command("recover")
@click.argument("id", required=False, shell_complete=options.complete_id)
@click.option(
    "--assume",
    type=click.Choice(["failed", "rerun"]),
    default="failed",
    show_default=True,
    help="What to take for a task whose end nobody saw: that it failed, or that it is to run again.",
)
@click.option("--timeout", type=click.FloatRange(0), default=30.0, show_default=True, help="Seconds to wait.")
@options.output
def recover(id: str | None, assume: str, timeout: float, output: str) -> int:
    """Finish what a crash left open: operations, and runs whose runner died. Without ID: on every tree."""
    with Bridge() as bridge:
        rows = [tree_document(bridge, look) for look in bridge.recover(id, assume=assume, timeout=timeout)]
    emit(rows, output, columns=("id", "status", "workflow", "backend", "unfinished"))
    return Unavailable.exit_code if any(row["unfinished"] for row in rows) else 0
