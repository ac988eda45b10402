"""`backend list` and `backend check`."""

from __future__ import annotations

from typing import Any

import click

from flowbridge.bridge import Bridge
from flowbridge.errors import FlowbridgeError
from flowbridge_cli import options
from flowbridge_cli.acting import worst
from flowbridge_cli.output import emit


@click.group("backend")
def backend() -> None:
    """List and check the engines that are configured."""


@backend.command("list")
@options.output
def list_backends(output: str) -> int:
    """List the instances and what their engines can do by themselves."""
    with Bridge() as bridge:
        rows = [_view(bridge, name) for name in bridge.instances.names()]
    emit(rows, output, columns=("name", "type", "verbs", "cascades", "problem"))
    return 0


@backend.command("check")
@click.argument("names", nargs=-1)
@options.output
def check(names: tuple[str, ...], output: str) -> int:
    """Ask each instance, or those named, whether it answers, in which version, and accepts the credentials."""
    with Bridge() as bridge:
        rows = [_health(bridge, name) for name in names or bridge.instances.names()]
    emit(rows, output, columns=("name", "answers", "version", "detail"))
    return worst(row["exit_code"] for row in rows)


def _view(bridge: Bridge, name: str) -> dict[str, Any]:
    try:
        engine = bridge.instances.get(name)
    except FlowbridgeError as error:
        return {"name": name, "type": None, "verbs": [], "cascades": [], "problem": error.message}
    facts = engine.capabilities
    return {
        "name": name,
        "type": engine.type,
        "verbs": sorted(facts.verbs),
        "cascades": sorted(facts.cascades),
        "resume_up": str(facts.resume_up),
        "partial_rerun": str(facts.partial_rerun),
        "join_under_pause": str(facts.join_under_pause),
        "problem": None,
    }


def _health(bridge: Bridge, name: str) -> dict[str, Any]:
    try:
        health = bridge.instances.get(name).check()
    except FlowbridgeError as error:
        return {"name": name, "answers": False, "version": None, "detail": error.message, "exit_code": error.exit_code}
    return {"name": name, "answers": True, "version": health.version, "detail": health.detail, "exit_code": 0}
