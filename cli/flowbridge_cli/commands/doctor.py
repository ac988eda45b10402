"""`doctor`: look for what is wrong with this installation."""

from __future__ import annotations

from typing import Any

import click

from flowbridge.bridge import Bridge
from flowbridge.errors import FlowbridgeError
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
            rows.append(_row("ledger", str(bridge.ledger.path), "", 0))
            rows += [_engine(bridge, name) for name in bridge.instances.names()]
            rows += [_open(bridge, tree) for tree in bridge.ledger.operations.open_trees()]
    except FlowbridgeError as error:
        rows.append(_row("configuration or ledger", "", error.message, error.exit_code))
    emit(rows, output, columns=("what", "name", "state", "detail"))
    return worst(row["exit_code"] for row in rows)


def _engine(bridge: Bridge, name: str) -> dict[str, Any]:
    try:
        bridge.instances.get(name).check()
    except FlowbridgeError as error:
        return _row("engine", name, error.message, error.exit_code)
    return _row("engine", name, "", 0)


def _open(bridge: Bridge, tree: str) -> dict[str, Any]:
    root = bridge.ledger.executions.tree(tree)[0]
    return _row("operation", root.id, f"unfinished; `flowbridge recover {root.id}` finishes it", 0)


def _row(what: str, name: str, problem: str, code: int) -> dict[str, Any]:
    state = "wrong" if problem else "ok"
    return {"what": what, "name": name, "state": state, "detail": problem or None, "exit_code": code if problem else 0}
