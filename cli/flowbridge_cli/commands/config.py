"""`config show` and `config path`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import click

from flowbridge import config as configuration
from flowbridge.errors import InvalidInput
from flowbridge.plugins import load_backend
from flowbridge_cli import options
from flowbridge_cli.output import emit


def _without_password(value: Any) -> Any:
    """A value without what an address may carry beside the place: user, password, query. In doubt nothing is shown."""
    if not isinstance(value, str) or "://" not in value:
        return value
    parts = urlsplit(value)
    shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return "(not shown)" if "@" in shown else shown


def _shown(given: Mapping[str, Any]) -> dict[str, Any]:
    """A backend's options: those that its type calls open as they are, no other."""
    try:
        allowed = load_backend(str(given["type"])).open_options | {"type"}
    except InvalidInput:
        allowed = frozenset({"type"})
    return {key: _without_password(value) if key in allowed else "(not shown)" for key, value in given.items()}


@click.group("config")
def config() -> None:
    """Show the configuration."""


@config.command("show")
@options.output
def show(output: str) -> int:
    """Show what is in force. Values that may be secret are not shown."""
    found = configuration.load()
    backends = {name: _shown(given) for name, given in found.backends.items()}
    view = {
        "file": str(found.source) if found.source else None,
        "ledger": str(found.ledger),
        "default_backend": found.default_backend or None,
        "required_plugins": list(found.required_plugins),
        "actor": found.actor,
        "packs": [str(folder) for folder in found.catalog.packs],
        "workflows": found.catalog.workflows or None,
        "backends": backends,
    }
    emit(view, output)
    return 0


@config.command("path")
def path() -> int:
    """Print where the configuration file is looked for."""
    click.echo(str(configuration.path()))
    return 0
