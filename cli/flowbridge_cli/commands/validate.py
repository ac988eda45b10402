"""`validate`: check a definition without running it."""

from __future__ import annotations

from pathlib import Path

import click

from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge_cli import options
from flowbridge_cli.commands.run import read
from flowbridge_cli.output import emit, note


@click.command("validate")
@click.argument("file")
@click.option("--backend", help="The instance that is to run it.")
@click.option("--show-deployed", is_flag=True, help="Show what the engine would get, with links for work elsewhere.")
@options.output
def validate(file: str, backend: str | None, show_deployed: bool, output: str) -> int:
    """Check the definition in FILE and name its workflows, the one that `run` starts first."""
    definition = Definition(read(Path(file)), file)
    with Bridge() as bridge:
        found = bridge.instances.get(backend or bridge.default_backend(definition)).validate(definition)
        deployed = bridge.deployed_text(definition, backend) if show_deployed else ""
    for warning in found.warnings:
        note(f"warning: {warning}")
    if not show_deployed:
        emit([{"workflow": name} for name in found.workflows], output, columns=("workflow",))
    elif output == "table":
        click.echo(deployed, nl=not deployed.endswith("\n"))
    else:
        emit({"workflows": list(found.workflows), "deployed": deployed}, output)
    return 0
