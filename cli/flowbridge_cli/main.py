"""The entry point: the only place that turns a handled error into one line and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

import click

from flowbridge.deadline import telling
from flowbridge.errors import FlowbridgeError, InvalidInput
from flowbridge_cli.group import State, cli
from flowbridge_cli.options import is_text
from flowbridge_cli.output import emit, error_view, note

_USAGE = 2
_UNREAD = 141  # as a shell reports a process that nobody read any more
_INTERRUPTED = 130  # as a shell reports a process that Ctrl-C ended
_SILENT_SECONDS = 2.0  # until a person at a terminal is told that an engine has not answered yet


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit code."""
    code = run(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # closed, or never open: what was to be said of it was
            stream.flush()
    # At once: all is written and closed by now. To take the interpreter down in order costs a fifth of a short command,
    # and a plugin whose own threads are still about (gRPC's, say) can crash it on the way.
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code. Anything that is not a handled error keeps its traceback.

    An error is one line on stderr; where several things are wrong with a file, each has a line. With `-o json` or
    `-o yaml` it is also the document on stdout, so that a program always finds one there.
    """
    _open_closed()
    state = State(output=_asked_for(arguments))
    stdout, stderr = sys.stdout, sys.stderr
    if any(not is_text(word) for word in arguments):
        return _usage("a word of the command line is not UTF-8 text", state)
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    colour = False if plain else None  # None: on a terminal only
    try:
        with telling(note, _SILENT_SECONDS if sys.stderr.isatty() else None):
            code = (
                cli.main(list(arguments), prog_name="flowbridge", standalone_mode=False, obj=state, color=colour) or 0
            )
        return _flushed(int(code))
    except FlowbridgeError as error:
        parts = error.parts if isinstance(error, InvalidInput) else (error,)
        return _complain([part.message for part in parts], error_view(error), state)
    except click.ClickException as error:
        return _usage(error.format_message(), state)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return _INTERRUPTED
    except BrokenPipeError:
        return _unread()
    except SystemExit:
        # click meets a closed pipe first: it wraps the streams, and ends with the code that is a bug's here.
        if sys.stdout is stdout:
            raise
        sys.stdout, sys.stderr = stdout, stderr
        return _unread()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return _usage(f"the output cannot be written: {error.strerror}", state)


def _flushed(code: int) -> int:
    """The code of a command that is over, whether or not anybody reads what it said."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _unread()
    return code


def _unread() -> int:
    """Whoever read our output has gone: nothing is to be said to nobody, not even by the interpreter's last flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _UNREAD


def _open_closed() -> None:
    """A stream that was closed when we were started is one that nobody reads, and that has nothing to be read."""
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115  (for as long as the process lives)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (for as long as the process lives)
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (for as long as the process lives)


def _asked_for(arguments: Sequence[str]) -> str:
    """The format that the words ask for, as well as can be told before they are understood: for errors in them."""
    formats = ("json", "yaml")
    for place, word in enumerate(arguments):
        option, equals, value = word.partition("=")
        following = arguments[place + 1] if place + 1 < len(arguments) else ""
        if option in ("-o", "--output") and (value if equals else following) in formats:
            return value if equals else following
        if word.startswith("-o") and word[2:] in formats:
            return word[2:]
    return "table"


def _usage(message: str, state: State) -> int:
    return _complain([message], {"error": "UsageError", "message": message, "exit_code": _USAGE}, state)


def _complain(messages: Sequence[str], view: dict[str, object], state: State) -> int:
    if state.output != "table":
        try:
            emit(view, state.output)
            sys.stdout.flush()
        except BrokenPipeError:
            _unread()
        except OSError:
            pass  # what cannot be written is what this error may be about
    for message in messages:
        click.echo(f"flowbridge: error: {' '.join(message.split())}", err=True)
    return int(str(view["exit_code"]))


if __name__ == "__main__":
    main()
