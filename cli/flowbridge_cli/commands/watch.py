"""`watch`: follow an execution until it ends."""

from __future__ import annotations

import click

from flowbridge.bridge import Bridge
from flowbridge_cli import options
from flowbridge_cli.watching import follow


@click.command("watch")
@click.argument("id")
@click.option("--timeout", type=click.FloatRange(0), help="Seconds to watch.")
@options.output
def watch(id: str, timeout: float | None, output: str) -> int:
    """Watch an execution until it ends. Ctrl-C stops watching, never the run."""
    with Bridge() as bridge:
        return follow(bridge, bridge.find(id).id, output, timeout)
