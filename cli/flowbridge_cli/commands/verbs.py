"""`pause`, `resume` and `cancel`."""

from __future__ import annotations

from typing import Any

import click

from flowbridge.model import Verb
from flowbridge_cli import options
from flowbridge_cli.acting import act, split


def _command(verb: Verb, help: str) -> click.Command:
    @click.command(verb, help=help)
    @click.argument("ids", nargs=-1, metavar="ID...")
    @options.selection
    @options.verb
    @options.output
    def command(**given: Any) -> int:
        return act(verb, *split(given))

    return command


pause = _command(
    Verb.PAUSE,
    "Pause a running execution and its whole tree: what it nests, what nests it, and its peers (P1 to P4). Running "
    "tasks are never interrupted; the answer lists them.",
)
resume = _command(
    Verb.RESUME,
    "Resume a paused execution and everything held below it; never what is above it (R1 to R3).",
)
cancel = _command(
    Verb.CANCEL,
    "Cancel an execution and everything below it (C1 to C4). Running tasks run to their end; the answer lists them.",
)
