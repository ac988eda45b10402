"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import click

from flowbridge.errors import InvalidInput
from flowbridge.written import Written

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: No list is longer, and a database counts further than twice as far.
MANY = 10**12

#: Nobody waits longer, and every clock counts further.
_LONG = 10**9

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])\Z")


class _Seconds(click.FloatRange):
    """How long to wait. None at all, for ever or no number is never meant: to leave the option out is how to say so."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        least = self.min or 0.0
        if not (least <= seconds <= _LONG and seconds > 0):  # no comparison holds for nan
            what = f"of {least:g} or more" if least else "above 0"
            self.fail(f"{value!r} is no time to wait; give a number of seconds {what}, such as 30 or 0.5", param, ctx)
        return seconds


SECONDS = _Seconds(0, min_open=True)
ROUND = _Seconds(0.05)


def _note_output(ctx: click.Context, _: click.Parameter, value: str) -> str:
    if ctx.obj is not None:
        ctx.obj.output = value
    return value


def output(function: _Function) -> _Function:
    """`-o table|json|yaml`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        is_eager=True,
        callback=_note_output,
        help="How to print.",
    )(function)


def selection(function: _Function) -> _Function:
    """Which executions: ids, or a filter."""
    for option in (
        click.option("--yes", is_flag=True, help="Do not ask before acting on what a filter found."),
        click.option("--older-than", callback=age, help="Started longer ago than this, such as 90s, 15m, 2h or 3d."),
        click.option("--workflow", help="Of this workflow."),
        click.option("--backend", help="On this backend instance."),
        click.option(
            "--status", multiple=True, callback=statuses, help="With this status; may be given several times."
        ),
    ):
        function = option(function)
    return function


def verb(*, wait: bool, until: str) -> Callable[[_Function], _Function]:
    """What every verb takes. `wait` is whether it waits where nothing is said, `until` says for what."""

    def decorate(function: _Function) -> _Function:
        return _verb(function, wait=wait, until=until)

    return decorate


def _verb(function: _Function, *, wait: bool, until: str) -> _Function:
    for option in (
        click.option(
            "--accept",
            multiple=True,
            metavar="RULE",
            callback=_rules,
            help="Go ahead although the engine breaks this rule, R4 or X6.",
        ),
        click.option(
            "--timeout",
            type=SECONDS,
            metavar="SECONDS",
            help="How long all of it may take, for each ID: until the engines show the outcome (30 where nothing is "
            "said), and with --wait until that is over (no limit where nothing is said). Nothing is undone then: it "
            "goes on, and what is not done yet stays written down.",
        ),
        click.option("--wait/--no-wait", default=wait, show_default=True, help=f"Wait until {until}."),
        click.option("--reason", default="", help="Why; kept in the history."),
        click.option("--already-ok", is_flag=True, help="Asking for what is already so is no failure."),
        click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing."),
    ):
        function = option(function)
    return function


def _rules(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Rules whose refusal can be overridden. The law says which; it is not asked where none is named."""
    if values:
        from flowbridge.checks import reject_unless_acceptable  # noqa: PLC0415  help needs no law

        try:
            reject_unless_acceptable(values)
        except InvalidInput as error:
            raise click.BadParameter(str(error)) from error
    return values


def age(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """A time in the past, in seconds since the epoch."""
    if value is None:
        return None
    match = _AGE.match(value)
    if match is None or float(match.group(1)) > _LONG:
        raise click.BadParameter(f"{value!r} is no age; write 90s, 15m, 2h or 3d")
    return time.time() - float(match.group(1)) * _UNITS[match.group(2)]


def statuses(_: click.Context, __: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    from flowbridge.model import Status  # noqa: PLC0415  help needs no model

    found = tuple(status for value in values for status in value.split(","))
    wrong = [status for status in found if status not in set(Status)]
    if wrong:
        raise click.BadParameter(f"there is no status {wrong[0]!r}; there are: {', '.join(Status)}")
    return found


def listed_statuses(context: click.Context, option: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    """Statuses, and `gone`."""
    from flowbridge.ledger.executions import GONE  # noqa: PLC0415  help needs no ledger

    found = [status for value in values for status in value.split(",")]
    gone = (GONE,) if GONE in found else ()
    return (*statuses(context, option, [status for status in found if status != GONE]), *gone)


def complete_id(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The newest ids in the ledger that begin so, for a shell's completion. No engine is asked."""
    from flowbridge.bridge import Bridge  # noqa: PLC0415  help needs no bridge
    from flowbridge.ledger.executions import Filter  # noqa: PLC0415

    with Bridge() as bridge:
        known = bridge.list(Filter(roots=False, limit=1000), look=False)
    return [word for word in ("last", *(record.id for record in known)) if word.startswith(incomplete)][:20]


def pairs(values: Sequence[str]) -> dict[str, Any]:
    """`key=value` words as a mapping. A value is JSON where it reads as such, else text."""
    found: dict[str, Any] = {}
    for word in values:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise InvalidInput(f"{word!r} is not of the form key=value")
        if key in found:
            raise InvalidInput(f"{key} is given twice; give it once")
        found[key] = _value(key, value)
    return found


def inputs(values: Sequence[str]) -> dict[str, Any]:
    """`key=value` words as inputs: what is meant to be text is known when it is known what is started."""
    texts = {key: text for key, _, text in (word.partition("=") for word in values)}
    return {key: Written(value, texts[key]) for key, value in pairs(values).items()}


def _value(key: str, text: str) -> Any:
    """JSON where it reads as such. `NaN` and its like are no JSON, though Python's reader takes them."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text
    except RecursionError as error:
        raise InvalidInput(f"the value of {key} is nested too deeply") from error
    if isinstance(value, float) and not math.isfinite(value):
        return text
    if not is_text(json.dumps(value, ensure_ascii=False)):
        raise InvalidInput(f"the value of {key} holds half of a surrogate pair, which is no text")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)


def is_text(text: str) -> bool:
    """Bytes that are no UTF-8 come in as halves of surrogate pairs, which can be written nowhere."""
    return not any("\ud800" <= one <= "\udfff" for one in text)


class ManyValues(click.Command):
    """A command whose options in `many` take all the words up to the next option: `--tasks a b c`.

    One that is given no word at all is refused: a list that came out empty must not turn into a re-run of everything.
    """

    many: frozenset[str] = frozenset({"--tasks", "--no-reset"})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._spread(ctx, args))

    def _spread(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        current = ""
        for word, following in pairwise([*args, "-"]):
            name, equals, value = word.partition("=")
            if name in self.many:
                current = name
                if not (value if equals else not following.startswith("-")) and not ctx.resilient_parsing:
                    raise click.UsageError(f"{name} needs at least one task name after it", ctx)
                spread += [name, value] if equals else []
            elif word.startswith("-"):
                current = ""
                spread.append(word)
            else:
                spread += [current, word] if current else [word]
        return spread
