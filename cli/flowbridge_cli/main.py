"""The entry point: the only place that turns a handled error into one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from flowbridge.errors import FlowbridgeError
from flowbridge_cli.group import State, cli
from flowbridge_cli.output import error_view, print_json

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and end the process with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code. Anything that is not a handled error keeps its traceback."""
    state = State()
    try:
        return cli.main(list(arguments), prog_name="flowbridge", standalone_mode=False, obj=state) or 0
    except FlowbridgeError as error:
        if state.output == "json":
            print_json(error_view(error))
        click.echo(f"flowbridge: error: {error.message}", err=True)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        click.echo(f"flowbridge: error: {error.format_message()}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is to be said to nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    main()
