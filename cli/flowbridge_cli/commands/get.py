"""`get`: one execution, freshly seen."""

from __future__ import annotations

from dataclasses import replace

import click

from flowbridge.bridge import Bridge
from flowbridge.errors import InvalidInput, Unavailable
from flowbridge.law.selection import at_path
from flowbridge.looks import Look
from flowbridge_cli import options
from flowbridge_cli.documents import Document, executions, full_document, superseded
from flowbridge_cli.drawing import duration, held_for, task_lines, trouble_line, unfinished_lines
from flowbridge_cli.entry import looks_once
from flowbridge_cli.output import emit, fields, hung_advice, tell_unwritten
from flowbridge_cli.silences import tell_silence

#: What a table leaves out: `tree` shows it, or it is told in another line.
_NOT_IN_TABLE = frozenset({"tasks", "held_by", "held_since", "item", "stale"})


@click.command("get")
@click.argument("id", shell_complete=options.complete_id)
@click.option("--result", is_flag=True, help="In a table: the results of its tasks too. JSON has them anyway.")
@click.option(
    "--path",
    metavar="TASK.TASK",
    help="Of a child below it, by the tasks on the way: t1.t2[3]. Of a task that runs no child, or has items and is "
    "named without [3]: the task, with all its items.",
)
@click.option("--deep", is_flag=True, help="In JSON: inputs and results of everything below it too.")
@click.option("--definition", is_flag=True, help="The text that it was started from, as it was given; nothing else.")
@options.output
def get(id: str, result: bool, path: str | None, deep: bool, definition: bool, output: str) -> int:
    """Show one execution. Its engine is asked; where it does not answer, the last status is shown, with its age.

    One that was re-run from tasks is shown as it stood then, and names its successor. --definition shows what runs as
    its author wrote it, whatever was made of it for its engine; of a workflow that was started by its name on a server,
    what that has now.
    """
    if path is not None and not path.strip():
        raise InvalidInput("--path names no task; write the tasks on the way, such as t1.t2[3], or leave it out")
    looks_once()
    with Bridge() as bridge:
        if definition:
            return _show_definition(bridge, id, path, output)
        document = superseded(bridge, id)
        silent = False
        if document is None:
            look = bridge.get(id)
            found = at_path(look.snapshot, look.place, path or "")
            look = replace(look, place=found.place)
            if found.task:
                return _show_task(bridge, look, found.task, output, result=result, deep=deep)
            document = full_document(bridge, look, deep=deep, results=result or output != "table")
            silent = tell_silence(bridge, look)
            tell_unwritten(bridge)
    emit(document if output != "table" else _summary(document, result=result), output)
    return Unavailable.exit_code if silent else 0


def _show_definition(bridge: Bridge, id: str, path: str | None, output: str) -> int:
    record = bridge.find(id)
    if path:
        look = bridge.get(record.id)
        found = at_path(look.snapshot, look.place, path)
        if found.task:
            raise InvalidInput(
                f"--path {path} leads to a task, and a definition is of an execution: name one below it, such as "
                f"{path}[0] where it has items, or leave --path out for the text that the task stands in"
            )
        record = replace(look, place=found.place).record
    text, source = bridge.definition(record.id)
    if output == "table":
        click.echo(text, nl=not text.endswith("\n"))
    else:
        emit({"id": record.id, "workflow": record.workflow, "source": source, "definition": text}, output)
    return 0


def _show_task(bridge: Bridge, look: Look, task: str, output: str, *, result: bool, deep: bool) -> int:
    """A task, with all its items where it has some: as a document that of the task, not of an execution."""
    document = full_document(bridge, look, deep=deep, results=result or output != "table")
    silent = tell_silence(bridge, look)
    tell_unwritten(bridge)
    found = next(one for one in document["tasks"] if one["id"] == task)
    if output == "table":
        shown = fields({f"result of {found['name']}": found["result"]}) if result else []
        click.echo("\n".join(task_lines(found) + shown))
    else:
        emit(found, output)
    return Unavailable.exit_code if silent else 0


def _summary(document: Document, *, result: bool) -> Document:
    """What a table shows: one line for each thing that is so."""
    shown = {key: value for key, value in document.items() if key not in _NOT_IN_TABLE}
    shown["held"] = (
        f"by {document['held_by'] or 'its parent'} {held_for(document)}".rstrip() if document["held"] else ""
    )
    shown["gone"] = "its engine no longer has it" if document["gone"] else None
    if document.get("hung"):
        shown["hung"] = f"{document['hung']}: {hung_advice(document, document['id'])}"
    shown["trouble"] = trouble_line(document["trouble"]) if document.get("trouble") else None
    if lost := [each["id"] for each in executions(document) if each["status"] == "abandoned"]:
        shown["abandoned"] = f"{', '.join(lost)}: `flowbridge recover {lost[0]}` goes on (S6)"
    shown["unfinished"] = "; ".join(unfinished_lines(document))
    shown["took"] = duration(document)
    shown["running"] = running(document)
    if result:
        shown |= {f"result of {task['name']}": task.get("result") for task in document["tasks"]}
    return shown


def running(document: Document) -> list[str]:
    """The tasks that run, here and below, each by the way to it and what it runs. In what is abandoned none does."""
    found: list[str] = []
    waiting = [(document["workflow"] or document["id"], document)]
    while waiting:
        way, execution = waiting.pop()
        for task in execution["tasks"] if execution["status"] != "abandoned" else ():
            if task["active"] and not any(child["active_tasks"] for child in task["children"]):
                runs = f" ({', '.join(task['running'])})" if task["running"] else ""
                found.append(f"{way}.{task['name']}{runs}")
        below = [(f"{way}.{task['name']}", child) for task in execution["tasks"] for child in task["children"]]
        waiting += reversed([(f"{name}{_item(child)}", child) for name, child in below])
    return found


def _item(child: Document) -> str:
    return "" if child["item"] is None else f"[{child['item']}]"
