"""What the installed command calls first: Ctrl-C ends it with one code also while the rest is still being imported."""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

_INTERRUPTED = 130  # as a shell reports a process that Ctrl-C ended
_GARBAGE_AFTER = 50_000  # objects; what a command imports is none, and to look for it there costs a tenth of a list

_GARBAGE_AFTER_A_LOOK = 1_000_000  # of 200,000 tasks all is kept to the end; to look for it there costs a fourth


def looks_once() -> None:
    """Said by a command that looks once and ends: hardly anything that it makes is garbage before that."""
    gc.set_threshold(_GARBAGE_AFTER_A_LOOK)


def main() -> NoReturn:
    """Run one command and end the process with its exit code."""
    gc.set_threshold(_GARBAGE_AFTER)
    try:
        from flowbridge_cli.main import main as command  # noqa: PLC0415  most of a short command's time

        command()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.stderr.flush()
        os._exit(_INTERRUPTED)
