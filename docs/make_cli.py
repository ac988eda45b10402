"""Write the reference of the command line by walking its commands: `python docs/make_cli.py` writes docs/cli.md."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from flowbridge_cli.group import cli

_HEAD = """# The command line

This page is written by walking the commands; a test fails when it is stale.
Do not edit it: change the commands and run `python docs/make_cli.py`.

## What holds for every command

- **Ids.** A full id, a unique beginning of one, `last` (the newest execution that you started), or
  `INSTANCE:ENGINE-ID`, which takes in an execution that was started elsewhere. The verbs stand at the top level and
  under `flowbridge execution`.
- **Many at once.** Verbs take several ids, or a filter instead of ids. A filter shows what it found and asks; without a
  terminal it needs `--yes`, else nothing is done (exit 2). What was shown is what is carried out: where another
  execution would be touched by then, that one is rejected (O9). A filter that finds nothing changes nothing (exit 0).
  Those whose engine does not answer come last, so that no other waits for it.
- **Lists of tasks.** `--tasks` and `--no-reset` take every word up to the next option, and may be repeated. A name is
  taken whole: a comma does not separate. An option with no name after it is refused, so that a list that came out empty
  never re-runs everything.
- **Output.** `-o table` is for people and may change; `-o json` is one document on stdout, in ASCII, and only grows;
  `-o yaml` is the same data. Data is on stdout, everything else on stderr. Colour is for terminals; `NO_COLOR` takes it
  out.
- **Errors** are one line on stderr, `flowbridge: error: ...`. With `-o json` or `-o yaml` the same error is also the
  document on stdout: `error`, `message`, `exit_code`, and where it was rejected `rule`, `reason`, `execution`, `accept`
  (the rule to name with `--accept`). A verb prints a list of results instead, one for each execution.
- **Waiting.** `run` and `re-run` wait for the end, other verbs return once the engines show the outcome; `--wait` and
  `--no-wait` change that. A paused execution is waited for on: somebody may resume it. Ctrl-C stops the waiting, never
  the run.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | a bug; there is a traceback |
| 2 | the command line, a file, the configuration or the ledger is wrong |
| 3 | rejected by the law; nothing was changed |
| 4 | not found |
| 5 | the engine does not answer, also where it was asked until the time was over; or the run's process has died |
| 6 | refused by the engine, or unsupported |
| 7 | the awaited execution ended errored |
| 8 | the awaited execution was canceled |
| 9 | the time for waiting was over |
| 130 | Ctrl-C |
| 141 | nobody reads the output any more; what was asked for is done all the same where it was a verb |

Several at once end with the highest of 1 to 6, else with the highest of 7 to 9.

## Documents

One execution: `id`, `status`, `workflow`, `backend`, `engine_id`, `engine_state` (the engine's own word), `held`,
`held_by`, `gone`, `parent_id`, `parent_task`, `item`, `rerun_of`, `superseded_by`, `error`, `actor`, `created_at`,
`observed_at` (when its engine last answered), `stale` (it did not answer now), `possible` (the verbs accepted now),
`trouble` (a call that is due and fails: `call`, `reason`, `since`, `tries`), `waits_for_driver` (nobody drives its
tree, O13).
Times are ISO 8601 in UTC.
`tree` adds `updated_at` (when the status last changed, as far as it was seen), `held_since` (since when it is `pausing`
or `paused`, where it is held), `active_tasks`, `unknown` (tasks whose
end nobody saw), `unfinished` (operations to recover), `linked` and `waits_for` (of a child that a
task of another engine waits for, and what it waits for itself) and `tasks`.
`get`, `run` and `watch` add `input` and `output`, for what is below only with `get --deep`.
`get --definition` has `id`, `workflow`, `source` (the file, or `INSTANCE:NAME`) and `definition`, a text.

One task: `id`, `name`, `status`, `engine_state`, `active`, `item_count`, `running`, `error`, `children` (executions of
the same shape); `get`, `run` and `watch` add `result`, `published` and, for with-items, `items` (`index`, `status`,
`result`; null where the engine does not tell their places).

One result of a verb: `target` (as it was named), `verb`, `result` (`done`, `not_done`, `already`, `planned`,
`rejected`, `failed`), `exit_code`; with `done` and `not_done` also `execution` (the id to go on with), `status`,
`running` (each task by the way to it from the root), `not_done`, `ended_first`, `abandoned`, `warnings`, `operation`,
and of a plan `goes_on_with` (the open one of the same verb); an awaited re-run or skip has it whole in `document`.

## Shell completion

`eval "$(_FLOWBRIDGE_COMPLETE=bash_source flowbridge)"`, or `zsh_source`, or `fish_source`: commands, options and ids.
"""


def page() -> str:
    """The page as text."""
    parts = [_HEAD.rstrip("\n"), "", "## Commands", ""]
    for words, command in commands():
        parts += [*_section(words, command), ""]
    return "\n".join(parts)


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it; a verb under `execution` that also stands at the top is left out."""
    context = click.Context(cli)
    seen: set[int] = set()
    waiting: list[tuple[tuple[str, ...], click.Command]] = [
        ((name,), command) for name in cli.list_commands(context) if (command := cli.get_command(context, name))
    ]
    while waiting:
        words, command = waiting.pop(0)
        if isinstance(command, click.Group):
            inside = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
            waiting[:0] = [((*words, name), found) for name, found in inside if found and id(found) not in seen]
        elif id(command) not in seen:
            seen.add(id(command))
            yield words, command


def _section(words: tuple[str, ...], command: click.Command) -> list[str]:
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    options = [param for param in command.params if isinstance(param, click.Option)]
    usage = " ".join(["flowbridge", *words, *map(_argument, arguments)])
    lines = [f"### {usage}", "", inspect.cleandoc(command.help or "")]
    if options:
        lines += ["", "| option | |", "|---|---|", *map(_option, options)]
    return lines


def _argument(argument: click.Argument) -> str:
    name = argument.metavar or (argument.name or "").upper()
    if argument.metavar is None and argument.nargs == -1:
        name += "..."
    return name if argument.required or argument.nargs == -1 else f"[{name}]"


def _option(option: click.Option) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    value = "" if option.is_flag else " " + _value(option)
    shown = option.default is not None and option.show_default and not option.is_flag
    default = f" Default: {option.default}." if shown else ""
    return f"| `{names}{value}` | {option.help or ''}{default} |".replace("|KEY", "\\|KEY")


def _value(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "\\|".join(map(str, option.type.choices))
    return "N" if isinstance(option.type, click.IntRange | click.FloatRange) else "TEXT"


if __name__ == "__main__":
    Path(__file__).with_name("cli.md").write_text(page(), encoding="utf-8")
