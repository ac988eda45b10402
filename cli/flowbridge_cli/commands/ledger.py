"""`ledger path`, `ledger check` and `ledger prune`."""

from __future__ import annotations

from typing import Any

import click

from flowbridge import config as configuration
from flowbridge.bridge import Bridge
from flowbridge.errors import LedgerError
from flowbridge_cli import options
from flowbridge_cli.output import emit


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
    if found != "ok":
        raise LedgerError(f"ledger {view['path']} is damaged: {found}")
    emit(view, output)
    return 0


@ledger.command("prune")
@click.option("--older-than", required=True, callback=options.age, help="Started longer ago than this, such as 30d.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def prune(older_than: float, yes: bool) -> int:
    """Forget executions that ended and were started long ago. Their history stays."""
    if not yes:
        click.confirm("Forget them?", abort=True, err=True)
    with Bridge() as bridge:
        click.echo(f"{bridge.prune(older_than)} forgotten")
    return 0
