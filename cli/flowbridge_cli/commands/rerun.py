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
@click.argument("ids", nargs=-1, metavar="ID...")
@_TASKS
@click.option("--no-reset", multiple=True, metavar="NAME...", help="Of --tasks: run only the failed items of these.")
@click.option("--input", "inputs", multiple=True, metavar="KEY=VALUE", help="Override one input value (no --tasks).")
@options.selection
@options.verb
@options.output
def rerun(tasks: tuple[str, ...], no_reset: tuple[str, ...], inputs: tuple[str, ...], **given: Any) -> int:
    """Run an execution again: from the beginning, or from its errored tasks with --tasks (X1 to X9).

    The answer names the id to go on with: a re-run always gives a new one. --tasks and --no-reset take every word up
    to the next option, so put the ID first.
    """
    request = RerunRequest(tasks, no_reset, options.pairs(inputs))
    return act(Verb.RERUN, *split(given), request)


@click.command("skip", cls=options.ManyValues)
@click.argument("ids", nargs=-1, metavar="ID...")
@_TASKS
@options.selection
@options.verb
@options.output
def skip(tasks: tuple[str, ...], **given: Any) -> int:
    """Skip errored tasks of an errored execution and go on behind them (K1)."""
    if not tasks:
        raise click.UsageError("name the tasks to skip with --tasks")
    return act(Verb.SKIP, *split(given), RerunRequest(tasks))
