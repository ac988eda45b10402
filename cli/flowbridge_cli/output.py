"""How data leaves: a table for people, JSON or YAML for programs. Data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from flowbridge.errors import DamagedRow, FlowbridgeError, InvalidInput, Rejected

if TYPE_CHECKING:
    from flowbridge.bridge import Bridge
    from flowbridge.ledger.executions import Executions

_COLOURS = {
    "running": "blue",
    "pausing": "yellow",
    "paused": "yellow",
    "resuming": "blue",
    "canceling": "magenta",
    "canceled": "magenta",
    "succeeded": "green",
    "errored": "red",
    "abandoned": "red",
}


#: How much of an id a tree shows: a prefix is enough to name an execution.
_SHORT_ID = 13


def print_json(data: Any) -> None:
    """One JSON document, in ASCII, so that it is whole on any terminal, pipe and locale; never wrapped."""
    try:
        text = json.dumps(data, indent=2, default=str, allow_nan=False)
    except ValueError:
        # Numbers that JSON has no word for, in a result.
        text = json.dumps(_finite(data), indent=2, default=str)
    click.echo(text)


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else str(data)
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, list | tuple) else data


def clean(text: str) -> str:
    """A text without the control characters that would reach the terminal."""
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)


def counted(number: int, thing: str) -> str:
    """A number of things: 1 item, 2 items."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def clock(seconds: float) -> str:
    """A time of day in the reader's zone."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def short_id(id: str) -> str:
    """The beginning of an id."""
    return id[:_SHORT_ID]


#: The keys of our own documents that hold a time.
_TIMES = frozenset({"at", *(f"{what}{gap}at" for what in ("created", "updated", "observed") for gap in " _")})


def emit(data: Any, output: str, *, columns: Sequence[str] = ()) -> None:
    """Print a list or a mapping as it was asked for. `columns` are the keys that a table shows."""
    if output == "json":
        print_json(data)
    elif output == "yaml":
        import yaml  # noqa: PLC0415  only for this format

        click.echo(
            yaml.safe_dump(json.loads(json.dumps(data, default=str)), sort_keys=False, allow_unicode=True), nl=False
        )
    elif isinstance(data, list):
        click.echo("\n".join(table(data, columns)))
    else:
        click.echo("\n".join(fields({key.replace("_", " "): value for key, value in data.items()})))


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Rows as aligned lines under a head; a line says so where there are none."""
    if not rows:
        return ["nothing found"]
    texts = [[column.replace("_", " ").upper() for column in columns]]
    texts += [[cell(row.get(column), column) for column in columns] for row in rows]
    widths = [max(len(line[place]) for line in texts) for place in range(len(columns))]
    return [
        "  ".join(_padded(text, width) for text, width in zip(line, widths, strict=True)).rstrip() for line in texts
    ]


def fields(data: Any, indent: str = "") -> list[str]:
    """A mapping as one line for each key that has a value; anything else as one line."""
    if not isinstance(data, Mapping):
        return [indent + cell(data, "")]
    shown = {clean(key): cell(value, key) for key, value in data.items() if value not in (None, "", [], {})}
    width = max((len(key) for key in shown), default=0)
    return [f"{indent}{key:{width}}  {styled(text)}" for key, text in shown.items()]


def cell(value: Any, name: str) -> str:
    """One value as text."""
    if value is None:
        return "-"
    if name in _TIMES and isinstance(value, str):
        return _local(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return clean(", ".join(value))
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def _local(moment: str) -> str:
    """A time in the reader's zone; a text that is none, of a user's own key of that name, as it is."""
    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return clean(moment)


def told_of(row: Mapping[str, Any]) -> str:
    """What a list says beside a status that is not to be trusted: the engine has it no more, or will not go on."""
    if row["gone"]:
        return "gone from its engine"
    if row.get("unanswered"):
        return "start not answered: recover it"
    if row.get("late") or row.get("late_below"):
        return f"may still arrive{' below' if row.get('late_below') else ''}: an agent, or `get`, cancels it"
    if row.get("abandoned_below"):
        return "abandoned below: recover it"
    if not row.get("hung"):
        return ""
    return "hung: recover it" if "recover" in row["possible"] else "hung: cancel it, then re-run it"


def hung_advice(execution: Mapping[str, Any], id: str) -> str:
    """What helps where an execution hangs: `recover` where that can end it, else to cancel it and to begin anew."""
    if "recover" in execution["possible"]:
        return f"see `flowbridge recover {id}`"
    return f"`flowbridge cancel {id}`, then `flowbridge re-run {id}`"


def styled(text: str) -> str:
    """A status in its colour; click takes colours out where nobody sees them."""
    colour = _COLOURS.get(text)
    return click.style(text, fg=colour) if colour else text


def _padded(text: str, width: int) -> str:
    return styled(text) + " " * (width - len(text))


def error_view(error: FlowbridgeError) -> dict[str, Any]:
    """An error as data."""
    view: dict[str, Any] = {"error": type(error).__name__, "message": error.message, "exit_code": error.exit_code}
    if isinstance(error, Rejected):
        view |= {"rule": error.rule, "reason": error.reason, "execution": error.execution, "accept": error.accept}
        view["rows"] = list(error.rows)
    if isinstance(error, InvalidInput):
        view |= {"source": error.source, "line": error.line, "column": error.column}
        if len(error.parts) > 1:
            view["errors"] = [error_view(part) for part in error.parts]
    return view


def tell_unwritten(bridge: Bridge) -> None:
    """Say on stderr that what is shown could not be written down, and why."""
    if bridge.ledger.unwritten:
        note(f"this look could not be written down: {bridge.ledger.unwritten}")


def tell_damaged(executions: Executions) -> int:
    """Say on stderr what is left out because it cannot be read; gives the exit code, 0 where all could be."""
    for message in dict.fromkeys(executions.damaged.values()):
        note(f"flowbridge: error: left out: {message}")
    return DamagedRow.exit_code if executions.damaged else 0


def note(text: str) -> None:
    """A word to the person, on stderr."""
    click.echo(text, err=True)
