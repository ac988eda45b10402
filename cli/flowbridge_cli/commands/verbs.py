"""`pause`, `resume` and `cancel`."""

from __future__ import annotations

from typing import Any

import click

from flowbridge.model import Verb
from flowbridge_cli import options
from flowbridge_cli.acting import act, split


def _command(verb: Verb, until: str, help: str) -> click.Command:
    @click.command(verb, help=help)
    @click.argument("ids", nargs=-1, metavar="ID...", shell_complete=options.complete_id)
    @options.selection
    @options.verb(wait=False, until=until)
    @options.output
    def command(**given: Any) -> int:
        return act(verb, *split(given))

    return command


pause = _command(
    Verb.PAUSE,
    "it is paused, or has ended",
    "Pause a running execution and its whole tree: what it nests, what nests it, and its peers (P1 to P4). Running "
    "tasks are never interrupted; the answer lists them.",
)
resume = _command(
    Verb.RESUME,
    "it has ended",
    "Resume a paused execution and everything held below it; never what is above it (R1 to R3).",
)
cancel = _command(
    Verb.CANCEL,
    "it has ended",
    "Cancel an execution and everything below it (C1 to C4). Running tasks run to their end; the answer lists them.",
)
