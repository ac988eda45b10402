"""The command tree: a static table, so that help imports nothing but click. Plugins' commands are found by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

import click

from flowbridge._version import __version__
from flowbridge.installed import offers

#: The entry points that are commands of other distributions.
_COMMANDS = "flowbridge.commands"


class State:
    """What `main` needs to know of a command that failed: how its output was to look."""

    __slots__ = ("output",)

    def __init__(self, output: str = "table") -> None:
        self.output = output


#: name -> (module in `flowbridge_cli.commands`, attribute, help in a line).
_VERBS = {
    "list": ("list", "list_", "List executions, newest first."),
    "get": ("get", "get", "Show one execution, freshly seen."),
    "tree": ("tree", "tree", "Show an execution with its tasks and children."),
    "watch": ("watch", "watch", "Watch an execution until it ends."),
    "pause": ("verbs", "pause", "Pause an execution and its whole tree."),
    "resume": ("verbs", "resume", "Resume a paused execution and what is held below it."),
    "cancel": ("verbs", "cancel", "Cancel an execution and everything below it."),
    "re-run": ("rerun", "rerun", "Run an execution again, from the beginning or from tasks."),
    "skip": ("rerun", "skip", "Skip errored tasks and go on behind them."),
    "history": ("history", "history", "Show who did what, when and why."),
    "adopt": ("adopt", "adopt", "Take in an execution that was started elsewhere."),
    "recover": ("recover", "recover", "Finish what a crash left open."),
}
_TOP = {
    "run": ("run", "run", "Start a workflow and watch it."),
    "validate": ("validate", "validate", "Check a definition without running it."),
    **{name: _VERBS[name] for name in _VERBS if name != "adopt"},
    "agent": ("agent", "agent", "Drive every tree that links engines."),
    "backend": ("backend", "backend", "List and check engines."),
    "catalog": ("catalog", "catalog", "List and show what can be started by name."),
    "plugins": ("plugins", "plugins", "List what is installed, and what is broken."),
    "config": ("config", "config", "Show the configuration."),
    "ledger": ("ledger", "ledger", "Keep the ledger."),
    "doctor": ("doctor", "doctor", "Look for what is wrong with this installation."),
}


class Table(click.Group):
    """A group whose commands stand in a table and are imported when they are called."""

    def __init__(self, table: dict[str, tuple[str, str, str]], *, foreign: bool = False, **how: Any) -> None:
        super().__init__(**how)
        self._table = table
        self._foreign = foreign

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        others = (name for name in self._others() if name not in self._table)
        return [*self._table, *sorted(self.commands), *others]

    def _others(self) -> Mapping[str, str]:
        return {name: offer.distribution for name, offer in offers(_COMMANDS).items()} if self._foreign else {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """No command at all asks for help."""
        return super().parse_args(ctx, args or ["--help"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._table:
            module, name, _ = self._table[cmd_name]
            found: click.Command = getattr(import_module(f"flowbridge_cli.commands.{module}"), name)
            return found
        own = super().get_command(ctx, cmd_name)
        return own if own is not None or not self._foreign else _foreign(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        rows = [(name, line) for name, (_, _, line) in self._table.items()]
        rows += [(name, command.get_short_help_str()) for name, command in sorted(self.commands.items())]
        rows += [(name, f"(from {by})") for name, by in self._others().items() if name not in self._table]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches  # noqa: PLC0415  only for a mistake

            if args[0] in self.list_commands(ctx):
                raise  # it is installed, and what was raised says why it is no command
            near = get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise click.UsageError(f"no command {args[0]!r}; {hint}`{ctx.command_path} --help` lists them") from error


def _foreign(name: str) -> click.Command | None:
    """A plugin's command. One that does not load is named, and is no command."""
    from flowbridge.plugins import load_command  # noqa: PLC0415  metadata is only read for unknown names

    loaded, problem = load_command(name)
    if problem:
        raise click.UsageError(problem)
    if loaded is not None and (wrong := wrong_command(loaded)):
        raise click.UsageError(f"command {name!r} of a plugin is {wrong}")
    return cast("click.Command | None", loaded)


def wrong_command(loaded: object) -> str:
    """What is wrong with what a plugin offers as a command; "" where it is one."""
    return "" if isinstance(loaded, click.Command) else f"not a click command, but of type {type(loaded).__name__}"


_HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

cli = Table(
    _TOP,
    foreign=True,
    name="flowbridge",
    context_settings=_HELP,
    help="Start, watch, pause, resume, cancel and re-run workflow executions, on whatever engine they live.\n\n"
    "An ID is a full id, a unique prefix of one, `last`, or INSTANCE:ENGINE-ID.\n\n"
    "Exit codes: 0 done, 2 usage, 3 rejected by the law, 4 not found, 5 engine unavailable, 6 refused or unsupported "
    "by the engine, 7 the awaited execution errored, 8 it was canceled, 9 timed out.",
)
cli.params.append(
    click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=lambda ctx, _, on: _version(ctx, on=on),
        help="Show the version.",
    )
)
cli.add_command(Table(_VERBS, name="execution", help="Everything about executions."))


def _version(ctx: click.Context, *, on: bool) -> None:
    if on:
        click.echo(f"flowbridge {__version__}")
        ctx.exit()
