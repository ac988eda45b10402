"""`run`: start a workflow and watch it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.errors import InvalidInput
from flowbridge.views import execution_view
from flowbridge_cli import options
from flowbridge_cli.output import emit, note
from flowbridge_cli.watching import follow


@click.command("run")
@click.argument("target")
@click.argument("values", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--backend", help="The instance to run it on.")
@click.option("--workflow", help="Which workflow of the file; the first one where this is not said.")
@click.option("--input-file", type=click.Path(dir_okay=False), help="A JSON file with input values.")
@click.option("--env", "env", multiple=True, metavar="KEY=VALUE", help="A value of the workflow's environment.")
@click.option("--reason", default="", help="Why; kept in the history.")
@click.option("--detach", is_flag=True, help="Start it and do not watch.")
@click.option("--timeout", type=click.FloatRange(0), help="Seconds to watch; the run goes on after that.")
@options.output
def run(
    target: str,
    values: tuple[str, ...],
    backend: str | None,
    workflow: str | None,
    input_file: str | None,
    env: tuple[str, ...],
    reason: str,
    detach: bool,
    timeout: float | None,
    output: str,
) -> int:
    """Start TARGET and watch it: a file, INSTANCE:NAME, or a name of a catalog.

    Values are JSON where they read as such, else text. Ctrl-C stops watching, never the run. Exit codes: 0 succeeded,
    7 errored, 8 canceled, 9 the time for watching was over.
    """
    given = {**_from_file(input_file), **options.pairs(values)}
    what, instance = _target(target, backend)
    with Bridge() as bridge:
        record = bridge.run(what, given, backend=instance, workflow=workflow, env=options.pairs(env), reason=reason)
        if detach:
            emit(execution_view(record), output) if output != "table" else click.echo(record.id)
            return 0
        note(f"execution {record.id}")
        return follow(bridge, record.id, output, timeout)


def _target(target: str, backend: str | None) -> tuple[Definition | str, str | None]:
    path = Path(target)
    if path.suffix in (".yaml", ".yml", ".json") or path.is_file():
        return Definition(read(path), target), backend
    instance, colon, name = target.partition(":")
    return (name, instance) if colon else (target, backend)


def read(path: Path) -> str:
    """The text of a file. Raises `InvalidInput` naming it."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{error.strerror}", source=str(path)) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"is not UTF-8 text (byte {error.start})", source=str(path)) from error


def _from_file(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        data = json.loads(read(Path(path)))
    except json.JSONDecodeError as error:
        raise InvalidInput(f"broken JSON: {error.msg}", source=path, line=error.lineno, column=error.colno) from error
    if not isinstance(data, dict):
        raise InvalidInput("the input must be a JSON object", source=path)
    return data
