"""`watch`: follow an execution until it ends."""

from __future__ import annotations

import click

from flowbridge.bridge import Bridge
from flowbridge_cli import options
from flowbridge_cli.documents import full_document
from flowbridge_cli.drawing import ending_lines
from flowbridge_cli.opening import opened
from flowbridge_cli.output import emit, tell_unwritten
from flowbridge_cli.watching import INTERRUPTED, Stopped, follow


@click.command("watch")
@click.argument("id", shell_complete=options.complete_id)
@click.option(
    "--timeout",
    type=options.SECONDS,
    metavar="SECONDS",
    help="How long to watch (no limit where nothing is said); the run goes on after that.",
)
@click.option("--tail", is_flag=True, help="Print what the actions write, as they write it.")
@options.output
def watch(id: str, timeout: float | None, tail: bool, output: str) -> int:
    """Watch an execution until it ends, then show it. Ctrl-C stops watching, never the run (exit 130).

    Exit codes: 0 succeeded, 7 errored, 8 canceled, 9 the time for watching was over, 5 so it was and an engine did not
    answer, or its runner died, 4 its engine no longer has it. A paused execution is watched on: somebody may resume it;
    so is a hung one, with what helps, and one whose engine does not answer.
    """
    with opened(timeout) as (bridge, left):
        return watched(bridge, bridge.find(id).id, output, left, tail=tail)


def watched(bridge: Bridge, id: str, output: str, timeout: float | None, *, tail: bool = False) -> int:
    """Watch an execution and print how it stands at the end; gives the exit code."""
    try:
        look, code = follow(bridge, id, timeout=timeout, quiet=output != "table", tail=tail)
    except Stopped:
        return INTERRUPTED
    tell_unwritten(bridge)
    document = full_document(bridge, look, results=output != "table")
    if output == "table":
        click.echo("\n".join(ending_lines(document)))
    else:
        emit(document, output)
    return code
