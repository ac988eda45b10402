"""`tree`: an execution with its tasks and children."""

from __future__ import annotations

import click

from flowbridge.bridge import Bridge
from flowbridge.errors import Unavailable
from flowbridge_cli import options
from flowbridge_cli.documents import superseded, tree_document
from flowbridge_cli.drawing import tree_lines
from flowbridge_cli.entry import looks_once
from flowbridge_cli.output import emit, tell_unwritten
from flowbridge_cli.silences import tell_silence


@click.command("tree")
@click.argument("id", shell_complete=options.complete_id)
@options.output
def tree(id: str, output: str) -> int:
    """Show an execution with its tasks, and under each task its children, down to the last.

    One that was re-run from tasks is shown as it stood then.
    """
    looks_once()
    with Bridge() as bridge:
        document = superseded(bridge, id)
        silent = False
        if document is None:
            look = bridge.get(id)
            document = tree_document(bridge, look)
            silent = tell_silence(bridge, look)
            tell_unwritten(bridge)
    if output == "table":
        click.echo("\n".join(tree_lines(document)))
    else:
        emit(document, output)
    return Unavailable.exit_code if silent else 0
