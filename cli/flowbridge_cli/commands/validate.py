"""`validate`: check a definition without running it."""

from __future__ import annotations

from pathlib import Path

import click

from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge_cli import options
from flowbridge_cli.commands.run import read
from flowbridge_cli.output import emit


@click.command("validate")
@click.argument("file")
@click.option("--backend", help="The instance that is to run it.")
@options.output
def validate(file: str, backend: str | None, output: str) -> int:
    """Check the definition in FILE and name its workflows, the one that `run` starts first."""
    with Bridge() as bridge:
        names = bridge.validate(Definition(read(Path(file)), file), backend)
    emit([{"workflow": name} for name in names], output, columns=("workflow",))
    return 0
