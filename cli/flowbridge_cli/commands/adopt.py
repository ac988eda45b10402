"""`adopt`: take in an execution that was started elsewhere."""

from __future__ import annotations

import click

from flowbridge.bridge import Bridge
from flowbridge.errors import InvalidInput
from flowbridge.views import execution_view, take_back_lost
from flowbridge_cli import options
from flowbridge_cli.output import emit


@click.command("adopt")
@click.argument("ref", metavar="INSTANCE:ENGINE-ID")
@options.output
def adopt(ref: str, output: str) -> int:
    """Take in an execution that was started elsewhere, with its whole tree on that engine."""
    if ":" not in ref:
        raise InvalidInput(f"{ref!r} is not of the form INSTANCE:ENGINE-ID")
    with Bridge() as bridge:
        view = execution_view(bridge.find(ref))
        take_back_lost([view], bridge.ledger.executions)
    emit(view, output)
    return 0
