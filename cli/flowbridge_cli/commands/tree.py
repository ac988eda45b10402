"""`tree`: an execution with its tasks and children."""

from __future__ import annotations

import click

from flowbridge.bridge import Bridge
from flowbridge.errors import Unavailable
from flowbridge.views import tree_view
from flowbridge_cli import options
from flowbridge_cli.drawing import tree_lines
from flowbridge_cli.output import emit, note


@click.command("tree")
@click.argument("id")
@options.output
def tree(id: str, output: str) -> int:
    """Show an execution with its tasks, and under each task its children, down to the last."""
    with Bridge() as bridge:
        look = bridge.get(id)
        view = tree_view(look.snapshot, look.place)
    if output == "table":
        click.echo("\n".join(tree_lines(view)))
    else:
        emit(view, output)
    for instance, why in look.silent.items():
        note(f"{instance} does not answer ({why}); its executions are shown as last seen")
    return Unavailable.exit_code if look.silent else 0
