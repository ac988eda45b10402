"""`get`: one execution, freshly seen."""

from __future__ import annotations

import time
from typing import Any

import click

from flowbridge.bridge import Bridge
from flowbridge.errors import Unavailable
from flowbridge.looks import Look
from flowbridge.operate import running_tasks
from flowbridge.views import execution_view
from flowbridge_cli import options
from flowbridge_cli.output import emit, note


@click.command("get")
@click.argument("id")
@click.option("--result", is_flag=True, help="Its input, output and the results of its tasks too.")
@options.output
def get(id: str, result: bool, output: str) -> int:
    """Show one execution. Its engine is asked; where it does not answer, the last status is shown with its age."""
    with Bridge() as bridge:
        look = bridge.get(id)
        view = view_of(look)
        silent = look.silent.get(look.record.ref.backend)
        if result and silent is None:
            read = bridge.read(look.record.id)
            tasks = {task.name: task.result for task in read.tasks}
            view |= {"input": dict(read.input), "output": read.output, "results": tasks}
    emit(view, output)
    return 0 if silent is None else Unavailable.exit_code


def view_of(look: Look) -> dict[str, Any]:
    """One execution as data, with what runs and what is open. Says on stderr what is not fresh."""
    view = execution_view(look.record)
    view["running"] = list(running_tasks(look.snapshot))
    view["unknown"] = list(look.snapshot.nodes[look.place].unknown)
    view["unfinished"] = [f"{operation.verb} by {operation.actor}" for operation in look.open]
    for instance, why in look.silent.items():
        age = time.time() - look.record.looked
        note(f"{instance} does not answer ({why}); this is what was seen {age:.0f} s ago")
    return view
