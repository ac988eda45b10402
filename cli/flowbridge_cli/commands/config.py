"""`config show` and `config path`."""

from __future__ import annotations

import re
from typing import Any

import click

from flowbridge import config as configuration
from flowbridge_cli import options
from flowbridge_cli.output import emit

#: Options of a backend that are shown as they are; anything else may be a secret.
_OPEN = frozenset({"type", "url", "timeout", "ca_file", "region", "project", "subworkflows", "workers", "actions"})


def _without_password(value: Any) -> Any:
    """A value without the user and password that an address may carry."""
    return re.sub(r"(\w+://)[^/@\s]*@", r"\1", value) if isinstance(value, str) else value


@click.group("config")
def config() -> None:
    """Show the configuration."""


@config.command("show")
@options.output
def show(output: str) -> int:
    """Show what is in force. Values that may be secret are not shown."""
    found = configuration.load()
    backends = {
        name: {key: _without_password(value) if key in _OPEN else "(not shown)" for key, value in given.items()}
        for name, given in found.backends.items()
    }
    view = {
        "file": str(found.source) if found.source else None,
        "ledger": str(found.ledger),
        "default_backend": found.default_backend or None,
        "required_plugins": list(found.required_plugins),
        "actor": found.actor,
        "backends": backends,
    }
    emit(view, output)
    return 0


@config.command("path")
def path() -> int:
    """Print where the configuration file is looked for."""
    click.echo(str(configuration.path()))
    return 0
