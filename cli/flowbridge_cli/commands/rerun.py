"""`re-run` and `skip`."""

from __future__ import annotations

from typing import Any

import click

from flowbridge.checks import RerunRequest
from flowbridge.model import Verb
from flowbridge_cli import options
from flowbridge_cli.acting import act, split

_TASKS = click.option(
    "--tasks", multiple=True, metavar="NAME...", help="Tasks, dotted into children: t1 t2.s1 t3[0].s1."
)


@click.command("re-run", cls=options.ManyValues)
@click.argument("ids", nargs=-1, metavar="ID... [KEY=VALUE]...", shell_complete=options.complete_id)
@_TASKS
@click.option("--no-reset", multiple=True, metavar="NAME...", help="Of --tasks: run only the failed items of these.")
@options.selection
@options.verb(wait=True, until="it has ended")
@options.output
def rerun(tasks: tuple[str, ...], no_reset: tuple[str, ...], ids: tuple[str, ...], **given: Any) -> int:
    """Run an execution again: from the beginning, or from its errored tasks with --tasks (X1 to X9).

    KEY=VALUE overrides one input value, from the beginning only. The answer names the id to go on with: a re-run
    always gives a new one. --tasks and --no-reset take every word up to the next option, so put the ID first; a name
    is taken whole, commas and all.
    """
    values = tuple(word for word in ids if "=" in word)
    given["ids"] = tuple(word for word in ids if "=" not in word)
    return act(Verb.RERUN, *split(given), RerunRequest(tasks or None, no_reset, options.inputs(values)))


@click.command("skip", cls=options.ManyValues)
@click.argument("ids", nargs=-1, metavar="ID...", shell_complete=options.complete_id)
@_TASKS
@options.selection
@options.verb(wait=False, until="it has ended")
@options.output
def skip(tasks: tuple[str, ...], **given: Any) -> int:
    """Skip errored tasks of an errored execution and go on behind them (K1)."""
    if not tasks:
        raise click.UsageError("name the tasks to skip with --tasks")
    return act(Verb.SKIP, *split(given), RerunRequest(tasks))
