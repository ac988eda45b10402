"""`validate`: check a definition without running it."""

from __future__ import annotations

import click

from flowbridge.bridge import Bridge
from flowbridge.errors import InvalidInput
from flowbridge_cli import options
from flowbridge_cli.commands.run import meant
from flowbridge_cli.output import emit, note


@click.command("validate")
@click.argument("target")
@click.option("--backend", help="The instance that is to run it.")
@click.option("--show-deployed", is_flag=True, help="Show what the engine would get, with links for work elsewhere.")
@options.output
def validate(target: str, backend: str | None, show_deployed: bool, output: str) -> int:
    """Check TARGET, a file, INSTANCE:NAME or a name of a catalog, and name its workflows, the one that `run` starts
    first. A name is looked for on the engine that would run it."""
    given, named = meant(target, backend)
    with Bridge() as bridge:
        instance, what, found = bridge.targets.checked(given, named or "")
        if show_deployed and what.definition is None:
            raise InvalidInput(
                f"{target!r} is run from where it stands: no engine is sent it; leave out --show-deployed"
            )
        deployed = bridge.deployed_text(what.definition, instance) if show_deployed and what.definition else ""
    for warning in found.warnings:
        note(f"warning: {warning}")
    if not show_deployed:
        emit([{"workflow": name} for name in found.workflows], output, columns=("workflow",))
    elif output == "table":
        click.echo(deployed, nl=not deployed.endswith("\n"))
    else:
        emit({"workflows": list(found.workflows), "deployed": deployed}, output)
    return 0
