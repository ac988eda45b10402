"""`validate`: check a definition without running it."""

from __future__ import annotations

from pathlib import Path

import click

from flowbridge.backend import Definition, Deployed
from flowbridge.bridge import Bridge
from flowbridge.errors import InvalidInput, NotFound
from flowbridge_cli import options
from flowbridge_cli.commands.run import is_file, read
from flowbridge_cli.output import emit, note


@click.command("validate")
@click.argument("target")
@click.option("--backend", help="The instance that is to run it.")
@click.option("--show-deployed", is_flag=True, help="Show what the engine would get, with links for work elsewhere.")
@options.output
def validate(target: str, backend: str | None, show_deployed: bool, output: str) -> int:
    """Check TARGET, a file or a name of a catalog, and name its workflows, the one that `run` starts first."""
    with Bridge() as bridge:
        definition = Definition(read(Path(target)), target) if is_file(target) else None
        if definition is None:
            found, definition, backend = _named(bridge, target, backend)
        else:
            found = _checked(bridge, definition, backend)
        if show_deployed and definition is None:
            raise InvalidInput(
                f"{target!r} is run from where it stands: no engine is sent it; leave out --show-deployed"
            )
        deployed = bridge.deployed_text(definition, backend) if show_deployed and definition else ""
    for warning in found.warnings:
        note(f"warning: {warning}")
    if not show_deployed:
        emit([{"workflow": name} for name in found.workflows], output, columns=("workflow",))
    elif output == "table":
        click.echo(deployed, nl=not deployed.endswith("\n"))
    else:
        emit({"workflows": list(found.workflows), "deployed": deployed}, output)
    return 0


def _checked(bridge: Bridge, definition: Definition, backend: str | None) -> Deployed:
    return bridge.instances.get(backend or bridge.default_backend(definition)).validate(definition)


def _named(bridge: Bridge, name: str, backend: str | None) -> tuple[Deployed, Definition | None, str | None]:
    """What a catalog has under a name, its definition where it has one of its own, and the instance to ask."""
    target = bridge.targets.catalog(name)
    if target is None:
        raise NotFound(f"{name!r} is no file, and {bridge.targets.missing(name)}")
    backend = backend or (bridge.instances.meant(target.backend) if target.backend else None)
    if target.definition is None:
        bridge.instances.require(backend or bridge.default_backend())
        return Deployed((target.workflow,), warnings=target.warnings), None, backend
    return _checked(bridge, target.definition, backend), target.definition, backend
