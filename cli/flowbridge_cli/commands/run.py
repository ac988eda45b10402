"""`run`: start a workflow and watch it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.errors import Interrupted, InvalidInput
from flowbridge.views import execution_view
from flowbridge.yamltext import load as load_yaml
from flowbridge_cli import options
from flowbridge_cli.commands.watch import watched
from flowbridge_cli.opening import opened
from flowbridge_cli.output import emit, note
from flowbridge_cli.pluginwarnings import tell_of_plugins
from flowbridge_cli.watching import INTERRUPTED, farewell


@click.command("run")
@click.argument("target")
@click.argument("values", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--backend", help="The instance to run it on.")
@click.option("--workflow", help="Which workflow of the file; the only one, else `main`, where this is not said.")
@click.option(
    "--input", "--input-file", "input_file", metavar="FILE", help="A JSON or YAML file of input values; - reads stdin."
)
@click.option("--env", multiple=True, metavar="JSON|KEY=VALUE", help="Of the workflow's environment: a value, or all.")
@click.option("--task-name", default="", metavar="NAME", help="The target task of a reverse workflow.")
@click.option("--reason", default="", help="Why; kept in the history.")
@click.option("--wait/--no-wait", default=True, help="Watch it to its end; --no-wait only starts it.")
@click.option("--detach", is_flag=True, help="The same as --no-wait.")
@click.option(
    "--timeout",
    type=options.SECONDS,
    metavar="SECONDS",
    help="How long all of it may take (no limit where nothing is said): the start, and with --wait the watching. "
    "Nothing is undone then: the run goes on.",
)
@click.option("--tail", is_flag=True, help="While watching, print what the actions write, as they write it.")
@options.output
def run(
    target: str,
    values: tuple[str, ...],
    backend: str | None,
    workflow: str | None,
    input_file: str | None,
    env: tuple[str, ...],
    task_name: str,
    reason: str,
    wait: bool,
    detach: bool,
    timeout: float | None,
    tail: bool,
    output: str,
) -> int:
    """Start TARGET and watch it: a file, INSTANCE:NAME, or a name of a catalog.

    Values are JSON where they read as such and are not meant to be text, else text; those on the command line win over
    those of a file. Ctrl-C stops watching, never the run (exit 130). Exit codes: 0 succeeded, 7 errored, 8 canceled, 9
    the time was over, 5 an engine did not answer, also where it was asked until the time was over.
    """
    began = time.monotonic()
    given = {**_from_file(input_file), **options.inputs(values)}
    what, instance = meant(target, backend)
    with opened(timeout) as (bridge, left):
        try:
            record = bridge.run(
                what,
                given,
                backend=instance,
                workflow=workflow,
                env=_environment(env),
                task_name=task_name,
                reason=reason,
                timeout=left,
            )
        except Interrupted as interrupted:
            return _interrupted(bridge, interrupted.execution)
        tell_of_plugins(bridge)
        if detach or not wait:
            emit(execution_view(record), output) if output != "table" else click.echo(record.id)
            return 0
        note(f"execution {record.id}")
        rest = None if timeout is None else max(0.0, timeout - (time.monotonic() - began))
        return watched(bridge, record.id, output, rest, tail=tail)


def _interrupted(bridge: Bridge, id: str) -> int:
    """Ctrl-C before there was anything to watch: the run is written down, and begun or not."""
    if bridge.ledger.operations.open(bridge.find(id).tree):
        note(f"execution {id} is written down, and may not have begun: `flowbridge recover {id}` makes sure. Then:")
    note(farewell(id))
    return INTERRUPTED


def meant(target: str, backend: str | None) -> tuple[Definition | str, str | None]:
    """What a target on the command line stands for, and the instance that it or `backend` names.

    Raises `InvalidInput` where the two name different ones.
    """
    if is_file(target):
        return Definition(read(Path(target)), target), backend
    instance, colon, name = target.partition(":")
    if colon and backend not in (None, instance):
        raise InvalidInput(f"{target} names the backend {instance}, and --backend names {backend}; give one")
    return (name, instance) if colon else (target, backend)


def is_file(target: str) -> bool:
    """Whether a target is a file, or named like one.

    A name too long for one, or in a folder that is closed to us, is another name.
    """
    path = Path(target)
    try:
        return path.suffix in (".yaml", ".yml", ".json") or path.is_file()
    except OSError:
        return False


def read(path: Path) -> str:
    """The text of a file. Raises `InvalidInput` naming it."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{error.strerror}", source=str(path)) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"is not UTF-8 text (byte {error.start})", source=str(path)) from error


def _from_file(path: str | None) -> dict[str, Any]:
    """What is JSON is read as such: YAML knows some of its numbers and texts as something else."""
    if path is None:
        return {}
    if not path:
        raise InvalidInput("--input needs the name of a file, or - for standard input")
    source = "stdin" if path == "-" else path
    text = _stdin() if path == "-" else read(Path(path))
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):  # told by the other reader, which knows the line
        data = load_yaml(text, source).data
    if not isinstance(data, dict):
        raise InvalidInput("the input must be a mapping of names to values", source=source)
    return data


def _stdin() -> str:
    if not hasattr(sys.stdin, "buffer"):
        return ""
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"is not UTF-8 text (byte {error.start})", source="stdin") from error


def _environment(words: Sequence[str]) -> dict[str, Any]:
    """`--env`: JSON objects and key=value words, later ones win."""
    found: dict[str, Any] = {}
    for word in words:
        found |= _object(word) if word.lstrip().startswith("{") else options.pairs([word])
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"--env: broken JSON: {error.msg} (column {error.colno})") from error
    except RecursionError as error:
        raise InvalidInput("--env: it is nested too deeply") from error
    return data
