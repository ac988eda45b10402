"""The shell that reads commands, as with StackStorm, and the commands that need none."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_PLAIN = re.compile(r"[A-Za-z0-9_./:,@%+-]+(?: +[A-Za-z0-9_./:,=@%+-]+)*\Z")

#: What bash does by itself though there are programs of that name, too. `true` and `false` are the same either way.
_OWN = re.compile(
    r"(?:[.:]|alias|bg|bind|builtin|case|cd|command|coproc|declare|dirs|disown|do|done|echo|elif|else|enable|esac|eval"
    r"|exec|exit|export|fc|fg|fi|for|function|getopts|hash|help|history|if|in|jobs|kill|let|local|mapfile|popd|printf"
    r"|pushd|pwd|read|readarray|readonly|return|select|set|shift|shopt|source|suspend|test|then|time|times|trap|type"
    r"|typeset|ulimit|umask|unalias|unset|until|wait|while)\Z"
)


@cache
def name() -> str:
    """The shell that reads commands and scripts without a first line: bash; `sh` where there is none."""
    return "bash" if shutil.which("bash") else "/bin/sh"


def words_of(command: str, parameters: Mapping[str, Any]) -> list[str]:
    """How a command is started: by a shell, but for plain words that begin with a program.

    A shell would do nothing with them but start it, and take half as long again for a short one.
    """
    if not parameters.get("cwd") and not parameters.get("env") and _PLAIN.match(command):
        words = command.split()
        if _is_program(words[0]):
            return words
    return [name(), "-c", command]


def _is_program(word: str) -> bool:
    """Whether a word stands for a program, not a script, that the system starts whatever shell is asked."""
    if _OWN.match(word) or "BASH_ENV" in os.environ or f"BASH_FUNC_{word}%%" in os.environ:
        return False
    found = shutil.which(word)
    try:
        # A script may name what is not there, and a shell has words for that.
        return found is not None and os.path.isabs(found) and first_line(Path(found)) is None
    except OSError:  # it may be started, not read
        return False


def first_line(script: Path) -> bytes | None:
    """What stands behind `#!`; empty in a text that has no such line, None where it is no text."""
    with open(script, "rb") as file:
        start = file.read(256)
    if b"\0" in start:
        return None
    return start[2:].split(b"\n", 1)[0] if start.startswith(b"#!") else b""
