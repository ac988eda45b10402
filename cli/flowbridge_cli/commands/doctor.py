"""`doctor`: look for what is wrong with this installation."""

from __future__ import annotations

from typing import Any

import click

from flowbridge.bridge import Bridge
from flowbridge.errors import FlowbridgeError, InvalidInput, LedgerError
from flowbridge.law.tables import DIED
from flowbridge.ledger.executions import Filter
from flowbridge.model import Status
from flowbridge.plugins import survey
from flowbridge_cli import options
from flowbridge_cli.acting import worst
from flowbridge_cli.output import emit


@click.command("doctor")
@options.output
def doctor(output: str) -> int:
    """Check configuration, ledger, plugins and engines, and say what to do about what is wrong."""
    rows = [_row("plugin", plugin.name, plugin.problem, 2) for plugin in survey()]
    try:
        with Bridge() as bridge:
            rows.append(_ledger(bridge))
            rows += _wanted(bridge)
            rows += [_engine(bridge, name) for name in bridge.instances.names()]
            rows += [_open(bridge, tree) for tree in bridge.ledger.operations.open_trees()]
            rows += _abandoned(bridge)
    except FlowbridgeError as error:
        rows.append(_row("configuration or ledger", "", error.message, error.exit_code))
    emit(rows, output, columns=("what", "name", "state", "detail"))
    return worst(row["exit_code"] for row in rows)


def _ledger(bridge: Bridge) -> dict[str, Any]:
    """Whether the ledger is sound, and can be written."""
    name = str(bridge.ledger.path)
    try:
        found = str(bridge.ledger.database.one("PRAGMA quick_check(1)")[0])
        bridge.ledger.operations.move_cursor("doctor", 0)
    except FlowbridgeError as error:
        return _row("ledger", name, error.message, error.exit_code)
    return _row("ledger", name, "" if found == "ok" else f"it is damaged: {found}", LedgerError.exit_code)


def _wanted(bridge: Bridge) -> list[dict[str, Any]]:
    """What the configuration names and is not there."""
    rows = []
    default, names = bridge.config.default_backend, bridge.instances.names()
    if default and default not in names:
        problem = f"there is no backend {default!r}; known are: {', '.join(names) or 'none'}"
        rows.append(_row("configuration", "default_backend", problem, InvalidInput.exit_code))
    for name in bridge.hooks.missing:
        problem = "it is required, and not loaded: nothing can be changed (required_plugins)"
        rows.append(_row("plugin", name, problem, InvalidInput.exit_code))
    return rows


def _engine(bridge: Bridge, name: str) -> dict[str, Any]:
    try:
        bridge.instances.get(name).check()
    except FlowbridgeError as error:
        return _row("engine", name, error.message, error.exit_code)
    return _row("engine", name, "", 0)


def _open(bridge: Bridge, tree: str) -> dict[str, Any]:
    # A re-run gives the root a new record, which stands behind those of what it left alone (X2).
    records = bridge.ledger.executions.tree(tree)
    root = next((record for record in records if record.parent is None), records[0])
    return _row("operation", root.id, f"unfinished; `flowbridge recover {root.id}` finishes it", 0)


def _abandoned(bridge: Bridge) -> list[dict[str, Any]]:
    """What was abandoned when it was last seen, one of each tree: all of it goes on with one call."""
    seen = bridge.list(Filter(status=(Status.ABANDONED,), roots=False, limit=-1), look=False)
    first = {record.tree: record for record in reversed(seen)}
    return [
        _row("execution", record.id, f"abandoned: {DIED}; `flowbridge recover {record.id}` goes on (S6)", 0)
        for record in first.values()
    ]


def _row(what: str, name: str, problem: str, code: int) -> dict[str, Any]:
    state = "wrong" if problem else "ok"
    return {"what": what, "name": name, "state": state, "detail": problem or None, "exit_code": code if problem else 0}
