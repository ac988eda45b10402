"""`catalog list` and `catalog show`: what can be started by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import Any

import click

from flowbridge.bridge import Bridge
from flowbridge.catalog import CatalogEntry
from flowbridge_cli import options
from flowbridge_cli.output import emit, fields, note, table
from flowbridge_cli.pluginwarnings import tell_of_plugins

_INPUT = ("name", "type", "required", "default", "position", "secret", "immutable", "enum", "description")


@click.group("catalog")
def catalog() -> None:
    """List and show what can be started by name: the actions and workflows of packs."""


@catalog.command("list")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@options.output
def list_(patterns: tuple[str, ...], output: str) -> int:
    """List everything, or what matches: a part of a name, or a pattern such as 'core.*'.

    A file that is broken is named on stderr, with its line; in JSON it is an entry with a `problem`, as is what cannot
    be run here.
    """
    with Bridge() as bridge:
        entries = [entry for entry in bridge.catalog() if not patterns or _matches(entry.ref, patterns)]
        tell_of_plugins(bridge)
    if output == "table":
        for entry in entries:
            if not entry.kind:
                note(f"broken: {entry.problem}")
        entries = [entry for entry in entries if entry.kind]
    rows = [_row(entry) for entry in entries]
    emit(rows, output, columns=("ref", "kind", "backend", "description"))
    return 0


def _matches(ref: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(ref, word) if any(sign in word for sign in "*?[") else word in ref for word in patterns)


def _row(entry: CatalogEntry) -> dict[str, Any]:
    view = _view(entry)
    del view["inputs"]
    return {**view, "description": next(iter(entry.description.splitlines()), "")}


@catalog.command("show")
@click.argument("ref")
@options.output
def show(ref: str, output: str) -> int:
    """Show REF: what it is, where it is run, and what it takes."""
    with Bridge() as bridge:
        entry = bridge.catalog(ref)[0]
        tell_of_plugins(bridge)
    if output != "table":
        emit(_view(entry), output)
        return 0
    view = _view(entry)
    inputs = [{"name": name, **known} for name, known in view.pop("inputs").items()]
    click.echo("\n".join(fields(view)))
    if inputs:
        columns = [name for name in _INPUT if any(name in one for one in inputs)]
        click.echo("\n".join(["", *table(inputs, columns)]))
    return 0


def _view(entry: CatalogEntry) -> dict[str, Any]:
    """An entry as data; what it has nothing of is null."""
    found = {name: value or None for name, value in asdict(entry).items()}
    return {**found, "inputs": {name: dict(known) for name, known in entry.inputs.items()}}
