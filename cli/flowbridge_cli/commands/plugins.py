"""`plugins`: what is installed, and what is broken."""

from __future__ import annotations

import click

from flowbridge.plugins import survey
from flowbridge_cli import options
from flowbridge_cli.group import wrong_command
from flowbridge_cli.output import emit


@click.command("plugins")
@options.output
def plugins(output: str) -> int:
    """List every plugin: from where, in which version, and the reason where one does not load."""
    rows = [{**plugin._asdict(), "problem": plugin.problem or None} for plugin in survey(wrong_command)]
    emit(rows, output, columns=("group", "name", "value", "distribution", "version", "problem"))
    return 0
