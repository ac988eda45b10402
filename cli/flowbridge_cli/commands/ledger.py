"""`ledger path`, `ledger check` and `ledger prune`."""

from __future__ import annotations

import sys
from typing import Any

import click

from flowbridge import config as configuration
from flowbridge.bridge import Bridge
from flowbridge.errors import InvalidInput, LedgerError
from flowbridge_cli import options
from flowbridge_cli.output import counted, emit


@click.group("ledger")
def ledger() -> None:
    """Keep the ledger."""


@ledger.command("path")
def path() -> int:
    """Print where the ledger is."""
    click.echo(str(configuration.load().ledger))
    return 0


@ledger.command("check")
@options.output
def check(output: str) -> int:
    """Read the whole ledger and say whether it is sound."""
    with Bridge() as bridge:
        found = str(bridge.ledger.database.one("PRAGMA integrity_check")[0])
        count = bridge.ledger.database.one("SELECT count(*) FROM executions")[0]
        view: dict[str, Any] = {"path": str(bridge.ledger.path), "sound": found == "ok", "executions": count}
        damaged = [error.message for error in bridge.ledger.damaged()] if found == "ok" else []
    if found != "ok":
        raise LedgerError(f"ledger {view['path']} is damaged: {found}")
    if damaged:
        raise LedgerError("\n".join((f"ledger {view['path']} is damaged:", *damaged)))
    emit(view, output)
    return 0


@ledger.command("prune")
@click.option("--older-than", required=True, callback=options.age, help="Started longer ago than this, such as 30d.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say how many, and forget none.")
@options.output
def prune(older_than: float, yes: bool, dry_run: bool, output: str) -> int:
    """Forget executions that ended and were started long ago. Their history stays."""
    with Bridge() as bridge:
        count = len(bridge.prunable(older_than))
        if dry_run or not count or not _sure(count, yes=yes):
            emit({"found": count, "forgotten": 0}, output)
            return 0
        emit({"found": count, "forgotten": bridge.prune(older_than)}, output)
    return 0


def _sure(count: int, *, yes: bool) -> bool:
    if not yes and not sys.stdin.isatty():
        raise InvalidInput(
            f"{counted(count, 'execution')} would be forgotten, and there is no terminal to ask on; add --yes"
        )
    return yes or click.confirm(f"Forget {counted(count, 'execution')}?", err=True)
